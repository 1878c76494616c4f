"""Files that are damaged, are something else, or mean harm."""

import os
import zipfile

import pytest
from saving_files import rewritten, same, small, values

from lamina import saving
from lamina.errors import FileFormatError, LaminaError


@pytest.fixture
def saved(tmp_path):
    model = small()
    path = tmp_path / "m.keras"
    model.save(path)
    return model, path


@pytest.fixture
def weights(tmp_path):
    model = small()
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    return model, path


# ---- files that are not what they say


def _files(tmp_path):
    (tmp_path / "empty.keras").write_bytes(b"")
    (tmp_path / "text.keras").write_text("<html>404 not found</html>")
    (tmp_path / "folder.keras").mkdir()
    small().save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "h5.keras").write_bytes((tmp_path / "w.weights.h5").read_bytes())
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("photo.png", b"...")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing.keras", "File not found(.|\n)*accessible `.keras` zip file"),
        ("empty.keras", "an empty file"),
        ("text.keras", "a text that begins '<html>404"),
        ("folder.keras", "is a folder without"),
        ("h5.keras", "an HDF5 file(.|\n)*weights.h5"),
        ("other.keras", "Expected a model.weights.h5"),
    ],
)
def test_a_file_that_is_no_model_says_what_it_is(name, text, tmp_path):
    _files(tmp_path)
    with pytest.raises(FileFormatError, match=text):
        saving.load_model(tmp_path / name)
    if name != "folder.keras":
        with pytest.raises(FileFormatError, match=text.split("(")[0]):
            small().load_weights(tmp_path / name)


def test_a_missing_file_is_also_pythons_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        saving.load_model(tmp_path / "missing.keras")
    with pytest.raises(FileNotFoundError):
        small().load_weights(tmp_path / "missing.weights.h5")


@pytest.mark.parametrize(
    ("data", "text"), [(b"", "an empty file"), (b"hello weights", "a text"), (b"PK\x03\x04...", "a zip archive")]
)
def test_weights_that_are_no_hdf5_say_what_they_are(data, text, tmp_path):
    (tmp_path / "w.weights.h5").write_bytes(data)
    with pytest.raises(FileFormatError, match=text):
        small().load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_file_cut_short_is_refused_and_the_model_stays(name, share, tmp_path):
    path = tmp_path / name
    model = small()
    model.save(path) if name.endswith("keras") else model.save_weights(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    other = small()
    before = values(other)
    with pytest.raises((LaminaError, OSError)):
        other.load_weights(path)
    assert same(before, values(other))
    if name.endswith("keras"):
        with pytest.raises((LaminaError, OSError)):
            saving.load_model(path)


# ---- archives that mean harm


def _bomb(name, size, target, source):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        new.writestr(name, b" " * size, compress_type=zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_decompression_bomb_is_refused_before_it_unfolds(name, saved, tmp_path):
    _bomb(name, 4 << 20, tmp_path / "bomb.keras", saved[1])
    with pytest.raises(FileFormatError, match="decompression bomb"):
        saving.load_model(tmp_path / "bomb.keras")


def test_an_archive_packed_by_hand_is_read(saved, tmp_path):
    model, path = saved
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "p.keras", "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    assert same(values(model), values(saving.load_model(tmp_path / "p.keras")))


def test_a_config_that_is_there_twice_is_refused(saved, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(saved[1], "a") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FileFormatError, match=r"config\.json twice"):
        saving.load_model(saved[1])


def test_members_that_lead_out_of_the_archive_are_never_written(saved, tmp_path):
    with zipfile.ZipFile(saved[1], "a") as archive:
        archive.writestr("../evil", "x")
        archive.writestr("assets/evil", "x")
    before = sorted(os.listdir(tmp_path.parent)), sorted(os.listdir(tmp_path))
    saving.load_model(saved[1])
    assert (sorted(os.listdir(tmp_path.parent)), sorted(os.listdir(tmp_path))) == before


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"not json", "not valid JSON"),
        (b"[1, 2]", "does not describe a model"),
        (b"{}", "does not describe a model"),
        (b"[" * 200_000 + b"]" * 200_000, "levels deep"),
        (b'{"a": "' + b"[" * 1000, "not valid JSON: Unterminated string"),
        (b"\xff\xfe", "not valid JSON"),
        (None, r"Expected a config\.json"),
    ],
)
def test_a_config_that_is_none_is_refused(data, text, saved, tmp_path):
    with pytest.raises(FileFormatError, match=text):
        saving.load_model(rewritten(saved[1], tmp_path / "c.keras", config_json=data))


# ---- configs that mean harm


def _layer(**changes):
    def change(config):
        config["config"]["layers"][1].update(changes)

    return change


def _inner(**changes):
    def change(config):
        config["config"]["layers"][1]["config"].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_layer(class_name="__lambda__", config={"value": "4wEA"}), "arbitrary code execution(.|\n)*register"),
        (_layer(module="os", class_name="system", config={}), "Could not locate class 'system'"),
        (_layer(module="builtins", class_name="eval", config={}), "Could not locate class 'eval'"),
        (_layer(module="keras.saving", class_name="load_model", config={}), "Could not locate class 'load_model'"),
        (_layer(module="keras.layers", class_name="Input", config={"shape": [3]}), "Could not locate class 'Input'"),
        (_layer(module="keras.layers", class_name="Conv9D"), "Could not locate class 'Conv9D'"),
        (_layer(registered_name="builtins.eval"), "resolved to a Keras built-in"),
        (_layer(config=[1, 2]), "Expected 'config' to be a dict"),
        (_inner(units=-3), "expected a positive integer"),
        (_inner(units="a"), "expected a positive integer"),
        (_inner(name="../../evil"), "cannot contain character `/`"),
        (_inner(activation={"module": "os", "class_name": "function", "config": "system"}), "locate function 'system'"),
        (_inner(activation={"class_name": "function", "config": ["a"]}), "non-null str"),
        (_inner(no_such_argument=1), "no_such_argument"),
        (_inner(kernel_initializer={"class_name": "Sequential", "module": "keras", "config": {}}), "layers"),
        (_inner(units=10**9), r"do not belong together|GB are free"),
        (lambda c: c.update(class_name="Dense", module="keras.layers", config={"units": 1}), "another architecture"),
        (lambda c: c.update(class_name="Adam", module="keras.optimizers", config={}), "holds no model but Adam"),
    ],
)
def test_a_config_that_asks_for_what_it_must_not_is_refused(change, text, saved, tmp_path):
    with pytest.raises(LaminaError, match=text):
        saving.load_model(rewritten(saved[1], tmp_path / "c.keras", change))


def test_a_lambda_layer_is_refused_with_what_to_do(saved, tmp_path):
    code = {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None, "closure": None}}
    change = _layer(class_name="Lambda", config={"name": "f", "function": code, "arguments": {}})
    path = rewritten(saved[1], tmp_path / "l.keras", change)
    for safe_mode in (True, False):
        with pytest.raises(FileFormatError, match=r"arbitrary code execution(.|\n)*To fix it:"):
            saving.load_model(path, safe_mode=safe_mode)


def test_units_of_the_config_that_are_not_those_of_the_weights_are_named(saved, tmp_path):
    def change(config):
        config["config"]["layers"][1]["config"]["units"] = 9
        config["config"]["layers"][2]["build_config"]["input_shape"] = [None, 9]

    with pytest.raises(
        FileFormatError, match=r"layers/dense: the shapes must match. Layer 'hidden' expected kernel \(4, 9\)"
    ):
        saving.load_model(rewritten(saved[1], tmp_path / "c.keras", change))
