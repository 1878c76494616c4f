"""Optimizers alone: purity, refusals, variables, and what a user's subclass may do."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lamina import config, optimizers, registry, serialization
from lamina.errors import InvalidArgumentError, InvalidTypeError, NotBuiltError
from lamina.optimizers import rules, schedules
from lamina.variables import UnboundVariableError, Variable, bound, values

CLASSES = [
    optimizers.SGD, optimizers.Adam, optimizers.AdamW, optimizers.RMSprop, optimizers.Nadam, optimizers.Adagrad,
    optimizers.Adamax, optimizers.Lion, optimizers.Adadelta, optimizers.Adafactor, optimizers.Ftrl, optimizers.Lamb,
    optimizers.Muon, optimizers.ScheduleFreeAdamW,
]  # fmt: skip


def two_variables():
    return [Variable([[1.0, 2.0], [3.0, 4.0]], name="kernel"), Variable([0.5, -0.5], name="bias")]


def two_gradients(scale=1.0):
    return [jnp.array([[1.0, -2.0], [0.5, 1.0]]) * scale, jnp.array([0.1, 0.2]) * scale]


def built(optimizer, variables=None):
    variables = variables or two_variables()
    optimizer.build(variables)
    return optimizer, variables


# --- one step ---


@pytest.mark.parametrize("cls", CLASSES)
def test_apply_and_stateless_apply_give_the_same_and_the_pure_one_touches_no_variable(cls):
    stateful, changed = built(cls())
    pure, kept = built(cls())
    params, own = values(kept), values(pure.variables)
    for _ in range(3):
        stateful.apply(two_gradients())
        params, own = pure.stateless_apply(own, two_gradients(), params)
    for variable, array in zip([*changed, *stateful.variables], [*params, *own], strict=True):
        np.testing.assert_allclose(variable.numpy(), array, rtol=1e-6, atol=1e-9)
    for variable, start in zip(kept, two_variables(), strict=True):
        np.testing.assert_array_equal(variable.numpy(), start.numpy())
    assert int(pure.iterations) == 0


@pytest.mark.parametrize("cls", CLASSES)
def test_a_scan_keeps_shapes_and_types_so_that_thousands_of_steps_are_one_program(cls):
    kernel, bias = two_variables()
    bias = Variable(bias.value.astype(jnp.bfloat16), name="bias")
    optimizer, variables = built(cls(use_ema=True, clipnorm=1.0, gradient_accumulation_steps=2), [kernel, bias])

    def step(carry, _):
        return optimizer.stateless_apply(carry[1], two_gradients(), carry[0]), None

    start = values(variables), values(optimizer.variables)
    (params, own), _ = jax.jit(lambda c: jax.lax.scan(step, c, None, length=4))(start)
    assert int(own[0]) == 4
    assert all(np.isfinite(p).all() for p in params)


@pytest.mark.parametrize("make", [list, tuple])
def test_lists_come_back_as_lists_and_tuples_as_tuples(make):
    optimizer, variables = built(optimizers.Adam())
    params, own = optimizer.stateless_apply(make(values(optimizer.variables)), two_gradients(), make(values(variables)))
    assert type(params) is make
    assert type(own) is make


@pytest.mark.parametrize("cls", CLASSES)
def test_update_step_changes_one_variable_and_its_slots_only(cls):
    optimizer, (kernel, bias) = built(cls(learning_rate=0.1, weight_decay=0.0) if cls is not optimizers.Muon else cls())
    reference, (expected, _) = built(type(optimizer).from_config(optimizer.get_config()))
    reference.weight_decay = reference.adam_weight_decay = None
    reference.apply([two_gradients()[0]], [expected])
    optimizer._begin_update()
    optimizer.update_step(two_gradients()[0], kernel, optimizer.learning_rate)
    np.testing.assert_allclose(kernel.numpy(), expected.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(bias.numpy(), [0.5, -0.5])
    for own, other in zip(optimizer.variables[1:], reference.variables[1:], strict=True):
        np.testing.assert_allclose(own.numpy(), other.numpy(), rtol=1e-6)


@pytest.mark.parametrize("cls", CLASSES)
def test_half_precision_variables_move_and_keep_their_type(cls):
    variable = Variable(jnp.zeros((4, 4), jnp.bfloat16), name="kernel")
    optimizer = cls(learning_rate=0.1, clipnorm=1.0, weight_decay=0.01)
    for _ in range(3):
        optimizer.apply([jnp.full((4, 4), 0.5)], [variable])
    assert variable.value.dtype == jnp.bfloat16
    assert float(jnp.max(variable.value)) < 0.0
    assert all(v.dtype in ("bfloat16", "int32", "float32") for v in optimizer.variables)


def test_first_steps_of_adam_with_tiny_gradients_follow_the_form_before_correction():
    variable = Variable([0.0])
    optimizers.Adam(0.001).apply([jnp.array([1e-8])], [variable])
    alpha = 0.001 * np.sqrt(1 - 0.999) / (1 - 0.9)
    expected = -alpha * 0.1 * 1e-8 / (np.sqrt(0.001 * 1e-16) + 1e-7)
    np.testing.assert_allclose(variable.numpy(), [expected], rtol=1e-4)


def test_a_rule_is_an_optax_transformation_that_chains_with_others():
    chain = optax.chain(optax.clip(0.5), rules.adam(0.9, 0.999, 1e-7))
    params = (jnp.zeros(2),)
    state = chain.init(params)
    updates, state = chain.update(
        (jnp.array([3.0, 0.1]),), state, params, step=jnp.int32(0), learning_rate=jnp.array(0.1)
    )
    np.testing.assert_allclose(updates[0], [-0.1, -0.1], rtol=1e-3)
    np.testing.assert_allclose(state[1]["momentum"][0], [0.05, 0.01], rtol=1e-5)


def test_iterations_count_the_steps_and_apply_gradients_returns_the_counter():
    optimizer, variables = built(optimizers.SGD())
    counter = optimizer.apply_gradients(zip(two_gradients(), variables, strict=True))
    assert counter is optimizer.variables[0]
    assert int(optimizer.iterations) == 1


def test_no_gradients_is_no_step():
    optimizer, _ = built(optimizers.SGD())
    optimizer.apply([])
    assert int(optimizer.iterations) == 0


# --- missing gradients, frozen variables, constraints ---


def test_a_variable_without_a_gradient_keeps_its_value_and_slots_and_is_named_in_a_warning():
    optimizer, (kernel, bias) = built(optimizers.Adam(weight_decay=0.1))
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['bias'\]"):
        optimizer.apply([two_gradients()[0], None])
    assert kernel.numpy()[0, 0] != 1.0
    np.testing.assert_array_equal(bias.numpy(), [0.5, -0.5])
    np.testing.assert_array_equal(optimizer._momentums[1].numpy(), [0.0, 0.0])


def test_a_frozen_variable_without_a_gradient_is_left_alone_without_a_warning():
    optimizer, (kernel, bias) = built(optimizers.Adam(weight_decay=0.1))
    bias.trainable = False
    optimizer.apply([two_gradients()[0], None])
    np.testing.assert_array_equal(bias.numpy(), [0.5, -0.5])
    assert kernel.numpy()[0, 0] != 1.0


def test_gradients_for_some_of_the_variables_change_only_those():
    optimizer, (kernel, bias) = built(optimizers.SGD(1.0))
    optimizer.apply([two_gradients()[1]], [bias])
    np.testing.assert_allclose(bias.numpy(), [0.4, -0.7])
    np.testing.assert_array_equal(kernel.numpy(), [[1.0, 2.0], [3.0, 4.0]])


def test_the_constraint_of_a_variable_holds_after_each_step():
    variable = Variable([1.0, 2.0])
    variable.constraint = lambda array: jnp.maximum(array, 0.0)
    optimizers.SGD(10.0).apply([jnp.array([1.0, 0.1])], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.0, 1.0])


def test_a_variable_that_its_gradient_overwrites_has_no_slots_and_no_learning_rate():
    kernel, bias = two_variables()
    bias.overwrite_with_gradient = True
    optimizer, _ = built(optimizers.Adam(weight_decay=0.5, clipnorm=0.01, use_ema=True), [kernel, bias])
    optimizer.apply(two_gradients())
    np.testing.assert_allclose(bias.numpy(), [0.1, 0.2])
    assert [v.name for v in optimizer.variables[2:]] == ["kernel_average", "kernel_momentum", "kernel_velocity"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"clipnorm": 1.0}, [[0.6, 0.8], [0.3]]),
        ({"clipvalue": 2.0}, [[2.0, 2.0], [0.3]]),
        ({"global_clipnorm": 1.0}, [np.array([3.0, 4.0]) / np.sqrt(25.09), np.array([0.3]) / np.sqrt(25.09)]),
        ({"clipnorm": 0.0}, [[3.0, 4.0], [0.3]]),
    ],
)
def test_gradients_are_clipped_and_none_among_them_stays(arguments, expected):
    clipped = optimizers.SGD(**arguments)._clip_gradients([np.array([3.0, 4.0]), None, np.array([0.3])])
    assert clipped[1] is None
    for got, want in zip((clipped[0], clipped[2]), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_weight_decay_spares_what_it_is_told_to_spare():
    kernel, bias = two_variables()
    optimizer = optimizers.SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bi.s"])
    optimizer.apply([jnp.zeros((2, 2)), jnp.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(kernel.numpy(), [[0.5, 1.0], [1.5, 2.0]])
    np.testing.assert_allclose(bias.numpy(), [0.5, -0.5])
    optimizer.exclude_from_weight_decay(var_list=[kernel])
    optimizer.apply([jnp.zeros((2, 2)), jnp.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(kernel.numpy(), [[0.5, 1.0], [1.5, 2.0]])
    np.testing.assert_allclose(bias.numpy(), [0.25, -0.25])


def test_accumulated_gradients_update_once_with_their_mean():
    optimizer, (kernel, _) = built(optimizers.SGD(1.0, gradient_accumulation_steps=2))
    optimizer.apply(two_gradients(1.0))
    np.testing.assert_array_equal(kernel.numpy(), [[1.0, 2.0], [3.0, 4.0]])
    optimizer.apply(two_gradients(3.0))
    np.testing.assert_allclose(kernel.numpy(), [[-1.0, 6.0], [2.0, 2.0]])
    assert int(optimizer.iterations) == 1
    np.testing.assert_array_equal(optimizer._accumulated_gradients[0].numpy(), np.zeros((2, 2)))


def test_averages_replace_the_variables_at_the_end():
    optimizer, variables = built(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5))
    optimizer.apply(two_gradients())
    optimizer.apply(two_gradients())
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(variables[1].numpy(), [0.35, -0.8], rtol=1e-6)
    with pytest.raises(InvalidArgumentError, match="The length of model variables"):
        optimizer.finalize_variable_values(variables[:1])


def test_the_loss_is_scaled_and_the_gradients_are_scaled_back():
    optimizer, (_, bias) = built(optimizers.SGD(1.0, loss_scale_factor=8.0))
    assert optimizer.scale_loss(2.0) == 16.0
    optimizer.apply(two_gradients(8.0))
    np.testing.assert_allclose(bias.numpy(), [0.4, -0.7], rtol=1e-6)


# --- the learning rate ---


def test_a_new_learning_rate_compiles_nothing():
    optimizer, variables = built(optimizers.SGD(0.1))
    traces = []

    @jax.jit
    def step(own, params):
        traces.append(1)
        return optimizer.stateless_apply(own, two_gradients(), params)

    step(values(optimizer.variables), values(variables))
    optimizer.learning_rate = 1.0
    params, _ = step(values(optimizer.variables), values(variables))
    assert len(traces) == 1
    np.testing.assert_allclose(params[1], [0.4, -0.7], rtol=1e-6)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, "0.1", None, [0.1], True])
def test_a_learning_rate_that_is_none_is_refused_when_made_and_when_set(value):
    with pytest.raises(InvalidArgumentError, match="learning_rate"):
        optimizers.Adam(learning_rate=value)
    optimizer = optimizers.Adam()
    with pytest.raises(InvalidArgumentError, match="learning_rate"):
        optimizer.learning_rate = value
    assert float(optimizer.learning_rate) == np.float32(0.001)


@pytest.mark.parametrize("value", [1, np.float32(1), np.array(1.0), Variable(1.0), jnp.array(1.0)])
def test_a_learning_rate_may_be_any_real_number(value):
    optimizer = optimizers.Adam(learning_rate=value)
    assert optimizer.get_config()["learning_rate"] == 1.0
    assert [v.name for v in optimizer.variables] == ["iteration", "learning_rate"]


def test_without_strictness_keras_scripts_may_climb():
    config.set_strict(False)
    try:
        assert float(optimizers.SGD(learning_rate=-1.0).learning_rate) == -1.0
    finally:
        config.set_strict(True)


def test_a_schedule_takes_the_place_of_the_variable_and_then_no_number_can_be_set():
    optimizer, variables = built(optimizers.SGD(1.0))
    optimizer.learning_rate = schedules.PiecewiseConstantDecay([0], [1.0, 0.0])
    assert [v.name for v in optimizer.variables] == ["iteration"]
    for _ in range(2):
        optimizer.apply(two_gradients())
    np.testing.assert_allclose(variables[1].numpy(), [0.4, -0.7], rtol=1e-6)
    assert float(optimizer.learning_rate) == 0.0
    with pytest.raises(InvalidTypeError, match="its learning rate is not settable"):
        optimizer.learning_rate = 0.1


@pytest.mark.parametrize("rate", [lambda: 0.5, lambda step: 0.5 / (step + 1), optax.constant_schedule(0.5)])
def test_a_learning_rate_may_be_a_function_of_nothing_or_of_the_step(rate):
    optimizer, (_, bias) = built(optimizers.SGD(rate))
    optimizer.apply(two_gradients())
    np.testing.assert_allclose(bias.numpy(), [0.45, -0.6], rtol=1e-6)


# --- refusals ---


@pytest.mark.parametrize(
    ("cls", "arguments", "phrase"),
    [
        (optimizers.Adam, {"clipnorm": -1.0}, "`clipnorm` must be"),
        (optimizers.Adam, {"clipvalue": np.nan}, "`clipvalue` must be"),
        (optimizers.Adam, {"clipnorm": 1.0, "clipvalue": 1.0}, "Only one of `clipnorm`, `clipvalue` and"),
        (optimizers.Adam, {"clipnorm": 1.0, "global_clipnorm": 1.0}, "Only one of `clipnorm`, `clipvalue` and"),
        (optimizers.Adam, {"gradient_accumulation_steps": 1}, "must be an integer >= 2"),
        (optimizers.Adam, {"gradient_accumulation_steps": 2.5}, "must be an integer >= 2"),
        (optimizers.Adam, {"use_ema": True, "ema_momentum": 1.5}, r"`ema_momentum` must be in the range \[0, 1\]"),
        (optimizers.Adam, {"use_ema": True, "ema_overwrite_frequency": 0}, "must be an integer >= 1 or None"),
        (optimizers.Adam, {"lr": 0.1}, r"Argument\(s\) not recognized: .*[\s\S]*'learning_rate'"),
        (optimizers.Adam, {"beta1": 0.1}, r"Argument\(s\) not recognized: .*[\s\S]*'beta_1'"),
        (optimizers.Adam, {"beta_1": 1.0}, r"`beta_1` must be a number in \[0, 1\)"),
        (optimizers.Adam, {"epsilon": -1.0}, "`epsilon` must be"),
        (optimizers.Adam, {"weight_decay": "0.1"}, "`weight_decay` must be"),
        (optimizers.AdamW, {"weight_decay": None}, "Argument `weight_decay` must be a float"),
        (optimizers.SGD, {"momentum": -0.5}, r"`momentum` must be a float between \[0, 1\]"),
        (optimizers.RMSprop, {"rho": 1.5}, r"`rho` must be a number in \[0, 1\]"),
        (optimizers.Lion, {"beta_1": 0.0}, "degenerates to SignSGD. Received: beta_1=0.0."),
        (optimizers.Ftrl, {"learning_rate_power": 0.1}, "^`learning_rate_power` needs to be negative or zero."),
        (optimizers.Ftrl, {"l1_regularization_strength": -0.1}, "needs to be positive or zero. Received: .*=-0.1.$"),
        (optimizers.ScheduleFreeAdamW, {"beta_1": 0.0}, "`beta_1` must be greater than 0"),
        (optimizers.LossScaleOptimizer, {"inner_optimizer": optimizers.SGD(), "clipnorm": 1.0}, "inner_optimizer"),
        (optimizers.LossScaleOptimizer, {"inner_optimizer": optimizers.SGD(), "foo": 1}, "arguments: `foo`"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(cls, arguments, phrase):
    with pytest.raises(InvalidArgumentError, match=phrase):
        cls(**arguments)


def test_the_old_decay_argument_is_dropped_with_a_warning():
    with pytest.warns(UserWarning, match="Argument `decay` is no longer supported"):
        optimizers.SGD(decay=0.1)


def test_gradients_that_do_not_fit_are_refused_and_nothing_changes():
    optimizer, (kernel, bias) = built(optimizers.Adam())
    before = [v.numpy() for v in [kernel, bias, *optimizer.variables]]
    with pytest.raises(InvalidArgumentError, match=r"variable `bias` must have the variable's shape \(2,\)"):
        optimizer.apply([two_gradients()[0], jnp.zeros(3)])
    with pytest.raises(InvalidArgumentError, match="must match the variables one-to-one"):
        optimizer.apply(two_gradients()[:1])
    with pytest.raises(InvalidArgumentError, match="No gradients provided for any variable"):
        optimizer.apply([None, None])
    with pytest.raises(InvalidArgumentError, match="Unknown variable: stranger"):
        optimizer.apply([jnp.zeros(1)], [Variable([1.0], name="stranger")])
    for variable, array in zip([kernel, bias, *optimizer.variables], before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), array)


def test_what_needs_variables_says_so_before_build():
    optimizer = optimizers.Adam()
    with pytest.raises(NotBuiltError, match="When passing `grads` without `variables`"):
        optimizer.apply(two_gradients())
    with pytest.raises(NotBuiltError, match="must be built"):
        optimizer.stateless_apply([], [], [])
    with pytest.raises(NotBuiltError, match="You are calling `set_weights"):
        optimizer.set_weights([])


def test_stateless_apply_refuses_lists_of_another_length():
    optimizer, variables = built(optimizers.Adam())
    own, params = values(optimizer.variables), values(variables)
    with pytest.raises(InvalidArgumentError, match=r"`optimizer_variables` must be a list.* length 5, but expected 6"):
        optimizer.stateless_apply(own[:-1], two_gradients(), params)
    with pytest.raises(InvalidArgumentError, match=r"`trainable_variables` must be a list.* length 1, but expected 2"):
        optimizer.stateless_apply(own, two_gradients(), params[:1])


# --- names ---


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_found_by_its_name_in_any_case(cls):
    for name in (cls.__name__, cls.__name__.lower(), cls.__name__.upper(), registry.snake_case(cls.__name__)):
        assert type(optimizers.get(name)) is cls
        assert type(optimizers.get({"class_name": name, "config": {}})) is cls


def test_get_passes_on_what_it_should_and_names_the_nearest_for_a_typo():
    optimizer = optimizers.SGD()
    assert optimizers.get(optimizer) is optimizer
    assert optimizers.get(None) is None
    assert type(optimizers.get(optimizers.Adam)) is optimizers.Adam
    with pytest.raises(InvalidArgumentError, match=r"Could not interpret optimizer identifier: adamm[\s\S]*'adam'"):
        optimizers.get("adamm")
    for wrong in (3, len, [optimizer], "relu"):
        with pytest.raises(InvalidArgumentError, match="Could not interpret optimizer identifier"):
            optimizers.get(wrong)


# --- state ---


@pytest.mark.parametrize("cls", CLASSES)
def test_state_is_saved_under_numbers_and_loaded_again(cls):
    optimizer, _ = built(cls())
    optimizer.apply(two_gradients())
    store = {}
    optimizer.save_own_variables(store)
    assert list(store) == [str(i) for i in range(len(optimizer.variables))]
    again, _ = built(cls())
    again.load_own_variables(store)
    for own, other in zip(again.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(own.numpy(), other.numpy())


def test_a_file_of_another_optimizer_is_skipped_with_a_warning_or_refused_whole():
    optimizer, _ = built(optimizers.Adam())
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam'"):
        optimizer.load_own_variables({"0": np.int32(7)})
    store = {str(i): np.zeros(9) for i in range(6)}
    with pytest.raises(InvalidArgumentError, match="not compatible with provided weight shape"):
        optimizer.load_own_variables(store)
    with pytest.raises(InvalidArgumentError, match="one weight for each"):
        optimizer.set_weights([np.int32(1)])
    assert int(optimizer.iterations) == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_a_copy_trains_on_from_where_the_original_stood(copied):
    optimizer, variables = built(optimizers.Nadam(0.1))
    optimizer.apply(two_gradients())
    twin, twin_variables = copied((optimizer, variables)) if copied is copy.deepcopy else copied([optimizer, variables])
    optimizer.apply(two_gradients())
    twin.apply(two_gradients(), twin_variables)
    for own, other in zip([*twin_variables, *twin.variables], [*variables, *optimizer.variables], strict=True):
        np.testing.assert_array_equal(own.numpy(), other.numpy())
    assert twin.get_config() == optimizer.get_config()


def test_a_setting_that_a_compiled_step_has_built_in_moves_the_revision_and_the_learning_rate_does_not():
    optimizer, _ = built(optimizers.Adam())
    before = optimizer.revision
    optimizer.learning_rate = 0.5
    optimizer.apply(two_gradients())
    assert optimizer.revision == before
    optimizer.clipnorm = 1.0
    assert optimizer.revision == before + 1


def test_a_step_of_a_model_that_does_not_own_the_optimizer_is_refused_by_name():
    optimizer, variables = built(optimizers.SGD())
    with bound(variables, values(variables)), pytest.raises(UnboundVariableError, match="sgd/iteration"):
        optimizer.apply(two_gradients())


# --- subclasses ---


class Halving(optimizers.Optimizer):
    """A user's optimizer with a slot of its own, a scalar set as an attribute, and one put into a list."""

    def __init__(self, learning_rate=1.0, power=1.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.power = power

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum", initializer="ones")
        self.factor = Variable(1.0, name="factor")
        self.more = []
        self.more.append(Variable(3, name="more"))
        self.trained = variables

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign(self.factor, self.factor * 0.5)
        self.assign_sub(variable, total * learning_rate * self.factor * self.power)


def test_a_users_update_step_runs_in_apply_and_in_a_compiled_step_with_all_its_variables():
    optimizer, variables = built(Halving(power=2.0))
    names = ["iteration", "learning_rate", "kernel_sum", "bias_sum", "factor", "more"]
    assert [v.name for v in optimizer.variables] == names
    step = jax.jit(optimizer.stateless_apply)
    params, own = step(values(optimizer.variables), two_gradients(), values(variables))
    optimizer.apply(two_gradients())
    np.testing.assert_allclose(variables[1].numpy(), [0.5 - 1.1 / 2, -0.5 - 1.2 / 2], rtol=1e-6)
    for variable, array in zip([*variables, *optimizer.variables], [*params, *own], strict=True):
        np.testing.assert_allclose(variable.numpy(), array, rtol=1e-6)
    assert float(optimizer.factor) == 0.25


def test_a_users_class_describes_itself_by_its_constructor():
    config_ = Halving(power=2.0, clipnorm=1.0).get_config()
    assert config_["power"] == 2.0
    assert config_["clipnorm"] == 1.0
    assert Halving.from_config(config_).get_config() == config_
    with registry.custom_object_scope({"Halving": Halving}):
        assert type(serialization.deserialize(serialization.serialize(Halving()))) is Halving


@pytest.mark.parametrize("parent", [optimizers.Adam, optimizers.Nadam, optimizers.RMSprop])
def test_a_subclass_may_change_gradients_in_update_step_or_in_apply(parent):
    class ByStep(parent):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient * 2.0, variable, learning_rate)

    class ByApply(parent):
        def apply(self, grads, trainable_variables=None):
            super().apply([g * 2.0 for g in grads], trainable_variables)

    plain, expected = built(parent(0.1))
    plain.apply(two_gradients(2.0))
    plain.apply(two_gradients(2.0))
    for cls in (ByStep, ByApply):
        optimizer, variables = built(cls(0.1))
        params, own = jax.jit(optimizer.stateless_apply)(
            values(optimizer.variables), two_gradients(), values(variables)
        )
        params, own = optimizer.stateless_apply(own, two_gradients(), params)
        for got, want in zip([*params, *own], [*expected, *plain.variables], strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=1e-5)


