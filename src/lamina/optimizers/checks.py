"""Refusals at the door: each returns its value in the form that the optimizers keep, or says what is allowed."""

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from lamina import config
from lamina._types import Array
from lamina.errors import InvalidArgumentError, InvalidTypeError, NotBuiltError, did_you_mean, invalid, message
from lamina.variables import Variable

if TYPE_CHECKING:
    from lamina.optimizers.base import Optimizer

_OLD_NAMES = {"lr": "learning_rate"}


def is_number(value: Any) -> bool:
    """Return whether a value is a real number: Python's, NumPy's or an array without axes; a boolean is not."""
    if isinstance(value, bool | np.bool_ | str | bytes) or value is None:
        return False
    if isinstance(value, int | float | np.number):
        return not isinstance(value, np.complexfloating)
    return getattr(value, "shape", None) == () and "float" in str(getattr(value, "dtype", ""))


def learning_rate(value: Any, owner: str) -> float:
    """Return a constant learning rate as a float. Infinity, NaN and, when strict, negative numbers are refused."""
    if not is_number(value):
        raise invalid(
            "Argument `learning_rate` should be float, or an instance of LearningRateSchedule, or a callable "
            "(that takes in the current iteration value and returns the corresponding learning rate value).",
            owner=owner,
            received=f"learning_rate={value!r}",
            fix="pass a number such as 0.001, or a schedule of `optimizers.schedules`.",
        )
    number = float(value)
    if config.strict() and not 0.0 <= number < math.inf:
        raise invalid(
            "Argument `learning_rate` must be a finite number, zero or more.",
            owner=owner,
            received=f"learning_rate={value!r}",
            fix="pass a number such as 0.001; to climb instead of descend, negate the loss.",
        )
    return number


def share(value: Any, name: str, owner: str, *, below_one: bool = False) -> Any:
    """Return a decay rate unchanged if it lies in [0, 1], or in [0, 1) if it must stay `below_one`."""
    if not is_number(value) or not (0 <= float(value) < 1 or (float(value) == 1 and not below_one)):
        raise invalid(
            f"Argument `{name}` must be a number in [0, 1{')' if below_one else ']'}.",
            owner=owner,
            received=f"{name}={value!r}",
            fix=f"pass for example {name}=0.9.",
        )
    return value


def not_negative(value: Any, name: str, owner: str) -> Any:
    """Return a number unchanged if it is finite and zero or more; None stays None."""
    if value is not None and (not is_number(value) or not 0 <= float(value) < math.inf):
        raise invalid(
            f"Argument `{name}` must be a finite number, zero or more.",
            owner=owner,
            received=f"{name}={value!r}",
            fix=f"pass a number, or leave `{name}` out.",
        )
    return value


def one_clipping(owner: str, **given: Any) -> None:
    """Refuse more than one way of clipping at once, and limits that are not numbers of zero or more."""
    if sum(value is not None for value in given.values()) > 1:
        raise invalid(
            "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set.",
            owner=owner,
            received=", ".join(f"{name}={value}" for name, value in given.items()),
            fix="keep the one that you want.",
        )
    for name, value in given.items():
        not_negative(value, name, owner)


def accumulation(steps: Any, owner: str) -> Any:
    """Return the number of gradients in an update: None, or an integer of at least 2."""
    if steps is not None and (not isinstance(steps, int | np.integer) or isinstance(steps, bool) or steps < 2):
        raise invalid(
            "`gradient_accumulation_steps` must be an integer >= 2.",
            owner=owner,
            received=f"gradient_accumulation_steps={steps}",
            fix="leave it out to update at each step.",
        )
    return steps


def averaging(momentum: Any, frequency: Any, owner: str) -> None:
    """Refuse a momentum of the moving average outside [0, 1], and a frequency that is no whole number of steps."""
    if not is_number(momentum) or not 0 <= momentum <= 1:
        raise invalid(
            "`ema_momentum` must be in the range [0, 1].",
            owner=owner,
            received=f"ema_momentum={momentum}",
            fix="pass for example 0.99.",
        )
    if frequency is not None and (not isinstance(frequency, int) or isinstance(frequency, bool) or frequency < 1):
        raise invalid(
            "`ema_overwrite_frequency` must be an integer >= 1 or None.",
            owner=owner,
            received=f"ema_overwrite_frequency={frequency}",
            fix="pass a number of steps, or None to overwrite at the end of fit only.",
        )


def no_more(kwargs: dict[str, Any], names: tuple[str, ...], owner: str) -> None:
    """Refuse arguments that no optimizer has, with the nearest names. Keras 2's `decay` is dropped with a warning."""
    if kwargs.pop("decay", None) is not None:
        warnings.warn("Argument `decay` is no longer supported and will be ignored.", stacklevel=4)
    if kwargs:
        name = next(iter(kwargs))
        near = f"Did you mean {_OLD_NAMES[name]!r}?" if name in _OLD_NAMES else did_you_mean(name, names)
        raise invalid(f"Argument(s) not recognized: {kwargs}", owner=owner, fix=near)


def built(optimizer: "Optimizer", method: str) -> None:
    """Refuse a method that needs the optimizer's variables before they exist."""
    if not optimizer.built:
        raise NotBuiltError(
            message(
                f"You are calling `{method}` on an optimizer that has not yet been built.",
                owner=optimizer._owner,
                fix=f"call `optimizer.build(trainable_variables)` before `{method}`.",
            )
        )


