"""The graph that the functional API draws: stand-ins for arrays, and the nodes that say what made each of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina import names, registry
from lamina._types import Shape, Tree
from lamina.errors import InvalidArgumentError, invalid
from lamina.ops import arithmetic, shapes
from lamina.ops.dispatch import Symbolic, first_symbolic
from lamina.variables import isolated, standardize_dtype

# Two sizes that stand for an unknown axis while a shape is worked out: an axis that follows them is unknown too.
_PROBES = (83, 89)


class History(NamedTuple):
    """What made a stand-in."""

    operation: Any
    node_index: int
    tensor_index: int


def standardize_shape(shape: Any) -> Shape:
    """Return a shape as a tuple of sizes and None.

    Raises:
        InvalidArgumentError: If a size is negative or not a whole number.
    """
    if not isinstance(shape, list | tuple):
        if hasattr(shape, "__iter__"):
            shape = tuple(shape)
        else:
            problem = f"Cannot convert '{shape}' to a shape."
            if shape is None:
                problem = "Undefined shapes are not supported."
            raise invalid(problem, received=repr(shape), fix="pass a tuple of whole numbers and None.")
    sizes: list[int | None] = []
    for size in shape:
        if size is None:
            sizes.append(None)
            continue
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise invalid(
                f"Cannot convert '{tuple(shape)}' to a shape. Found invalid dimension '{size}' of type '{type(size)}'."
            )
        if size < 0:
            raise invalid(f"Cannot convert '{tuple(shape)}' to a shape. Negative dimensions are not allowed.")
        sizes.append(int(size))
    return tuple(sizes)


@registry.export("graph", module="keras", name="KerasTensor")
class KerasTensor(Symbolic):
    """A stand-in for an array: its shape, with None for unknown sizes, and its dtype.

    Args:
        shape: Shape with the batch axis.
        dtype: Type of the elements. Default 'float32'.
        sparse: Whether it stands for a sparse array.
        ragged: Kept for Keras scripts.
        record_history: Whether an operation on it is recorded.
        name: Name of the stand-in.
    """

    __slots__ = ("__dict__", "_dtype", "_keras_history", "_shape", "name", "ragged", "record_history", "sparse")
    _keras_history: "History"

    def __init__(
        self,
        shape: Any,
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        self._shape = standardize_shape(shape)
        self._dtype = standardize_dtype(dtype)
        self.sparse = bool(sparse)
        self.ragged = bool(ragged)
        self.record_history = record_history
        self.name = name or names.auto_name("keras_tensor")

    @property
    def shape(self) -> Shape:
        """The shape, with None for what is not known."""
        return self._shape

    @property
    def dtype(self) -> str:
        """Name of the type."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    def record(self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the stand-in for `operation(*args, **kwargs)` and add the node that makes it."""
        return FunctionOperation(operation)(*args, **kwargs)

    def reshape(self, newshape: Any) -> Any:
        """Return the stand-in for the reshaped array."""
        return arithmetic.reshape(self, newshape)

    def squeeze(self, axis: Any = None) -> Any:
        """Return the stand-in without axes of size 1."""
        return arithmetic.squeeze(self, axis)

    def __keras_tensor__(self) -> dict[str, Any]:
        history = getattr(self, "_keras_history", None)
        place = [history.operation.name, history.node_index, history.tensor_index] if history else None
        return {"shape": list(self.shape), "dtype": self.dtype, "keras_history": place}

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise InvalidArgumentError(_no_numbers(self, "NumPy"))

    def __jax_array__(self) -> Any:
        raise InvalidArgumentError(_no_numbers(self, "JAX"))

    def __bool__(self) -> bool:
        raise TypeError("A symbolic KerasTensor cannot be used as a boolean.")

    def __float__(self) -> float:
        raise TypeError("A symbolic KerasTensor cannot be cast to a float: it holds no numbers yet.")

    def __int__(self) -> int:
        raise TypeError("A symbolic KerasTensor cannot be cast to an int: it holds no numbers yet.")

    def __iter__(self) -> Any:
        raise NotImplementedError("Iterating over a symbolic KerasTensor is not supported.")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("shape", "dtype"):
            raise AttributeError(f"The `{name}` attribute of KerasTensor is immutable. One should create a new one.")
        object.__setattr__(self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return arithmetic.get_item(self, key)

    __hash__ = object.__hash__
    __array_priority__ = 200


def _binary(name: str, function: Callable[..., Any]) -> None:
    setattr(KerasTensor, f"__{name}__", lambda self, other: function(self, other))
    setattr(KerasTensor, f"__r{name}__", lambda self, other: function(other, self))


for _name, _function in arithmetic.BINARY.items():
    _binary(_name, _function)
for _name, _function in arithmetic.COMPARISON.items():
    setattr(KerasTensor, f"__{_name}__", (lambda function: lambda self, other: function(self, other))(_function))
for _name, _function in arithmetic.UNARY.items():
    setattr(KerasTensor, f"__{_name}__", (lambda function: lambda self: function(self))(_function))


def _no_numbers(tensor: KerasTensor, what: str) -> str:
    return (
        f"A KerasTensor is symbolic: it's a placeholder for a shape and a dtype. It doesn't have any actual numerical "
        f"value, so {what} cannot use it. Received: {tensor!r}\n"
        "To fix it: use the operations of `lamina.ops` or wrap the computation in a Layer."
    )


class Node:
    """One use of an operation: what went in, what came out."""

    __slots__ = ("__weakref__", "args", "input_tensors", "kwargs", "operation", "output_tensors", "outputs")

    def __init__(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Tree) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.input_tensors = [x for x in jax.tree.leaves((args, kwargs)) if isinstance(x, KerasTensor)]
        self.output_tensors = jax.tree.leaves(outputs)
        index = len(operation._inbound_nodes)
        operation._inbound_nodes.append(self)
        for i, tensor in enumerate(self.output_tensors):
            tensor._keras_history = History(operation, index, i)
        for tensor in self.input_tensors:
            history = getattr(tensor, "_keras_history", None)
            if history is not None:
                history.operation._outbound_nodes.append(self)

    @property
    def is_input(self) -> bool:
        """Whether nothing goes in: the node of an `Input`."""
        return not self.input_tensors

    @property
    def parent_nodes(self) -> "list[Node]":
        """The nodes that made what goes in, each once."""
        parents: dict[int, Node] = {}
        for tensor in self.input_tensors:
            history = getattr(tensor, "_keras_history", None)
            if history is not None:
                node = history.operation._inbound_nodes[history.node_index]
                parents[id(node)] = node
        return list(parents.values())

    def fill(self, values: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with each stand-in replaced by its value."""
        if len(self.args) == 1 and not self.kwargs and isinstance(self.args[0], KerasTensor):
            return (values[id(self.args[0])],), {}

        def pick(leaf: Any) -> Any:
            return values[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        args, kwargs = jax.tree.map(pick, (self.args, self.kwargs))
        return args, dict(kwargs)


class FunctionOperation:
    """An array function as a node of a graph: `x + y` or `ops.relu(x)` on stand-ins."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function = function
        self.keras_place: tuple[str, str] = getattr(function, "keras_place", ("", function.__name__))
        self.name = name or names.auto_name(self.keras_place[1])
        self._inbound_nodes: list[Node] = []
        self._outbound_nodes: list[Node] = []

    @property
    def output(self) -> Tree:
        """What its first use made."""
        return self._inbound_nodes[0].outputs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if first_symbolic(args) is None and first_symbolic(kwargs.values()) is None:
            return self.function(*args, **kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        Node(self, args, kwargs, outputs)
        return outputs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return stand-ins for the result."""
        with isolated():
            specs = shapes.output_specs(self.function, args, kwargs, owner=self.name)
        stays = any(x.sparse for x in jax.tree.leaves(args) if isinstance(x, KerasTensor))
        if stays:
            from lamina.ops import sparse

            stays = sparse.stays_sparse(self.keras_place[1], args)
        return jax.tree.map(lambda spec: KerasTensor(spec.shape, dtype=spec.dtype, sparse=stays), specs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inbound_nodes": [], "_outbound_nodes": []}

    def __repr__(self) -> str:
        return f"<Operation name={self.name}>"


def infer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], owner: str) -> Tree:
    """Return stand-ins for what `function` would give, by tracing it without computing anything.

    An axis of unknown size is tried with two sizes; an axis of the result that differs between them is unknown too.
    """
    leaves, structure = jax.tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, KerasTensor)]
    unknown = any(None in leaves[i].shape for i in places)
    results = []
    for probe in _PROBES if unknown else _PROBES[:1]:
        specs = [
            jax.ShapeDtypeStruct(tuple(probe if s is None else s for s in leaves[i].shape), jnp.dtype(leaves[i].dtype))
            for i in places
        ]

        def run(*arrays: Any) -> Any:
            filled = list(leaves)
            for place, array in zip(places, arrays, strict=True):
                filled[place] = array
            new_args, new_kwargs = jax.tree.unflatten(structure, filled)
            with isolated():
                return function(*new_args, **new_kwargs)

        try:
            results.append(jax.eval_shape(run, *specs))
        except TypeError as error:
            if not specs or unknown is False or "shape" not in str(error):
                raise
            raise invalid(f"The shapes do not fit: {error}", owner=owner) from error

    def merge(*found: Any) -> KerasTensor:
        shape = tuple(
            sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*[f.shape for f in found], strict=True)
        )
        return KerasTensor(shape, dtype=found[0].dtype.name)

    return jax.tree.map(merge, *results)


class Graph:
    """The operations between given inputs and outputs, in the order in which Keras runs and lists them.

    Args:
        inputs: Stand-ins, or a list, tuple or dict of them.
        outputs: The same, computable from `inputs`.

    Raises:
        InvalidArgumentError: If an output does not depend on the inputs alone.
    """

    def __init__(self, inputs: Tree, outputs: Tree) -> None:
        self.inputs_struct, self.outputs_struct = inputs, outputs
        self.inputs: list[KerasTensor] = jax.tree.leaves(inputs)
        self.outputs: list[KerasTensor] = jax.tree.leaves(outputs)
        order, indices = _walk(self.inputs, self.outputs)
        node_depths, operation_depths = _depths(order)
        for tensor in self.inputs:  # an input that nothing uses still belongs to the model
            history = getattr(tensor, "_keras_history", None)
            if history is not None and history.operation not in operation_depths:
                node = history.operation._inbound_nodes[history.node_index]
                if node.is_input:
                    operation_depths[history.operation], indices[history.operation] = 0, -1
                    node_depths[node] = 0
        self.nodes = sorted(node_depths, key=lambda node: -node_depths[node])
        self.operations = sorted(operation_depths, key=lambda op: (-operation_depths[op], indices[op]))
        self.runs: dict[int, Any] = {}  # where repeated nodes begin, and what runs them as one loop
        self._check()
        self._check_names()

    def _check(self) -> None:
        known = {id(tensor) for tensor in self.inputs}
        for node in self.nodes:
            if all(id(tensor) in known for tensor in node.input_tensors) and not node.is_input:
                known.update(id(tensor) for tensor in node.output_tensors)
        for path, tensor in jax.tree_util.tree_leaves_with_path(self.outputs_struct):
            if id(tensor) not in known:
                where = jax.tree_util.keystr(path, simple=True, separator="/")
                raise invalid(
                    f"Output with path `{where}` is not connected to `inputs`.",
                    received=repr(tensor),
                    fix="pass every `Input` that the output depends on as `inputs`.",
                )

    def _check_names(self) -> None:
        seen: set[str] = set()
        for operation in self.operations:
            if operation.name in seen:
                raise invalid(
                    f'The name "{operation.name}" is used 2 times in the model. All operation names should be unique.',
                    fix="give one of the layers another `name`.",
                )
            seen.add(operation.name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "runs": {}}

    def attach(self) -> None:
        """Make the nodes known to their operations, which are copied without them: a chain of any length is flat."""
        for node in self.nodes:
            operation, index = node.operation, len(node.operation._inbound_nodes)
            operation._inbound_nodes.append(node)
            for i, tensor in enumerate(node.output_tensors):
                tensor._keras_history = History(operation, index, i)
        for node in self.nodes:
            for tensor in node.input_tensors:
                tensor._keras_history.operation._outbound_nodes.append(node)

    def run(self, inputs: Sequence[Any], call: Callable[..., Any] | None = None) -> Tree:
        """Return the outputs for flat `inputs`; `call(operation, args, kwargs)` may stand in for a plain call."""
        values: dict[int, Any] = {id(t): x for t, x in zip(self.inputs, inputs, strict=True)}
        done = 0
        for place, node in enumerate(self.nodes):
            if place < done:
                continue
            run = self.runs.get(place) if call is None else None
            if run is not None and run.execute(values):
                done = run.stop
                continue
            if node.is_input or any(id(t) not in values for t in node.input_tensors):
                continue
            if all(id(t) in values for t in node.output_tensors):
                continue
            args, kwargs = node.fill(values)
            result = node.operation(*args, **kwargs) if call is None else call(node.operation, args, kwargs)
            for tensor, value in zip(
                node.output_tensors, jax.tree.leaves(result, is_leaf=lambda x: x is None), strict=True
            ):
                values[id(tensor)] = value
        return jax.tree.map(lambda t: values[id(t)], self.outputs_struct)


def _walk(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> tuple[list[Node], dict[Any, int]]:
    """Return the nodes behind `outputs` with makers before users, and the order in which operations were first met.

    Depth first without recursion, so that ten thousand layers are no deeper than ten.
    """
    stop = {id(tensor) for tensor in inputs}
    order: list[Node] = []
    indices: dict[Any, int] = {}
    done: set[int] = set()
    open_: set[int] = set()
    for output in outputs:
        stack: list[tuple[KerasTensor, bool]] = [(output, False)]
        while stack:
            tensor, leaving = stack.pop()
            history = getattr(tensor, "_keras_history", None)
            if history is None:
                continue
            node = history.operation._inbound_nodes[history.node_index]
            if leaving:
                open_.discard(id(node))
                if id(node) not in done:
                    done.add(id(node))
                    order.append(node)
                continue
            if id(node) in done:
                continue
            if id(node) in open_:
                raise invalid(f"Tensor {tensor} from operation '{history.operation.name}' is part of a cycle.")
            indices.setdefault(history.operation, len(indices))
            stack.append((tensor, True))
            open_.add(id(node))
            if not node.is_input and id(tensor) not in stop:
                seen: set[int] = set()
                for parent in reversed(node.input_tensors):
                    if id(parent) not in seen:
                        seen.add(id(parent))
                        stack.append((parent, False))
    return order, indices


def _depths(order: list[Node]) -> tuple[dict[Node, int], dict[Any, int]]:
    """Return how many steps each node and operation is from the outputs, as Keras counts for its order of layers."""
    members = {id(node) for node in order}
    node_depths: dict[Node, int] = {}
    operation_depths: dict[Any, int] = {}
    for node in reversed(order):
        depth = max(node_depths.setdefault(node, 0), operation_depths.get(node.operation, 0))
        operation_depths[node.operation] = depth
        node_depths[node] = depth
        for parent in node.parent_nodes:
            if id(parent) in members:
                node_depths[parent] = max(depth + 1, node_depths.get(parent, 0))
    return node_depths, operation_depths