def test_a_class_without_a_rule_and_one_that_forgets_super_say_so():
    class Empty(optimizers.Optimizer):
        pass

    class Forgetful(optimizers.Optimizer):
        def __init__(self):
            self.rate = 0.1

    with pytest.raises(NotImplementedError, match="update_step"):
        Empty(0.1).apply([jnp.ones(1)], [Variable([1.0])])
    with pytest.raises(RuntimeError, match="forgot to call `super"):
        Forgetful()


# --- optax ---


def test_any_optax_transformation_is_an_optimizer_whose_state_is_in_variables():
    transformation = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    optimizer, variables = built(optimizers.get(transformation))
    assert type(optimizer) is optimizers.OptaxOptimizer
    params = tuple(v.value for v in two_variables())
    state = transformation.init(params)
    for _ in range(3):
        updates, state = transformation.update(tuple(two_gradients()), state, params)
        params = optax.apply_updates(params, updates)
    optimizer.apply(two_gradients())
    step = jax.jit(optimizer.stateless_apply)
    arrays, own = values(variables), values(optimizer.variables)
    for _ in range(2):
        arrays, own = step(own, two_gradients(), arrays)
    for got, want in zip(arrays, params, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    for got, want in zip(own[2:], jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert len({v.name for v in optimizer.variables}) == len(optimizer.variables)


def test_the_learning_rate_of_an_optax_optimizer_multiplies_its_updates():
    optimizer, (_, bias) = built(optimizers.OptaxOptimizer(optax.sgd(1.0)))
    optimizer.learning_rate = 0.5
    with pytest.warns(UserWarning, match="kernel"):
        optimizer.apply([None, two_gradients()[1]])
    np.testing.assert_allclose(bias.numpy(), [0.45, -0.6], rtol=1e-6)
    with pytest.raises(NotImplementedError, match="cannot be described"):
        optimizer.get_config()
    with pytest.raises(InvalidArgumentError, match=r"`optax\.GradientTransformation`"):
        optimizers.OptaxOptimizer(lambda: None)


# --- schedules ---


@pytest.mark.parametrize(
    ("cls", "arguments", "phrase"),
    [
        (schedules.ExponentialDecay, (0.1, 0, 0.9), "`decay_steps` must be > 0"),
        (schedules.CosineDecayRestarts, (0.1, -1), "`first_decay_steps` must be > 0"),
        (schedules.CosineDecay, (np.nan, 5), "`initial_learning_rate` must be a finite number"),
        (schedules.PiecewiseConstantDecay, ([1, 2], [0.1]), "length of boundaries should be 1 less"),
        (schedules.PiecewiseConstantDecay, ([2, 1], [0.1, 0.2, 0.3]), "must increase strictly"),
    ],
)
def test_schedules_refuse_what_cannot_be_followed(cls, arguments, phrase):
    with pytest.raises(InvalidArgumentError, match=phrase):
        cls(*arguments)


def test_a_whole_initial_rate_is_a_rate_and_not_an_integer():
    assert float(schedules.CosineDecay(1, 10)(5)) == pytest.approx(0.5)
    assert float(schedules.CosineDecay(0, 10, warmup_target=0.1, warmup_steps=10)(5)) == pytest.approx(0.05)


def test_a_schedule_of_the_users_is_called_with_the_step_and_saved_by_its_constructor():
    class Falling(schedules.LearningRateSchedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start / (step + 1)

    optimizer, (_, bias) = built(optimizers.SGD(Falling(1.0)))
    optimizer.apply(two_gradients())
    optimizer.apply(two_gradients())
    np.testing.assert_allclose(bias.numpy(), [0.35, -0.8], rtol=1e-6)
    with registry.custom_object_scope({"Falling": Falling}):
        again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert again._learning_rate.start == 1.0
    with pytest.raises(NotImplementedError, match="must override"):
        schedules.LearningRateSchedule()(0)
