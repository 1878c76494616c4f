"""Lookups, hashing, ranges and encodings: what Keras gives with TensorFlow, without it; errors; files."""

import json
import zipfile
from pathlib import Path

import jax
import numpy as np
import pandas
import pytest

import lamina
from lamina import layers, saving
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.layers.index_lookup import IndexLookup

FIXTURES = Path(__file__).parents[1] / "fixtures/preprocessing"
KNOWN = json.loads((FIXTURES / "layers.json").read_text())["layers"]
WORDS = ["cat", "dog", "cat", "bird", "ünï", "cat", "dog", "", "emu", "fox"]
NUMBERS = [5, 7, 5, -3, 5, 7, 11, 2**40, 0, 13]
FLOATS = np.random.default_rng(0).gamma(2.0, 3.0, 500).astype("float32")
LEARNED = {
    "words": lambda: np.array(WORDS),
    "numbers": lambda: np.array(NUMBERS),
    "floats": lambda: FLOATS,
    "batches": lambda: [FLOATS[:200], FLOATS[200:350], FLOATS[350:]],
}


def made(name):
    entry = KNOWN[name]
    layer = getattr(layers, entry["class"])(**entry["arguments"], name="prepare")
    if entry["adapt"]:
        layer.adapt(LEARNED[entry["adapt"]]())
    return layer


@pytest.mark.parametrize("name", KNOWN)
def test_the_result_is_that_of_keras(name):
    entry, layer = KNOWN[name], made(name)
    inputs = np.array(entry["inputs"])
    np.testing.assert_allclose(np.asarray(layer(inputs)), entry["outputs"], atol=1e-6)
    if "vocabulary" in entry:
        assert layer.get_vocabulary() == entry["vocabulary"]
    if "boundaries" in entry:
        np.testing.assert_allclose(layer.bin_boundaries, entry["boundaries"], rtol=1e-6)
    assert tuple(layer.compute_output_shape(inputs.shape)) == np.shape(entry["outputs"])


@pytest.mark.parametrize("name", KNOWN)
def test_a_file_of_keras_gives_what_keras_gives(name):
    layer = saving.load_model(FIXTURES / f"{name}.keras").get_layer("prepare")
    np.testing.assert_allclose(np.asarray(layer(np.array(KNOWN[name]["inputs"]))), KNOWN[name]["outputs"], atol=1e-6)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["string", "string_idf", "string_given", "integer", "bins", "hashing_mask"])
def test_a_saved_layer_comes_back_with_what_it_learned(name, zipped, tmp_path):
    path = tmp_path / ("model.keras" if zipped else "model")
    saving.save_model(lamina.Sequential([made(name)]), path, zipped=None if zipped else False)
    layer = saving.load_model(path).get_layer("prepare")
    np.testing.assert_allclose(np.asarray(layer(np.array(KNOWN[name]["inputs"]))), KNOWN[name]["outputs"], atol=1e-6)


@pytest.mark.parametrize(
    "name", [n for n, entry in KNOWN.items() if not isinstance(entry["inputs"][0][0], str) and n != "hashing_floats"]
)
def test_numbers_are_prepared_inside_a_model_as_outside(name):
    layer, inputs = made(name), np.array(KNOWN[name]["inputs"], "float32" if "bins" in name else "int32")
    x = layers.Input(inputs.shape[1:], dtype=inputs.dtype.name)
    model = lamina.Model(x, layer(x))
    np.testing.assert_allclose(model.predict(inputs, verbose=0), KNOWN[name]["outputs"], atol=1e-6)
    np.testing.assert_allclose(np.asarray(model(inputs)), KNOWN[name]["outputs"], atol=1e-6)
    if KNOWN[name]["class"] != "CategoryEncoding":
        np.testing.assert_allclose(np.asarray(jax.jit(layer)(inputs)), KNOWN[name]["outputs"], atol=1e-6)


