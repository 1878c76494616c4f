"""ONNX files, run by ONNX Runtime, against the models themselves."""

import numpy as np
import pytest
from interop_nets import ACTIVATIONS, MODELS, batch, net_of, predictions, randomized

from lamina import layers
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.interop import onnx
from lamina.interop.lowered import evaluate
from lamina.interop.lowering import lower
from lamina.models import Model

pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")


def all_activations():
    x = layers.Input((6,), name="x")
    return randomized(Model(x, [layers.Dense(8, activation=name, name=name)(x) for name in ACTIVATIONS]))


CASES = {**{name: (lambda name=name: randomized(MODELS[name]())) for name in MODELS}, "activations": all_activations}


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_predicts_what_the_model_predicts_for_any_number_of_rows(name, tmp_path):
    import onnx as reference

    model = CASES[name]()
    path = str(tmp_path / "net.onnx")
    notes = onnx.write(net_of(model), path)
    reference.checker.check_model(path, full_check=True)
    assert "Operator set 17; any number of rows." in notes
    assert onnx.matches(path, (tmp_path / "net.onnx").read_bytes()[:512])
    for rows in (1, 7, 64):
        inputs = batch(model, rows)
        found = onnx.verify(path, inputs, net_of(model))
        for y, wanted, node in zip(found, predictions(model, inputs), lower(net_of(model)).outputs, strict=True):
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=3e-5, err_msg=node)
