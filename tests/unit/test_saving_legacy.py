"""Files of Keras 2, made here as Keras 2 wrote them: `.h5` models and weights, and the first `.keras` files."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from saving_files import X, Y, rewritten, same, small, values

from lamina import Dense, Input, Model, Sequential, layers, optimizers, saving
from lamina.errors import FileFormatError, LaminaError

RNG = np.random.default_rng(4)
KERNELS = {
    "hidden": [RNG.normal(size=(4, 3)), RNG.normal(size=3)],
    "norm": [RNG.normal(size=3), RNG.normal(size=3), RNG.normal(size=3), RNG.uniform(0.5, 1, 3)],
    "last": [RNG.normal(size=(3, 1)), RNG.normal(size=1)],
}
KERNELS = {name: [a.astype("float32") for a in arrays] for name, arrays in KERNELS.items()}
NAMES = {2: ["kernel:0", "bias:0"], 4: ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"]}
GLOROT = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
ZEROS = {"class_name": "Zeros", "config": {"dtype": "float32"}}


def _dense(name, units, activation, **more):
    config = {
        "name": name, "trainable": True, "dtype": "float32", "units": units, "activation": activation, "use_bias": True,
        "kernel_initializer": GLOROT, "bias_initializer": ZEROS, "kernel_regularizer": None,
        "bias_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}}, "activity_regularizer": None,
        "kernel_constraint": {"class_name": "MaxNorm", "config": {"max_value": 9, "axis": 0}}, "bias_constraint": None,
    }  # fmt: skip
    return {"class_name": "Dense", "config": {**config, **more}}


def _chain():
    norm = {
        "name": "norm", "trainable": True, "dtype": "float32", "axis": [1], "momentum": 0.99, "epsilon": 0.001,
        "center": True, "scale": True, "beta_initializer": ZEROS, "gamma_initializer": {"class_name": "Ones", "config": {}},
        "moving_mean_initializer": ZEROS, "moving_variance_initializer": {"class_name": "Ones", "config": {}},
        "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None, "gamma_constraint": None,
    }  # fmt: skip
    return [
        {"class_name": "InputLayer", "config": {
            "batch_input_shape": [None, 4], "dtype": "float32", "sparse": False, "ragged": False, "name": "input_1"}},
        _dense("hidden", 3, "linear"),
        {"class_name": "BatchNormalization", "config": norm},
        {"class_name": "LeakyReLU", "config": {"name": "leaky", "trainable": True, "dtype": "float32", "alpha": 0.2}},
        {"class_name": "Dropout", "config": {
            "name": "drop", "trainable": True, "dtype": "float32", "rate": 0.5, "noise_shape": None, "seed": None}},
        _dense("last", 1, "sigmoid"),
    ]  # fmt: skip


def _graph():
    entries = [{**entry, "name": entry["config"]["name"]} for entry in _chain()]
    for before, entry in zip([None, *entries], entries, strict=False):
        entry["inbound_nodes"] = [] if before is None else [[[before["name"], 0, 0, {}]]]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["last", 0, 0]]}
    return {"class_name": "Model", "config": {"name": "model", "layers": entries, **ends}}


CONFIGS = {
    "chain": {"class_name": "Sequential", "config": {"name": "sequential", "layers": _chain()}},
    "list": {"class_name": "Sequential", "config": _chain()[1:]},
    "graph": _graph(),
}
CONFIGS["list"]["config"][0]["config"]["batch_input_shape"] = [None, 4]
ADAM = {
    "class_name": "Adam",
    "config": {
        "name": "Adam", "learning_rate": 0.01, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07,
        "amsgrad": False, "jit_compile": True, "is_legacy_optimizer": False,
    },
}  # fmt: skip
TRAINING = {
    "loss": {"class_name": "BinaryCrossentropy", "config": {"reduction": "auto", "name": "b", "from_logits": False, "label_smoothing": 0}},
    "metrics": [[{"class_name": "MeanMetricWrapper", "config": {"name": "accuracy", "dtype": "float32", "fn": "binary_accuracy"}}]],
    "weighted_metrics": None,
    "loss_weights": None,
    "optimizer_config": ADAM,
}  # fmt: skip


def _write(path, config=None, training=None, weights=KERNELS, cut=False):
    with h5py.File(path, "w") as file:
        group = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            group = file.create_group("model_weights")
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        file.attrs["keras_version"] = group.attrs["keras_version"] = b"2.4.0"
        names = ["input_1", "hidden", "norm", "leaky", "drop", "last"]
        parts = {"layer_names0": names[:3], "layer_names1": names[3:]} if cut else {"layer_names": names}
        for key, part in parts.items():
            group.attrs[key] = np.array([name.encode() for name in part])
        for name in names:
            arrays = weights.get(name, [])
            layer = group.create_group(name)
            paths = [f"{name}/{end}" for end in NAMES.get(len(arrays), [])]
            layer.attrs["weight_names"] = np.array([p.encode() for p in paths])
            for place, array in zip(paths, arrays, strict=True):
                layer[place] = array
    return path


def _expected(x):
    (kernel, bias), (gamma, beta, mean, variance), (last, shift) = KERNELS.values()
    h = (x @ kernel + bias - mean) / np.sqrt(variance + 0.001) * gamma + beta
    h = np.where(h > 0, h, 0.2 * h)
    return 1 / (1 + np.exp(-(h @ last + shift)))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_model_of_keras_2_gives_its_outputs(name, tmp_path):
    path = _write(tmp_path / "m.h5", CONFIGS[name], cut=name == "graph")
    with pytest.warns(UserWarning, match="No training configuration"):
        model = saving.load_model(path)
    np.testing.assert_allclose(model.predict(X, verbose=0), _expected(X), atol=1e-6)
    assert model.layers[-1].bias_regularizer is not None


def test_a_compiled_model_of_keras_2_is_compiled_and_trains(tmp_path):
    path = _write(tmp_path / "m.hdf5", CONFIGS["chain"], TRAINING)
    model = saving.load_model(path)
    assert isinstance(model.optimizer, optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    logs = model.evaluate(X, (Y > 0).astype("float32"), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "accuracy"}
    model.fit(X, (Y > 0).astype("float32"), verbose=0)
    assert not saving.load_model(path, compile=False).compiled


def test_weights_of_keras_2_alone_go_into_a_model_by_order_or_by_name(tmp_path):
    path = _write(tmp_path / "w.h5")

    def make(prefix=""):
        return Sequential(
            [Input((4,)), Dense(3, name=f"{prefix}hidden"), layers.BatchNormalization(name=f"{prefix}norm"),
             layers.LeakyReLU(0.2), Dense(1, "sigmoid", name=f"{prefix}last")]
        )  # fmt: skip

    model = make("other_")
    model.load_weights(path)
    np.testing.assert_allclose(model.predict(X, verbose=0), _expected(X), atol=1e-6)
    model = make("other_")
    before = values(model)
    model.load_weights(path, by_name=True)
    assert same(before, values(model))
    head = Sequential([Input((3,)), Dense(1, name="last")])
    head.load_weights(path, by_name=True)
    assert same(values(head), KERNELS["last"])


def test_weights_of_keras_2_that_do_not_fit_change_nothing(tmp_path):
    path = _write(tmp_path / "w.h5")
    model = small()
    before = values(model)
    with pytest.raises(
        FileFormatError, match=r"Layer count mismatch. Model expected 2 layers \(hidden, last\), found 3"
    ):
        model.load_weights(path)
    with pytest.raises(FileFormatError, match=r"layer `hidden`: the shapes must match: expected kernel \(4, 9\)"):
        small(9).load_weights(path, by_name=True)
    assert same(before, values(model))
    other = small(9)
    with pytest.warns(UserWarning, match="the shapes must match"):
        other.load_weights(path, skip_mismatch=True, by_name=True)
    with pytest.raises(FileFormatError, match="weights alone"):
        saving.load_model(path)


@pytest.mark.parametrize("kind", ["ExternalLink", "SoftLink"])
def test_links_in_old_files_are_refused(kind, tmp_path):
    path = _write(tmp_path / "w.h5")
    with h5py.File(path, "r+") as file:
        del file["last"]
        file["last"] = h5py.SoftLink("/hidden") if kind == "SoftLink" else h5py.ExternalLink(str(path), "/hidden")
    with pytest.raises(FileFormatError, match=kind):
        small().load_weights(path)


def test_an_old_file_may_not_ask_for_code_or_for_more_memory_than_it_has(tmp_path):
    config = json.loads(json.dumps(CONFIGS["chain"]))
    config["config"]["layers"][1]["config"]["units"] = 10**9
    with pytest.raises(ValueError, match=r"do not belong together|GB are free"):
        saving.load_model(_write(tmp_path / "m.h5", config))
    config["config"]["layers"][1] = {
        "class_name": "Lambda",
        "config": {"name": "f", "function": ["4wEA", None, None], "function_type": "lambda"},
    }
    with pytest.raises(ValueError):  # noqa: PT011 - by whichever check comes first
        saving.load_model(_write(tmp_path / "l.h5", config))


@pytest.mark.parametrize(
    "change",
    [
        {"class_name": {"a": 1}, "config": {}},
        {"class_name": ["Dense"], "config": {}},
        {"class_name": "Dense", "config": True, "inbound_nodes": True, "name": "d"},
        {"class_name": "Dense", "config": {"name": "\udcff", "units": 2}, "inbound_nodes": 3},
    ],
)
def test_an_entry_that_is_none_in_an_old_config_is_refused(change, tmp_path):
    for where in ("chain", "functional"):
        config = json.loads(json.dumps(CONFIGS.get(where, CONFIGS["chain"])))
        config["config"]["layers"][1] = change
        with pytest.raises(LaminaError):
            saving.load_model(_write(tmp_path / "m.h5", config))


def test_bytes_that_are_no_text_in_an_old_file_are_refused(tmp_path):
    path = _write(tmp_path / "m.h5", CONFIGS["chain"])
    with h5py.File(path, "r+") as file:
        said = file.attrs["model_config"]
        said = said if isinstance(said, bytes) else said.encode()
        file.attrs.create("model_config", said.replace(b"chain", b"ch\xffin") + b"\xff", dtype=h5py.string_dtype())
    with pytest.raises(FileFormatError):
        saving.load_model(path)


def test_a_subclassed_model_in_an_old_file_says_what_to_do(tmp_path):
    class Own(Model):
        pass

    path = _write(tmp_path / "m.h5", {"class_name": "Own", "config": {"name": "own"}})
    with pytest.raises(FileFormatError, match=r"does not say how to build model `own`(.|\n)*load_weights"):
        saving.load_model(path, custom_objects={"Own": Own})


@pytest.mark.parametrize("data", [b"", b"text", b"\x89HDF\r\n\x1a\nrubbish"])
def test_rubbish_in_old_files_is_refused(data, tmp_path):
    (tmp_path / "m.h5").write_bytes(data)
    with pytest.raises(FileFormatError):
        saving.load_model(tmp_path / "m.h5")
    with pytest.raises(FileFormatError):
        small().load_weights(tmp_path / "m.h5")
    with pytest.raises(FileNotFoundError):
        saving.load_model(tmp_path / "missing.h5")


def test_a_keras_file_of_keras_2_is_read(tmp_path):
    model = small()
    model.compile(optimizers.Adam(0.01), "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "new.keras")

    def older(config):
        config["module"], config["registered_name"] = "keras.src.engine.sequential", "Sequential"
        first = config["config"]["layers"][0]["config"]
        first["batch_input_shape"] = first.pop("batch_shape")
        del first["optional"]
        for entry in config["config"]["layers"][1:]:
            entry["config"]["dtype"] = "float32"
            del entry["config"]["quantization_config"]
        config["compile_config"]["optimizer"]["config"].update(jit_compile=False, is_legacy_optimizer=False)

    image = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "new.keras") as archive:
        image.write(archive.read("model.weights.h5"))
    with h5py.File(image, "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")  # 2.13
        file.create_dataset("metrics/mean/vars/0", data=np.float32(1))
        file.create_dataset("_layer_checkpoint_dependencies/dense/seed_generator/vars/0", data=np.zeros(2, "uint32"))
    version = json.dumps({"keras_version": "2.13.1", "date_saved": "2023-07-01@00:00:00"}).encode()
    path = rewritten(
        tmp_path / "new.keras", tmp_path / "old.keras", older, metadata_json=version, model_weights_h5=image.getvalue()
    )
    copy = saving.load_model(path)
    assert same(values(model), values(copy))
