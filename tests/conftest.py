import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("LAMINA_CACHE", "0")

import pytest
from hypothesis import settings

# JAX compiles once for each shape, so the first example is slow: no deadline. No chance in CI: derandomize.
settings.register_profile("lamina", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("lamina")


@pytest.fixture(autouse=True)
def _fresh_names():
    from lamina import names, registry

    names.reset()
    kept = [(table, dict(table)) for table in (registry._custom, registry._custom_names)]
    yield
    for table, before in kept:  # a test may clear what another module registered
        table.clear()
        table.update(before)


@pytest.fixture(autouse=True, scope="module")
def _free_programs():
    """Lets go of a module's compiled programs: thousands of tests keep gigabytes of them otherwise."""
    yield
    import gc

    import jax

    jax.clear_caches()
    gc.collect()
