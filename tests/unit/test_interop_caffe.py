"""Caffe's files, beside the messages of its published `caffe.proto`, declared here for Google's own library."""

import pathlib

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from interop_models import ROWS, chain, normalized, outputs, plain

import lamina
from lamina import Dense, layers
from lamina.errors import FileFormatError, InvalidArgumentError, LaminaError

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "caffe"
# message: (field, number, type, repeated); the numbers are those of `caffe.proto` of BVLC.
SCHEMA = {
    "BlobShape": [("dim", 1, "int64", 2)],
    "BlobProto": [("num", 1, "int32", 0), ("channels", 2, "int32", 0), ("height", 3, "int32", 0), ("width", 4, "int32", 0),
                  ("data", 5, "float", 2), ("diff", 6, "float", 2), ("shape", 7, "BlobShape", 0),
                  ("double_data", 8, "double", 2)],
    "FillerParameter": [("type", 1, "string", 0), ("value", 2, "float", 0)],
    "ParamSpec": [("name", 1, "string", 0), ("lr_mult", 3, "float", 0), ("decay_mult", 4, "float", 0)],
    "InnerProductParameter": [("num_output", 1, "uint32", 0), ("bias_term", 2, "bool", 0), ("weight_filler", 3, "FillerParameter", 0),
                              ("axis", 5, "int32", 0), ("transpose", 6, "bool", 0)],
    "InputParameter": [("shape", 1, "BlobShape", 1)],
    "DropoutParameter": [("dropout_ratio", 1, "float", 0)],
    "ReLUParameter": [("negative_slope", 1, "float", 0)],
    "ELUParameter": [("alpha", 1, "float", 0)],
    "PowerParameter": [("power", 1, "float", 0), ("scale", 2, "float", 0), ("shift", 3, "float", 0)],
    "BatchNormParameter": [("use_global_stats", 1, "bool", 0), ("moving_average_fraction", 2, "float", 0), ("eps", 3, "float", 0)],
    "ScaleParameter": [("axis", 1, "int32", 0), ("num_axes", 2, "int32", 0), ("bias_term", 4, "bool", 0)],
    "SoftmaxParameter": [("axis", 2, "int32", 0)],
    "NetStateRule": [("phase", 1, "int32", 0)],
    "LayerParameter": [
        ("name", 1, "string", 0), ("type", 2, "string", 0), ("bottom", 3, "string", 1), ("top", 4, "string", 1),
        ("loss_weight", 5, "float", 1), ("param", 6, "ParamSpec", 1), ("blobs", 7, "BlobProto", 1), ("include", 8, "NetStateRule", 1),
        ("dropout_param", 108, "DropoutParameter", 0), ("inner_product_param", 117, "InnerProductParameter", 0),
        ("power_param", 122, "PowerParameter", 0), ("relu_param", 123, "ReLUParameter", 0), ("softmax_param", 125, "SoftmaxParameter", 0),
        ("batch_norm_param", 139, "BatchNormParameter", 0), ("elu_param", 140, "ELUParameter", 0), ("scale_param", 142, "ScaleParameter", 0),
        ("input_param", 143, "InputParameter", 0)],
    "V1LayerParameter": [
        ("bottom", 2, "string", 1), ("top", 3, "string", 1), ("name", 4, "string", 0), ("type", 5, "int32", 0),
        ("blobs", 6, "BlobProto", 1), ("blobs_lr", 7, "float", 1), ("inner_product_param", 17, "InnerProductParameter", 0),
        ("dropout_param", 12, "DropoutParameter", 0), ("relu_param", 30, "ReLUParameter", 0)],
    "NetParameter": [("name", 1, "string", 0), ("layers", 2, "V1LayerParameter", 1), ("input", 3, "string", 1), ("input_dim", 4, "int32", 1),
                     ("input_shape", 8, "BlobShape", 1), ("layer", 100, "LayerParameter", 1)],
}  # fmt: skip


def _messages():
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe_for_tests.proto", package="caffe_for_tests", syntax="proto2")
    for name, fields in SCHEMA.items():
        kind = file.message_type.add(name=name)
        for field, number, what, repeated in fields:
            label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            made = kind.field.add(name=field, number=number, label=label)
            if what in SCHEMA:
                made.type, made.type_name = field_type.TYPE_MESSAGE, f".caffe_for_tests.{what}"
            else:
                made.type = getattr(field_type, f"TYPE_{what.upper()}")
            made.options.packed = repeated == 2 if repeated == 2 else False
            if repeated != 2:
                made.ClearField("options")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe_for_tests.NetParameter"))


NetParameter = _messages()


def blob(holder, array, old=False):
    made = holder.blobs.add()
    array = np.asarray(array, "float32")
    if old:
        made.num, made.channels = 1, 1
        made.height, made.width = array.shape if array.ndim == 2 else (1, array.size)
    else:
        made.shape.dim.extend(array.shape)
    made.data.extend(array.ravel().tolist())


