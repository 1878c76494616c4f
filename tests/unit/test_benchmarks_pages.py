"""The pages say what the stored results say, in both languages, and nothing else."""

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the benchmarks are no part of the package

from benchmarks import pages

ROOT = pages.ROOT
MARKS = f"above\n{pages.BEGIN}\nold 1,234\n{pages.END}\nbelow\n"


def result(own=900.0, *, wide=80.0, load=0.1, devices=("cpu:0 (cpu)",)):
    def one(row, way, value):
        return {"round": 0, "row": row, "way": way, "value": value, "compiling": 0.5}

    return {
        "date": "2026-01-02T03:04:05+00:00",
        "load": load,
        "machine": {"processor": "Abacus 9", "cores": 2, "system": "Linux", "devices": list(devices),
                    "matmul_gigaflops": 123.0},
        "versions": {"jax": "0.10.2", "keras": "3.15.1", "torch": None},
        "options": {"kind": "bench", "rounds": 3, "seconds": 2.0, "quick": False},
        "measurements": [
            one("predict_1", "lamina", 30.0), one("predict_1", "torch_eager", 70.0), one("many_tiny", "lamina", 5e5),
            one("tiny", "lamina", own), one("tiny", "torch_eager", 10.0), one("tiny", "keras_jax", 9.0),
            one("wide", "lamina", wide), one("wide", "torch_eager", 100.0),
            one("start", "lamina", 1.1), one("start", "torch_eager", 2.2),
            one("depth", "lamina", 40.0), one("depth", "torch", 120.0), one("depth", "kept", 30.0),
        ],
    }  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "README.zh-CN.md"):
        (tmp_path / name).write_text(MARKS, encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    return tmp_path


def written(root, **changed):
    made = pages.made({"bench": result(**changed)}, root)
    return {path.name: text for path, text in made.items()}


def test_both_languages_carry_the_same_figures(root):
    found = written(root)
    tables = [re.findall(r"^\|.*\d.*\|$", found[name], re.MULTILINE) for name in ("README.md", "README.zh-CN.md")]
    assert len(tables[0]) == 6
    assert [re.findall(r"\d[\d.,]*", row) for row in tables[0]] == [re.findall(r"\d[\d.,]*", row) for row in tables[1]]
    assert "| 900 | 9 | – | 10 | – | 90.00 |" in found["README.md"]
    for name in ("README.md", "README.zh-CN.md"):
        assert found[name].startswith("above\n")
        assert found[name].endswith("below\n")
        assert "1,234" not in found[name]


@pytest.mark.parametrize(
    ("wide", "said"),
    [
        (80.0, "Where lamina does not win: 1024-4096-4096-1000, batch 512 (PyTorch eager is 1.25 times as fast)."),
        (101.0, "lamina is behind nowhere here. Level: 1024-4096-4096-1000, batch 512."),
        (150.0, "lamina is behind nowhere here."),
    ],
)
def test_where_lamina_does_not_win_follows_from_the_ratios(root, wide, said):
    found = written(root, wide=wide)
    assert said in found["performance.md"]
    assert said in found["README.md"]
    assert ("1.25" in found["README.zh-CN.md"]) == (wide == 80.0)


def test_the_page_has_machine_date_versions_goals_and_what_is_not_reached(root):
    page = written(root)["performance.md"]
    for text in ("Abacus 9, 2 cores", "2026-01-02", "jax 0.10.2, keras 3.15.1", "123 GFLOP/s", "performance.png"):
        assert text in page
    assert "torch None" not in page
    assert "| 4-16-3, batch 32 | PyTorch eager | 90.00 x | 60 x | yes |" in page
    assert "| PyTorch eager | 0.80 x | 1.05 x | no |" in page
    assert "Asked for and not reached: 1024-4096-4096-1000, batch 512 (asked for: 1.05 x)." in page
    assert "| 2.00 x | under 1.2 s | yes |" in page


def test_a_way_of_lamina_is_no_peer(root):
    assert (
        "| 1,200 layers of 64 units, a step | PyTorch eager | 3.00 x | 2.4 x | yes |" in written(root)["performance.md"]
    )


def test_the_page_says_that_no_gpu_was_there_or_which(root):
    assert "Not measured: no GPU was available" in written(root)["performance.md"]
    assert "measured on gpu:0 (H100)" in written(root, devices=("gpu:0 (H100)",))["performance.md"]


def test_figures_of_a_busy_machine_are_marked_on_every_page(root):
    found = written(root, load=9.0)
    assert "do not trust" in found["performance.md"]
    assert "do not trust" in found["README.md"]
    assert "不可靠" in found["README.zh-CN.md"]


def test_a_page_without_marks_is_left_alone(root):
    (root / "README.md").write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(Exception, match="lacks the marks"):
        written(root)


def test_the_command_keeps_the_result_and_can_write_the_pages_anew(root):
    file = root / "x-bench.json"
    file.write_text(json.dumps(result()))
    assert CliRunner().invoke(pages.main, [str(file)], catch_exceptions=False).exit_code == 0
    first = (root / "README.md").read_text(encoding="utf-8")
    (root / "README.md").write_text(MARKS, encoding="utf-8")
    assert CliRunner().invoke(pages.main, [], catch_exceptions=False).exit_code == 0
    assert (root / "README.md").read_text(encoding="utf-8") == first
    assert (root / "docs/performance.png").stat().st_size > 1000


@pytest.mark.parametrize(("kind", "said"), [(None, "there is no result yet"), ("many", "no result of the table")])
def test_the_command_refuses_what_it_cannot_use(root, kind, said):
    file = root / "x.json"
    file.write_text(json.dumps({"options": {"kind": kind}}))
    found = CliRunner().invoke(pages.main, [str(file)] if kind else [])
    assert found.exit_code == 1
    assert said in found.output


@pytest.mark.skipif(not (ROOT / "docs/performance.json").exists(), reason="nothing has been measured yet")
def test_no_figure_of_the_pages_is_typed_by_hand():
    kept = json.loads((ROOT / "docs/performance.json").read_text())
    for path, text in pages.made(kept, ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python -m benchmarks.pages`"
