"""Every optimizer and schedule against Keras 3.15.1 on JAX, run live: values, slots, names, types, configs."""

import inspect
import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import names, optimizers
from lamina.variables import Variable

# Keras 3.15.1's own `Variable.numpy` calls `np.array` in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

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


class Signed(optimizers.Optimizer):
    """A subclass as Keras's guide has it; the same lines make one for Keras below."""

    def __init__(self, learning_rate=0.01, boost=2.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.boost = boost

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.last = [self.add_variable_from_reference(v, name="last") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        last = self.last[self._get_variable_index(variable)]
        step = jnp.sign(gradient + last) * learning_rate * self.boost
        self.assign(last, gradient)
        self.assign_sub(variable, step / (self.iterations + 1))

    def get_config(self):
        return {**super().get_config(), "boost": self.boost}


KerasSigned = type("Signed", (keras.optimizers.Optimizer,), {})


def _keras_init(self, learning_rate=0.01, boost=2.0, **kwargs):
    keras.optimizers.Optimizer.__init__(self, learning_rate=learning_rate, **kwargs)
    self.boost = boost


def _keras_build(self, variables):
    if not self.built:
        keras.optimizers.Optimizer.build(self, variables)
        self.last = [self.add_variable_from_reference(v, name="last") for v in variables]


KerasSigned.__init__ = _keras_init
KerasSigned.build = _keras_build
KerasSigned.update_step = Signed.update_step


@pytest.mark.parametrize("arguments", [{}, {"clipnorm": 0.5, "weight_decay": 0.1}, {"gradient_accumulation_steps": 2}])
def test_an_update_step_that_a_user_wrote_gives_the_same_numbers_here_and_in_keras(arguments):
    ours = _run(Signed(**arguments), _start(Variable), SCALES)
    theirs = _run(KerasSigned(**arguments), _start(keras.Variable), SCALES)
    _assert_equal(ours[0], theirs[0], SHAPES)
    _assert_equal(ours[1], theirs[1], [str(i) for i in range(len(theirs[1]))])


@pytest.mark.parametrize("arguments", [{}, {"use_ema": True, "gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("row", RULES, ids=_label)
def test_variables_have_the_names_shapes_types_order_and_start_that_keras_gives_them(row, arguments):
    name, own = row
    keras.backend.clear_session()
    with keras.name_scope("dense"):
        theirs = getattr(keras.optimizers, name)(**own, **arguments)
        theirs.build(_start(keras.Variable))
    ours = getattr(optimizers, name)(**own, **arguments)
    with names.name_scope("dense"):
        variables = _start(Variable)
    ours.build(variables)
    assert [(v.name, v.shape, v.dtype) for v in ours.variables] == [
        (v.name, v.shape, v.dtype) for v in theirs.variables
    ]
    for own_variable, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(own_variable.numpy(), np.asarray(other.value))


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_keras(name):
    ours = inspect.signature(getattr(optimizers, name).__init__).parameters.values()
    theirs = inspect.signature(getattr(keras.optimizers, name).__init__).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize("row", [*RULES, ("Adam", {"clipnorm": 1.0, "use_ema": True, "name": "mine"})], ids=_label)
def test_configs_equal_those_of_keras_and_are_read_on_both_sides(row):
    name, arguments = row
    keras.backend.clear_session()
    theirs = keras.optimizers.serialize(getattr(keras.optimizers, name)(**arguments))
    ours = optimizers.serialize(getattr(optimizers, name)(**arguments))
    assert ours == theirs
    assert optimizers.deserialize(theirs).get_config() == theirs["config"]
    # Not `keras.optimizers.deserialize`: it does not know its own Lamb.
    assert keras.saving.deserialize_keras_object(json.loads(json.dumps(ours))).get_config() == theirs["config"]


@pytest.mark.parametrize("name", ["Adam", "Nadam", "Adafactor"])
def test_training_goes_on_where_keras_left_off_and_the_other_way_round(name):
    def train(optimizer, variables, steps):
        for step in steps:
            optimizer.apply([jnp.asarray(g[step]) for g in _gradients(1.0)], variables)

    ours, theirs = getattr(optimizers, name)(), getattr(keras.optimizers, name)()
    own, other = _start(Variable), _start(keras.Variable)
    train(theirs, other, range(2))
    saved = {}
    theirs.save_own_variables(saved)
    ours.build(own)
    ours.load_own_variables(saved)
    for variable, value in zip(own, other, strict=True):
        variable.assign(np.asarray(value))
    train(ours, own, range(2, 4))
    back = {}
    ours.save_own_variables(back)
    assert list(back) == [str(i) for i in range(len(theirs.variables))]
    fresh = getattr(keras.optimizers, name)()
    fresh.build(other)
    train(theirs, other, range(2, 4))
    expected = [np.asarray(v) for v in other]
    fresh.load_own_variables(back)
    for got, want in zip(fresh.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5, atol=1e-8)
    for got, want in zip(own, expected, strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5)


SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [5, 10, 20], "values": [1.0, 0.5, 0.1, 0.01]}),
    ("PiecewiseConstantDecay", {"boundaries": [5], "values": [1.0, 0.5]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "power": 0.5, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.1}),
    ("CosineDecay", {
        "initial_learning_rate": 0.01, "decay_steps": 20, "alpha": 0.1, "warmup_target": 0.1, "warmup_steps": 6,
    }),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 6}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 6, "t_mul": 1.0, "m_mul": 0.9}),
    ("CosineDecayRestarts", {
        "initial_learning_rate": 0.1, "first_decay_steps": 6, "t_mul": 1.5, "m_mul": 0.9, "alpha": 0.1,
    }),
]  # fmt: skip


