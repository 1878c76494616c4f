"""Other runtimes, asked what they compute. Each runs in a process of its own: none is imported into this one."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from lamina._types import Numpy
from lamina.errors import LaminaError, message

_SECONDS = 300
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}
_AROUND = """
import sys, numpy as np
path, given, taken = sys.argv[1:4]
with np.load(given) as file:
    inputs = [file[str(i)] for i in range(len(file.files))]
{code}
np.savez(taken, **{{str(i): np.asarray(array) for i, array in enumerate(outputs)}})
"""


class PeerError(LaminaError, RuntimeError):
    """Another runtime could not run a file."""


def outputs_of(name: str, code: str, path: str, inputs: Sequence[Numpy]) -> list[Numpy]:
    """Return what another runtime computes.

    Args:
        name: What a person calls the runtime.
        code: Python that reads the file at `path`, runs `inputs` (a list of arrays), and sets `outputs` (a list).
        path: The file.
        inputs: An array for each input.

    Raises:
        PeerError: If it fails; with the last lines of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, taken = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
        np.savez(given, **{str(i): np.asarray(array) for i, array in enumerate(inputs)})  # type: ignore[arg-type]
        command = [sys.executable, "-c", _AROUND.format(code=code), os.path.abspath(path), given, taken]
        try:
            done = subprocess.run(
                command, env={**os.environ, **_QUIET}, cwd=folder, capture_output=True, text=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(message(f"{name} did not finish within {_SECONDS} s.", owner=f"File {path!r}")) from error
        if done.returncode or not os.path.exists(taken):
            last = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise PeerError(message(f"{name} could not run it: {last}", owner=f"File {path!r}"))
        with np.load(taken) as file:
            return [file[str(i)] for i in range(len(file.files))]
