"""The life of a layer: made, built at its first call, called, saved, built again."""

import functools
import inspect
import threading
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, names, registry, regularizers
from lamina._types import Array, Config, Tree
from lamina.errors import NotBuiltError, invalid, message
from lamina.graph import KerasTensor, Node, infer, standardize_shape
from lamina.layers import configs, signatures
from lamina.layers import input_spec as specs
from lamina.layers.context import CallContext, calling, current, get_mask, has_mask, masks_of, set_mask
from lamina.layers.parts import Parts
from lamina.layers.remat import get_current_remat_mode
from lamina.layers.signatures import plain_shape
from lamina.ops.dispatch import first_symbolic
from lamina.variables import Variable, autocast, bound, is_float, values

building = threading.RLock()  # held while a call builds a layer: several threads may make the first call
_signature = functools.lru_cache(maxsize=4096)(inspect.signature)


def _whole_build(build: Callable[..., None]) -> Callable[..., None]:
    """Return `build` with all that surrounds it: the name scope, dropping old weights, recording the shape."""

    @functools.wraps(build)
    def whole(self: "Layer", *args: Any, **kwargs: Any) -> None:
        if self._building:
            build(self, *args, **kwargs)
            return
        given = _signature(build).bind(self, *args, **kwargs).arguments
        shapes = {key: plain_shape(value) for key, value in list(given.items())[1:]}
        before = {**self.__dict__, "_weights": list(self._weights)}
        self._start_build(shapes)
        self._building = True
        try:
            with names.name_scope(self.name, self):
                self._path = names.current_path()
                build(self, **shapes)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)  # a build that fails leaves the layer as it was
            raise
        self._building = False
        self.built = True
        self._build_shapes = shapes

    whole.__whole_build__ = True  # type: ignore[attr-defined]
    return whole