def test_a_model_trains_behind_a_lookup():
    codes = np.random.default_rng(0).choice([10, 20, 30], 300).astype("int32")[:, None]
    x = layers.Input((1,), dtype="int32")
    model = lamina.Model(x, layers.Dense(1)(layers.IntegerLookup(vocabulary=[10, 20, 30], output_mode="one_hot")(x)))
    model.compile("adam", "mse")
    model.optimizer.learning_rate = 0.1
    history = model.fit(codes, codes / 10, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.01 * history.history["loss"][0]


def test_a_compiled_model_follows_a_layer_that_learns_anew():
    layer = layers.IntegerLookup(vocabulary=None)
    layer.set_vocabulary([1, 2, 3])
    bins = layers.Discretization(num_bins=2)
    bins.adapt(np.array([0.0, 1.0, 2.0, 3.0]))
    x, z = layers.Input((1,), dtype="int32"), layers.Input((1,))
    model, other = lamina.Model(x, layer(x)), lamina.Model(z, bins(z))
    inputs = np.array([[1], [2], [3]])
    assert model.predict(inputs, verbose=0).ravel().tolist() == [1, 2, 3]
    layer.set_vocabulary([3, 2, 1])
    assert model.predict(inputs, verbose=0).ravel().tolist() == [3, 2, 1]
    assert other.predict(inputs.astype("float32") * 10, verbose=0).ravel().tolist() == [1, 1, 1]
    bins.adapt(np.array([20.0, 25.0, 26.0, 27.0]))
    assert other.predict(inputs.astype("float32") * 10, verbose=0).ravel().tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "values",
    [
        WORDS,
        tuple(WORDS),
        np.array(WORDS),
        np.array(WORDS, object),
        np.array([w.encode() for w in WORDS], object),
        pandas.Series(WORDS),
        pandas.Series(WORDS, dtype="category"),
    ],
    ids=lambda values: type(values).__name__,
)
def test_strings_come_in_every_guise(values):
    layer = layers.StringLookup()
    layer.adapt(values)
    assert layer.get_vocabulary() == KNOWN["string"]["vocabulary"]
    assert np.asarray(layer(values)).tolist() == [layer.get_vocabulary().index(w) for w in WORDS]


@pytest.mark.parametrize(
    "batches",
    [
        lambda: iter([WORDS[:4], WORDS[4:]]),
        lambda: ((np.array(part), [0]) for part in (WORDS[:4], WORDS[4:])),
        lambda: (part for part in [WORDS, WORDS * 0 or WORDS]),
    ],
)
def test_a_vocabulary_is_learned_from_batches(batches):
    layer = layers.StringLookup()
    layer.adapt(batches())
    assert sorted(layer.get_vocabulary()) == sorted(KNOWN["string"]["vocabulary"])


def test_learning_stops_after_so_many_batches():
    def without_end():
        while True:
            yield ["a", "b"]

    layer = layers.StringLookup()
    layer.adapt(without_end(), steps=3)
    assert layer.get_vocabulary() == ["[UNK]", "b", "a"]


def test_numbers_become_strings_again():
    layer = layers.StringLookup(vocabulary=["a", "b"], invert=True, mask_token="")
    assert layer([[0, 1, 2], [3, 9, -1]]).tolist() == [["", "[UNK]", "a"], ["b", "[UNK]", "[UNK]"]]


