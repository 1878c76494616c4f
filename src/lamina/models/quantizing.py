"""A model with smaller weights: `quantize` for each of its layers that can."""

import re
from collections.abc import Callable
from typing import Any

from lamina.errors import invalid, warn
from lamina.layers.policies import Policies
from lamina.quantizers.configs import validate_and_resolve_config

Filters = str | list[str] | tuple[str, ...] | Callable[[Any], bool] | None


def should_quantize_layer(layer: Any, filters: Filters) -> bool:
    """Return whether `filters` name a layer: regular expressions for its name, or a function of the layer."""
    if isinstance(filters, str):
        return re.search(filters, layer.name) is not None
    if isinstance(filters, list | tuple):
        return any(re.search(one, layer.name) for one in filters)
    return filters is None or bool(filters(layer))


def quantize(
    model: Any, mode: Any = None, config: Any = None, filters: Filters = None, type_check: bool = True, **kwargs: Any
) -> None:
    """Replace the large weights of its layers by quantized ones: docs/quantization.md.

    Args:
        model: The model whose method this is.
        mode: 'int8', 'int4' or 'float8'. May be left out if `config` is given.
        config: Settings, e.g. `quantizers.Int8QuantizationConfig(activation_quantizer=None)`.
        filters: Which layers: a regular expression for names, a list of them, or a function of a layer.
        type_check: Whether layers of a class of the user's are left as they are.
        **kwargs: Nothing more is known.

    Raises:
        InvalidArgumentError: If it is not built or a layer is quantized already; then nothing is changed.
    """
    if kwargs:
        raise invalid(f"Unrecognized keyword arguments passed to {type(model).__name__}: {kwargs}")
    config = validate_and_resolve_config(mode, config)
    if filters is not None and not isinstance(filters, str | list | tuple) and not callable(filters):
        raise invalid(
            "The `filters` argument must be a regex string, a list of regex strings, or a callable.",
            received=str(type(filters)),
        )
    if not model.built:
        raise invalid(
            "Cannot quantize a layer that isn't yet built.",
            owner=f"{type(model).__name__} `{model.name}`",
            fix="call it on data or `build` it first.",
        )
    leaves = [layer for layer in model._flatten_layers() if len(layer._flatten_layers()) == 1]
    able = [layer for layer in leaves if type(layer).quantize is not Policies.quantize and layer is not model]
    chosen = [layer for layer in able if should_quantize_layer(layer, filters)]
    before = [(layer, dict(layer.__dict__), list(layer._weights)) for layer in chosen]
    try:
        for layer in chosen:
            try:
                layer.quantize(config.mode, type_check=type_check, config=config)
            except NotImplementedError as error:
                warn(str(error))
    except BaseException:
        for layer, attributes, weights in before:
            layer.__dict__.clear()
            layer.__dict__.update({**attributes, "_weights": weights})
        raise
    model.programs.clear()


quantize.__checked__ = True  # type: ignore[attr-defined]