def numbers(*shape, seed=1, low=-0.7, high=0.7):
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def modern(held=True):
    """Return a network of today, its arrays, and what it computes of `ROWS`."""
    net = NetParameter(name="trained")
    net.layer.add(name="data", type="Input", top=["data"]).input_param.shape.add(dim=[1, 5])
    w1, b1 = numbers(8, 5), numbers(8, seed=2)
    mean, var, gamma, beta = (
        numbers(8, seed=3),
        numbers(8, seed=4, low=0.5, high=2.0),
        numbers(8, seed=5),
        numbers(8, seed=6),
    )
    w2 = numbers(3, 8, seed=7)
    one = net.layer.add(name="ip1", type="InnerProduct", bottom=["data"], top=["ip1"])
    one.param.add(lr_mult=1.0, decay_mult=0.5)
    one.inner_product_param.num_output = 8
    one.inner_product_param.weight_filler.type = "xavier"
    bn = net.layer.add(name="bn1", type="BatchNorm", bottom=["ip1"], top=["ip1"])
    bn.batch_norm_param.eps = 0.01
    scale = net.layer.add(name="sc1", type="Scale", bottom=["ip1"], top=["ip1"])
    scale.scale_param.bias_term = True
    net.layer.add(name="relu1", type="ReLU", bottom=["ip1"], top=["ip1"]).relu_param.negative_slope = 0.1
    net.layer.add(name="drop1", type="Dropout", bottom=["ip1"], top=["ip1"]).dropout_param.dropout_ratio = 0.4
    net.layer.add(name="act", type="TanH", bottom=["ip1"], top=["act"])
    two = net.layer.add(name="ip2", type="InnerProduct", bottom=["act"], top=["ip2"])
    two.inner_product_param.num_output, two.inner_product_param.bias_term, two.inner_product_param.transpose = (
        3,
        False,
        True,
    )
    net.layer.add(name="prob", type="Softmax", bottom=["ip2"], top=["prob"])
    if held:
        blob(one, w1), blob(one, b1)
        blob(bn, mean * 3), blob(bn, var * 3), blob(bn, [3.0])
        blob(scale, gamma), blob(scale, beta)
        blob(two, w2.T)
    h = (ROWS @ w1.T + b1 - mean) / np.sqrt(var + 0.01) * gamma + beta
    h = np.tanh(np.where(h > 0, h, 0.1 * h))
    e = np.exp(h @ w2.T)
    return net, e / e.sum(1, keepdims=True)


def old(held=True):
    """Return a network of 2013, with a list of `layers` and shapes in four numbers."""
    net = NetParameter(name="lenet", input=["data"], input_dim=[64, 5, 1, 1])
    w1, b1, w2, b2 = numbers(6, 5), numbers(6, seed=2), numbers(2, 6, seed=3), numbers(2, seed=4)
    one = net.layers.add(name="ip1", type=14, bottom=["data"], top=["ip1"], blobs_lr=[1.0, 2.0])
    one.inner_product_param.num_output = 6
    net.layers.add(name="relu1", type=18, bottom=["ip1"], top=["ip1"])
    net.layers.add(name="drop", type=6, bottom=["ip1"], top=["ip1"])
    two = net.layers.add(name="ip2", type=14, bottom=["ip1"], top=["ip2"])
    two.inner_product_param.num_output = 2
    net.layers.add(name="sig", type=19, bottom=["ip2"], top=["sig"])
    if held:
        blob(one, w1, old=True), blob(one, b1, old=True), blob(two, w2, old=True), blob(two, b2, old=True)
    return net, 1 / (1 + np.exp(-(np.maximum(ROWS @ w1.T + b1, 0) @ w2.T + b2)))


NETS = {"modern": modern, "old": old}


def saved(name, folder, text=True):
    net, expected = NETS[name]()
    (folder / f"{name}.caffemodel").write_bytes(net.SerializeToString())
    if text:
        (folder / f"{name}.prototxt").write_text(text_format.MessageToString(NETS[name](held=False)[0]))
    return folder / f"{name}.caffemodel", expected


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("ending", ["caffemodel", "prototxt"])
@pytest.mark.parametrize("text", [True, False])
def test_a_network_of_the_published_messages_computes_the_same(name, ending, text, tmp_path):
    path, expected = saved(name, tmp_path, text)
    if not text and ending == "prototxt":
        path = path.rename(tmp_path / "no_ending")
        ending = ""
    model = lamina.load_model(path.with_suffix(f".{ending}") if ending else path)
    assert np.allclose(outputs(model), expected, atol=1e-6)
    assert model.name == NETS[name]()[0].name


@pytest.mark.parametrize("name", ["modern", "old"])
def test_the_samples_that_are_checked_in_are_read(name):
    model = lamina.load_model(FIXTURES / f"{name}.prototxt")
    assert np.allclose(outputs(model), NETS[name]()[1], atol=1e-6)