def test_a_vocabulary_is_read_from_a_file_that_the_user_names(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a\nb\nünï\n", encoding="utf-8")
    for given in (path, str(path)):
        layer = layers.StringLookup(vocabulary=given)
        assert layer.get_vocabulary() == ["[UNK]", "a", "b", "ünï"]
        assert layer.get_config()["vocabulary"] is None
    path.write_text("10\r\n20\r\n")
    assert layers.IntegerLookup(vocabulary=path).get_vocabulary() == [-1, 10, 20]


def test_a_file_that_a_saved_model_names_is_never_read(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("password\n")
    config = {**layers.StringLookup(vocabulary=["a"]).get_config(), "vocabulary": str(secret)}
    with pytest.raises(FileFormatError, match="vocabulary file outside of the model archive"):
        layers.StringLookup.from_config(config)
    source, target = tmp_path / "a.keras", tmp_path / "b.keras"
    x = layers.Input((1,), dtype="int32")
    lamina.Model(x, layers.IntegerLookup(vocabulary=[1], name="prepare")(x)).save(source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b'"vocabulary": [1]', f'"vocabulary": "{secret}"'.encode()))
    with pytest.raises(FileFormatError, match="vocabulary file outside"):
        saving.load_model(target)


@pytest.mark.parametrize("name", ["assets/../../evil.txt", "assets//x.txt", "assets/a/..\\b", "assets/c:/x"])
def test_files_of_layers_stay_in_their_folder(name, tmp_path):
    path, bad = tmp_path / "a.keras", tmp_path / "b.keras"
    x = layers.Input((1,), dtype="int32")
    layer = layers.IntegerLookup()
    layer.adapt([1, 2])
    lamina.Model(x, layer(x)).save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bad, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
        new.writestr(name, b"1")
    with pytest.raises(FileFormatError, match="leads elsewhere"):
        saving.load_model(bad)
    assert not (tmp_path.parent / "evil.txt").exists()


def test_a_damaged_vocabulary_is_an_error_of_the_file(tmp_path):
    path, bad = tmp_path / "a.keras", tmp_path / "b.keras"
    x = layers.Input((1,), dtype="int32")
    layer = layers.IntegerLookup()
    layer.adapt([1, 2])
    lamina.Model(x, layer(x)).save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bad, "w") as new:
        for member in old.namelist():
            new.writestr(member, b"1\n1\n1" if member.endswith(".txt") else old.read(member))
    with pytest.raises(FileFormatError, match="at least one repeated"):
        saving.load_model(bad)


