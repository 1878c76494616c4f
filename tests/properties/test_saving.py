"""Over generated models and damage: save then load is the identity, and a damaged file never gives other weights."""

import functools
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from saving_files import X, Y, same, small, values

from lamina import Dense, Input, Model, Sequential, layers, optimizers, saving
from lamina.errors import LaminaError

# Plans rather than layers: making a layer draws a seed, which hypothesis wants to do itself.
LAYERS = st.one_of(
    st.tuples(st.just("Dense"), st.fixed_dictionaries({
        "units": st.integers(1, 4),
        "activation": st.sampled_from([None, "relu", "tanh", "gelu"]),
        "use_bias": st.booleans(),
    })),
    st.tuples(
        st.sampled_from(["BatchNormalization", "LayerNormalization"]),
        st.fixed_dictionaries({"center": st.booleans(), "scale": st.booleans()}),
    ),
    st.tuples(st.just("Dropout"), st.fixed_dictionaries({"rate": st.floats(0.0, 0.9)})),
    st.tuples(st.just("LeakyReLU"), st.fixed_dictionaries({"negative_slope": st.floats(0.0, 0.9)})),
    st.tuples(st.just("Rescaling"), st.fixed_dictionaries({"scale": st.floats(-2, 2), "offset": st.floats(-2, 2)})),
    st.tuples(st.sampled_from(["PReLU", "Identity"]), st.just({})),
)  # fmt: skip
STEPS = ["add", "scale", "negate", "maximum", "shared", "dense", "model"]
GRAPHS = st.tuples(
    st.integers(1, 2),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
)


def graph(count, steps):
    """Return a functional model: every new tensor is a layer or an operation of earlier ones of the same width."""
    inputs = [Input((3,)) for _ in range(count)]
    known, shared = list(inputs), Dense(3)
    makers = {
        "add": lambda a, b: a + b,
        "scale": lambda a, b: a * 0.5,
        "negate": lambda a, b: -b,
        "maximum": lambda a, b: layers.Maximum()([a, b]),
        "shared": lambda a, b: shared(a),
        "dense": lambda a, b: Dense(3)(a),
        "model": lambda a, b: Sequential([Dense(3, activation="tanh")])(b),
    }
    for kind, i, j in steps:
        known.append(makers[kind](known[i % len(known)], known[j % len(known)]))
    return Model(inputs, Dense(1)(layers.Concatenate()([*inputs, *known[-2:]])))


def stirred(model):
    """Give every variable numbers of its own."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape).astype(variable.dtype))
    return model


def _there_and_back(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m.keras")
        copy = saving.load_model(f"{folder}/m.keras")
        twin = type(model).from_config(model.get_config())
        model.save_weights(f"{folder}/m.weights.h5")
        twin.load_weights(f"{folder}/m.weights.h5")
    assert copy.get_config() == model.get_config()
    for other in (copy, twin):
        assert same([np.asarray(v) for v in model.weights], [np.asarray(v) for v in other.weights])
        assert [v.dtype for v in model.weights] == [v.dtype for v in other.weights]
    return copy


@given(st.lists(LAYERS, min_size=1, max_size=5))
def test_a_chain_of_layers_comes_back_equal(plan):
    _there_and_back(stirred(Sequential([Input((3,)), *[getattr(layers, name)(**kwargs) for name, kwargs in plan]])))


@given(GRAPHS)
def test_a_graph_comes_back_equal_and_computes_the_same(plan):
    model = stirred(graph(*plan))
    copy = _there_and_back(model)
    x = [np.ones((2, 3), "float32")] * len(model.inputs)
    np.testing.assert_array_equal(model(x), copy(x))


@functools.cache
def _files():
    """Return the bytes of a trained model's two kinds of files, and what they hold."""
    model = small()
    model.compile(optimizers.Adam(0.1), "mse")
    model.fit(X, Y, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "m.keras"), Path(folder, "m.weights.h5")
        model.save(paths[0])
        model.save_weights(paths[1])
        return {path.suffix: path.read_bytes() for path in paths}, values(model)


def _loads_the_same_or_not_at_all(ending, data):
    """Load damaged bytes into a model: it gets the weights that were saved, or keeps its own."""
    known = _files()[1]
    model = small()
    model.compile(optimizers.Adam(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    before = values(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m" + ending)
        path.write_bytes(data)
        try:
            model.load_weights(path)
        except (LaminaError, OSError):
            assert same(before, values(model))
            return
        assert same(known, values(model))


@settings(max_examples=150)
@given(st.data())
def test_flipped_bits_in_weights_are_noticed(data):
    content = bytearray(_files()[0][".h5"])
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    _loads_the_same_or_not_at_all(".weights.h5", bytes(content))


@settings(max_examples=100)
@given(st.data())
def test_flipped_bits_in_a_model_are_noticed(data):
    content = bytearray(_files()[0][".keras"])
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    _loads_the_same_or_not_at_all(".keras", bytes(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.keras")
        path.write_bytes(bytes(content))
        try:
            model = saving.load_model(path)
        except (LaminaError, OSError):
            return
        assert same(_files()[1], values(model))


@given(st.sampled_from([".keras", ".h5"]), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused_or_whole(ending, share):
    content = _files()[0][ending]
    _loads_the_same_or_not_at_all(
        ".keras" if ending == ".keras" else ".weights.h5", content[: int(len(content) * share)]
    )


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 3000))
def test_rubbish_in_the_place_of_a_part_is_refused(rubbish, place):
    content = _files()[0][".keras"]
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder, "old.keras"), Path(folder, "new.keras")
        old.write_bytes(content)
        with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                target.writestr(name, data[:place] + rubbish + data[place + len(rubbish) :])
        try:
            model = saving.load_model(new)
        except (LaminaError, OSError):
            return
        assert model.count_params() >= 0