def stateless(optimizer: "Optimizer", own: int, trained: int) -> None:
    """Refuse `stateless_apply` before `build`, or with lists that do not match the variables."""
    if not optimizer.built:
        raise NotBuiltError(
            message(
                f"To call `stateless_apply`, {type(optimizer).__name__} must be built (i.e. its variables must have "
                "been created).",
                owner=optimizer._owner,
                fix="call `optimizer.build(trainable_variables)` first.",
            )
        )
    expected = len(optimizer.variables), len(optimizer._trainable_variables)
    for name, got, want in zip(("optimizer_variables", "trainable_variables"), (own, trained), expected, strict=True):
        if got != want:
            raise invalid(
                f"Argument `{name}` must be a list of tensors corresponding 1:1 to the variables that the optimizer "
                f"was built with. Received list with length {got}, but expected {want} variables.",
                owner=optimizer._owner,
            )


def gradients(optimizer: "Optimizer", grads: Sequence[Any], given: Sequence[Variable] | None) -> list[Array | None]:
    """Return a gradient or None for each variable that the optimizer was built for, in that order.

    Args:
        optimizer: The optimizer.
        grads: One for each of `given`; None leaves a variable alone, with a warning unless it is frozen.
        given: Some of the optimizer's variables. Default: all.
    """
    if not optimizer.built:
        raise NotBuiltError(
            message(
                "When passing `grads` without `variables`, the optimizer must already be built on a list of variables.",
                owner=optimizer._owner,
                fix="call `optimizer.build(trainable_variables)` first.",
            )
        )
    chosen = optimizer._trainable_variables if given is None else list(given)
    if len(grads) != len(chosen):
        raise invalid(
            "When passing `grads` as a list of gradient tensors, the gradients must match the variables one-to-one.",
            owner=optimizer._owner,
            received=f"a list of {len(grads)} gradients for {len(chosen)} trainable variables",
        )
    full: list[Array | None] = [None] * len(optimizer._trainable_variables)
    for grad, variable in zip(grads, chosen, strict=True):
        full[optimizer._get_variable_index(variable)] = gradient(grad, variable, optimizer._owner)
    _some(grads, chosen, optimizer._owner)
    return full


def gradient(value: Any, variable: Variable, owner: str) -> Array | None:
    """Return a gradient as an array of the variable's shape; None stays None."""
    if value is None:
        return None
    array = jnp.asarray(value)
    if tuple(array.shape) != variable.shape:
        raise invalid(
            f"The gradient of variable `{variable.path}` must have the variable's shape {variable.shape}.",
            owner=owner,
            received=f"a gradient of shape {tuple(array.shape)}",
            fix="pass the gradients in the order of the variables.",
        )
    return array


def _some(grads: Sequence[Any], chosen: Sequence[Variable], owner: str) -> None:
    missing = [v.path for g, v in zip(grads, chosen, strict=True) if g is None and v.trainable]
    if all(g is None for g in grads):
        raise invalid(
            "No gradients provided for any variable.",
            owner=owner,
            received=f"None for each of {[v.path for v in chosen]}",
            fix="see that the loss depends on the variables.",
        )
    if missing:
        warnings.warn(
            f"Gradients do not exist for variables {missing} when minimizing the loss. If using `model.compile()`, "
            "did you forget to provide a `loss` argument?",
            stacklevel=4,
        )


def unknown_variable(variable: Any, owner: str) -> InvalidArgumentError:
    """Return the error for a variable that the optimizer was not built for."""
    return invalid(
        f"Unknown variable: {getattr(variable, 'path', variable)}. This optimizer can only be called for the variables "
        "it was originally built with.",
        owner=owner,
        fix="create a new optimizer for a new set of variables.",
    )


def same_length(given: int, kept: int, owner: str) -> None:
    """Refuse to overwrite another number of variables than there are averages."""
    if given != kept:
        raise invalid(
            f"The length of model variables ({given}) to override does not match the length of model variables stored "
            f"in the optimizer ({kept}).",
            owner=owner,
            fix="pass the variables that the optimizer was built for.",
        )


def weights(optimizer: "Optimizer", given: Sequence[Any]) -> None:
    """Refuse weights of another number or shape than the optimizer's variables, before any is set."""
    own = optimizer.variables
    if len(given) != len(own):
        raise invalid(
            f"The optimizer has {len(own)} variables, and there must be one weight for each.",
            owner=optimizer._owner,
            received=f"{len(given)} weights",
        )
    for variable, weight in zip(own, given, strict=True):
        shape = tuple(np.shape(weight)) if not hasattr(weight, "shape") else tuple(weight.shape)
        if variable.shape != shape:
            raise invalid(
                f"Optimizer variable {variable.path} has shape {variable.shape} not compatible with provided weight "
                f"shape {shape}.",
                owner=optimizer._owner,
            )


def super_not_called(class_name: str) -> RuntimeError:
    """Return the error for a subclass that sets attributes before `super().__init__()`."""
    return RuntimeError(
        message(
            f"In optimizer '{class_name}', you forgot to call `super().__init__()` as the first statement in the "
            "`__init__()` method.",
            fix="begin `__init__` with `super().__init__(learning_rate, ...)`.",
        )
    )


def rate_not_settable(owner: str) -> InvalidTypeError:
    """Return the error for setting a number where a schedule gives the learning rate."""
    return InvalidTypeError(
        message(
            "This optimizer was created with a `LearningRateSchedule` object as its `learning_rate` constructor "
            "argument, hence its learning rate is not settable.",
            owner=owner,
            fix="create the optimizer with a number, or set another schedule.",
        )
    )
