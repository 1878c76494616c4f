"""Saving and loading alone: nothing is lost, every failure says what to do."""

import errno
import io
import itertools
import json
import os
import re
import resource
import stat
import zipfile

import numpy as np
import pytest
from saving_files import X, Y, same, small, values

from lamina import Dense, Input, Sequential, optimizers, saving
from lamina.errors import FileFormatError, InvalidArgumentError, InvalidTypeError, NotBuiltError
from lamina.files import atomic
from lamina.saving import archive


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


# ---- nothing is lost


def test_a_model_comes_back_equal(tmp_path):
    model = small()
    model.compile(optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    copy = saving.load_model(tmp_path / "m.keras")
    assert same(values(model), values(copy))
    np.testing.assert_array_equal(model.predict(X, verbose=0), copy.predict(X, verbose=0))
    assert copy.get_config() == model.get_config()
    assert int(copy.optimizer.iterations) == 1


def test_compile_false_gives_a_model_that_is_not_compiled(tmp_path):
    model = small()
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    assert not saving.load_model(tmp_path / "m.keras", compile=False).compiled


class _Limit:
    """Let no file of this process grow beyond some bytes: what a full disk is like."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.old[1]))

    def __exit__(self, *details):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.old)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_a_full_disk_leaves_the_old_file_and_no_other(name, tmp_path):
    path = tmp_path / name
    write = Sequential.save if name.endswith("keras") else Sequential.save_weights
    write(small(), path)
    before = path.read_bytes()
    with _Limit(len(before) // 2), pytest.raises(OSError, match=r"unchanged(.|\n)*To fix it: free some space") as error:
        write(small(200), path)
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]
    with _Limit(100), pytest.raises(OSError, match="No file was written"):
        write(small(), tmp_path / ("other" + name[1:]))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
@pytest.mark.parametrize("where", ["fsync", "replace", "write"])
def test_ctrl_c_at_any_point_of_a_save_leaves_the_old_file(name, where, tmp_path, monkeypatch):
    path = tmp_path / name
    write = Sequential.save if name.endswith("keras") else Sequential.save_weights
    write(small(), path)
    before = path.read_bytes()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    if where == "write":
        monkeypatch.setattr("lamina.layers.parts.Parts.save_own_variables", interrupt)
    else:
        monkeypatch.setattr(f"lamina.files.atomic.os.{where}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(small(5), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_a_layer_that_cannot_be_described_leaves_the_old_file(saved):
    _, path = saved
    before = path.read_bytes()
    model = Sequential([Input((4,)), Dense(2, activation=lambda x: x)])
    with pytest.raises(InvalidArgumentError, match="lambda"):
        model.save(path)
    assert path.read_bytes() == before


def test_a_link_stays_a_link_and_permissions_stay(saved, tmp_path):
    _, path = saved
    path.chmod(0o640)
    link = tmp_path / "link.keras"
    link.symlink_to(path)
    small(7).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert saving.load_model(path).layers[0].units == 7


def test_a_new_file_has_the_permissions_of_the_users_umask(tmp_path):
    old = os.umask(0o027)
    try:
        small().save(tmp_path / "m.keras")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m.keras").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("place", "kind", "text"),
    [
        ("missing/m", FileNotFoundError, "makedirs"),
        ("folder", IsADirectoryError, "inside the folder"),
        ("x" * 300, OSError, "shorter"),
    ],
)
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_place_that_cannot_be_written_is_named_with_what_to_do(place, kind, text, ending, tmp_path):
    (tmp_path / f"folder{ending}").mkdir()
    model = small()
    write = model.save if ending == ".keras" else model.save_weights
    with pytest.raises(kind, match=text):
        write(tmp_path / f"{place}{ending}")


def test_a_folder_closed_to_writing_is_named_with_what_to_do(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    model = small()
    monkeypatch.setattr("lamina.files.atomic.os.open", refuse)
    with pytest.raises(PermissionError, match="folder that you may write to"):
        model.save(tmp_path / "m.keras")


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_overwrite_false_raises_where_nobody_can_be_asked_and_asks_at_a_terminal(name, tmp_path, monkeypatch):
    path = tmp_path / name
    model = small()
    write = model.save if name.endswith("keras") else model.save_weights
    write(path, overwrite=False)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(path, overwrite=False)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    answers = iter(["perhaps", "n", "y"])
    asked = []
    monkeypatch.setattr("lamina.files.atomic.confirmed.__defaults__", (lambda q: asked.append(q) or next(answers),))
    small(9).save(path, overwrite=False) if name.endswith("keras") else small(9).save_weights(path, overwrite=False)
    assert path.read_bytes() == before
    assert "already exists" in asked[0]
    small(9).save(path, overwrite=False) if name.endswith("keras") else small(9).save_weights(path, overwrite=False)
    assert path.read_bytes() != before


def test_what_was_written_to_a_file_of_the_users_is_read_from_it():
    model, file = small(), io.BytesIO()
    saving.save_model(model, file)
    file.seek(0)
    assert same(values(model), values(saving.load_model(file)))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.save("m.png"), "Invalid filepath extension for saving"),
        (lambda m: m.save("m"), "'m.keras'"),
        (lambda m: m.save("m.keras", zipped=False), "should not end in"),
        (lambda m: m.save("m.keras", save_format="h5"), "`save_format` argument is deprecated"),
        (lambda m: m.save("m.keras", random_arg=True), r"argument\(s\) are not supported"),
        (lambda m: m.save("gs://bucket/m.keras"), "other machines"),
        (lambda m: m.save(""), "must name a file"),
        (lambda m: m.save_weights("m.h5"), r"must end in `.weights.h5`(.|\n)*'m.weights.h5'"),
        (lambda m: m.save_weights("m.keras"), r"must end in `.weights.h5`"),
        (lambda m: m.save_weights("m.h5", max_shard_size=1), r"must end in `.weights.json`"),
        (lambda m: m.save_weights("m.weights.json", max_shard_size=1e-9), "exceeds the maximum shard size"),
        (lambda m: m.load_weights("m.pkl"), "File format not supported"),
        (lambda m: m.load_weights("m.keras", by_name=True), "only supports loading legacy '.h5' or '.hdf5' files"),
        (lambda m: m.load_weights("m.keras", objects_to_skip=[]), r"only supports loading '.weights.h5' files"),
        (lambda m: m.load_weights("m.weights.h5", bad=1), "Invalid keyword arguments"),
        (lambda m: saving.load_model("m.pkl"), "File format not supported"),
        (lambda m: saving.save_model("text", "m.keras"), "Only a model can be saved"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(call, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match=text):
        call(small())
    assert not os.listdir(tmp_path)


def test_something_else_than_a_path_is_refused():
    with pytest.raises(InvalidTypeError, match="must be a path"):
        small().save(3)


def test_a_model_without_weights_says_how_to_build_it(tmp_path):
    model = Sequential([Dense(2)])
    with pytest.raises(NotBuiltError, match="saving a model that has not yet been built"):
        model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(NotBuiltError, match="loading weights into a model that has not yet been built"):
        model.load_weights(tmp_path / "m.weights.h5")
    with pytest.warns(UserWarning, match="not yet been built"):
        model.save(tmp_path / "m.keras")
    assert not saving.load_model(tmp_path / "m.keras").built


# ---- shards


def test_shards_must_lie_beside_their_map(tmp_path):
    model = small()
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=5e-8)
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 1
    other = small()
    other.load_weights(tmp_path / "m.weights.json")
    assert same(values(model), values(other))
    text = (tmp_path / "m.weights.json").read_text()
    (tmp_path / "m.weights.json").write_text(text.replace("m_00000.weights.h5", "../m_00000.weights.h5"))
    with pytest.raises(FileFormatError, match="beside the map"):
        other.load_weights(tmp_path / "m.weights.json")
    (tmp_path / "m.weights.json").write_text(text)
    (tmp_path / "m_00000.weights.h5").unlink()
    with pytest.raises(FileFormatError, match=r"File not found.*m_00000"):
        other.load_weights(tmp_path / "m.weights.json")
    (tmp_path / "m.weights.json").write_text("[1]")
    with pytest.raises(FileFormatError, match="not a map of shards"):
        other.load_weights(tmp_path / "m.weights.json")


def test_shards_that_are_saved_again_never_mix_with_the_old_ones(tmp_path, monkeypatch):
    path = tmp_path / "m.weights.json"
    old, new = small(), small()
    old.save_weights(path, max_shard_size=5e-8)
    before = values(old)
    write, count = atomic.write, itertools.count()

    def fails_at(last):
        def put(path, pieces):
            if next(count) == last:
                raise OSError(28, "No space left on device")
            write(path, pieces)

        return put

    shards = len(list(tmp_path.glob("m_*.weights.h5")))
    for last in range(shards + 1):  # each shard, and the map
        count = itertools.count()
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "write", fails_at(last))
            with pytest.raises(OSError, match="No space"):
                new.save_weights(path, max_shard_size=5e-8)
        found = small()
        found.load_weights(path)
        assert same(values(found), before)
    new.save_weights(path, max_shard_size=5e-8)
    found.load_weights(path)
    assert same(values(found), values(new))
    named = set(re.findall(r"m_\w+\.weights\.h5", path.read_text()))
    assert len(named) == shards
    assert not (tmp_path / "m_00000.weights.h5").exists()  # an old one: nobody names it any more


def test_the_parts_of_an_archive_are_those_of_keras(saved):
    with zipfile.ZipFile(saved[1]) as file:
        assert file.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in file.infolist())
        assert json.loads(file.read("metadata.json"))["keras_version"] == archive.KERAS_VERSION
    assert atomic.confirmed(saved[1], overwrite=True)
