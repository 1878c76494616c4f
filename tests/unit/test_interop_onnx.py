"""ONNX files, run by ONNX Runtime, against the models themselves."""

from itertools import pairwise

import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.interop import onnx
from lamina.interop.lowering import lower
from lamina.models import Model, Sequential
from lamina.saving.bridge import model_of

pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")


def all_activations():
    x = layers.Input((6,), name="x")
    return randomized(Model(x, [layers.Dense(8, activation=name, name=name)(x) for name in ACTIVATIONS]))


def run(path, inputs):
    """Return what ONNX Runtime computes, in this process: a start of another for each test takes a minute in all."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {one.name: x for one, x in zip(session.get_inputs(), inputs, strict=True)})


CASES = {**{name: (lambda name=name: randomized(MODELS[name]())) for name in MODELS}, "activations": all_activations}


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_predicts_what_the_model_predicts_for_any_number_of_rows(name, tmp_path):
    import onnx as reference

    model = CASES[name]()
    path = str(tmp_path / "net.onnx")
    notes = onnx.write(net_of(model), path)
    reference.checker.check_model(path, full_check=True)
    assert "Operator set 17; any number of rows." in notes
    assert onnx.matches(path, (tmp_path / "net.onnx").read_bytes()[:512])
    for rows in (1, 7, 64):
        inputs = batch(model, rows)
        found = run(path, inputs)
        for y, wanted, node in zip(found, predictions(model, inputs), lower(net_of(model)).outputs, strict=True):
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=3e-5, err_msg=node)


UNREADABLE = ("normalizations", "activation layers", "broadcast")  # written out in operators that no layer is
READABLE = [name for name in MODELS if name not in UNREADABLE]


@pytest.mark.parametrize("name", READABLE)
def test_what_was_written_is_read_again(name, tmp_path):
    model = randomized(MODELS[name]())
    path = str(tmp_path / "net.onnx")
    onnx.write(net_of(model), path)
    back = model_of(onnx.read(path))
    inputs = batch(model, 6)
    for y, wanted in zip(predictions(back, inputs), predictions(model, inputs), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "relu",
        "relu6",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "hard_silu",
        "mish",
        "sigmoid",
        "hard_sigmoid",
        "log_sigmoid",
        "sparse_sigmoid",
        "tanh",
        "tanh_shrink",
        "hard_tanh",
        "exponential",
        "softplus",
        "squareplus",
        "softsign",
        "softmax",
        "log_softmax",
        "leaky_relu",
    ],
)
def test_activations_are_read_again(name, tmp_path):
    model = randomized(Sequential([layers.Input((4,)), layers.Dense(5, activation=name)]))
    path = str(tmp_path / "net.onnx")
    onnx.write(net_of(model), path)
    back = model_of(onnx.read(path))
    inputs = batch(model, 6)
    np.testing.assert_allclose(predictions(back, inputs)[0], predictions(model, inputs)[0], rtol=1e-5, atol=1e-5)


def test_the_demos_network_comes_back_as_the_layers_that_it_was(tmp_path):
    path = str(tmp_path / "net.onnx")
    onnx.write(net_of(randomized(MODELS["digits"]())), path)
    layers_ = onnx.read(path).config["config"]["layers"]
    kinds = ["InputLayer", "Rescaling", "Flatten", "Dense", "BatchNormalization", "Activation", "Dense"]
    assert [entry["class_name"] for entry in layers_] == kinds
    assert layers_[-1]["config"]["activation"] == "softmax"


def made(nodes, constants=(), shape=("batch", 4), outputs=("y",), opset=17, **options):
    """Return the bytes of a file that the reference library makes."""
    import onnx as reference
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attributes) for kind, ins, outs, attributes in nodes],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString() if not options else (reference, model)


RNG = np.random.default_rng(3)
W, B = RNG.normal(size=(4, 5)).astype(np.float32), RNG.normal(size=5).astype(np.float32)
OTHERS = {
    "a transposed kernel and factors": ([("Gemm", ["x", "w", "b"], ["y"], {"transB": 1, "alpha": 0.5, "beta": 2.0})], {"w": W.T.copy(), "b": B}),
    "a product and a sum": ([("MatMul", ["x", "w"], ["h"], {}), ("Add", ["b", "h"], ["y"], {})], {"w": W, "b": B}),
    "a kernel transposed in the graph": ([("Transpose", ["w"], ["t"], {"perm": [1, 0]}), ("MatMul", ["x", "t"], ["y"], {})], {"w": W.T.copy()}),
    "a product used twice": ([("MatMul", ["x", "w"], ["h"], {}), ("Add", ["h", "b"], ["z"], {}), ("Mul", ["h", "z"], ["y"], {})], {"w": W, "b": B}),
    "exact gelu as operators": ([("Div", ["x", "r"], ["a"], {}), ("Erf", ["a"], ["e"], {}), ("Add", ["e", "o"], ["p"], {}), ("Mul", ["x", "p"], ["m"], {}), ("Mul", ["m", "f"], ["y"], {})], {"r": np.float32(2**0.5), "o": np.float32(1), "f": np.float32(0.5)}),
    "flatten, concat, softmax": ([("Flatten", ["x"], ["f"], {"axis": 1}), ("Concat", ["f", "x"], ["c"], {"axis": -1}), ("Softmax", ["c"], ["y"], {})], {}),
    "clip and prelu": ([("PRelu", ["x", "s"], ["p"], {}), ("Clip", ["p", "lo", "hi"], ["y"], {})], {"s": np.array([0.1, 0.2, 0.3, 0.4], np.float32), "lo": np.float32(0), "hi": np.float32(1.5)}),
    "dropout and identity": ([("Dropout", ["x"], ["d"], {}), ("Identity", ["d"], ["y"], {})], {}),
    "one minus, maximum with a number": ([("Sub", ["o", "x"], ["s"], {}), ("Max", ["s", "o"], ["y"], {})], {"o": np.float32(0.3)}),
    "reshape and batch normalization over channels": ([("Reshape", ["x", "t"], ["r"], {}), ("BatchNormalization", ["r", "g", "g", "g", "g"], ["n"], {}), ("Transpose", ["n"], ["y"], {"perm": [0, 2, 1]})], {"t": np.array([0, 2, 2]), "g": np.array([0.5, 2.0], np.float32)}),
    "two outputs": ([("Relu", ["x"], ["a"], {}), ("Neg", ["x"], ["y"], {})], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_others_write_is_read(name, tmp_path):
    nodes, constants = OTHERS[name]
    outputs = ("a", "y") if name == "two outputs" else ("y",)
    (tmp_path / "net.onnx").write_bytes(made(nodes, constants, outputs=outputs))
    path = str(tmp_path / "net.onnx")
    model = model_of(onnx.read(path))
    x = [RNG.normal(size=(9, 4)).astype(np.float32)]
    for y, wanted in zip(predictions(model, x), run(path, x), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


REFUSED = {
    "Conv": ([("Conv", ["x", "w"], ["y"], {})], {"w": np.ones((1, 1, 1, 1), np.float32)}, "ONNX operator Conv"),
    "rows mixed": ([("Transpose", ["x"], ["y"], {"perm": [1, 0]})], {}, "axis of the rows"),
    "a kernel that is computed": ([("MatMul", ["x", "x"], ["y"], {})], {}, "must be constant"),
    "a kernel that does not fit": (
        [("MatMul", ["x", "w"], ["y"], {})],
        {"w": np.ones((3, 2), np.float32)},
        "does not fit",
    ),
    "softmax over rows": ([("Softmax", ["x"], ["y"], {"axis": 0})], {}, "that of the rows"),
    "another domain": ([("Relu", ["x"], ["y"], {"domain": "com.microsoft"})], {}, "domain"),
    "a bound from below": ([("Clip", ["x", "l"], ["y"], {})], {"l": np.float32(-3)}, "between -3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_layer_does_is_refused_with_the_operator_named(name, tmp_path):
    nodes, constants, phrase = REFUSED[name]
    (tmp_path / "net.onnx").write_bytes(made(nodes, constants))
    with pytest.raises(InvalidArgumentError, match="To fix it") as error:
        onnx.read(str(tmp_path / "net.onnx"))
    assert phrase in str(error.value)


def test_unknown_sizes_are_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(made([("Relu", ["x"], ["y"], {})], shape=("batch", "n")))
    with pytest.raises(InvalidArgumentError, match="must be known"):
        onnx.read(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize(
    "location", ["weights.bin", "../weights.bin", "/etc/passwd", "link.bin", "missing.bin", "..", ""]
)
def test_constants_in_another_file_are_read_from_the_same_folder_alone(location, tmp_path):
    from onnx import TensorProto
    from onnx.external_data_helper import set_external_data

    _, model = made([("Gemm", ["x", "w", "b"], ["y"], {})], {"w": W, "b": B}, as_model=True)
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path / "weights.bin", folder / "weights.bin"):
        place.write_bytes(W.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    tensor = model.graph.initializer[0]
    set_external_data(tensor, location or "weights.bin", 0, W.nbytes)
    tensor.external_data[0].value = location
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    if location == "weights.bin":
        np.testing.assert_array_equal(next(iter(onnx.read(str(folder / "net.onnx")).weights.values()))[0], W)
        return
    with pytest.raises(FileFormatError, match=r"same folder|not beside it"):
        onnx.read(str(folder / "net.onnx"))


def test_cut_and_changed_files_are_refused_or_read_but_never_fail_otherwise(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.write(net_of(randomized(MODELS["several"]())), str(path))
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        for _ in range(rng.integers(1, 4)):
            if data:
                data[rng.integers(0, len(data))] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            onnx.read(str(path))
        except (FileFormatError, InvalidArgumentError):
            refused += 1
    assert refused > 100


def test_a_shape_that_promises_more_than_the_file_has_is_refused_before_any_room_is_taken(tmp_path):
    for field in ("raw_data", "float_data"):
        _, model = made([("Gemm", ["x", "w"], ["y"], {})], {"w": W}, as_model=True)
        tensor = model.graph.initializer[0]
        tensor.dims[:] = [1 << 40, 1 << 20]
        if field == "float_data":
            tensor.ClearField("raw_data")
            tensor.float_data[:] = [1.0, 2.0]
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(FileFormatError, match="the constant 'w'"):
            onnx.read(str(tmp_path / "net.onnx"))


def test_one_array_used_ever_again_is_refused_before_it_fills_the_memory(tmp_path):
    big = np.ones((1200, 1200), np.float32)
    nodes = [("Gemm", [f"h{i}" if i else "x", "w"], [f"h{i + 1}" if i < 99 else "y"], {}) for i in range(100)]
    (tmp_path / "net.onnx").write_bytes(made(nodes, {"w": big}, shape=("batch", 1200)))
    with pytest.raises(FileFormatError, match="same weights so often"):
        onnx.read(str(tmp_path / "net.onnx"))


def test_many_operators_of_one_name_are_read_in_no_time(tmp_path):
    names = ["x", *(f"h{i}" for i in range(3000)), "y"]
    nodes = [("Neg", [a], [b], {"name": "same"}) for a, b in pairwise(names)]
    (tmp_path / "net.onnx").write_bytes(made(nodes))
    assert len(onnx.read(str(tmp_path / "net.onnx")).config["config"]["layers"]) == 3002


def test_a_constant_that_does_not_fit_is_refused(tmp_path):
    for kind in ("Add", "Mul", "PRelu"):
        (tmp_path / "net.onnx").write_bytes(made([(kind, ["x", "w"], ["y"], {})], {"w": np.ones((3,), np.float32)}))
        with pytest.raises(InvalidArgumentError, match=f"ONNX operator {kind}"):
            onnx.read(str(tmp_path / "net.onnx"))
