"""The page for a browser, run in headless Chromium from a disk, against the models themselves."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers
from lamina.errors import InvalidArgumentError
from lamina.interop import web
from lamina.models import Model, Sequential

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


def opened(page, script, folder):
    """Return what a script finds in the opened page, as JSON."""
    found = f"<script>document.body.innerHTML = '<pre id=found>' + JSON.stringify((() => {{{script}}})()) + '</pre>'</script>"
    (folder / "opened.html").write_text(page.read_text().replace("</body>", found + "</body>"))
    command = [
        "chromium",
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        f"file://{folder / 'opened.html'}",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return json.loads(re.search('<pre id="found">(.*?)</pre>', text, re.DOTALL)[1])


def together():
    """Return every small model and every activation as one model, so that one start of the browser checks them all."""
    x = layers.Input((6,), name="x")
    ends = [layers.Dense(8, activation=name, name=f"act_{name}")(x) for name in ACTIVATIONS]
    inputs, outputs = [x], ends
    for i, make in enumerate(MODELS.values()):
        inner = make()
        inner.name = f"model_{i}"
        own = [layers.Input(tensor.shape[1:], name=f"x{i}_{k}") for k, tensor in enumerate(inner.inputs)]
        made = inner(own if len(own) > 1 else own[0])
        inputs = [*inputs, *own]
        outputs = [*outputs, *(made if isinstance(made, list) else [made])]
    return randomized(Model(inputs, outputs))


@needs_chromium
def test_the_page_computes_what_the_model_predicts(tmp_path):
    model = together()
    web.write(net_of(model), str(tmp_path / "page"))
    inputs = batch(model, 5)
    found = web.verify(str(tmp_path / "page"), inputs, net_of(model))
    for i, (y, wanted) in enumerate(zip(found, predictions(model, inputs), strict=True)):
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=2e-5, err_msg=str(i))


STROKE = """
const pad = document.getElementById("pad"), box = pad.getBoundingClientRect();
pad.setPointerCapture = () => {};
const before = [...document.querySelectorAll(".value")].map((e) => e.textContent);
const at = (kind, y) => pad.dispatchEvent(new PointerEvent(kind, {
  clientX: box.left + box.width / 2, clientY: box.top + box.height * y, buttons: 1, pointerId: 1}));
at("pointerdown", .2);
for (let y = .2; y < .8; y += .05) at("pointermove", y);
const after = [...document.querySelectorAll(".value")].map((e) => e.textContent);
const seen = document.getElementById("seen");
const ink = [...seen.getContext("2d").getImageData(0, 0, seen.width, seen.height).data].filter((v, i) => i % 4 === 0);
return {before, after, ink};
"""


@needs_chromium
def test_a_drawing_is_centred_scaled_and_shown_to_the_network(tmp_path):
    model = randomized(MODELS["digits"]())
    web.write(net_of(model), str(tmp_path / "page.html"))
    found = opened(tmp_path / "page.html", STROKE, tmp_path)
    assert len(found["after"]) == 10
    assert found["before"] != found["after"]
    ink = np.array(found["ink"], np.float64).reshape(8, 8)
    rows, columns = np.arange(8) @ ink.sum(1) / ink.sum(), np.arange(8) @ ink.sum(0) / ink.sum()
    assert abs(rows - 3.5) < 0.6
    assert abs(columns - 3.5) < 0.6
    y = predictions(model, [ink[None].astype(np.float32)])[0][0]
    shown = [float(text.split()[0]) / 100 for text in found["after"]]
    np.testing.assert_allclose(shown, y, atol=0.01)


FIELDS = """
const field = document.querySelector("input[type=number]");
field.value = "1.5";
field.dispatchEvent(new Event("input"));
const shown = [...document.querySelectorAll(".value")].map((e) => e.textContent);
const names = [...document.querySelectorAll(".field label")].map((e) => e.textContent);
document.querySelectorAll(".examples button")[1].click();
const second = [...document.querySelectorAll("input[type=number]")].map((e) => Number(e.value));
return {shown, names, second, best: document.querySelector(".answer b").textContent};
"""


@needs_chromium
def test_numbers_are_tried_in_fields_with_their_names_and_examples(tmp_path):
    scaled = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])
    model = randomized(Sequential([layers.Input((3,)), scaled, layers.Dense(4), layers.Dense(2, activation="softmax")]))
    examples = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    names = {"labels": ["no </script>", "yes"], "features": ["a", "b", "c"]}
    web.write(net_of(model), str(tmp_path / "page.html"), examples=examples, **names)
    found = opened(tmp_path / "page.html", FIELDS, tmp_path)
    y = predictions(model, [np.array([[1.5, 2, 3]], np.float32)])[0][0]
    np.testing.assert_allclose([float(text.split()[0]) / 100 for text in found["shown"]], y, atol=1e-3)
    assert found["names"] == ["a", "b", "c"]
    assert found["second"] == [4, 5, 6]
    assert found["best"] == names["labels"][int(predictions(model, [examples[1:]])[0][0].argmax())]


def test_the_page_asks_for_nothing_from_a_network(tmp_path):
    web.write(net_of(randomized(MODELS["digits"]())), str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)\s*=|https?://|fetch\(|XMLHttpRequest|import\s*\(", text)


REFUSED = {
    "another view": ({"view": "paint"}, "must be one of"),
    "a drawing field for a table": ({"view": "draw"}, "square image"),
    "labels of another number": ({"labels": ["a"]}, "`labels` must be a list of 2"),
    "features that are no texts": ({"features": [1, 2, 3]}, "`features` must be a list of 3"),
    "examples of another shape": ({"examples": np.zeros((2, 5))}, "do not fit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_refused_and_nothing_is_written(case, tmp_path):
    options, phrase = REFUSED[case]
    model = Sequential([layers.Input((3,)), layers.Dense(2)])
    with pytest.raises(InvalidArgumentError, match=phrase):
        web.write(net_of(model), str(tmp_path / "page.html"), **options)
    assert not list(tmp_path.iterdir())