@pytest.mark.parametrize("row", SCHEDULES, ids=_label)
def test_schedules_give_the_rates_of_keras_at_each_step(row):
    name, arguments = row
    ours = getattr(optimizers.schedules, name)(**arguments)
    theirs = getattr(keras.optimizers.schedules, name)(**arguments)
    steps = jnp.arange(40, dtype=jnp.int32)
    got = np.asarray(jax.jit(jax.vmap(ours))(steps))
    want = np.asarray(jax.jit(jax.vmap(theirs))(steps))
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("row", SCHEDULES, ids=_label)
def test_configs_of_schedules_equal_those_of_keras_and_are_read_on_both_sides(row):
    name, arguments = row
    ours, theirs = optimizers.schedules.serialize, keras.optimizers.schedules.serialize
    own = ours(getattr(optimizers.schedules, name)(**arguments))
    other = theirs(getattr(keras.optimizers.schedules, name)(**arguments))
    assert own == other
    assert ours(optimizers.schedules.deserialize(other)) == other
    assert theirs(keras.optimizers.schedules.deserialize(json.loads(json.dumps(own)))) == other


@pytest.mark.parametrize("name", ["SGD", "Adafactor"])
def test_a_schedule_is_followed_as_in_keras_and_takes_the_place_of_the_variable(name):
    row = {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5}
    ours = getattr(optimizers, name)(optimizers.schedules.ExponentialDecay(**row))
    theirs = getattr(keras.optimizers, name)(keras.optimizers.schedules.ExponentialDecay(**row))
    got, want = _run(ours, _start(Variable), SCALES), _run(theirs, _start(keras.Variable), SCALES)
    _assert_equal(got[0], want[0], SHAPES)
    _assert_equal(got[1], want[1], [v.name for v in theirs.variables])
    keras_config = keras.optimizers.serialize(theirs)["config"]["learning_rate"]
    assert optimizers.serialize(ours)["config"]["learning_rate"] == keras_config


def _loss_scaled(library, make):
    inner = library.SGD(0.1, momentum=0.9)
    return library.LossScaleOptimizer(inner, initial_scale=4.0, dynamic_growth_steps=2), make


def test_the_loss_scale_moves_as_in_keras_and_skips_gradients_that_are_not_finite():
    results = []
    for optimizer, make in (_loss_scaled(optimizers, Variable), _loss_scaled(keras.optimizers, keras.Variable)):
        variables = _start(make)
        optimizer.build(variables)
        params, own = [jnp.asarray(v) for v in variables], [jnp.asarray(v) for v in optimizer.variables]
        step = jax.jit(optimizer.stateless_apply)
        for t in range(8):
            grads = [jnp.asarray(g[t]) * (jnp.inf if t in (3, 4) else 1.0) for g in _gradients(1.0)]
            params, own = step(own, grads, params)
        results.append(([np.asarray(p)[None] for p in params], [np.asarray(o)[None] for o in own]))
    (params, own), (want_params, want_own) = results
    _assert_equal(params, want_params, SHAPES)
    _assert_equal(own, want_own, [str(i) for i in range(len(want_own))])


def test_several_optimizers_train_their_parts_as_in_keras():
    results = []
    for library, make in ((optimizers, Variable), (keras.optimizers, keras.Variable)):
        optimizer = library.MultiOptimizer(library.OptimizerMap(library.SGD(0.1), {"kernel|bias": library.Adam()}))
        results.append(_run(optimizer, _start(make), SCALES))
    _assert_equal(results[0][0], results[1][0], SHAPES)
    _assert_equal(results[0][1], results[1][1], [str(i) for i in range(len(results[1][1]))])
