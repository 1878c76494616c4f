"""What Keras's own `conftest.py`, which is not in its wheel, gives its tests."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.stand_ins import absent


def skip_if_backend(given_backend: str, reason: str) -> Callable[[Any], Any]:
    """Return a decorator that skips a test where this backend is in use. It is JAX here."""
    return pytest.mark.skipif(given_backend == "jax", reason=reason)


def install() -> None:
    """Let `from conftest import ...` find this module, and test files import what is not installed."""
    sys.modules["conftest"] = sys.modules[__name__]
    absent.install()


def skip_what_needs_more(items: list[Any]) -> None:
    """Skip the tests of several devices and of TPUs. All files have been read now."""
    absent.remove()
    for item in items:
        for marker in ("multi_device", "requires_tpu"):
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"marked {marker}"))
