"""Saving while the disk fails, the process is killed, or others write to the same path."""

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from lamina.files import atomic
from lamina.keras import Sequential, layers
from lamina.saving import archive, hdf5, load_model, models, weights

CHILD = str(Path(__file__).parents[1] / "saving_child.py")
NAMES = ["m.keras", "m.weights.h5"]


class Child:
    """The process that saves."""

    def __init__(self, path, *options):
        command = [sys.executable, CHILD, str(path), *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.answer() == "ready"

    def tell(self, version):
        self.process.stdin.write(f"{version}\n")
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().strip()

    def save(self, version):
        self.tell(version)
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.communicate()


def version_of(path):
    """Return the one value that all weights in a file have: a mixture fails."""
    if str(path).endswith(".weights.h5"):
        model = Sequential([layers.Input((30,)), layers.Dense(40), layers.Dense(20)])
        model.load_weights(path)
    else:
        model = load_model(path)
    (found,) = {float(v) for w in model.get_weights() for v in np.unique(w)}
    return int(found)


def _writers(name):
    """Return two functions that write a model to a path, of two versions, and what each file then holds."""
    found = []
    for version in (1, 2):
        model = Sequential([layers.Input((30,)), layers.Dense(400), layers.Dense(300)])
        model.set_weights([np.full(w.shape, version, "float32") for w in model.get_weights()])
        if name.endswith(".keras"):
            config, pieces = models._parts(model)

            def write(path, config=config, pieces=pieces):
                with atomic.replacing(path) as file:
                    archive.write(file, config, pieces, {})

            found.append((write, b"".join(pieces)))
        else:
            pieces = hdf5.image(weights.groups(model, frozenset()), checksums=True)
            found.append((functools.partial(atomic.write, pieces=pieces), b"".join(pieces)))
    return found


def _held(path):
    with open(path, "rb") as file:
        return archive.read(file, path).weights if path.endswith(".keras") else file.read()


@pytest.mark.parametrize("name", NAMES)
def test_a_process_killed_at_any_moment_of_a_save_leaves_a_whole_file(name, tmp_path):
    # All that touches the disk happens in a child that is forked for each trial: a new process would cost seconds.
    trials = int(os.environ.get("LAMINA_KILLS", "200"))
    path, draws = str(tmp_path / name), random.Random(1)
    both = _writers(name)
    both[0][0](path)
    begun = time.perf_counter()
    both[1][0](path)
    span = max(0.02, time.perf_counter() - begun)  # a fork takes its time too
    now, kept, replaced = 1, 0, 0
    for _ in range(trials):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fork beside JAX's threads: this child never uses JAX
            child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                both[1 - now][0](path)
            os._exit(0)
        time.sleep(draws.uniform(0, 2.5 * span))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        held = _held(path)
        assert held in (both[0][1], both[1][1])
        if held == both[now][1]:
            kept += 1
        else:
            replaced, now = replaced + 1, 1 - now
    assert kept, "no kill came before the end of a save"
    assert replaced, "no save came to its end"


INJECTED = ["openat", "write", "fsync", "lseek", "rename", "close", "chmod", "read", "fstat,newfstatat,stat,lstat"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_in_any_system_call_of_a_save_is_an_error_and_leaves_the_old_file(name, tmp_path):
    path = tmp_path / name
    child = Child(path, "--fixed-name")
    assert child.save(1) == "saved"
    good, failures = 1, 0
    try:
        for call in INJECTED:
            for error in ("ENOSPC", "EIO", "EDQUOT")[: 1 if call in ("lseek", "read", "chmod") else 3]:
                for number in range(1, 40):
                    version = good + 1
                    answer, injected = _save_with(child, version, path, call, error, number)
                    found = version_of(path)
                    assert found == (version if answer == "saved" else good), (call, error, number, answer)
                    if answer != "saved":
                        failures += 1
                        assert "The file that was there is unchanged." in answer
                    good = found
                    if not injected:
                        break
    finally:
        child.close()
    assert failures >= 12


def _save_with(child, version, path, call, error, number):
    """Save while the call of that number on the file or its folder fails; return the answer and whether one did."""
    log = path.parent.parent / f"{path.name}.strace"
    temporary = path.parent / f".{path.name}.fixed.tmp"
    command = ["strace", "-f", "-o", str(log), "-p", str(child.process.pid)]
    command += [word for one in (path, temporary, path.parent) for word in ("-P", str(one))]
    command += ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        while "attached" not in (line := tracer.stderr.readline()):
            if not line or "not permitted" in line:
                tracer.kill()
                pytest.skip(f"strace may not attach here: {line}")
        answer = child.save(version)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()
    return answer, "INJECTED" in log.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_several_writers_of_one_path_never_mix(name, tmp_path):
    path = tmp_path / name
    children = [Child(path) for _ in range(3)]
    try:
        for trial in range(20):
            versions = [10 * trial + i for i in range(len(children))]
            for child, version in zip(children, versions, strict=True):
                child.tell(version)
            while version_of(path) not in versions if path.exists() else True:
                pass
            for _ in range(2):
                assert version_of(path) in versions
            assert [child.answer() for child in children] == ["saved"] * len(children)
            assert version_of(path) in versions
    finally:
        for child in children:
            child.close()
    assert os.listdir(tmp_path) == [name]


def test_a_disk_that_lies_is_found_out(tmp_path, monkeypatch):
    path = tmp_path / "f"
    atomic.write(str(path), [b"old"])
    fsync = os.fsync

    def zeros(descriptor):
        fsync(descriptor)
        if os.fstat(descriptor).st_size > 100:
            os.pwrite(descriptor, bytes(50), 20)

    monkeypatch.setattr("lamina.files.atomic.os.fsync", zeros)
    with pytest.raises(OSError, match=r"(?s)cannot be read back.*unchanged.*disk is failing"):
        atomic.write(str(path), [b"new" * 100, np.arange(9.0)])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_killed_process_left_behind_is_removed_later(tmp_path):
    old, fresh, other = tmp_path / ".f.aa.tmp", tmp_path / ".f.bb.tmp", tmp_path / ".g.cc.tmp"
    for file in (old, fresh, other):
        file.write_bytes(b"half")
    for file in (old, other):
        os.utime(file, (0, 0))
    atomic.write(str(tmp_path / "f"), [b"new"])
    assert sorted(os.listdir(tmp_path)) == [".f.bb.tmp", ".g.cc.tmp", "f"]
