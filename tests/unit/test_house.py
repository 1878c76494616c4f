"""Rules of the house that a test can check: sizes of files and functions, what an import brings along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_files_and_functions_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module begins with a docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            docstring = ast.get_docstring(node, clean=False)
            body = lines - (docstring.count("\n") + 1 if docstring else 0)
            assert body <= 60, f"{node.name} has {body} lines"


def _modules_after(statement):
    code = f"import sys; {statement}; print(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_lamina_does_not_import_jax():
    assert "jax" not in _modules_after("import lamina")


def test_building_blocks_are_imported_when_they_are_used():
    loaded = _modules_after("import lamina.models, lamina.layers, lamina.keras")
    assert "jax" in loaded
    assert not loaded & {
        "optax",
        "h5py",
        "rich",
        "matplotlib",
        "pandas",
        "scipy",
        "click",
        "keras",
        "tensorflow",
        "torch",
    }
