"""The page on files: its examples run as they stand."""

import pathlib
import re
import warnings

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "files.md"


def test_every_example_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The functions between the layers", UserWarning)
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)


@pytest.mark.parametrize(
    "title", ["Keras", "PyTorch", "TensorFlow", "Caffe", "ONNX", "TFLite", "StableHLO", "C", "A page for a browser"]
)
def test_every_format_has_its_lines(title):
    assert f"\n## {title}\n" in PAGE.read_text()
