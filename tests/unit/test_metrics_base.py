"""The life of a metric: variables, updates, resets, and the same without side effects."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import config, metrics, registry, serialization
from lamina.errors import InvalidArgumentError, UnboundVariableError
from lamina.metrics import Mean, Metric
from lamina.variables import Variable, bound, values


class Counter(Metric):
    """A metric in Keras's way: it overrides `update_state` and `result`."""

    def __init__(self, name="counter", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", name="total")
        self.batches = self.add_weight(dtype="int32", name="batches")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign(self.total + jnp.sum(jnp.asarray(y_true) - jnp.asarray(y_pred)))
        self.batches.assign_add(1)

    def result(self):
        return self.total / self.batches


class Pure(Metric):
    """A metric of the user's in the library's way."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.largest = self.add_variable((), None, name="largest")

    def update(self, totals, y_true, y_pred, sample_weight=None):
        return (jnp.maximum(totals[0], jnp.max(y_pred)),)

    def compute(self, totals):
        return totals[0]


class Lazy(Metric):
    """A metric that makes a variable at its first batch."""

    def __init__(self):
        super().__init__(name="lazy")
        self.inner = Mean()
        self.sums = None

    def update_state(self, y_true, y_pred, sample_weight=None):
        if self.sums is None:
            self.sums = self.add_variable((y_pred.shape[-1],), None, name="sums")
        self.sums.assign(self.sums + jnp.sum(y_pred, axis=0))
        self.inner.update_state(y_pred)

    def result(self):
        return {"sums": self.sums.value, "mean": self.inner.result()}


ONES, TWOS = np.ones((3, 2), "float32"), np.full((3, 2), 2.0, "float32")


def test_variables_are_named_typed_and_placed_under_the_metric():
    metric = Counter()
    assert [v.path for v in metric.variables] == ["counter/total", "counter/batches"]
    assert [v.dtype for v in metric.variables] == ["float32", "int32"]
    assert not any(v.trainable for v in metric.variables)
    assert Mean(name="a/b").variables[0].path == "a>b/total"


def test_update_and_reset():
    metric = Counter()
    assert metric(TWOS, ONES) == 6
    metric.update_state(ONES, ONES)
    assert metric.result() == 3
    metric.reset_state()
    assert [float(v) for v in metric.variables] == [0, 0]
    assert [v.dtype for v in metric.variables] == ["float32", "int32"]


@pytest.mark.parametrize("make", [Counter, Pure, Mean, Lazy, metrics.AUC])
def test_updates_without_state_agree_with_those_with_state_and_leave_it_alone(make):
    metric, twin = make(), make()
    data = (TWOS,) if make is Mean else (ONES, 0.3 * TWOS)
    twin.update_state(*data)
    before = [np.asarray(v) for v in metric.variables]
    totals = jax.jit(metric.stateless_update_state)(values(metric.variables), *data)
    for total, variable in zip(totals, twin.variables, strict=True):
        np.testing.assert_allclose(total, variable, rtol=1e-6)
    for array, variable in zip(before, metric.variables, strict=False):
        np.testing.assert_array_equal(array, variable)
    result = jax.jit(metric.stateless_result)(totals)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), result, twin.result())
    start = jax.jit(metric.stateless_reset_state)()
    assert len(start) == len(totals)
    assert all((np.asarray(array) == 0).all() for array in start)


def test_an_override_of_reset_state_is_respected_without_state():
    class FromOne(Counter):
        def reset_state(self):
            self.total.assign(1.0)
            self.batches.assign(0)

    metric = FromOne()
    assert [float(a) for a in metric.stateless_reset_state()] == [1, 0]
    assert float(metric.total) == 0


def test_a_wrong_number_of_totals_is_refused():
    with pytest.raises(
        InvalidArgumentError, match=r"corresponding 1:1 to Mean\(\).variables. Received list with length 1"
    ):
        Mean().stateless_update_state([jnp.zeros(())], ONES)
    with pytest.raises(InvalidArgumentError, match="but expected 2 variables"):
        Mean().stateless_result([])


def test_variables_and_metrics_are_found_in_attributes_lists_and_dicts():
    metric = Counter()
    metric.more = [Variable(0.0), (Variable(1.0),)]
    metric.named = {"a": {"b": Variable(2.0)}}
    metric.inner = Counter()
    metric.inner.deeper = [Mean()]
    assert len(metric.variables) == 2 + 3 + 2 + 2
    metric.more.append(Variable(3.0))
    assert len(metric.variables) == 10
    metric.again = metric.more[0]
    assert len({id(v) for v in metric.variables}) == 10


def test_variables_passed_to_the_constructor_but_not_kept_are_not_the_metrics():
    class Taker(Metric):
        def __init__(self, variable):
            super().__init__()

    assert Taker(Variable(0.0)).variables == []


def test_prepare_makes_the_variables_that_depend_on_shapes_and_changes_nothing_else():
    spec = jax.ShapeDtypeStruct((8, 3), "float32")
    for metric, count in (
        (metrics.R2Score(), 5),
        (metrics.F1Score(), 4),
        (metrics.AUC(multi_label=True), 4),
        (Lazy(), 3),
    ):
        metric.prepare(spec, spec)
        assert len(metric.variables) == count
        assert all((np.asarray(v) == 0).all() for v in metric.variables)
        metric.prepare(spec, spec)
        assert len(metric.variables) == count


def test_a_metric_works_where_its_variables_are_bound_and_says_so_where_they_are_not():
    metric = Mean()

    @jax.jit
    def step(totals):
        with bound(metric.variables, totals):
            metric.update_state(ONES)
            return values(metric.variables)

    assert [float(a) for a in step(values(metric.variables))] == [3, 3]
    assert float(metric.count) == 0
    with pytest.raises(UnboundVariableError, match="mean/total"):
        jax.jit(metric.update_state)(ONES)


def test_a_metric_that_assigns_a_foreign_variable_says_which():
    class Foreign(Counter):
        def update_state(self, y_true, y_pred, sample_weight=None):
            outside.assign_add(1.0)

    outside = Variable(0.0, name="outside")
    with pytest.raises(UnboundVariableError, match="outside"):
        Foreign().stateless_update_state([jnp.zeros(()), jnp.zeros((), int)], ONES, ONES)


def test_forgetting_super_init_is_said_plainly():
    class Forgetful(Metric):
        def __init__(self):
            self.total = self.add_variable((), None)

    class Later(Metric):
        def __init__(self):
            pass

    for call in (Forgetful, lambda: Later()(1)):
        with pytest.raises(RuntimeError, match=r"You forgot to call `super\(\).__init__\(\)`"):
            call()


def test_a_metric_without_update_or_result_says_what_to_define():
    with pytest.raises(NotImplementedError, match="update_state"):
        Metric().update_state(ONES, ONES)
    with pytest.raises(NotImplementedError, match="result"):
        Metric().result()


@pytest.mark.parametrize("initializer", ["ones", None, np.ones(2), lambda shape, dtype: jnp.full(shape, 2.0, dtype)])
def test_a_variable_takes_any_initializer(initializer):
    variable = Metric().add_variable((2,), initializer, name="v")
    assert variable.shape == (2,)
    assert float(variable[0]) == {str: 1, type(None): 0, np.ndarray: 1}.get(type(initializer), 2)


def test_dtype_is_that_of_the_result_while_totals_keep_adding():
    metric = Mean(dtype="float16")
    for _ in range(5):
        metric.update_state(np.ones(30_000, "float32"))  # a float16 count would be infinite
    assert metric.result() == 1
    assert metric.result().dtype == "float16"
    assert [v.dtype for v in metric.variables] == ["float32", "float32"]
    many = metrics.Sum(dtype="bfloat16")
    for _ in range(600):
        many.update_state([1.0])  # a bfloat16 total would stop at 256
    assert many.result() == 600


def test_dtype_takes_types_names_policies_and_nothing_else():
    class Policy:
        compute_dtype = "bfloat16"

    assert Mean(dtype=Policy()).dtype == "bfloat16"
    assert Mean(dtype="mixed_float16").dtype == "float16"
    assert Mean(dtype=np.float32).dtype == "float32"
    assert Mean(dtype="int32").result() == 0
    assert Mean(dtype="float64").dtype == "float64"  # JAX computes in 32 bits, and without a warning
    with pytest.raises(InvalidArgumentError, match="Invalid dtype"):
        Mean(dtype="flaot32")
    with pytest.raises(AttributeError):
        Mean().dtype = "float16"


def test_dtype_follows_the_setting():
    config.set_floatx("bfloat16")
    try:
        assert Mean().dtype == "bfloat16"
    finally:
        config.set_floatx("float32")


def test_names_count_up_and_are_shown():
    assert [Mean(name=None).name, Mean(name=None).name, metrics.AUC().name] == ["mean", "mean_1", "auc"]
    assert repr(metrics.Precision(name="p")) == "<Precision name=p>"


@pytest.mark.parametrize(
    "make", [lambda: metrics.AUC(), lambda: metrics.get("mse"), Counter], ids=["AUC", "mse", "user"]
)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_copy_has_the_totals_and_goes_its_own_way(make, copied):
    metric = make()
    metric.update_state(ONES, ONES)
    twin = copied(metric)
    np.testing.assert_allclose(twin.result(), metric.result())
    twin.reset_state()
    assert any((np.asarray(v) != 0).any() for v in metric.variables)


def test_a_users_metric_is_described_by_what_it_was_made_from():
    metric = Counter(name="mine")
    data = serialization.serialize(metric)
    assert data["config"] == {"name": "mine", "dtype": "float32"}
    again = serialization.deserialize(data, custom_objects={"Counter": Counter})
    assert (type(again), again.name) == (Counter, "mine")


@registry.register_keras_serializable("test")
def squared(y_true, y_pred, scale=1.0):
    return scale * jnp.square(y_true - y_pred)


def test_a_wrapped_function_of_the_user_is_saved_by_name_with_its_arguments():
    metric = metrics.MeanMetricWrapper(squared, name="sq", scale=2.0)
    assert metric(ONES, TWOS) == 2
    data = metric.get_config()
    assert (data["fn"]["class_name"], data["fn"]["config"], data["scale"]) == ("function", "test>squared", 2.0)
    assert metrics.MeanMetricWrapper.from_config(data).get_config() == data


def test_a_subclass_of_the_wrapper_is_described_by_its_own_constructor():
    class Scaled(metrics.MeanMetricWrapper):
        def __init__(self, scale, name="scaled", **kwargs):
            super().__init__(squared, name, scale=scale, **kwargs)

    metric = Scaled(3.0)
    assert metric.get_config() == {"name": "scaled", "dtype": "float32", "scale": 3.0}
    assert Scaled.from_config(metric.get_config())(ONES, TWOS) == 3


def test_a_subclass_may_build_on_the_update_and_result_of_the_library():
    class SecondColumn(metrics.MeanSquaredError):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true[:, 1:], y_pred[:, 1:], sample_weight)

        def result(self):
            return jnp.sqrt(super().result())

    metric = SecondColumn()
    pred = ONES + np.array([5.0, 2.0], "float32")
    metric.update_state(ONES, pred)
    totals = metric.stateless_update_state(metric.stateless_reset_state(), ONES, pred)
    assert float(metric.result()) == float(metric.stateless_result(totals)) == 2


def test_a_loss_object_can_be_wrapped():
    from lamina import losses

    metric = metrics.MeanMetricWrapper(losses.MeanSquaredError(), name="mse")
    assert metric(ONES, TWOS + 1) == 4
    assert metric._direction == "down"
    assert metrics.MeanMetricWrapper.from_config(metric.get_config())(ONES, TWOS) == 1
