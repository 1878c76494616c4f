"""Layers around a layer or a function."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina import initializers, registry, serialization
from lamina._types import Array, Config, Shape
from lamina.errors import FileFormatError, invalid, message
from lamina.layers.base import Layer
from lamina.layers.input_spec import InputSpec
from lamina.layers.signatures import as_specs, call_parameters, plain_shape
from lamina.ops.basics import unit
from lamina.variables import Variable


@registry.export("layers")
class Wrapper(Layer):
    """The base of layers around another layer.

    Args:
        layer: The layer inside.
        **kwargs: `name`, `dtype`: see `Layer`.

    Raises:
        InvalidArgumentError: If `layer` is no layer.
    """

    _has_build = True
    _rowwise_as_inside = False  # a subclass may mix rows

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise invalid(
                f"Layer {layer} supplied to Wrapper isn't a supported layer type. Please ensure wrapped layer is a "
                "valid Keras layer.",
                owner=type(self).__name__,
                received=f"layer={layer!r}",
            )
        super().__init__(**kwargs)
        self.layer = layer

    @property
    def rowwise(self) -> bool:
        """Whether each row of the output depends on that row of the input alone: as the layer inside."""
        return self._rowwise_as_inside and self.activity_regularizer is None and bool(self.layer.rowwise)

    @rowwise.setter
    def rowwise(self, value: bool) -> None:
        """Do nothing: the layer inside says it."""

    def build(self, input_shape: Any = None) -> None:
        if self.built or not self.layer.built:  # a layer that came with weights keeps them
            self.layer.build(input_shape)


@registry.export("layers")
class TimeDistributed(Wrapper):
    """The layer inside, applied to every time step.

    Args:
        layer: The layer inside.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, time, *sizes)`
        mask: `(batch, time, ...)`, given to the layer inside if it takes one
        result: `(batch, time, *sizes of the layer's output)`

    Raises:
        InvalidArgumentError: If the input has no time axis, or the mask does not fit it.
    """

    supports_masking = True
    _rowwise_as_inside = True

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise invalid(
                "Please initialize `TimeDistributed` layer with a `keras.layers.Layer` instance.",
                received=f"{layer!r}",
            )
        super().__init__(layer, **kwargs)

    def _step_shape(self, input_shape: Any) -> Shape:
        if not isinstance(input_shape, list | tuple) or len(input_shape) < 3:
            raise invalid(
                "`TimeDistributed` Layer should be passed an `input_shape` with at least 3 dimensions, received: "
                f"{input_shape}",
                owner=f"TimeDistributed layer `{self.name}`",
                fix="give it the shape `(batch, time, ...)`, e.g. `Input((10, 64))`.",
            )
        return (input_shape[0], *input_shape[2:])

    def build(self, input_shape: Any = None) -> None:
        step = self._step_shape(input_shape)
        if self.built or not self.layer.built:
            self.layer.build(step)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        step = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (step[0], input_shape[1], *step[1:])

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        self._check_mask(inputs, mask)
        parameters = call_parameters(type(self.layer))
        arguments = {"training": training} if "training" in parameters else {}
        if self.layer.rowwise and not self.layer.non_trainable_variables and "mask" not in parameters:
            merged = self.layer.call(inputs.reshape((-1, *inputs.shape[2:])), **arguments)
            return merged.reshape((*inputs.shape[:2], *merged.shape[1:]))
        steps = []
        for time in range(inputs.shape[1]):
            if mask is not None and "mask" in parameters:
                arguments["mask"] = mask[:, time]
            steps.append(self.layer.call(inputs[:, time], **arguments))
        return jnp.stack(steps, axis=1)

    def _check_mask(self, inputs: Any, mask: Any) -> None:
        if mask is None:
            return
        owner = f"TimeDistributed layer `{self.name}`"
        if mask.ndim < 2:
            raise invalid(
                "The `mask` passed to the `TimeDistributed` layer must be at least 2D (e.g., `(batch_size, "
                f"timesteps)`), but it has {mask.ndim} dimension(s) with shape {mask.shape}.",
                owner=owner,
            )
        if mask.shape[:2] != inputs.shape[:2]:
            raise invalid(
                f"The `mask` passed to the `TimeDistributed` layer has a shape {mask.shape} that is incompatible with "
                f"the input shape {inputs.shape}. Expected mask shape prefix: {inputs.shape[:2]}.",
                owner=owner,
            )


@registry.export("layers")
class SpectralNormalization(Wrapper):
    """The layer inside; each training step divides its kernel by its largest singular value (Miyato et al. 2018).

    Args:
        layer: A layer with a `kernel` or `embeddings`.
        power_iterations: Steps of the power method that finds the singular value.
        **kwargs: `name`, `dtype`: see `Layer`.

    Raises:
        InvalidArgumentError: If `power_iterations` is not positive, or the layer has neither kernel nor embeddings.
    """

    vector_u: Variable
    kernel: Variable
    _rowwise_as_inside = True

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if not power_iterations > 0:
            raise invalid(
                "`power_iterations` should be greater than zero.", received=f"`power_iterations={power_iterations}`"
            )
        self.power_iterations = power_iterations

    def build(self, input_shape: Any = None) -> None:
        if self.built or not self.layer.built:
            self.layer.build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        kernel = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if kernel is None:
            raise invalid(
                f"{type(self.layer).__name__} object has no attribute 'kernel' nor 'embeddings'",
                owner=f"SpectralNormalization layer `{self.name}`",
            )
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        self.kernel = kernel
        self.vector_u = self.add_weight(
            name="vector_u",
            shape=(1, kernel.shape[-1]),
            initializer=initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
            dtype=kernel.dtype,
        )

    def call(self, inputs: Any, training: Any = False) -> Any:
        if training:
            vector, kernel = jax.lax.cond(
                jnp.all(self.kernel.value == 0),
                lambda: (self.vector_u.value, self.kernel.value),
                self.normalized_weights,
            )
            self.vector_u.assign(vector)
            self.kernel.assign(kernel)
        return self.layer(inputs).astype(inputs.dtype)

    def normalized_weights(self) -> tuple[Array, Array]:
        """Return the next `vector_u` and the kernel divided by its largest singular value."""
        weights = self.kernel.value.reshape(-1, self.kernel.shape[-1])
        vector = self.vector_u.value
        for _ in range(self.power_iterations):
            other = _whole_unit(vector @ weights.T)
            vector = _whole_unit(other @ weights)
        vector, other = jax.lax.stop_gradient(vector), jax.lax.stop_gradient(other)
        value = other @ weights @ vector.T
        kernel = (self.kernel.value / value).reshape(self.kernel.shape)
        return vector.astype(self.vector_u.value.dtype), kernel.astype(self.kernel.value.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)


def _whole_unit(x: Array) -> Array:
    """Return an array scaled so that the sum of all its squares is 1."""
    return unit(x.reshape(-1), 0).reshape(x.shape)


@registry.export("layers")
class Lambda(Layer):
    """A function as a layer. It can be saved only if the function is registered: reading a model never runs code.

    Args:
        function: A function of the inputs; it may also take `training` and `mask`.
        output_shape: Shape of the output without the batch axis, or a function of the input shape. Found by itself if
            left out.
        mask: The mask of the output, or a function `(inputs, mask)` that gives it.
        arguments: More arguments for the function, by name.
        **kwargs: `name`, `dtype`: see `Layer`.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function, self.arguments = function, dict(arguments or {})
        self.mask, self._output_shape = mask, output_shape
        self.supports_masking = mask is not None
        taken = inspect.getfullargspec(function).args
        self._passes = tuple(name for name in ("mask", "training") if name in taken)

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        known = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{name: known[name] for name in self._passes})

    def compute_output_spec(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        if self._output_shape is None:
            return self._traced_spec(inputs, mask=mask, training=training)
        shapes = jax.tree.map(lambda x: x.shape, inputs)
        return as_specs(self.compute_output_shape(shapes), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._output_shape is None:
            try:
                return super().compute_output_shape(input_shape)
            except Exception as error:
                raise NotImplementedError(
                    message(
                        "We could not automatically infer the shape of the Lambda's output.",
                        owner=f"Lambda layer `{self.name}`",
                        received=f"{type(error).__name__}: {error}",
                        fix="specify the `output_shape` argument.",
                    )
                ) from error
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        first = input_shape
        while isinstance(first, list | dict) or (isinstance(first, tuple) and isinstance(first[0], list | tuple)):
            first = next(iter(first.values() if isinstance(first, dict) else first))
        return (first[0], *plain_shape(self._output_shape))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask

    def get_config(self) -> Config:
        config: Config = {**super().get_config(), "function": serialization.serialize_keras_object(self.function)}
        if self._output_shape is not None:
            config["output_shape"] = serialization.serialize_keras_object(self._output_shape)
        if self.mask is not None:
            config["mask"] = serialization.serialize_keras_object(self.mask)
        config["arguments"] = serialization.serialize(self.arguments)
        return config

    @classmethod
    def from_config(cls, config: Config) -> Any:
        for key in ("function", "output_shape", "mask"):
            value = config.get(key)
            if isinstance(value, dict) and value.get("class_name") == "__lambda__":
                raise FileFormatError(
                    message(
                        "The config of this `Lambda` layer holds Python code, and reading a model never runs code: it "
                        "could do anything (arbitrary code execution).",
                        fix="write the function by name, decorate it with `register_keras_serializable()`, save again.",
                    )
                )
        return super().from_config(config)
