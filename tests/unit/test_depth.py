"""Models of many layers: nothing about them goes layer by layer into the stack, or grows faster than they do."""

import copy
import gc
import pickle
import sys

import numpy as np
import pytest

from lamina import layers, models, saving

DEEP = 1200  # more layers than Python allows calls in each other


def chain(n):
    inside = [layers.Identity() if i % 20 else layers.Dense(2) for i in range(n)]
    return models.Sequential([layers.Input((2,)), *inside])


def grown(n):
    model = models.Sequential([layers.Input((2,))])
    for i in range(n):
        model.add(layers.Identity() if i % 20 else layers.Dense(2))
    return model


def residual(n):
    x = inputs = layers.Input((2,))
    for i in range(n // 2):
        h = layers.Identity()(x) if i % 20 else layers.Dense(2)(x)
        x = layers.add([x, h])
    return models.Model(inputs, x)


BUILDERS = {"sequential": chain, "functional": residual}
GROWN = {**BUILDERS, "added": grown}


def written(model, folder):
    model.save(folder / "model.keras")
    return saving.load_model(folder / "model.keras")


USES = {
    "summary": lambda model, folder: model.summary(print_fn=lambda *a, **k: None),
    "config": lambda model, folder: type(model).from_config(model.get_config()),
    "clone": lambda model, folder: models.clone_model(model),
    "json": lambda model, folder: models.model_from_json(model.to_json()),
    "file": written,
    "weights": lambda model, folder: model.save_weights(folder / "model.weights.h5"),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "deep copy": lambda model, folder: copy.deepcopy(model),
}


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_model_deeper_than_the_stack_is_built_described_copied_saved_and_deleted(kind, tmp_path):
    assert sys.getrecursionlimit() <= 1000 < DEEP
    model = BUILDERS[kind](DEEP)
    for use in USES.values():
        made = use(model, tmp_path)
        if isinstance(made, models.Model):
            assert [layer.name for layer in made.layers] == [layer.name for layer in model.layers]
    del model, made
    gc.collect()


def calls_of(function):
    """Return how many functions are called."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kind", GROWN)
def test_building_takes_time_as_the_number_of_layers(kind):
    build = GROWN[kind]
    build(40)  # what happens once
    assert_linear([calls_of(lambda n=n: build(n)) for n in (80, 160, 320)])


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", BUILDERS)
def test_work_grows_as_the_number_of_layers(kind, use, tmp_path):
    made = [BUILDERS[kind](n) for n in (40, 80, 160, 320)]
    assert_linear([calls_of(lambda model=model: USES[use](model, tmp_path)) for model in made][1:])


def assert_linear(counts):
    growth = (counts[2] - counts[1]) / (counts[1] - counts[0])
    assert 1.7 < growth < 2.3  # 2: linear; 4: quadratic


def test_a_copy_of_a_model_is_connected_as_the_model_and_a_copy_of_a_layer_is_not_connected():
    inputs = layers.Input((3,))
    inner = models.Sequential([layers.Input((3,)), layers.Dense(3)])
    x = inner(inner(inputs)) + inputs
    model = models.Model(inputs, layers.Dense(2)(x))
    data = np.ones((4, 3), "float32")
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.predict(data, verbose=0), model.predict(data, verbose=0))
        assert twin.get_config() == model.get_config()
        cut = models.Model(twin.inputs, twin.layers[-1].input)
        assert cut.predict(data, verbose=0).shape == (4, 3)
    assert copy.deepcopy(model.layers[-1])._inbound_nodes == []