@registry.export("layers")
class Layer(Parts):
    """A function of arrays together with the variables that it reads.

    A subclass writes `build(input_shape)`, which makes the variables once the input shape is known, and
    `call(inputs, ...)`, which computes the output. Both are plain Python; a model compiles them. Everything that a
    subclass sets as an attribute (variables, layers, metrics, seed generators, lists and dicts of these) is part of it.

    Args:
        activity_regularizer: A function of the output that is added to the loss.
        trainable: Whether an optimizer may change its weights. May be changed at any time.
        dtype: Type of its weights and computations, or a policy.
        autocast: Whether floating inputs and weights are cast to the compute type.
        name: Its name; default: the class's name in snake case with a number.

    Raises:
        InvalidArgumentError: For an argument that it does not know.
    """

    built: bool
    _takes_anything = False
    _building = False
    _called = False
    rowwise = False  # whether each row of the output depends on that row of the input alone
    supports_masking = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__ and not getattr(cls.build, "__whole_build__", False):
            cls.build = _whole_build(cls.build)  # type: ignore[method-assign]
        if "compute_mask" in cls.__dict__ and "supports_masking" not in cls.__dict__:
            cls.supports_masking = True

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        cls = type(self).__name__
        self.name = names.check(name, cls) if name is not None else names.auto_name(cls)
        self._inbound_nodes: list[Node] = []
        self._outbound_nodes: list[Node] = []
        self._weights: list[Variable] = []
        self._losses: list[Array] = []
        self._path: str | None = None
        self._build_shapes: dict[str, Any] | None = None
        self.dtype_policy = dtype
        self._remat_mode = get_current_remat_mode()
        self.activity_regularizer = regularizers.get(activity_regularizer)
        if self.activity_regularizer is not None:
            self.rowwise = False  # its penalty runs over all rows
        kwargs = configs.without_unused(kwargs)
        shape = kwargs.pop("input_shape", None)
        if "input_dim" in kwargs:
            shape = (kwargs.pop("input_dim"),)
        if "batch_input_shape" in kwargs:
            shape = tuple(kwargs.pop("batch_input_shape"))[1:]
        if kwargs:
            raise signatures.unrecognized(cls, kwargs, [*configs.arguments(type(self)), *configs.arguments(Layer)])
        self._input_shape_arg = None if shape is None else standardize_shape(shape)
        if not isinstance(trainable, bool):
            raise invalid(
                "Expected `trainable` to be a boolean.",
                owner=f"{cls} layer `{self.name}`",
                received=f"trainable={trainable} (of type {type(trainable)})",
            )
        self._trainable = trainable
        self.autocast = autocast
        self.built = False
        self.input_spec: Any = None

    # ---- build

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape. Called by the first call; called again, it makes new ones.

        Args:
            input_shape: Shape with the batch axis, e.g. `(None, 784)`; for several inputs a list or dict of shapes.
        """
        self.built = True

    def _start_build(self, shapes: dict[str, Any]) -> None:
        """Drop what an earlier build made; refuse if that would break the model that the layer is part of."""
        if self.built and self._inbound_nodes:
            new, old = next(iter(shapes.values()), None), next(iter((self._build_shapes or {}).values()), None)
            if isinstance(new, tuple) and isinstance(old, tuple) and new[-1:] != old[-1:]:
                raise invalid(
                    f"Building it again for {new} would break the model that it is part of: there its input has "
                    f"shape {old}.",
                    owner=f"{type(self).__name__} layer `{self.name}`",
                    fix="make a new layer and a new model, or `build` the whole model with another input shape.",
                )
        self._weights = [v for v in self._weights if not v.from_build]

    def _build_at_init(self) -> None:
        """Say that there is nothing to build, unless a subclass has a `build`."""
        if type(self).build is Layer.build:
            self.built = True

    def get_build_config(self) -> Config | None:
        """Return the shapes with which it was built, or None."""
        if self._build_shapes is None:
            return None
        if len(self._build_shapes) == 1:
            return {"input_shape": next(iter(self._build_shapes.values()))}
        return {"shapes_dict": self._build_shapes}

    def build_from_config(self, config: Config) -> None:
        """Build it with the shapes that `get_build_config` gave."""
        if not config or self.built:
            return
        if "input_shape" in config:
            self.build(plain_shape(config["input_shape"]))
        elif "shapes_dict" in config:
            self.build(**{key: plain_shape(shape) for key, shape in config["shapes_dict"].items()})

    def _maybe_build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.built:
            with building:
                self._build_for_call(args, kwargs)

    def _build_for_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.built:  # another thread was first
            return
        parameters = signatures.build_parameters(type(self))
        tensors = signatures.tensor_arguments(type(self), args, kwargs)
        shapes = {key: jax.tree.map(lambda x: tuple(x.shape), value) for key, value in tensors.items()}
        if type(self).build is Layer.build:
            if type(self).call is not Layer.call and self._sublayers() and not all(s.built for s in self._sublayers()):
                self._path = names.current_path()
            self._build_shapes = {"input_shape": next(iter(shapes.values()), None)} if shapes else None
            self.built = True
            return
        if len(parameters) == 1:
            self.build(next(iter(shapes.values()), None))
        else:
            self.build(**signatures.shapes_for(type(self), parameters, shapes))

    # ---- call

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output for the inputs. To be written by a subclass."""
        raise NotImplementedError(
            message(f"Layer {type(self).__name__} does not have a `call` method implemented.", fix="write one.")
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output for the inputs; build the layer first if it has not been built.

        Raises:
            InvalidArgumentError: If an input has not the shape that the layer was built for.
        """
        self._called = True
        config.same_process()
        original = (args, kwargs)
        args, kwargs = self._convert_arguments(args, kwargs)
        symbolic = first_symbolic(args) is not None or first_symbolic(kwargs.values()) is not None
        with names.name_scope(self.name, self):
            self._check_input(args[0] if args else next(iter(kwargs.values()), None))
            self._maybe_build(args, kwargs)
            outputs = self._symbolic(args, kwargs) if symbolic else self._run(args, kwargs)
        if symbolic:
            Node(self, *original, outputs)
        return outputs

    def _convert_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args = jax.tree.map(self._convert, args, is_leaf=signatures.is_array_like)
        for leaf in jax.tree.leaves(args):
            if not isinstance(leaf, jax.Array | KerasTensor) and not self._takes_anything:
                raise invalid(
                    "Only input tensors may be passed as positional arguments. The following argument value should be "
                    f"passed as a keyword argument: {leaf} (of type {type(leaf)})",
                    owner=f"{type(self).__name__} layer `{self.name}`",
                )
        return args, {
            key: jax.tree.map(self._convert, value, is_leaf=signatures.is_array_like) for key, value in kwargs.items()
        }

    def _convert(self, value: Any) -> Any:
        """Return an argument as an array of the compute type; integers stay, numbers and objects pass."""
        if isinstance(value, Variable):
            value = value.value
        if isinstance(value, KerasTensor):
            return value
        if not isinstance(value, jax.Array):
            if isinstance(value, list):
                value = np.asarray(value)
            if not hasattr(value, "__array__") or isinstance(value, np.generic):
                return value
            value = signatures.to_device(value, self.name)
        if (
            self.autocast
            and jnp.issubdtype(value.dtype, jnp.floating)
            and value.dtype.name != self.input_dtype
            and is_float(self.input_dtype)
        ):
            mask = get_mask(value)
            value = value.astype(self.input_dtype)
            set_mask(value, mask)
        return value

    def _check_input(self, value: Any) -> None:
        specs.check(self.input_spec, value, self.name)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = current()
        outermost = context is None
        if context is None:
            context = CallContext()
            for layer in self._flatten_layers() if self._losses or self._sublayers() else ():
                layer._losses.clear()
        outer = context.training, context.values
        self._fill_training(context, args, kwargs)
        if self._handed_down:
            context.values = context.hand_down(self._handed_down, signatures.call_parameters(type(self)), kwargs)
        previous_mask = self._fill_mask(args, kwargs)
        try:
            if outermost:
                with calling(context):
                    outputs = self._cast_call(args, kwargs)
            else:
                outputs = self._cast_call(args, kwargs)
            self._after_call(args, kwargs, outputs, previous_mask, context)
        finally:
            context.training, context.values = outer
        context.last = (self, outputs)
        return outputs if context.observer is None else context.observer(self, outputs)

    _handed_down: frozenset[str] = frozenset()

    @property
    def _call_context_args(self) -> set[str]:
        return {"training", *self._handed_down}

    def _register_call_context_args(self, *names: str) -> None:
        """Let arguments of these names pass from outer calls to the calls inside, as `training` does."""
        if self._called:
            raise RuntimeError("Cannot add call-context args after the layer has been called.")
        self._handed_down = self._handed_down | frozenset(names)

    def _cast_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mixed = self.autocast and self.compute_dtype != self.variable_dtype and is_float(self.compute_dtype)
        with autocast(self.compute_dtype if mixed else None):
            return self._calling(args, kwargs)(*args, **kwargs)

    def _fill_training(self, context: CallContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parameters = signatures.call_parameters(type(self))
        given = kwargs.get("training")
        if given is None and "training" in parameters and len(args) > parameters.index("training"):
            given = args[parameters.index("training")]
        value = given if given is not None else context.training
        if value is None:
            value = signatures.call_defaults(type(self)).get("training")
        context.training = value
        if "training" in parameters:
            if value is not None and len(args) <= parameters.index("training"):
                kwargs["training"] = value
        else:
            kwargs.pop("training", None)

    def _fill_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Put the masks that travel with the inputs into the arguments that ask for them."""
        for index, name, mask_name in signatures.mask_parameters(type(self)):
            given = args[index] if index < len(args) else kwargs.get(name)
            if kwargs.get(mask_name) is None and given is not None:
                mask = masks_of(given)
                if has_mask(mask):
                    kwargs[mask_name] = mask
        if kwargs.get("mask") is not None:
            return kwargs["mask"]
        return masks_of(args[0] if args else next(iter(kwargs.values()), None))

    def _after_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any, previous_mask: Any, context: CallContext
    ) -> None:
        if self.activity_regularizer is not None:
            for output in jax.tree.leaves(outputs):
                loss = self.activity_regularizer(output)
                self._record_loss(loss / max(output.shape[0], 1) if output.ndim else loss, context)
        self._pass_mask(args, kwargs, outputs, previous_mask)

    def _pass_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any, previous_mask: Any) -> None:
        """Let the mask that `compute_mask` gives travel with the outputs, unless `call` has set one."""
        masked = has_mask(previous_mask)
        if self.supports_masking and (masked or type(self).compute_mask is not Layer.compute_mask):
            found = jax.tree.leaves(outputs)
            if all(get_mask(output) is not None for output in found):
                return
            mask = self.compute_mask(args[0] if args else next(iter(kwargs.values()), None), previous_mask)
            for output, one in zip(found, signatures.leaves_with_none(mask), strict=False):
                if get_mask(output) is None and one is not None:
                    set_mask(output, one)
        elif masked and not self.supports_masking:
            warnings.warn(
                f"Layer '{self.name}' (of type {type(self).__name__}) was passed an input with a mask attached to it. "
                "However, this layer does not support masking and will therefore destroy the mask information.",
                stacklevel=4,
            )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the output. Default: that of the input."""
        return previous_mask

    def _symbolic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = CallContext()
        self._fill_training(context, args, kwargs)
        previous_mask = self._fill_mask(args, kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        self._pass_mask(args, kwargs, outputs, previous_mask)
        return outputs

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """Return stand-ins for the output."""
        return self.compute_output_spec(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Tree:
        """Return stand-ins, with shape and dtype, for the output on stand-ins. Nothing is computed."""
        if type(self).compute_output_shape is not Layer.compute_output_shape and not signatures.computes_own_spec(
            type(self)
        ):
            shapes = [
                jax.tree.map(lambda x: tuple(x.shape), arg)
                for arg in signatures.tensor_arguments(type(self), args, kwargs).values()
            ]
            count = signatures.shape_arguments(type(self))
            return signatures.as_specs(self.compute_output_shape(*shapes[:count]), self.compute_dtype)
        return self._traced_spec(*args, **kwargs)

    def _traced_spec(self, *args: Any, **kwargs: Any) -> Tree:
        """Return stand-ins for the output, found by tracing `call`."""

        def run(*inner: Any, **named: Any) -> Any:
            with (
                calling(CallContext(training=named.get("training"))),
                autocast(self.compute_dtype if self.compute_dtype != self.variable_dtype else None),
            ):
                return self.call(*inner, **named)

        return infer(run, args, kwargs, owner=self.name)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for an input of this shape, with None for what is not known."""
        if type(self).call is Layer.call:
            raise NotImplementedError(
                f"Layer {type(self).__name__} does not have a `compute_output_shape` method implemented."
            )
        stand_in = jax.tree.map(
            lambda shape: KerasTensor(shape, dtype=self.compute_dtype),
            plain_shape(input_shape),
            is_leaf=signatures.is_shape,
        )
        with names.name_scope(self.name, self):
            self._maybe_build((stand_in,), {})
        return jax.tree.map(lambda x: x.shape, self.compute_output_spec(stand_in))

    # ---- functions without side effects

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Return the outputs and the new non-trainable variables; nothing is changed.

        Args:
            trainable_variables: Arrays for `trainable_variables`.
            non_trainable_variables: Arrays for `non_trainable_variables`.
            *args: Arguments of the layer.
            return_losses: Whether the losses come third.
            **kwargs: Arguments of the layer.

        Raises:
            NotBuiltError: Before the layer is built.
        """
        if not self.built:
            raise NotBuiltError(
                message(
                    f"To call stateless_call, {type(self).__name__} must be built (i.e. its variables must have been "
                    "already created).",
                    fix="call it on data or `build` it first.",
                )
            )
        signatures.check_counts(self, trainable_variables, non_trainable_variables)
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        context = CallContext(training=kwargs.get("training"), collecting=True)
        with (
            bound(variables, [*signatures.arrays(trainable_variables), *signatures.arrays(non_trainable_variables)]),
            calling(context),
        ):
            outputs = self(*args, **kwargs)
            changed = list(values(self.non_trainable_variables))
            losses = [*context.losses, *self._penalties()]
        return (outputs, changed, losses) if return_losses else (outputs, changed)

    def get_config(self) -> Config:
        """Return the arguments that make an equal layer, without its weights."""
        return configs.describe(self, Layer)

    @classmethod
    def from_config(cls, config: Config) -> Any:
        """Return the layer that `get_config` described."""
        return configs.restore(cls, config)

    # ---- the graph it is part of

    @property
    def input(self) -> Tree:
        """The stand-in on which it was first called."""
        node = self._first_node("input")
        return node.args[0] if len(node.args) == 1 else (node.args or node.outputs)

    @property
    def output(self) -> Tree:
        """The stand-in that its first call gave."""
        return self._first_node("output").outputs

    def _first_node(self, what: str) -> Node:
        if not self._inbound_nodes:
            raise AttributeError(f"The layer {self.name} has never been called and thus has no defined {what}.")
        return self._inbound_nodes[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def __getstate__(self) -> dict[str, Any]:
        kept = {key: value for key, value in self.__dict__.items() if key != "_programs"}
        return kept | {"_inbound_nodes": [], "_outbound_nodes": []}


Layer.build = _whole_build(Layer.build)  # type: ignore[method-assign]
