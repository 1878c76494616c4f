"""From a CSV to predictions as a user does it: the command line, the report in a browser, the examples."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import lamina
from lamina.cli import main

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "examples" / "tables"


def run(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of each kind with its report, and what the command printed."""
    found = {}
    for name, target in (("adult", "income"), ("diamonds", "price")):
        out = tmp_path_factory.mktemp(name) / "model"
        done = run("train", TABLES / f"{name}.csv", "--target", target, "--preset", "fast", "--epochs", 3, "--out", out)
        assert done.exit_code == 0, done.output
        found[name] = out, done.output
    return found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "adult",
            [
                "classification into 2 classes: <=50K, >50K",
                "for the report",
                "log loss",
                "boosted trees",
                "relationship",
            ],
        ),
        ("diamonds", ["regression", "R²", "RMSE", "carat", "5 categories"]),
    ],
)
def test_training_shows_what_it_found(trained, name, words):
    out, text = trained[name]
    for word in words:
        assert word in text
    report = json.loads((out / "report.json").read_text())
    scores = report["scores"]
    assert set(scores) == {"this model", "guess", "boosted trees"}
    better = "R²" if name == "diamonds" else "AUC"
    assert scores["this model"][better] > scores["guess"][better] + 0.2
    assert len(report["importance"]) == report["used"]


PICTURES = {
    "adult": {"calibration", "confusion", "importance", "curves"},
    "diamonds": {"predictions", "residuals", "importance", "curves"},
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_report_opens_in_a_browser_without_a_network(trained, name, tmp_path):
    out, _ = trained[name]
    assert {path.stem for path in out.glob("*.png")} == PICTURES[name]
    page = (out / "report.html").read_text(encoding="utf-8")
    links = set(re.findall(r"(?:src|href)=[\"']?([^\"'#> ][^\"'> ]*)", page))
    assert {link for link in links if not link.startswith("data:")} == set()
    assert "url(http" not in page
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1200,2400",
    ]
    shot = tmp_path / "page.png"
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}"]
    subprocess.run([*command, (out / "report.html").as_uri()], check=True, capture_output=True, timeout=120)
    from matplotlib.image import imread

    pixels = imread(shot)[..., :3]
    assert pixels.shape[:2] == (2400, 1200)
    blue = (pixels[..., 2] > 0.75) & (pixels[..., 0] < 0.4)
    assert blue.sum() > 5_000  # the bars and dots are there
    assert blue[1200:].any()


def test_predictions_are_those_of_the_model_whatever_the_order_of_the_columns(trained, tmp_path):
    out, _ = trained["adult"]
    rows = pyarrow.csv.read_csv(TABLES / "adult.csv").slice(0, 50)
    shuffled = rows.select(rows.column_names[::-1])
    pq.write_table(shuffled, tmp_path / "new.parquet")
    done = run("predict", out, tmp_path / "new.parquet", "-o", tmp_path / "found.csv")
    assert done.exit_code == 0, done.output
    assert "50 predictions" in done.output
    found = pyarrow.csv.read_csv(tmp_path / "found.csv")
    model = lamina.tabular.load(out / "model.safetensors")
    expected = model.predict_proba(rows.drop_columns("income"))
    np.testing.assert_allclose(found["probability >50K"].to_numpy(), expected[:, 1], rtol=1e-12)
    assert found["prediction"].to_pylist() == model.classes_[expected.argmax(1)].tolist()
    assert found["income"].to_pylist() == rows["income"].to_pylist()
    run("predict", out, tmp_path / "new.parquet", "-o", tmp_path / "only.parquet", "--only")
    names = pq.read_table(tmp_path / "only.parquet").column_names
    assert names == ["prediction", "probability <=50K", "probability >50K"]


def test_a_model_explains_itself(trained):
    out, _ = trained["diamonds"]
    for command in (["explain", out], ["info", out / "model.safetensors"]):
        text = run(*command).output
        for word in ("price", "R²", "carat", "8 categories", "report.html"):
            assert word in text


def test_a_model_alone_explains_its_columns(trained, tmp_path):
    shutil.copy(trained["adult"][0] / "model.safetensors", tmp_path / "model")
    text = run("explain", tmp_path / "model").output
    assert "relationship" in text
    assert "no report.json" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "{csv}", "--target", "prise"], "no column 'prise'.*Did you mean 'price'"),
        (["train", "{csv}", "--target", "price", "--preset", "bets"], "preset.*'best'"),
        (["train", "{ragged}", "--target", "a"], "Line 3 has 3 cells"),
        (["train", "{empty}", "--target", "a"], "The file is empty"),
        (["train", "nothing.csv", "--target", "a"], "nothing.csv"),
        (["predict", "{model}", "{ragged}", "-o", "x.csv"], "lacks columns.*'carat'|Line 3"),
        (["predict", "{model}", "{csv}", "-o", "x.txt"], ".parquet or .csv"),
        (["predict", "{empty}", "{csv}", "-o", "x.csv"], "damaged, or no model"),
        (["explain", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_ends_with_a_line_that_says_why(trained, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    Path("empty.csv").write_text("")
    names = {
        "csv": TABLES / "diamonds.csv",
        "ragged": "ragged.csv",
        "empty": "empty.csv",
        "model": trained["diamonds"][0],
    }
    done = run(*(argument.format(**names) for argument in arguments))
    assert done.exit_code == 1
    assert re.search(f"(?s)Error: .*({words})", done.output), done.output
    assert not Path("model").exists()


def test_rows_without_a_target_are_left_out_and_no_test_rows_give_no_scores(tmp_path):
    lines = ["day,kind,y"] + [
        f"2020-01-{i % 28 + 1:02d},{'ab'[i % 2]},{'' if i % 10 == 0 else i % 7}" for i in range(80)
    ]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    arguments = ["--target", "y", "--task", "regression", "--test-size", 0, "--epochs", 1, "--out", tmp_path / "m"]
    done = run("train", tmp_path / "data.csv", *arguments)
    assert done.exit_code == 0, done.output
    assert "8 rows have no 'y' and are left out" in done.output
    assert "Dates are used as" in done.output
    assert "nothing is said about how good it is" in done.output
    assert "scores" not in json.loads((tmp_path / "m" / "report.json").read_text())


@pytest.mark.parametrize(("name", "least"), [("tables_adult", 0.78), ("tables_diamonds", 0.9)])
def test_the_examples_go_from_a_csv_to_predictions(name, least):
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "fast"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"^test \w+: ([\d.]+)$", done.stdout, re.MULTILINE)[1]) > least
