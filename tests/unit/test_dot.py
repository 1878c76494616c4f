"""`model_to_dot`: a model as a text for Graphviz, without Graphviz."""

import re
import stat

import pytest

from lamina import errors, keras, layers, models
from lamina.keras.utils import model_to_dot


def branching():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = layers.Dense(3, activation="relu", name='odd "name"')
    inner = models.Sequential([keras.Input((3,)), layers.Dense(2, name="hidden"), layers.Dense(1)], name="inner")
    out = layers.Add(name="sum")([inner(shared(left)), inner(shared(right))])
    return models.Model([left, right], out, name="both")


def graph(text):
    """Return the labels of the boxes by their names, and the arrows."""
    boxes = dict(re.findall(r'^\s*(n\d+) \[label="((?:[^"\\]|\\.)*)"', text, re.M))
    return boxes, re.findall(r"^\s*(n\d+) -> (n\d+);", text, re.M)


def test_every_use_of_a_layer_is_a_box_and_every_array_an_arrow():
    boxes, arrows = graph(model_to_dot(branching()))
    titles = [label.split("\\n")[0] for label in boxes.values()]
    assert (
        sorted(title.split()[0] for title in titles) == ["Add", "Dense", "Dense", "Input", "Input"] + ["Sequential"] * 2
    )
    assert len(arrows) == 6
    assert all(source in boxes and target in boxes for source, target in arrows)


def test_a_model_inside_is_a_cluster_with_its_layers():
    text = model_to_dot(branching(), expand_nested=True)
    boxes, arrows = graph(text)
    assert text.count("subgraph") == 2
    assert sum("hidden" in label for label in boxes.values()) == 2
    assert all(source in boxes and target in boxes for source, target in arrows)
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("arguments", "there"),
    [
        ({"show_shapes": True}, "(None, 4) → (None, 3)"),
        ({"show_dtype": True}, "float32"),
        ({"show_layer_activations": True}, "ReLU"),
        ({"show_trainable": True}, "trainable"),
        ({"show_layer_names": True}, 'odd \\"name\\"'),
        ({"rankdir": "LR"}, "rankdir=LR"),
        ({"dpi": 72}, "dpi=72"),
        ({"subgraph": True}, 'subgraph "cluster_both" {'),
    ],
)
def test_what_is_asked_for_is_there(arguments, there):
    plain = {"show_layer_names": False, **arguments}
    assert there in model_to_dot(branching(), **plain)
    assert there not in model_to_dot(branching(), show_layer_names=False)


def test_the_text_can_be_written(tmp_path):
    dot = model_to_dot(branching())
    dot.write(tmp_path / "model.dot")
    assert (tmp_path / "model.dot").read_text() == dot.to_string() == dot


def test_graphviz_is_asked_for_a_picture_and_named_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImportError, match="Graphviz"):
        model_to_dot(branching()).create(format="png")
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\necho "$1"\nexec /bin/cat\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    dot = model_to_dot(branching())
    assert dot.create(prog="dot", format="svg") == b"-Tsvg\n" + dot.encode()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(errors.NotBuiltError, match="has not yet been built"):
        model_to_dot(models.Sequential([layers.Dense(1)]))
    with pytest.raises(errors.InvalidArgumentError, match="`model_to_dot`: `rankdir` must be one of"):
        model_to_dot(branching(), rankdir="UP")
    with pytest.raises(errors.InvalidArgumentError, match=r"Unrecognized keyword arguments.*\n?.*show_shapes"):
        model_to_dot(branching(), show_shape=True)
