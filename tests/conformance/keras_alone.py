"""A pytest plug-in for Keras's tests against Keras itself: what its own `conftest` gives them, without TensorFlow."""

from typing import Any

import keras  # noqa: F401 - before TensorFlow seems to be there
from tests.conformance.stand_ins import conftest

conftest.install()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    conftest.skip_what_needs_more(items)
