"""A pytest plug-in for Keras's tests against Keras itself: what its own `conftest` gives them, without TensorFlow."""

from typing import Any

from tests.conformance.stand_ins import conftest


def pytest_configure() -> None:
    conftest.install()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    conftest.skip_what_needs_more(items)
