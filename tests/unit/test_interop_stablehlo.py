"""StableHLO files, reloaded by JAX in a process that never imports lamina."""

import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers
from lamina.interop import peers, stablehlo
from lamina.models import Model


def activations():
    x = layers.Input((6,), name="x")
    return randomized(Model(x, [layers.Dense(8, activation=name, name=name)(x) for name in ACTIVATIONS]))


def several():
    return randomized(MODELS["several"]())


def ranks():
    return randomized(MODELS["higher rank"]())


@pytest.mark.parametrize("make", [several, activations, ranks])
def test_a_program_reloaded_without_lamina_predicts_what_the_model_predicts(make, tmp_path):
    model = make()
    path = str(tmp_path / "net.stablehlo")
    stablehlo.write(net_of(model), path)
    several_sizes = [batch(model, rows) for rows in (1, 7)]
    code = stablehlo._RUN + "import sys\nassert not any(name.startswith('lamina') for name in sys.modules)\n"
    for inputs in several_sizes:
        found = peers.outputs_of("JAX", code, path, inputs)
        for y, wanted in zip(found, predictions(model, inputs), strict=True):
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=2e-5)
