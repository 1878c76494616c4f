"""Files that are damaged, are something else, or mean harm."""

import os
import tracemalloc
import zipfile
from contextlib import contextmanager, suppress

import h5py
import pytest
from saving_files import rewritten, same, small, values

from lamina import saving
from lamina.errors import FileFormatError, LaminaError
from lamina.saving import hdf5
from lamina.saving.texts import Texts


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


@contextmanager
def _below(limit):
    """Fail if Python or NumPy take more memory than that inside the block."""
    tracemalloc.start()
    try:
        yield
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < limit, f"{most:,} bytes"


def test_a_member_that_declares_more_than_the_archive_holds_takes_no_memory(saved, tmp_path):
    data = bytearray(saved[1].read_bytes())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)  # the second in the list: the config
    for declared in (1 << 30, 0xFFFFFFFF):
        data[entry + 20 : entry + 24] = data[entry + 24 : entry + 28] = declared.to_bytes(4, "little")
        (tmp_path / "b.keras").write_bytes(data)
        with _below(16 << 20), pytest.raises(FileFormatError, match=r"config\.json declares .* cut short"):
            saving.load_model(tmp_path / "b.keras")


def test_a_header_longer_than_its_file_takes_no_memory(tmp_path):
    (tmp_path / "m.safetensors").write_bytes((90 << 20).to_bytes(8, "little") + b"{}")
    with _below(16 << 20), pytest.raises(FileFormatError, match="declares 94,371,840 bytes"):
        saving.load_model(tmp_path / "m.safetensors")


# ---- texts of HDF5, whose lengths HDF5 believes


_SAID = "a name of some letters, kept in a heap"


def _with_texts(path, **options):
    """Write a file whose group says so much that its header has several blocks."""
    with h5py.File(path, "w", **options) as file:
        group = file.create_group("layers/dense/vars")
        for i in range(7):
            group.attrs[f"said {i}"] = "something"
        group.attrs["name"] = _SAID
    return path


@pytest.mark.parametrize("options", [{}, {"libver": "v110"}, {"libver": "v110", "track_order": True}], ids=str)
def test_the_length_of_every_text_is_looked_at(options, tmp_path):
    path = str(_with_texts(tmp_path / "m.weights.h5", **options))
    texts = Texts(path, path)
    with h5py.File(path) as file:
        group = file["layers/dense/vars"]
        found = texts._messages(h5py.h5o.get_info(group.id).addr)
        lengths = [length for kind, start, end in found if kind == 0x0C for length in texts._lengths(start, end)]
        texts.check(group)
    assert sorted(lengths) == [9] * 7 + [len(_SAID)]


def test_a_text_that_would_be_longer_than_the_file_is_refused_before_hdf5_makes_room(tmp_path):
    path = _with_texts(tmp_path / "m.weights.h5")
    data = path.read_bytes()
    length = len(_SAID).to_bytes(4, "little")
    answers = set()
    for place in (at for at in range(len(data)) if data.startswith(length, at)):
        path.write_bytes(data[:place] + (1 << 29).to_bytes(4, "little") + data[place + 4 :])
        with suppress(FileFormatError), hdf5.opened({"a": str(path)}, "a") as file:
            try:
                answers.add(file.attribute("layers/dense", "name"))
            except FileFormatError as error:
                answers.add(str(error).split(": ")[2])
    assert "they would be of 536,870,975 bytes.\nTo fix it" in answers, answers


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


def test_a_shape_below_nothing_is_refused(saved, tmp_path):
    def change(config):
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, -1]
        config["config"]["layers"][1]["build_config"]["input_shape"] = [None, -1]

    with pytest.raises(LaminaError, match="-1"):
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
