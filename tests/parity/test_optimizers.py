"""Every optimizer and schedule against Keras 3.15.1 on JAX, run live: values, slots, names, types, configs."""

import inspect

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import optimizers
from lamina.variables import Variable

STEPS = 20
SHAPES = {"kernel": (4, 3), "bias": (3,), "scale": ()}

# One row for each optimizer and set of arguments of its own.
RULES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "rho": 0.8, "epsilon": 1e-4}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.8}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-3}),
    ("Adamax", {}),
    ("Lion", {}),
    ("Lion", {"beta_1": 0.8, "beta_2": 0.9}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.9}),
    ("Adafactor", {}),
    ("Adafactor", {"relative_step": False, "clip_threshold": 0.5}),
    ("Ftrl", {}),
    ("Ftrl", {
        "learning_rate": 0.05, "learning_rate_power": -0.2, "initial_accumulator_value": 0.4, "beta": 0.3,
        "l1_regularization_strength": 0.05, "l2_regularization_strength": 0.15,
        "l2_shrinkage_regularization_strength": 0.01,
    }),
    ("Lamb", {}),
    ("Muon", {}),
    ("Muon", {"nesterov": False, "rms_rate": None, "adam_lr_ratio": 0.1, "exclude_layers": ["bias"]}),
    ("ScheduleFreeAdamW", {}),
    ("ScheduleFreeAdamW", {"warmup_steps": 5, "beta_1": 0.5}),
]  # fmt: skip

# What all optimizers have in common, on one without and one with slots of its own and a shared one.
COMMON = [
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.5},
    {"weight_decay": 0.05},
    {"loss_scale_factor": 128.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "clipnorm": 0.5, "weight_decay": 0.05},
    {"gradient_accumulation_steps": 2, "use_ema": True, "ema_overwrite_frequency": 2},
]
SCALES = [1.0, 1e-4, 1e-8]
NAMES = sorted({name for name, _ in RULES})


def _label(row):
    return "-".join([row[0], *(f"{key}={value}" for key, value in row[1].items())])


def _start(make):
    rng = np.random.default_rng(0)
    return [make(rng.normal(size=shape).astype("float32"), name=name) for name, shape in SHAPES.items()]


def _gradients(scale):
    """Shapes: for each parameter `(steps, *shape)`."""
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(STEPS, *shape)) * scale).astype("float32") for shape in SHAPES.values()]


def _run(optimizer, variables, scales):
    """As fit does: a compiled scan of the pure step, for each scale of the gradients (the leading axis)."""
    optimizer.build(variables)
    start = [jnp.asarray(v) for v in variables], [jnp.asarray(v) for v in optimizer.variables]

    def step(carry, grads):
        return optimizer.stateless_apply(carry[1], grads, carry[0]), None

    def scan(grads):
        return jax.lax.scan(step, start, grads)[0]

    runs = [jnp.stack(grads) for grads in zip(*[_gradients(scale) for scale in scales], strict=True)]
    params, own = jax.jit(jax.vmap(scan) if len(scales) > 1 else lambda x: scan([g[0] for g in x]))(runs)
    return [np.asarray(v) for v in params], [np.asarray(v) for v in own]


def _assert_equal(ours, theirs, names):
    assert len(ours) == len(theirs)
    for name, own, other in zip(names, ours, theirs, strict=True):
        assert own.dtype == other.dtype, name
        size = np.max(np.abs(other), axis=tuple(range(1, other.ndim)), keepdims=True) if other.ndim else np.abs(other)
        assert np.all(np.abs(own - other) <= 1e-5 * np.abs(other) + 2e-6 * size), (name, own, other)


@pytest.mark.parametrize("row", RULES, ids=_label)
def test_twenty_steps_and_all_slots_equal_those_of_keras_for_gradients_of_any_size(row):
    name, arguments = row
    ours = _run(getattr(optimizers, name)(**arguments), _start(Variable), SCALES)
    optimizer = getattr(keras.optimizers, name)(**arguments)
    theirs = _run(optimizer, _start(keras.Variable), SCALES)
    _assert_equal(ours[0], theirs[0], SHAPES)
    _assert_equal(ours[1], theirs[1], [v.name for v in optimizer.variables])


@pytest.mark.parametrize("name", ["SGD", "Nadam"])
@pytest.mark.parametrize("arguments", COMMON, ids=lambda a: ",".join(a))
def test_the_common_arguments_do_what_they_do_in_keras(name, arguments):
    ours = _run(getattr(optimizers, name)(**arguments), _start(Variable), [1.0])
    theirs = _run(getattr(keras.optimizers, name)(**arguments), _start(keras.Variable), [1.0])
    for own, other in zip(ours, theirs, strict=True):
        _assert_equal([x[None] for x in own], [x[None] for x in other], [str(i) for i in range(len(other))])
