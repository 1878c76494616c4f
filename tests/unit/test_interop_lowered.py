import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers, ops
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.interop.lowered import KINDS, compact, evaluate
from lamina.interop.lowering import lower
from lamina.interop.net import Net
from lamina.models import Model, Sequential


def assert_same(model, tolerance=2e-5):
    net = net_of(model)
    inputs = batch(model, 5)
    expected = predictions(model, inputs)
    for form in (lower(net), compact(lower(net))):
        found = evaluate(form, inputs)
        assert len(found) == len(expected)
        for y, wanted, name in zip(found, expected, form.outputs, strict=True):
            assert y.shape == wanted.shape
            assert y.shape[1:] == form.shapes[name]
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=tolerance)
    return lower(net)


@pytest.mark.parametrize("name", MODELS)
def test_a_lowered_model_predicts_what_the_model_predicts(name):
    assert_same(randomized(MODELS[name]()))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_held(name):
    model = Sequential([layers.Input((6,)), layers.Dense(7), layers.Dense(8, activation=name)])
    assert_same(randomized(model))


def test_each_operation_uses_what_came_before_and_its_shapes_are_right():
    lowered = lower(net_of(randomized(MODELS["several"]())))
    known = set(lowered.inputs)
    for op in lowered.operations:
        assert op.kind in KINDS
        assert set(op.inputs) <= known
        known.add(op.output)
    assert known == set(lowered.shapes)
    assert set(lowered.outputs) <= known
    assert lowered.outputs == ("kind", "size")
    assert lowered.inputs == ("left", "right")


def test_the_demos_network_becomes_three_products():
    lowered = lower(net_of(randomized(MODELS["digits"]())))
    assert [op.kind for op in compact(lowered).operations] == ["reshape", "dense", "function", "dense", "softmax"]
    assert any("only acts in training" in note for note in lowered.notes)


def test_array_functions_of_a_graph_are_held():
    x = layers.Input((4,), name="x")
    y = layers.Dense(4)(x)
    out = ops.maximum(ops.gelu(1.0 - y / 2.0), 0.25) + ops.minimum(ops.leaky_relu(-y, 0.3), 1.5) * ops.exp(-ops.abs(y))
    assert_same(randomized(Model(x, [out, ops.softmax(y), ops.concatenate([x, y], axis=-1)])))


REFUSED = [
    (lambda x: layers.Embedding(4, 3)(x), "Embedding layer `embedding`"),
    (lambda x: layers.Masking()(layers.Reshape((2, 2))(x)), "Masking layer `masking`"),
    (lambda x: ops.sin(x), "Sin layer `sin`"),
    (lambda x: layers.Dot(axes=1)([x, x]), "Dot layer `dot`"),
    (lambda x: layers.Softmax(axis=0)(x), "Softmax layer `softmax`"),
    (lambda x: x * ops.convert_to_tensor(np.ones((3, 4), np.float32)), "Multiply layer `multiply`"),
]


@pytest.mark.parametrize(("make", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_what_has_no_plain_form_is_refused_by_name_with_a_remedy(make, named):
    x = layers.Input((4,), name="x")
    model = Model(x, make(x))
    with pytest.raises(InvalidArgumentError, match="To fix it") as error:
        lower(net_of(model))
    assert named in str(error.value)


def sequential(*entries):
    first = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 3]}}
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [first, *entries]}}


def dense(**config):
    return {"class_name": "Dense", "config": {"name": "d", "units": 2, **config}}


BROKEN = {
    "no config": {},
    "no layers": {"class_name": "Sequential", "config": {}},
    "layers that are none": {"class_name": "Sequential", "config": {"layers": [3]}},
    "no name": sequential({"class_name": "Dense", "config": {"units": 2}}),
    "no weights": sequential(dense(name="other")),
    "weights of another shape": sequential(dense(units=3)),
    "a subclass": {"class_name": "MyModel", "config": {"layers": []}},
    "a loop": {
        "class_name": "Functional",
        "config": {
            "layers": [
                {"class_name": "InputLayer", "name": "in", "config": {"name": "in", "batch_shape": [None, 3]}},
                {
                    "class_name": "Dense",
                    "name": "d",
                    "config": {"name": "d", "units": 2},
                    "inbound_nodes": [[["d", 0, 0]]],
                },
            ],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["d", 0, 0]],
        },
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_config_is_refused(name):
    with pytest.raises(FileFormatError):
        lower(Net(BROKEN[name], {"d": (np.zeros((3, 2), np.float32), np.zeros(2, np.float32))}))


def test_models_inside_models_have_a_limit():
    config = sequential(dense())
    for i in range(2000):
        config = {**config, "config": {**config["config"], "name": f"m{i}"}}
        config = {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [config], "build_input_shape": [None, 3]},
        }
    with pytest.raises(FileFormatError, match="models inside each other"):
        lower(Net(config, {}))


def test_a_class_of_the_users_is_not_taken_for_keras_own():
    entry = {**dense(), "registered_name": "mine>Dense"}
    with pytest.raises(InvalidArgumentError, match="mine>Dense"):
        lower(Net(sequential(entry), {}))


def test_unknown_sizes_are_refused():
    first = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, None]}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [first]}}
    with pytest.raises(InvalidArgumentError, match="must be known"):
        lower(Net(config))


def test_a_layer_in_half_precision_is_noted():
    model = Sequential([layers.Input((3,)), layers.Dense(2, dtype="mixed_bfloat16", name="half")])
    assert any("`half` computes in `mixed_bfloat16`" in note for note in lower(net_of(model)).notes)


def test_a_quantized_layer_is_refused_by_name():
    model = Sequential([layers.Input((3,)), layers.Dense(2, name="small")])
    model.quantize("int8")
    with pytest.raises(InvalidArgumentError, match="Dense layer `small`: Its weights are quantized"):
        lower(net_of(model))


def test_whole_numbers_are_not_taken_for_floats():
    weights = {"d": (np.ones((3, 2), np.int8), np.zeros(2, np.float32))}
    with pytest.raises(FileFormatError, match="do not fit"):
        lower(Net(sequential(dense()), weights))
