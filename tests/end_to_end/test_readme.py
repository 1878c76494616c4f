"""The README's example runs as it stands, in both languages, and its files exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "README.zh-CN.md"]


def example(page):
    return re.search(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)[1]


def test_the_example_learns_digits_and_saves(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(example("README.md"), "README.md", "exec"), names)
    assert names["model"].history.history["val_accuracy"][-1] > 0.9
    assert (tmp_path / "digits.keras").exists()
    assert "Epoch 5/5" in capsys.readouterr().out


def test_both_languages_show_the_same_code_and_figures():
    code = [re.sub(r"#.*", "", example(page)) for page in PAGES]
    assert code[0] == code[1]
    rows = [re.findall(r"^\|.*\d.*\|$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE) for page in PAGES]
    assert [re.findall(r"\d[\d.,]*", row) for row in rows[0]] == [re.findall(r"\d[\d.,]*", row) for row in rows[1]]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_the_first_lines_are_the_two_commands(page):
    head = (ROOT / page).read_text(encoding="utf-8").splitlines()[:6]
    assert any(line.startswith("make demo") for line in head)
    assert any(line.startswith("make test") for line in head)
