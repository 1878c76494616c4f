"""Layers that prepare data: on strings, inside a model on numbers, and mapped over a `tf.data.Dataset`."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina._types import Numpy, Tree
from lamina.errors import InvalidArgumentError, InvalidTypeError, invalid, message
from lamina.graph import KerasTensor
from lamina.layers.base import Layer

_state = {"revision": 0}


def revision() -> int:
    """Return a number that grows whenever a layer that was in use learned another vocabulary or other bins.

    What such a layer knows is a constant of a compiled program: a program of an older number is not used again.
    """
    return _state["revision"]


class DataLayer(Layer):
    """A layer without weights to train that may also stand in `dataset.map(layer)` of a `tf.data.Dataset`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if in_tensorflow_graph((args, kwargs)):
            return run_in_tensorflow(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def _learned(self) -> None:
        """Note that what the layer knows has changed."""
        if self._called:
            _state["revision"] += 1


class HostLayer(DataLayer):
    """A layer that works on the host, with NumPy: `compute` gets arrays that may hold strings or 64-bit numbers.

    Inside a compiled step the program calls back to the host; there the inputs are numbers.
    """

    _takes_anything = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._build_at_init()

    def compute(self, inputs: Any) -> Numpy:
        """Return the result for arrays of NumPy's. To be written by a subclass."""
        raise NotImplementedError

    def _convert_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(map(self._to_host, args)), {key: self._to_host(value) for key, value in kwargs.items()}

    def _to_host(self, value: Any) -> Any:
        return as_array(value, f"{type(self).__name__} layer `{self.name}`")

    def call(self, inputs: Any) -> Any:
        leaves = jax.tree.leaves(inputs)
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            found = self.compute(inputs)
            return jnp.asarray(found) if found.dtype.kind in "fiub" and _fits(found) else found
        spec = self.compute_output_spec(jax.tree.map(lambda x: KerasTensor(x.shape, dtype=x.dtype.name), inputs))
        result = jax.ShapeDtypeStruct(spec.shape, jax.dtypes.canonicalize_dtype(spec.dtype))

        def on_host(*arrays: Any) -> Numpy:
            given = jax.tree.unflatten(jax.tree.structure(inputs), [np.asarray(array) for array in arrays])
            return self.compute(given).astype(result.dtype)

        return jax.pure_callback(on_host, result, *leaves, vmap_method="sequential")


def _fits(array: Numpy) -> bool:
    """Return whether numbers fit into the 32 bits that they get on the device."""
    if array.dtype != np.int64 or not array.size:
        return True
    limits = np.iinfo(np.int32)
    return bool(limits.min <= array.min() and array.max() <= limits.max)


def as_array(value: Any, owner: str) -> Any:
    """Return strings or numbers of any library as an array of NumPy's; stand-ins and traced arrays as they are.

    Raises:
        InvalidArgumentError: If the values have no common shape, or the type is unknown.
    """
    if value is None or isinstance(value, KerasTensor | jax.core.Tracer | np.ndarray):
        return value
    for step in ("detach", "cpu"):  # a tensor of PyTorch
        if hasattr(value, step):
            value = getattr(value, step)()
    if hasattr(value, "to_numpy"):
        return np.asarray(value.to_numpy())
    if hasattr(value, "numpy") and not isinstance(value, jax.Array):
        return np.asarray(value.numpy())
    if not isinstance(value, str | bytes | int | float | list | tuple | np.generic) and not hasattr(value, "__array__"):
        raise invalid(
            "Unrecognized data type.",
            owner=owner,
            received=f"a {type(value).__name__}",
            fix="pass an array, a column of a data frame, or a list of strings or numbers.",
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise invalid(
            "All samples must have as many values.",
            owner=owner,
            received="lists of different lengths",
            fix="fill the short ones up, e.g. with the mask token.",
        ) from error


def strings(array: Numpy, owner: str) -> list[str]:
    """Return the strings of an array, flat. Bytes are read as UTF-8; what is not UTF-8 keeps its bytes.

    Raises:
        InvalidArgumentError: If it holds anything else, e.g. a missing value.
    """
    if array.dtype.kind == "U":
        return list(array.ravel().tolist())
    found = [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in array.flat]
    for place, value in enumerate(found):
        if not isinstance(value, str):
            missing = value is None or value != value or type(value).__name__ == "NAType"
            raise invalid(
                "The inputs must be strings.",
                owner=owner,
                received=f"{value!r} at place {place}",
                fix="fill what is missing, e.g. `column.fillna('')`."
                if missing
                else "make strings of them, e.g. `array.astype(str)`; for whole numbers use `IntegerLookup`.",
            )
    return found


def whole(array: Numpy, owner: str) -> Numpy:
    """Return whole numbers as int64.

    Raises:
        InvalidArgumentError: If it holds strings, fractions or NaN.
    """
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    if array.dtype.kind == "O" and all(isinstance(value, int | np.integer) for value in array.flat):
        return array.astype(np.int64)
    if array.dtype.kind == "f" or not array.size:
        numbers = array.astype(np.int64) if np.isfinite(array.astype(np.float64)).all() else None
        if numbers is not None and (numbers == array).all():
            return numbers
    text = array.dtype.kind in "USOT"
    raise invalid(
        "The inputs must be whole numbers.",
        owner=owner,
        received=f"values of dtype {array.dtype}",
        fix="use `StringLookup`." if text else "round them, or fill what is missing.",
    )


def as_bytes(values: Iterable[str]) -> list[bytes]:
    """Return strings in UTF-8, as they are hashed."""
    return [value.encode("utf-8", "surrogateescape") for value in values]


def batches_of(data: Any, steps: int | None, owner: str, *, lists: bool) -> Iterator[Any]:
    """Yield the batches that `adapt` learns from, as arrays of NumPy's.

    Args:
        data: An array, or what gives batches: a generator, a data set, a loader. `(x, y)` counts by its `x`.
        steps: At most so many batches; None for all.
        owner: Whose `adapt` it is.
        lists: Whether a list is one array written out, rather than a list of batches.

    Raises:
        InvalidTypeError: If the data are neither.
    """
    one = lists and isinstance(data, list | tuple)
    if one or hasattr(data, "__array__") or hasattr(data, "to_numpy"):
        yield as_array(data, owner)
        return
    if not hasattr(data, "__iter__"):
        if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
            raise InvalidTypeError(
                message(
                    f"Unsupported data type: {type(data)}.",
                    owner=owner,
                    fix="pass an array, or batches of arrays: a generator, a data set.",
                )
            )
        data = map(data.__getitem__, range(len(data)))
    for batch in islice(data, steps):
        yield as_array(batch[0] if isinstance(batch, tuple) else batch, owner)


# ---- inside a function that TensorFlow traces


def in_tensorflow_graph(tree: Tree) -> bool:
    """Return whether there is a stand-in of TensorFlow's among the arguments, as in `dataset.map(layer)`."""
    if "tensorflow" not in sys.modules:
        return False
    return any(
        type(leaf).__module__.startswith("tensorflow") and not hasattr(leaf, "numpy") for leaf in jax.tree.leaves(tree)
    )


def run_in_tensorflow(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return TensorFlow's stand-ins for the results of a layer, which runs on the host when the data pass by."""
    tf: Any = sys.modules["tensorflow"]

    leaves, structure = jax.tree.flatten((args, kwargs))
    if not all(isinstance(leaf, tf.Tensor) for leaf in leaves):
        raise InvalidArgumentError(
            message(
                "Ragged and sparse tensors are not supported.",
                owner=function.name,
                fix="make them dense first: `tensor.to_tensor()`, `tf.sparse.to_dense(tensor)`.",
            )
        )
    given = [KerasTensor(leaf.shape.as_list(), dtype=leaf.dtype.name) for leaf in leaves]
    spec_args, spec_kwargs = jax.tree.unflatten(structure, given)
    function._maybe_build(spec_args, spec_kwargs)
    specs, result = jax.tree.flatten(function.compute_output_spec(*spec_args, **spec_kwargs))

    def on_host(*arrays: Any) -> list[Numpy]:
        inner_args, inner_kwargs = jax.tree.unflatten(structure, arrays)
        found = jax.tree.leaves(function(*inner_args, **inner_kwargs))
        return [
            np.asarray(array, object if spec.dtype == "string" else spec.dtype)
            for array, spec in zip(found, specs, strict=True)
        ]

    outputs = tf.numpy_function(on_host, leaves, [spec.dtype for spec in specs])
    for output, spec in zip(outputs, specs, strict=True):
        output.set_shape(spec.shape)
    return jax.tree.unflatten(result, outputs)