REFUSED = [
    (lambda: layers.StringLookup(vocabulary=["a"])(["a", None]), "must be strings.*None at place 1.*fillna"),
    (lambda: layers.StringLookup(vocabulary=["a"])([1, 2]), "must be strings.*IntegerLookup"),
    (lambda: layers.StringLookup(vocabulary=["a"])(["a", ["b", "c"]]), "as many values"),
    (lambda: layers.IntegerLookup(vocabulary=[1])(["a"]), "must be whole numbers.*StringLookup"),
    (lambda: layers.IntegerLookup(vocabulary=[1])([1.5]), "must be whole numbers.*round"),
    (lambda: layers.IntegerLookup(vocabulary=[1])(np.array([np.nan])), "must be whole numbers"),
    (lambda: layers.IntegerLookup(vocabulary=[1], num_oov_indices=0)([1, 7]), r"found OOV values \[7\]"),
    (lambda: layers.StringLookup(vocabulary=[]), "Cannot set an empty vocabulary"),
    (lambda: layers.StringLookup(vocabulary=["a", "b", "a"]), r"repeated term.*\['a'\]"),
    (lambda: layers.StringLookup(vocabulary=["a", "m"], mask_token="m"), "reserved mask token"),
    (lambda: layers.StringLookup(vocabulary=["a", "[UNK]"], invert=True), "reserved OOV token"),
    (lambda: layers.StringLookup(vocabulary=["a", "b", "c"], max_tokens=3), "larger than the maximum vocab size"),
    (lambda: layers.StringLookup(vocabulary="no/such.txt"), "no/such.txt does not exist"),
    (lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[1.0]), "should only be set if `output_mode`"),
    (lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf"), "`idf_weights` argument must also"),
    (lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf", idf_weights=[1.0, 2.0]), "same length"),
    (lambda: layers.StringLookup(output_mode="some"), "Invalid value for argument `output_mode`"),
    (lambda: layers.StringLookup(sparse=True, output_mode="count"), "`sparse=True` can only"),
    (lambda: layers.StringLookup(vocabulary=["a"]).adapt(["b"]), "after setting a static vocabulary"),
    (lambda: layers.IntegerLookup(vocabulary=[1], salt=3), "`salt` can only be used"),
    (lambda: layers.IntegerLookup(vocabulary=["x"]), "has another term"),
    (lambda: layers.Hashing(3, salt="x"), "can only be a tuple of size 2"),
    (lambda: layers.Hashing(3)([None]), "must be strings"),
    (lambda: layers.Hashing(3)(object()), "Unrecognized data type"),
    (lambda: layers.HashedCrossing(0), "`num_bins` must be a positive"),
    (lambda: layers.HashedCrossing(3)([np.array([1, 2]), np.array([1])]), "should have equal shape"),
    (lambda: layers.HashedCrossing(3)([np.array([1.0]), np.array([1.0])]), "integer or string.*Discretization"),
    (lambda: layers.Discretization(bin_boundaries=[2.0, 1.0]), "must be in rising order"),
    (lambda: layers.Discretization(num_bins=3).adapt(np.array([1.0, np.nan])), "NaN or infinite"),
    (lambda: layers.Discretization(num_bins=3).adapt([]), "received no values"),
    (lambda: layers.Discretization(num_bins=3)(np.array([1.0])), "You need to either pass the `bin_boundaries`"),
    (lambda: layers.Discretization(bin_boundaries=[1.0]).adapt(np.ones(3)), "use `num_bins` instead"),
    (lambda: layers.CategoryEncoding(3)(np.array([[0, 3]])), "0 <= values < num_tokens.*`num_tokens=4`"),
    (lambda: layers.CategoryEncoding(3)(np.array([[0, -1]])), "shift the numbers"),
]


@pytest.mark.parametrize(("wrong", "text"), REFUSED)
def test_what_cannot_be_prepared_is_refused_with_a_remedy(wrong, text):
    with pytest.raises(InvalidArgumentError, match=f"(?s){text}"):
        wrong()


def test_an_encoding_without_a_vocabulary_says_what_to_call():
    with pytest.raises(RuntimeError, match=r"(?s)When using `output_mode=multi_hot`.*`adapt`"):
        layers.StringLookup(output_mode="multi_hot")(["a"])


def test_the_width_of_an_encoding_in_use_does_not_change():
    layer = layers.StringLookup(output_mode="count")
    layer.adapt(["a"])
    layer.adapt(["a", "b"])  # not in use yet
    layer(["a"])
    with pytest.raises(RuntimeError, match="vocabulary size cannot be changed after the layer is called"):
        layer.set_vocabulary(["a", "b", "c"])
    assert layer.get_vocabulary() == ["[UNK]", "b", "a"]


def test_a_term_with_a_line_break_is_not_lost_in_a_file(tmp_path):
    layer = layers.StringLookup()
    layer.adapt(["a\nb", "c"])
    with pytest.raises(InvalidArgumentError, match="line break"):
        layer.save_assets(tmp_path)


def test_long_numbers_are_not_cut_to_32_bits():
    layer = layers.IntegerLookup(vocabulary=[1, 2**32 + 1])
    assert np.asarray(layer(np.array([1, 2**32 + 1]))).tolist() == [1, 2]
    assert layers.IntegerLookup(vocabulary=[2**40], invert=True)([1, 0]).tolist() == [2**40, -1]


def test_every_lookup_is_what_its_config_says():
    for name in KNOWN:
        layer = made(name)
        copy = type(layer).from_config(layer.get_config())
        assert copy.get_config() == layer.get_config()
    assert issubclass(layers.StringLookup, IndexLookup)


def test_a_column_of_single_samples_is_one_row_a_sample():
    x = layers.Input((), dtype="int32")
    model = lamina.Model(x, layers.CategoryEncoding(3, output_mode="one_hot")(x))
    assert model.predict(np.array([0, 2]), verbose=0).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert model.rowwise
    pooled = layers.CategoryEncoding(3)
    assert not lamina.Model(x, pooled(x)).rowwise
