"""Activations and losses under TensorFlow's names."""

from typing import Any

import jax.numpy as jnp

from lamina import activations, losses, ops
from lamina import random as streams


def relu(features: Any, name: str | None = None) -> Any:
    """Return `max(features, 0)`."""
    del name
    return activations.relu(features)


def relu6(features: Any, name: str | None = None) -> Any:
    """Return `min(max(features, 0), 6)`."""
    del name
    return activations.relu6(features)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    """Return what is positive, and `alpha` times what is negative."""
    del name
    return activations.leaky_relu(features, negative_slope=alpha)


def elu(features: Any, name: str | None = None) -> Any:
    """Return what is positive, and `exp(x) - 1` of what is negative."""
    del name
    return activations.elu(features)


def selu(features: Any, name: str | None = None) -> Any:
    """Return the scaled `elu` that keeps mean 0 and variance 1."""
    del name
    return activations.selu(features)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    """Return each element times the normal distribution up to it."""
    del name
    return activations.gelu(features, approximate=approximate)


def sigmoid(x: Any, name: str | None = None) -> Any:
    """Return `1 / (1 + exp(-x))`."""
    del name
    return activations.sigmoid(x)


def tanh(x: Any, name: str | None = None) -> Any:
    """Return the hyperbolic tangent."""
    del name
    return activations.tanh(x)


def softmax(logits: Any, axis: int = -1, name: str | None = None) -> Any:
    """Return `exp(logits)` divided by its sum along an axis."""
    del name
    return activations.softmax(logits, axis=axis)


def log_softmax(logits: Any, axis: int = -1, name: str | None = None) -> Any:
    """Return the logarithm of `softmax`."""
    del name
    return activations.log_softmax(logits, axis=axis)


def softplus(features: Any, name: str | None = None) -> Any:
    """Return `log(1 + exp(features))`."""
    del name
    return activations.softplus(features)


def softsign(features: Any, name: str | None = None) -> Any:
    """Return `features / (1 + abs(features))`."""
    del name
    return activations.softsign(features)


def silu(features: Any, beta: float = 1.0) -> Any:
    """Return `features * sigmoid(beta * features)`."""
    return activations.silu(features) if beta == 1.0 else features * activations.sigmoid(beta * features)


swish = silu


def bias_add(value: Any, bias: Any, name: str | None = None) -> Any:
    """Return `value + bias`."""
    del name
    return ops.add(value, bias)


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None) -> Any:
    """Return `x` divided by its Euclidean length along axes."""
    del name
    length = ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), epsilon))
    return ops.divide(x, length)


def moments(x: Any, axes: Any, keepdims: bool = False, name: str | None = None) -> tuple[Any, Any]:
    """Return mean and variance along axes."""
    del name
    return ops.mean(x, axis=axes, keepdims=keepdims), ops.var(x, axis=axes, keepdims=keepdims)


def dropout(x: Any, rate: float, noise_shape: Any = None, seed: Any = None, name: str | None = None) -> Any:
    """Return `x` with a share `rate` set to zero and the rest scaled up."""
    del name
    return streams.dropout(jnp.asarray(x), rate, noise_shape, seed)


def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: int = -1, name: str | None = None) -> Any:
    """Return the cross-entropy of each row; labels are distributions."""
    del name
    return losses.categorical_crossentropy(labels, logits, from_logits=True, axis=axis)


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any, name: str | None = None) -> Any:
    """Return the cross-entropy of each row; labels are class numbers."""
    del name
    return losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def sigmoid_cross_entropy_with_logits(labels: Any, logits: Any, name: str | None = None) -> Any:
    """Return the cross-entropy of each element; labels are 0 or 1."""
    del name
    return losses.binary_crossentropy(jnp.asarray(labels)[..., None], jnp.asarray(logits)[..., None], from_logits=True)
