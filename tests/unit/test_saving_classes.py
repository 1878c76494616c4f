"""Classes and functions of the user's in files, and graphs."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from saving_files import X, changed, rewritten, same, small, values

from lamina import Dense, Input, Model, Sequential, layers, registry, saving
from lamina.errors import FileFormatError


@pytest.fixture
def weights(tmp_path):
    model = small()
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    return model, path


# ---- classes and functions of the user's


def test_a_class_of_the_users_is_found_by_registration_argument_or_scope(tmp_path):
    class Twice(layers.Layer):
        def call(self, x):
            return x * 2

    Sequential([Input((4,)), Twice(), Dense(1)]).save(tmp_path / "m.keras")
    with pytest.raises(FileFormatError, match=r"Could not locate class 'Twice'(.|\n)*custom_objects=\{'Twice': ...\}"):
        saving.load_model(tmp_path / "m.keras")
    assert isinstance(saving.load_model(tmp_path / "m.keras", custom_objects={"Twice": Twice}).layers[0], Twice)
    with saving.custom_object_scope({"Twice": Twice}):
        assert isinstance(saving.load_model(tmp_path / "m.keras").layers[0], Twice)
    with saving.CustomObjectScope({"Twice": Twice}):
        saving.load_model(tmp_path / "m.keras")
    with pytest.raises(FileFormatError, match="Could not locate"):
        saving.load_model(tmp_path / "m.keras")


@pytest.fixture
def clean_registry():
    before = dict(registry._custom), dict(registry._custom_names)
    yield
    for table, old in zip((registry._custom, registry._custom_names), before, strict=True):
        table.clear()
        table.update(old)


def test_functions_of_the_users_come_back_by_their_registered_names(tmp_path, clean_registry):
    @saving.register_keras_serializable("mine")
    def cube(x):
        return x * x * x

    @saving.register_keras_serializable("mine")
    def far(y_true, y_pred):
        return (y_true - y_pred) ** 4

    model = Sequential([Input((4,)), Dense(2, activation=cube), Dense(1)])
    model.compile("sgd", far, metrics=[far])
    model.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    assert copy.layers[0].activation is cube
    assert copy.loss is far
    np.testing.assert_array_equal(model.predict(X, verbose=0), copy.predict(X, verbose=0))
    assert saving.get_registered_name(cube) == "mine>cube"
    assert saving.get_registered_object("mine>cube") is cube
    assert saving.get_custom_objects()["mine>far"] is far


def test_a_layer_that_writes_its_weights_by_its_own_rule_reads_them_so(tmp_path, clean_registry):
    @saving.register_keras_serializable("mine")
    class Table(layers.Layer):
        def build(self, input_shape):
            self.table = self.add_weight(shape=(3,), initializer="ones", name="table")

        def call(self, x):
            return x * self.table[0]

        def save_own_variables(self, store):
            store["table"] = self.table.numpy()
            store["size"] = 3

        def load_own_variables(self, store):
            if "size" not in store:
                raise KeyError("size")
            self.table.assign(store["table"])

    model = Sequential([Input((4,)), Table(), Dense(1)])
    model.layers[0].table.assign([1.0, 2.0, 3.0])
    model.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    assert same(values(model), values(copy))
    model.save_weights(tmp_path / "m.weights.h5")
    changed(tmp_path / "m.weights.h5", lambda f: f.__delitem__("layers/table/vars/size"))
    copy.layers[1].kernel.assign(np.zeros((4, 1)))
    before = values(copy)
    with pytest.raises(
        FileFormatError, match=r"`Table.load_own_variables` of layer 'table' failed: KeyError\('size'\)"
    ):
        copy.load_weights(tmp_path / "m.weights.h5")
    assert same(before, values(copy))
    with pytest.warns(UserWarning, match=r"`Table.load_own_variables`"):
        copy.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    assert same(values(model)[1:], values(copy)[1:])


def test_a_compile_of_the_users_is_not_called_and_that_is_said(tmp_path):
    class Own(Sequential):
        def compile(self, *args, **kwargs):
            super().compile(*args, **kwargs)

    model = Own([Input((4,)), Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match=r"`compile\(\)` method is custom"):
        copy = saving.load_model(tmp_path / "m.keras", custom_objects={"Own": Own})
    assert not copy.compiled
    assert same(values(model)[:2], values(copy))


def test_a_layer_of_the_users_keeps_files_of_its_own(tmp_path, clean_registry):
    @saving.register_keras_serializable("mine")
    class Words(layers.Layer):
        words = ()

        def save_assets(self, path):
            (Path(path) / "deep").mkdir()
            (Path(path) / "deep" / "words.txt").write_text(" ".join(self.words))

        def load_assets(self, path):
            self.words = tuple((Path(path) / "deep" / "words.txt").read_text().split())

        def call(self, x):
            return x

    model = Sequential([Input((4,)), Words()])
    model.layers[0].words = ("some", "words")
    model.save(tmp_path / "m.keras")
    assert saving.load_model(tmp_path / "m.keras").layers[0].words == ("some", "words")


def test_one_object_in_two_places_stays_one_object(tmp_path, clean_registry):
    @saving.register_keras_serializable("mine")
    class Around(layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    dense = Dense(4)
    model = Sequential([Input((4,)), Around(dense, name="first"), Around(dense, name="second")])
    model.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    assert copy.layers[0].inner is copy.layers[1].inner
    assert len(copy.weights) == 2
    text = zipfile.ZipFile(tmp_path / "m.keras").read("config.json").decode()
    inner = [entry["config"]["inner"] for entry in json.loads(text)["config"]["layers"][1:]]
    assert inner[0] == inner[1]
    assert "shared_object_id" in inner[0]


def test_weights_are_found_under_another_attribute_of_the_same_layer(tmp_path):
    class Plain(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(3)

        def call(self, x):
            return self.dense(x)

    class Renamed(Model):
        def __init__(self):
            super().__init__()
            self.a_dense = Dense(3)

        @property
        def dense(self):
            return self.a_dense

        def call(self, x):
            return self.dense(x)

    first, second = Plain(), Renamed()
    first(X), second(X)
    first.save_weights(tmp_path / "m.weights.h5")
    second.load_weights(tmp_path / "m.weights.h5")
    assert same(values(first), values(second))


def test_layers_that_hold_each_other_do_not_hang(tmp_path):
    class Odd(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)
            self.dense.owner = self
            self.me = [self, {"me": self}]
            self.me.append(self.me)

        def call(self, x):
            return self.dense(x)

    first, second = Odd(), Odd()
    first(X), second(X)
    first.save_weights(tmp_path / "m.weights.h5")
    second.load_weights(tmp_path / "m.weights.h5")
    assert same(values(first), values(second))
    wide = Sequential([Input((4,)), Dense(9)])
    with pytest.raises(FileFormatError, match=r"must match|no such layer"):
        wide.load_weights(tmp_path / "m.weights.h5")


# ---- functional models


def _functional(change, tmp_path):
    i = Input((4,), name="i")
    x = Dense(4, name="a")(i)
    Model(i, Dense(1, name="b")(x + i)).save(tmp_path / "f.keras")
    return rewritten(tmp_path / "f.keras", tmp_path / "g.keras", change)


def _entry(config, name):
    return next(entry for entry in config["config"]["layers"] if entry["name"] == name)


def _from(entry, place, argument=0):
    entry["inbound_nodes"][0]["args"][argument]["config"]["keras_history"] = place


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: _from(_entry(c, "a"), ["b", 0, 0]), "loops or disconnected nodes.*: a, add, b"),
        (lambda c: _from(_entry(c, "a"), ["i", 5, 0]), "loops or disconnected nodes"),
        (lambda c: _from(_entry(c, "a"), ["nobody", 0, 0]), "unknown layer"),
        (lambda c: c["config"].update(output_layers=["nobody", 0, 0]), "what is not there"),
        (lambda c: c["config"].update(layers=[3]), "among its layers is 3"),
        (lambda c: _entry(c, "b").update(name="a"), "occurs twice"),
        (lambda c: _entry(c, "add").update(class_name="Wavelet"), "`Wavelet`, which lamina does not have"),
        (lambda c: _entry(c, "add").update(class_name="Reshape", config={"shape": 1}), "no argument `shape`"),
        (lambda c: _entry(c, "add").update(module="keras.src.ops.core", class_name="Wavelet"), "does not have"),
        (lambda c: _entry(c, "a").update(inbound_nodes=[3]), "a node of 'a' is 3"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(change, text, tmp_path):
    with pytest.raises(FileFormatError, match=text):
        saving.load_model(_functional(change, tmp_path))


def test_the_layers_of_a_graph_may_come_in_any_order(tmp_path):
    path = _functional(lambda c: c["config"]["layers"].reverse(), tmp_path)
    first, second = saving.load_model(path), saving.load_model(tmp_path / "f.keras")
    np.testing.assert_array_equal(first(X), second(X))
    assert first.get_config() == second.get_config()


def test_a_graph_of_thousands_of_layers_is_read_without_recursion(tmp_path):
    i = x = Input((1,))
    layer = Dense(1)
    for _ in range(1500):
        x = layer(x)
    x = layers.Identity()(x)
    for _ in range(500):
        x = layers.Identity()(x)
    model = Model(i, x)
    model.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    assert copy.count_params() == 2
    assert len(layer._inbound_nodes) == len(copy.layers[1]._inbound_nodes) == 1500


def test_a_model_cut_out_of_another_comes_back_with_an_input_of_its_own(tmp_path):
    i = Input((4,))
    middle = Dense(3)(i)
    whole = Model(i, Dense(1)(middle))
    cut = Model(middle, whole.output)
    assert cut.weights == whole.layers[-1].weights
    cut.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    h = np.ones((2, 3), "float32")
    np.testing.assert_allclose(copy(h), cut(h), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cut(whole.layers[1](X)), whole(X), rtol=1e-5, atol=1e-6)


def test_structures_of_inputs_and_outputs_come_back(tmp_path):
    a, b = Input((4,), name="a"), Input((2,), name="b")
    model = Model({"x": a, "y": [b]}, (Dense(1)(a), {"z": Dense(2)(b)}))
    model.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    given = {"x": X, "y": [X[:, :2]]}
    first, second = model(given), copy(given)
    assert isinstance(copy.input, dict)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1]["z"], second[1]["z"])
