"""What a name in `compile` means, and what strings, classes and configs mean elsewhere."""

import pytest

from lamina import metrics, registry
from lamina.metrics.resolve import resolve


@pytest.mark.parametrize(
    "family", [("accuracy", "Accuracy"), ("acc", "Accuracy"), ("crossentropy", "Crossentropy"), ("ce", "Crossentropy")]
)
@pytest.mark.parametrize(
    ("true", "pred", "kind"),
    [
        ((8,), (8, 1), "Binary"),
        ((8, 1), (8, 1), "Binary"),
        ((8,), (8, 4), "SparseCategorical"),
        ((8, 1), (8, 4), "SparseCategorical"),
        ((8, 2), (8, 2, 4), "SparseCategorical"),
        ((8, 4), (8, 4), "Categorical"),
        ((None, 4), (None, 4), "Categorical"),
        ((), (), "Categorical"),
    ],
)
def test_shapes_decide_which_accuracy_or_crossentropy_is_meant(family, true, pred, kind):
    name, suffix = family
    metric = resolve(name, true, pred)
    assert (type(metric).__name__, metric.name) == (kind + suffix, name)


def test_a_metric_is_itself_a_class_is_made_and_a_function_is_wrapped():
    own = metrics.AUC(name="area")
    assert resolve(own, (8, 1), (8, 1)) is own
    assert own.name == "area"
    assert type(resolve(metrics.Recall, (8, 1), (8, 1))) is metrics.Recall

    def mySpecialError(y_true, y_pred):
        return abs(y_true - y_pred)

    wrapped = resolve(mySpecialError, (8, 1), (8, 1))
    assert (type(wrapped), wrapped.name) == (metrics.MeanMetricWrapper, "my_special_error")


@pytest.mark.parametrize("name", sorted(set(registry.names("metrics")) - {"MeanMetricWrapper", "mean_metric_wrapper"}))
def test_every_name_in_the_table_makes_a_metric_or_is_a_function(name):
    if "at_" in name or "At" in name:
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            metrics.get(name)
        return
    assert callable(metrics.get(name))
    assert resolve(name, (8, 4), (8, 4)).name == name


def test_get_takes_nothing_configs_classes_and_objects():
    metric = metrics.Precision(top_k=2)
    assert metrics.get(None) is None
    assert metrics.get(metric) is metric
    assert metrics.get(metrics.serialize(metric)).get_config() == metric.get_config()
    assert metrics.get({"class_name": "AUC", "config": {"num_thresholds": 7}}).num_thresholds == 7
    assert isinstance(metrics.deserialize("mean_squared_error"), metrics.MeanSquaredError)
    assert metrics.get(metrics.huber) is metrics.huber


def test_deserialize_takes_custom_objects():
    class Mine(metrics.Mean):
        pass

    data = metrics.serialize(Mine(name="mine"))
    assert type(metrics.deserialize(data, custom_objects={"Mine": Mine})) is Mine
