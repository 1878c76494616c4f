"""Copies and JSON against Keras: the same configs, and each reads what the other wrote."""

import json

import keras
import numpy as np
import pytest

from lamina import keras as ours


def chain(k):
    return k.Sequential(
        [k.layers.Input((4,), name="x"), k.layers.Dense(3, activation="relu"), k.layers.Dropout(0.5), k.layers.Dense(2)]
    )


def residual(k):
    inputs = k.layers.Input((4,), name="x")
    return k.Model(inputs, k.layers.Add()([k.layers.Dense(4)(inputs), inputs]))


def shared(k):
    inputs = k.layers.Input((4,), name="x")
    layer = k.layers.Dense(4)
    return k.Model(inputs, layer(layer(inputs)))


MAKERS = [chain, residual, shared]


def plain(value):
    return json.loads(json.dumps(value, default=str))


@pytest.mark.parametrize("make", MAKERS)
def test_a_copy_has_keras_s_config(make):
    configs = []
    for library in (keras, ours):
        library.utils.clear_session()
        copy = library.models.clone_model(make(library))
        configs.append(plain(copy.get_config()))
    assert configs[1] == configs[0]


@pytest.mark.parametrize("make", MAKERS)
def test_each_reads_the_other_s_json(make):
    for library in (keras, ours):
        library.utils.clear_session()
    theirs, mine = make(keras), make(ours)
    written = [json.loads(model.to_json()) for model in (mine, theirs)]
    for one in written:
        one.pop("compile_config", None)  # Keras writes an empty one for a model that is not compiled
    assert written[0] == written[1]
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for writer, reader in ((theirs, ours), (mine, keras)):
        copy = reader.models.model_from_json(writer.to_json())
        copy.set_weights([np.asarray(v.value) for v in writer.weights])
        np.testing.assert_allclose(np.asarray(copy(x)), np.asarray(writer(x)), rtol=1e-6)
