"""Networks that predict in the native library, called by ctypes: a call costs 2 microseconds, one of XLA fifty."""

import ctypes
from collections.abc import Sequence

import numpy as np

from lamina._types import Numpy
from lamina.native import library
from lamina.native.plan import PREDICT, Plan

# A call of so many operations, some tens of microseconds, keeps Python's lock: to give it up and get it back may take
# milliseconds where another thread of Python is busy.
LOCKED_OPERATIONS = 2e7
_DONE, _OTHER_KERNELS = 0, 3


class Network:
    """A network with weights of its own, packed for the kernels.

    Args:
        plan: Its layers; what else the plan says does not matter.
        weights: Addresses of float32 arrays in C order: kernel and bias of each layer, 0 where it has no bias. They are
            read before the constructor returns.

    Raises:
        MemoryError: If there is no room.
    """

    def __init__(self, plan: Plan, weights: Sequence[int]) -> None:
        self._free, self._handle = None, None
        loaded = library.load()
        told = plan._replace(metrics=()).attributes(PREDICT, 1)
        shape, numbers = told["shape"], told["numbers"]
        self._handle = loaded.lamina_forward_new(shape.ctypes.data, shape.size, numbers.ctypes.data, numbers.size)
        if self._handle is None:
            raise MemoryError("no memory for the network")
        self._free = loaded.lamina_forward_free
        self._pack, self._run, self._run_locked = loaded.lamina_forward_pack, loaded.lamina_forward_run, _locked()
        self.operations = 2.0 * sum(layer.inputs * layer.units for layer in plan.layers)
        self.outputs = plan.layers[-1].units
        self.load(weights)

    def load(self, weights: Sequence[int]) -> bool:
        """Take other weights. Returns False, with nothing done, if a call in another thread reads the old ones."""
        return not self._pack(self._handle, np.array(weights, np.uint64).ctypes.data)

    def __call__(self, x: Numpy, y: Numpy, threads: int) -> bool:
        """Fill `y` with the outputs and return True; False if a number in `x` or `y` is not finite.

        Args:
            x: float32 `(rows, inputs)`, or of any shape with as many elements, in C order.
            y: float32 `(rows, outputs)` in C order.
            threads: How many threads may work.

        Raises:
            Outdated: If other kernels have been chosen since the network was made.
        """
        rows = len(y)
        run = self._run_locked if rows * self.operations < LOCKED_OPERATIONS else self._run
        code = run(
            self._handle, x.__array_interface__["data"][0], y.__array_interface__["data"][0], rows, threads
        )  # fmt: skip
        if code == _OTHER_KERNELS:
            raise Outdated
        return bool(code == _DONE)

    def __del__(self) -> None:
        if self._free is not None:
            self._free(self._handle)


class Outdated(Exception):  # noqa: N818 - no error: the network is made anew
    """A network was packed for other kernels than those in use."""


def _locked() -> "ctypes._FuncPointer":
    """Return the call that keeps Python's lock."""
    run = ctypes.PyDLL(str(library.FILE)).lamina_forward_run
    run.argtypes = [*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int]
    return run
