"""Settings of the whole library. Each holds from the moment that it is set; none is read inside a compiled step."""

import os
from pathlib import Path
from typing import Any

from lamina.errors import ForkedProcessError, did_you_mean, invalid, message

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_values: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "strict": True,
    "image_data_format": "channels_last",
    "interactive_logging": True,
    "traceback_filtering": True,
    "max_epochs": None,
    "max_steps_per_epoch": None,
    "cache_placed": False,
    "process": None,
}


def floatx() -> str:
    """Return the default float type of weights and computations: 'float32' unless set otherwise."""
    return str(_values["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float type: 'bfloat16', 'float16', 'float32' or 'float64'."""
    if value not in _FLOATS:
        raise invalid(f"Unknown `floatx` value: {value}. Expected values are {set(_FLOATS)}.", received=repr(value))
    _values["floatx"] = str(value)


def epsilon() -> float:
    """Return the small number that keeps logarithms and divisions finite: 1e-7 unless set otherwise."""
    return float(_values["epsilon"])


def set_epsilon(value: float) -> None:
    """Set the small number that keeps logarithms and divisions finite."""
    _values["epsilon"] = float(value)


def strict() -> bool:
    """Return whether input that no correct program sends is refused before the first step (default: yes)."""
    return bool(_values["strict"])


def set_strict(value: bool) -> None:
    """Set whether labels out of range, NaN in the data and the like are refused. False gives Keras's behaviour."""
    _values["strict"] = bool(value)


def backend() -> str:
    """Return 'jax', the one backend there is."""
    return "jax"


def set_backend(backend: str) -> None:
    """Do nothing for 'jax'.

    Raises:
        InvalidArgumentError: For another backend.
    """
    if backend != "jax":
        raise invalid("The one backend is 'jax'.", received=f"backend={backend!r}", fix="leave the call out.")


def is_nnx_enabled() -> bool:
    """Return False: layers are no Flax modules."""
    return False


def is_flash_attention_enabled() -> bool | None:
    """Return None: there is no attention here."""
    return None


def enable_flash_attention() -> None:
    """Do nothing: there is no attention here."""


def disable_flash_attention() -> None:
    """Do nothing: there is no attention here."""


def enable_unsafe_deserialization() -> None:
    """Refuse: reading a model never runs code, whatever a file or a script asks for.

    Raises:
        InvalidArgumentError: Always.
    """
    raise invalid(
        "Reading a model never runs code, so there is nothing unsafe to enable.",
        fix="leave the call out; register functions with `register_keras_serializable()` instead of saving a `lambda`.",
    )


def image_data_format() -> str:
    """Return 'channels_last' or 'channels_first': where `Flatten` expects the channels."""
    return str(_values["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set 'channels_last' or 'channels_first'."""
    names = ("channels_last", "channels_first")
    if data_format not in names:
        raise invalid(
            "`data_format` must be 'channels_last' or 'channels_first'.",
            received=repr(data_format),
            fix=did_you_mean(str(data_format), names),
        )
    _values["image_data_format"] = data_format


def is_interactive_logging_enabled() -> bool:
    """Return whether progress is printed to standard output (default) rather than logged."""
    return bool(_values["interactive_logging"])


def enable_interactive_logging() -> None:
    """Print progress to standard output."""
    _values["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Send progress to the `lamina` logger."""
    _values["interactive_logging"] = False


def is_traceback_filtering_enabled() -> bool:
    """Return whether tracebacks leave out the library's own frames. They are short already; kept for Keras scripts."""
    return bool(_values["traceback_filtering"])


def enable_traceback_filtering() -> None:
    """Switch traceback filtering on."""
    _values["traceback_filtering"] = True


def disable_traceback_filtering() -> None:
    """Switch traceback filtering off."""
    _values["traceback_filtering"] = False


def max_epochs() -> int | None:
    """Return the cap on the epochs of any fit, or None."""
    return _values["max_epochs"]  # type: ignore[no-any-return]


def set_max_epochs(max_epochs: int | None) -> None:
    """Cap the epochs of any fit, to try a script out."""
    _values["max_epochs"] = max_epochs


def max_steps_per_epoch() -> int | None:
    """Return the cap on the steps of any epoch, or None."""
    return _values["max_steps_per_epoch"]  # type: ignore[no-any-return]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Cap the steps of any epoch, to try a script out."""
    _values["max_steps_per_epoch"] = max_steps_per_epoch


def cache_folder() -> Path:
    """Return the folder for compiled programs and downloads: `LAMINA_CACHE`, else the user's cache folder."""
    named = os.environ.get("LAMINA_CACHE", "")
    if named and named != "0":
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lamina"


def same_process() -> None:
    """Note that JAX is used in this process.

    Raises:
        ForkedProcessError: If it was used before this process was forked: its threads are not here, so that the first
            wait for one of them would never end.
    """
    process = os.getpid()
    if _values["process"] == process:
        return
    if _values["process"] is not None:
        raise ForkedProcessError(
            message(
                "This process was forked from one that had used JAX already. JAX's threads are not in it, so that it "
                "would hang.",
                fix='start it with `multiprocessing.get_context("spawn")` (or "forkserver"), or fork before the first '
                "use of a layer or model.",
            )
        )
    _values["process"] = process


def place_compilation_cache() -> None:
    """Let JAX keep compiled programs between processes, once. `LAMINA_CACHE=0` turns it off.

    A cache folder that the user has already given to JAX is left alone. JAX skips programs that compile in under a
    second unless told otherwise, which is every program of a small network.
    """
    if _values["cache_placed"]:
        return
    _values["cache_placed"] = True
    if os.environ.get("LAMINA_CACHE") == "0":
        return
    import jax

    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    folder = cache_folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # no home to write to: compile anew in each process
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
