"""Event files, read back by TensorBoard's own readers."""

import json

import numpy as np
import pytest

from lamina import layers
from lamina.callbacks import TensorBoard
from lamina.callbacks.event_files import EventFile
from lamina.errors import InvalidArgumentError
from lamina.models import Sequential

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={TENSORS: 0})
    found.Reload()
    return found


def values(folder, tag):
    from tensorboard.util import tensor_util

    return [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in read(folder).Tensors(tag)]


def fitted(folder, **arguments):
    model = Sequential([layers.Input((3,)), layers.Dense(4, "relu", name="first"), layers.Dense(1, name="last")])
    model.compile("adam", "mse", metrics=["mae"])
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    callback = TensorBoard(folder, **arguments)
    model.fit(x, x[:, :1], epochs=3, batch_size=10, validation_split=0.25, callbacks=[callback], verbose=0)
    return model


def test_results_of_each_epoch_are_read_back(tmp_path):
    model = fitted(tmp_path, write_steps_per_second=True)
    history = model.history.history
    for folder, prefix in (("train", ""), ("validation", "val_")):
        for name in ("loss", "mae"):
            found = values(tmp_path / folder, f"epoch_{name}")
            assert [step for step, _ in found] == [0, 1, 2]
            np.testing.assert_allclose([v for _, v in found], history[prefix + name], rtol=1e-6)
    np.testing.assert_allclose([v for _, v in values(tmp_path / "train", "epoch_learning_rate")], 0.001, rtol=1e-6)
    assert all(v > 0 for _, v in values(tmp_path / "train", "epoch_steps_per_second"))
    assert read(tmp_path / "train").SummaryMetadata("epoch_loss").plugin_data.plugin_name == "scalars"
    assert len(values(tmp_path / "validation", "evaluation_loss_vs_iterations")) == 3


def test_the_spread_of_the_weights_is_read_back(tmp_path):
    model = fitted(tmp_path, histogram_freq=2)
    weight = model.layers[0].kernel
    found = values(tmp_path / "train", f"{weight.path}/histogram")
    assert [step for step, _ in found] == [0, 2]
    rows = found[-1][1]
    assert rows.shape == (30, 3)
    np.testing.assert_allclose([rows[0, 0], rows[-1, 1]], [weight.numpy().min(), weight.numpy().max()], rtol=1e-6)
    assert rows[:, 2].sum() == weight.size


def test_tensorboard_draws_the_graph_of_layers_from_what_is_written(tmp_path):
    from tensorboard.plugins.graph import keras_util

    fitted(tmp_path)
    ((step, config),) = values(tmp_path / "train", "keras")
    assert step == 0
    assert read(tmp_path / "train").SummaryMetadata("keras").plugin_data.plugin_name == "graph_keras_model"
    graph = keras_util.keras_model_to_graph_def(json.loads(config.item()))
    assert {"first", "last"} <= {node.name.split("/")[-1] for node in graph.node}


def test_results_within_an_epoch_come_after_every_so_many_batches(tmp_path):
    fitted(tmp_path, update_freq=2, write_graph=False)
    assert [step for step, _ in values(tmp_path / "train", "batch_loss")] == [0, 2, 4, 6, 8]
    assert "keras" not in read(tmp_path / "train").Tags()["tensors"]


def test_without_them_batches_still_run_many_at_a_time():
    from lamina.callbacks.base import overrides

    assert not overrides(TensorBoard(), "on_train_batch_end")
    assert overrides(TensorBoard(update_freq="batch"), "on_train_batch_end")


def test_values_that_are_not_finite_do_not_spoil_a_histogram(tmp_path):
    file = EventFile(tmp_path)
    file.histogram("odd", [np.nan, 1.0, np.inf, 3.0], 0)
    file.histogram("none", [np.nan], 0)
    file.histogram("same", [2.0, 2.0], 0)
    file.close()
    assert values(tmp_path, "odd")[0][1][:, 2].sum() == 2
    assert values(tmp_path, "none")[0][1].shape == (0, 3)
    assert values(tmp_path, "same")[0][1][:, 2].sum() == 2


@pytest.mark.parametrize(
    "arguments", [{"update_freq": "now"}, {"update_freq": 0}, {"profile_batch": 2}, {"embeddings_freq": 1}]
)
def test_what_is_not_written_is_refused(arguments):
    with pytest.raises(InvalidArgumentError):
        TensorBoard("logs", **arguments)
