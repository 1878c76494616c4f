"""State. A `Variable` is a named array that may change; `bound` makes a change visible only inside a block.

Outside a compiled step a variable holds its array. While a step is traced, the step binds every variable of the
model to a traced array, so that layers read and assign as usual and nothing leaks out of the trace.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, names, serialization
from lamina._types import Array, Arrays
from lamina.errors import UnboundVariableError, invalid, message
from lamina.operators import Operators

_AGGREGATIONS = (None, "none", "mean", "sum", "only_first_replica")


class Frame:
    """The arrays that stand for variables inside a block. A closed frame knows every variable that may be touched.

    Attributes:
        arrays: The array of each variable, or of a `Stack` of them.
        rows: The stack and the row of each variable that is part of a stack.
        closed: Whether any other variable is foreign.
    """

    __slots__ = ("arrays", "closed", "rows")

    def __init__(self, arrays: dict[Any, Array], rows: "dict[Variable, tuple[Any, int]]", closed: bool) -> None:
        self.arrays = arrays
        self.rows = rows
        self.closed = closed


moving = threading.RLock()  # held while a dispatch takes the memory of arrays over, and to read some for keeps
toggled = [0]  # how often `trainable` of any variable was set: a step that is compiled looks whether it still fits
_frame: ContextVar[Frame | None] = ContextVar("frame", default=None)
_autocast: ContextVar[Any] = ContextVar("autocast", default=None)
_guard: ContextVar[Callable[..., Any] | None] = ContextVar("guard", default=None)


def standardize_dtype(dtype: Any) -> str:
    """Return the name of a dtype, e.g. 'float32'; None gives the default float type.

    Raises:
        InvalidArgumentError: If it is no dtype that an array can have.
    """
    if dtype is None:
        return config.floatx()
    if isinstance(dtype, str) and dtype in _SIMPLE:
        return dtype
    name = {"int": "int32", "float": config.floatx(), "bool": "bool", "str": "string"}.get(
        dtype.__name__ if isinstance(dtype, type) else str(dtype)
    )
    if name is None:
        try:
            name = jnp.dtype(dtype).name
        except TypeError:
            name = getattr(dtype, "name", None) or str(dtype)
    if name not in _SIMPLE and name != "string":
        raise invalid(f"Invalid dtype: {name}.", received=repr(dtype), fix="use e.g. 'float32', 'int32' or 'bool'.")
    return name


_SIMPLE = frozenset(
    [
        "bool",
        "int4",
        "uint4",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bfloat16",
        "float16",
        "float32",
        "float64",
        "float8_e4m3fn",
        "float8_e5m2",
        "complex64",
        "complex128",
    ]
)


def is_float(dtype: str) -> bool:
    """Return whether a dtype name is a float type."""
    return "float" in dtype


class Variable(Operators):
    """A named array that a layer, an optimizer or a metric may change.

    Args:
        initializer: An array or number, the name of an initializer, or a callable `(shape, dtype) -> array`.
        shape: Shape of the array; needed only with an initializer.
        dtype: Type of the array. Default: that of the given array, else `config.floatx()`.
        trainable: Whether an optimizer may change it.
        autocast: Whether a layer with another compute type sees it in that type.
        aggregation: Kept for Keras scripts.
        synchronization: Kept for Keras scripts.
        name: Name without a slash, e.g. 'kernel'.

    Raises:
        InvalidArgumentError: If the shape is missing or not fully known.
    """

    __slots__ = (
        "__weakref__", "_constraint", "_dtype", "_index", "_lent", "_own", "_regularizer", "_stack", "_trainable",
        "aggregation", "autocast", "born_trainable", "from_build", "name", "overwrite_with_gradient", "path", "shape",
        "synchronization",
    )  # fmt: skip

    def __init__(
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = "none",
        synchronization: str | None = "auto",
        name: str | None = None,
    ) -> None:
        self.name = names.check(name or names.auto_name(type(self).__name__), type(self).__name__)
        if aggregation not in _AGGREGATIONS:
            raise invalid(
                f"Invalid value for argument `aggregation`. Expected one of {_AGGREGATIONS}.",
                received=f"aggregation={aggregation!r}",
            )
        scope = names.current_path()
        self.path = f"{scope}/{self.name}" if scope else self.name
        self.trainable = self.born_trainable = bool(trainable)
        self.from_build = False
        self.autocast = bool(autocast)
        self.aggregation = aggregation or "none"
        self.synchronization = synchronization or "none"
        self.overwrite_with_gradient = False
        self._regularizer: Callable[..., Any] | None = None
        self._constraint: Callable[..., Any] | None = None
        self._lent = True
        self._stack: Any = None  # the `Stack` that holds its array while repeated layers are trained, if one does
        self._index = 0  # its row there
        self._own: Array | None = None
        config.same_process()
        config.place_compilation_cache()  # drawing the first weights is what a process compiles first
        self._array = self._initial(initializer, shape, dtype)
        self._dtype = self._array.dtype.name
        self.shape = tuple(self._array.shape)

    def _initial(self, initializer: Any, shape: Sequence[int] | None, dtype: Any) -> Array:
        if isinstance(initializer, str):
            initializer = serialization.get("initializers", initializer, "initializer")
        with jax.ensure_compile_time_eval():  # a layer may be built while a step is traced
            if not callable(initializer):
                given = standardize_dtype(dtype) if dtype is not None else None
                return to_array(initializer, given)
            if shape is None:
                raise invalid(
                    "When creating a Variable from an initializer, the `shape` argument should be specified.",
                    owner=f"Variable `{self.path}`",
                    received=f"initializer={initializer!r} and shape={shape}",
                )
            shape = tuple(shape) if not isinstance(shape, int) else (shape,)
            if any(
                type(size) is not int and (not isinstance(size, SupportsIndex) or isinstance(size, bool))
                for size in shape
            ):
                raise invalid(
                    "Shapes used to initialize variables must be fully-defined (no `None` dimensions).",
                    owner=f"Variable `{self.path}`",
                    received=f"shape={shape} for variable path='{self.path}'",
                )
            name = standardize_dtype(dtype)
            guard = _guard.get()
            given = guard(self, initializer, shape, name) if guard is not None else None
            return to_array(initializer(shape, dtype=name) if given is None else given, name)

    @property
    def _array(self) -> Array:
        """The stored array: its own, or its row of a stack."""
        own = self._own
        return self._stack.row(self._index) if own is None else own

    @_array.setter
    def _array(self, array: Array) -> None:
        if self._own is None and self._stack is not None:
            self._stack.stale = True
        self._own = array

    @property
    def value(self) -> Array:
        """The current array: the bound one inside a step, the stored one elsewhere."""
        frame = _frame.get()
        if frame is None:
            with moving:
                self._lent = True
                array = self._array
        else:
            array = self._bound_array(frame)
        cast = _autocast.get()
        if cast is not None and self.autocast and is_float(self._dtype) and cast != self._dtype:
            return array.astype(cast)
        return array

    def _bound_array(self, frame: Frame) -> Array:
        try:
            return frame.arrays[self]
        except KeyError:
            if self in frame.rows:
                stack, index = frame.rows[self]
                array: Array = frame.arrays[stack][index]
                return array
            if frame.closed:
                raise UnboundVariableError(_unbound(self, "read")) from None
            self._lent = True
            return self._array

    def _bind(self, arrays: dict[Any, Array], rows: dict[Any, Any]) -> None:
        """Do nothing: `bound` has put the array in. A `Stack` adds its rows."""

    def assign(self, value: Any) -> Array:
        """Replace the array and return the new one. Its shape stays the same; its type is cast to the variable's.

        Raises:
            InvalidArgumentError: If the shape differs.
            UnboundVariableError: If a compiled step assigns a variable that its model does not own.
        """
        array = to_array(value, self._dtype)
        if tuple(array.shape) != self.shape:
            raise invalid(
                "The shape of the target variable and the shape of the target value in `variable.assign(value)` must "
                f"match. variable.shape={self.shape},",
                owner=f"Variable `{self.path}`",
                received=f"value.shape={tuple(array.shape)}",
            )
        frame = _frame.get()
        if frame is None:
            if isinstance(array, jax.core.Tracer):
                raise UnboundVariableError(_unbound(self, "assigned"))
            self._array = array
            self._lent = True
        elif frame.closed and self not in frame.arrays and self not in frame.rows:
            raise UnboundVariableError(_unbound(self, "assigned"))
        else:
            frame.arrays[self] = array
        return array

    def assign_add(self, value: Any) -> Array:
        """Add to the array and return the new one."""
        return self.assign(self + value)

    def assign_sub(self, value: Any) -> Array:
        """Subtract from the array and return the new one."""
        return self.assign(self - value)

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a copy of the array for NumPy."""
        return np.array(self.value)

    @property
    def dtype(self) -> str:
        """Name of the type that a reader sees, e.g. 'float32'."""
        cast = _autocast.get()
        if cast is not None and self.autocast and is_float(self._dtype):
            return str(cast)
        return self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def trainable(self) -> bool:
        """Whether an optimizer may change it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        toggled[0] += 1

    @property
    def regularizer(self) -> Callable[..., Any] | None:
        """A function of the array that is added to the loss, or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value: Any) -> None:
        self._regularizer = _callable_or_none(value, "regularizer")

    @property
    def constraint(self) -> Callable[..., Any] | None:
        """A function that maps the array back to what is allowed after each update, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, value: Any) -> None:
        self._constraint = _callable_or_none(value, "constraint")

    def __repr__(self) -> str:
        frame = _frame.get()
        array = self._array if frame is None else frame.arrays.get(self, self._array)
        value = "<traced>" if isinstance(array, jax.core.Tracer) else np.asarray(array)
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self._dtype}, value={value}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.value, dtype=dtype)

    def __jax_array__(self) -> Array:
        return self.value

    def __hash__(self) -> int:
        return id(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Variable":
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(self.__getstate__())
        return twin

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("__weakref__", "_index", "_own", "_stack")
        state = {slot: getattr(self, slot) for slot in Variable.__slots__ if slot not in left_out}
        return {**state, "_array": np.asarray(self._array)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._stack, self._index, self._own = None, 0, None
        for slot, value in state.items():
            setattr(self, slot, jnp.array(value) if slot == "_array" else value)


def to_array(value: Any, dtype: str | None = None) -> Array:
    """Return a value as a JAX array that shares no memory with it, cast to `dtype`."""
    if isinstance(value, Variable):
        value = value.value
    if isinstance(value, jax.Array):
        return value if dtype is None or value.dtype.name == dtype else value.astype(dtype)
    if isinstance(value, np.ndarray):
        return jnp.array(value, dtype)  # a copy: on a CPU JAX may otherwise share an aligned buffer
    return jnp.asarray(value, dtype)


def _callable_or_none(value: Any, name: str) -> Any:
    if value is not None and not callable(value):
        raise invalid(
            f"Invalid value for attribute `{name}`. Expected a callable or `None`.", received=f"{name}={value!r}"
        )
    return value


def _unbound(variable: Variable, verb: str) -> str:
    return message(
        f"Variable `{variable.path}` was {verb} inside a compiled step, but the model does not own it.",
        fix="set it, or the layer that holds it, as an attribute of a layer of the model, in `__init__` or `build`.",
    )


def frame_now() -> Frame | None:
    """Return the frame of the block under way, or None outside of one."""
    return _frame.get()


@contextmanager
def entered(frame: Frame) -> Iterator[Frame]:
    """Let variables stand for what `frame` holds inside the block."""
    token = _frame.set(frame)
    try:
        yield frame
    finally:
        _frame.reset(token)


@contextmanager
def bound(variables: Sequence[Variable], arrays: Sequence[Array]) -> Iterator[None]:
    """Let `variables` stand for `arrays` inside the block; any other variable may not be touched."""
    outer = _frame.get()
    known = dict(outer.arrays) if outer is not None else {}
    rows = dict(outer.rows) if outer is not None else {}
    for variable, array in zip(variables, arrays, strict=True):
        known[variable] = array
        variable._bind(known, rows)
    with entered(Frame(known, rows, closed=True)):
        yield


@contextmanager
def isolated() -> Iterator[dict[Any, Array]]:
    """Give the arrays assigned inside the block, where every variable may be read; the variables forget them."""
    outer = _frame.get()
    arrays, rows = (dict(outer.arrays), dict(outer.rows)) if outer is not None else ({}, {})
    with entered(Frame(arrays, rows, closed=False)):
        yield arrays


@contextmanager
def branched() -> Iterator[dict[Any, Array]]:
    """Give the arrays as they stand and as they are assigned inside the block, under the same rules as around it."""
    outer = _frame.get()
    frame = Frame({}, {}, False) if outer is None else Frame(dict(outer.arrays), dict(outer.rows), outer.closed)
    with entered(frame):
        yield frame.arrays


@contextmanager
def guarded(guard: Callable[..., Any]) -> Iterator[None]:
    """Ask `guard(variable, initializer, shape, dtype)` before a variable made inside the block is filled.

    It may raise, or return the array to fill the variable with instead; None lets the initializer do it.
    """
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


@contextmanager
def autocast(dtype: str | None) -> Iterator[None]:
    """Let float variables be read as `dtype` inside the block; None: as they are."""
    token = _autocast.set(dtype)
    try:
        yield
    finally:
        _autocast.reset(token)


def values(variables: Sequence[Variable]) -> Arrays:
    """Read many variables at once, each in its own type."""
    frame = _frame.get()
    if frame is None:
        for variable in variables:
            variable._lent = True
        return tuple([variable._array for variable in variables])
    return tuple([variable._bound_array(frame) for variable in variables])


def held(variables: Sequence[Variable]) -> Arrays:
    """Read many variables outside a step for a caller that lets go of the arrays before their memory is taken over."""
    return tuple([variable._array for variable in variables])


def take(variables: Sequence[Variable]) -> Arrays:
    """Read many variables for a step that may overwrite their memory: an array that someone else holds is copied."""
    taken = []
    for variable in variables:
        if variable._lent:
            variable._array = jnp.array(variable._array, copy=True)
            variable._lent = False
        taken.append(variable._array)
    return tuple(taken)


def store(variables: Sequence[Variable], arrays: Sequence[Array]) -> None:
    """Put the arrays that a compiled step returned back into their variables."""
    for variable, array in zip(variables, arrays, strict=True):
        variable._array = array
        variable._lent = False
