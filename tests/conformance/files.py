"""Which of Keras's test files are run, and where they are."""

import importlib.util
from pathlib import Path


def _listed() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    section = ""
    for line in Path(__file__).with_name("files.txt").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif not line.startswith("#"):
            found.setdefault(section, []).extend(line.split())
    return found


NAMED, OTHERS = _listed()["named"], _listed()["others"]
SMOKE = ["constraints/constraints", "layers/activations/elu"]


def keras_folder() -> Path:
    """Return the folder of the installed Keras; it is not imported."""
    spec = importlib.util.find_spec("keras")
    assert spec is not None
    assert spec.origin is not None, "Keras is a development dependency: `make setup`"
    return Path(spec.origin).parent


def path_of(name: str) -> Path:
    """Return the path of a test file: `losses/losses` is `keras/src/losses/losses_test.py`."""
    return keras_folder() / "src" / f"{name}_test.py"


def chosen(wanted: list[str], everything: bool) -> list[str]:
    """Return the files whose name contains one of `wanted`; without any, the named files or all."""
    known = [*NAMED, *OTHERS]
    if wanted:
        return [name for name in known if any(word in name for word in wanted)]
    return known if everything else list(NAMED)
