"""The shared library of native kernels: whether it is there, which instruction set it uses, its entry for XLA.

`LAMINA_NATIVE=0` turns the kernels off; `LAMINA_NATIVE=avx2` (or another name of `usable`) takes a lesser set of
instructions than the processor has.
"""

import ctypes
import functools
import os
import threading
from pathlib import Path

import jax

from lamina.errors import did_you_mean, invalid

TARGET = "lamina_native"  # what a compiled program calls it
VERSION = 6  # of the arguments between this package and the library
FILE = Path(__file__).with_name("lamina_native.so")
_loading = threading.Lock()


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """Return the library, or None and why there is none."""
    wanted = os.environ.get("LAMINA_NATIVE", "")
    if wanted == "0":
        return None, "turned off by LAMINA_NATIVE=0"
    if not FILE.exists():
        return None, "not built: no C++ compiler was found, or the build failed, when lamina was installed"
    try:
        found = ctypes.CDLL(str(FILE))
        version = found.lamina_native_version()
    except (OSError, AttributeError) as error:
        return None, f"cannot be loaded: {error}"
    if version != VERSION:
        return None, f"of another version ({version} instead of {VERSION}): install lamina anew"
    found.lamina_native_chosen.restype = found.lamina_native_usable.restype = ctypes.c_char_p
    found.lamina_native_choose.argtypes = [ctypes.c_char_p]
    _declare_forward(found)
    if wanted and not found.lamina_native_choose(wanted.encode()):
        names = found.lamina_native_usable().decode()
        return None, f"turned off: LAMINA_NATIVE={wanted} is none of 0,{names}"
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(found.lamina_native_run), platform="cpu")
    return found, ""


def _declare_forward(found: ctypes.CDLL) -> None:
    new, pack = found.lamina_forward_new, found.lamina_forward_pack
    new.restype, new.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
    pack.restype, pack.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]
    found.lamina_forward_free.restype, found.lamina_forward_free.argtypes = None, [ctypes.c_void_p]
    found.lamina_forward_run.argtypes = [*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int]


def load() -> ctypes.CDLL:
    """Return the library, whose calls let other threads of Python run.

    Raises:
        InvalidArgumentError: If there are no native kernels.
    """
    found = _library()
    if found is None:
        raise invalid("There are no native kernels.", received=why_not())
    return found


def _library() -> ctypes.CDLL | None:
    with _loading:
        return _load()[0]


def available() -> bool:
    """Return whether native kernels can run in this process."""
    return _library() is not None


def why_not() -> str:
    """Return why native kernels cannot run, or "" if they can."""
    with _loading:
        return _load()[1]


def usable() -> tuple[str, ...]:
    """Return the instruction sets that can be used here, the fastest first.

    They are among 'amx', 'avx512', 'avx2', 'neon' and 'portable'.
    """
    found = _library()
    return tuple(found.lamina_native_usable().decode().split(",")) if found is not None else ()


def instructions() -> str | None:
    """Return the instruction set in use, or None without native kernels."""
    found = _library()
    return None if found is None else str(found.lamina_native_chosen().decode())


def has_tiles() -> bool:
    """Return whether the instructions in use multiply tiles of bfloat16."""
    return instructions() == "amx"


def use(name: str | None) -> None:
    """Take another instruction set from the next dispatch on, in all threads; None takes the fastest.

    Raises:
        InvalidArgumentError: If this machine has no such instructions, or there are no native kernels.
    """
    if not load().lamina_native_choose((name or "").encode()):
        raise invalid(
            f"`name` must be one of {usable()} on this machine.",
            received=f"name={name!r}",
            fix=did_you_mean(str(name), usable()),
        )


def describe() -> str:
    """Return a line for `lamina info`."""
    return f"{instructions()} (usable: {', '.join(usable())})" if available() else why_not()