@pytest.mark.parametrize(
    "make", [plain, normalized, lambda: chain(layers.Rescaling(0.5, 0.1), Dense(4), layers.ELU(0.5), Dense(2))]
)
def test_what_is_written_is_a_network_of_the_published_messages_and_comes_back(make, tmp_path):
    model = make()
    if make is normalized:
        model = chain(*[layer for layer in model.layers if not isinstance(layer, layers.PReLU)])
    model.export(tmp_path / "m.caffemodel")
    net = NetParameter.FromString((tmp_path / "m.caffemodel").read_bytes())
    assert [layer.type for layer in net.layer].count("InnerProduct") == sum(isinstance(x, Dense) for x in model.layers)
    text = text_format.Parse((tmp_path / "m.prototxt").read_text(), NetParameter())
    for layer in net.layer:
        del layer.blobs[:]
    assert text == net
    for ending in ("caffemodel", "prototxt"):
        assert np.allclose(outputs(lamina.load_model(tmp_path / f"m.{ending}")), outputs(model), atol=1e-6)


def test_a_text_alone_gives_a_model_with_new_weights_and_says_so(tmp_path):
    (tmp_path / "m.prototxt").write_text(text_format.MessageToString(modern(held=False)[0]))
    with pytest.warns(UserWarning, match="no weights beside"):
        model = lamina.load_model(tmp_path / "m.prototxt")
    assert model.output_shape == (None, 3)
    path, expected = saved("modern", tmp_path, text=False)
    assert np.allclose(outputs(lamina.load_model(tmp_path / "m.prototxt", weights=path)), expected, atol=1e-6)


TRAINING = """
# a network as it was trained
name: 'lenet'  layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { source: "x" backend: LMDB } }
layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TEST } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 } inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "noisy" type: "Dropout" bottom: "ip" top: "ip" include { phase: TRAIN } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.filterwarnings("ignore:There are no weights:UserWarning")
def test_a_text_for_training_is_read_as_it_predicts(tmp_path):
    (tmp_path / "m.prototxt").write_text(TRAINING)
    with pytest.warns(UserWarning, match="left out") as said:
        model = lamina.load_model(tmp_path / "m.prototxt", features=7)
    assert [type(layer).__name__ for layer in model.layers] == ["Dense", "Softmax"]
    assert model.input_shape == (None, 7)
    texts = " ".join(str(w.message) for w in said)
    assert "Accuracy layer `accuracy` is left out" in texts
    assert "SoftmaxWithLoss layer `loss` is read as Softmax" in texts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layer { name: "c" type: "Convolution" bottom: "d" top: "c" }', "Convolution layer `c`: there is no layer"),
        ("layers { name: 'c' type: CONVOLUTION bottom: 'd' top: 'c' }", "Convolution layer `c`"),
        ('layer { name: "c" type: "InnerProduct" bottom: "d" top: "c" ', "a `{` is not closed"),
        ('layer { name: }', "line 1 '}' stands where it cannot"),
        ('layer { name: "a" type: "InnerProduct" bottom: "d" top: "a" inner_product_param { num_output: many } }', "many"),
        ('layer { name: "a" type: "InnerProduct" bottom: "d" top: "a" }', "num_output=0"),
        ('layer { name: "a" type: "ReLU" bottom: "d" top: "a" } layer { name: "b" type: "ReLU" bottom: "d" top: "b" }', "no chain"),
        ('layer { name: "a" type: "ReLU" bottom: "d" top: "a" }', "size of the input is not known"),
        ("layer {" * 30, "nested too deeply"),
        ('name: "only"  # layer', "no layers"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_read_says_where(text, message, tmp_path):
    (tmp_path / "m.prototxt").write_text(text)
    with pytest.raises(LaminaError, match=message):
        lamina.load_model(tmp_path / "m.prototxt")


def test_blobs_that_are_not_what_they_declare_are_refused(tmp_path):
    net, _ = modern()
    net.layer[1].blobs[0].shape.dim[0] = 2**40
    (tmp_path / "m.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(FileFormatError, match="layer `ip1` declares the shape"):
        lamina.load_model(tmp_path / "m.caffemodel")
    net, _ = modern()
    net.layer[1].inner_product_param.num_output = 9
    (tmp_path / "m.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(FileFormatError, match="it gives 9 numbers"):
        lamina.load_model(tmp_path / "m.caffemodel")


def test_a_layer_that_caffe_lacks_is_named_and_nothing_is_written(tmp_path):
    for inner, text in (
        ([layers.LayerNormalization(), Dense(1)], "LayerNormalization layer"),
        ([Dense(2, activation="gelu")], "gelu"),
    ):
        with pytest.raises(InvalidArgumentError, match=text):
            chain(*inner).export(tmp_path / "m.caffemodel")
    assert not list(tmp_path.iterdir())
