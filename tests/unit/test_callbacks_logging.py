import csv
import gc

import numpy as np
import pytest
from unit.callback_fakes import Model, fit

from lamina import callbacks, config, errors

LOGS = [{"loss": 0.5, "mse": 0.25, "val_loss": 0.6, "val_mse": 0.36}] * 2


def rows(path, sep=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=sep))


def run(logger, logs):
    fit(callbacks.CallbackList([logger], model=Model()), logs)


def test_each_epoch_is_a_row(tmp_path):
    path = tmp_path / "runs" / "log.tsv"
    run(callbacks.CSVLogger(path, separator="\t"), LOGS)
    assert rows(path, "\t") == [
        ["epoch", "loss", "mse", "val_loss", "val_mse"],
        ["0", "0.5", "0.25", "0.6", "0.36"],
        ["1", "0.5", "0.25", "0.6", "0.36"],
    ]


def test_appending_goes_on_below_one_header_also_with_the_same_object(tmp_path):
    path = tmp_path / "log.csv"
    run(callbacks.CSVLogger(path), LOGS[:1])
    logger = callbacks.CSVLogger(path, append=True)
    run(logger, LOGS[:1])
    run(logger, LOGS)
    assert [row[0] for row in rows(path)] == ["epoch", "0", "0", "0", "1"]


def test_appending_to_a_new_or_empty_file_writes_a_header(tmp_path):
    path = tmp_path / "log.csv"
    path.touch()
    run(callbacks.CSVLogger(path, append=True), LOGS[:1])
    assert rows(path)[0] == ["epoch", "loss", "mse", "val_loss", "val_mse"]


def test_appending_keeps_the_columns_that_are_there(tmp_path):
    path = tmp_path / "log.csv"
    run(callbacks.CSVLogger(path), [{"val_loss": 0.6, "loss": 0.5}])
    with pytest.warns(UserWarning, match="no columns for accuracy"):
        run(callbacks.CSVLogger(path, append=True), [{"accuracy": 0.9, "loss": 0.4}])
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "0.5", "0.6"], ["0", "0.4", "NA"]]


def test_validation_that_comes_later_has_its_columns(tmp_path):
    path = tmp_path / "log.csv"
    run(callbacks.CSVLogger(path), [{"loss": 0.5}, {"loss": 0.4, "val_loss": 0.7}])
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "0.5", "NA"], ["1", "0.4", "0.7"]]


def test_nan_and_lists_are_written(tmp_path):
    path = tmp_path / "log.csv"
    run(callbacks.CSVLogger(path), [{"loss": np.nan, "f1": np.array([0.5, 1.0]), "val_loss": 1.0}])
    assert rows(path)[1] == ["0", '"[0.5, 1.0]"', "nan", "1.0"]


def test_rows_are_in_the_file_when_an_error_ends_training(tmp_path):
    path = tmp_path / "log.csv"
    both = callbacks.CallbackList([callbacks.CSVLogger(path)], model=Model())
    both.on_train_begin()
    both.on_epoch_end(0, {"loss": 0.5})
    assert len(rows(path)) == 2
    del both
    gc.collect()  # a file left open would be a ResourceWarning, and so an error


def test_a_separator_must_be_one_character():
    with pytest.raises(errors.InvalidArgumentError, match="`separator` must be one character"):
        callbacks.CSVLogger("log.csv", separator=", ")


def test_functions_are_called_at_their_moments():
    calls = []
    callback = callbacks.LambdaCallback(
        on_train_begin=lambda logs: calls.append("train begin"),
        on_epoch_begin=lambda epoch, logs: calls.append(f"epoch {epoch}"),
        on_train_batch_end=lambda batch, logs: calls.append(f"batch {batch}"),
        on_epoch_end=lambda epoch, logs: calls.append(f"loss {logs['loss']}"),
        on_train_end=lambda logs: calls.append("train end"),
    )
    fit(callbacks.CallbackList([callback], model=Model()), [{"loss": 1.0}], steps=2)
    assert calls == ["train begin", "epoch 0", "batch 0", "batch 1", "loss 1.0", "train end"]


@pytest.mark.parametrize("hook", ["on_test_begin", "on_predict_end"])
def test_other_hooks_may_be_given_by_name(hook):
    calls = []
    both = callbacks.CallbackList([callbacks.LambdaCallback(**{hook: calls.append})], model=Model())
    both.on_test_begin()
    both.on_predict_begin()
    both.on_predict_end()
    assert calls == [{}]


def test_attributes_of_ones_own_and_nothing_at_all_may_be_given():
    assert callbacks.LambdaCallback(custom_method=3).custom_method == 3
    assert not callbacks.CallbackList([callbacks.LambdaCallback()]).overrides("on_epoch_end")


def test_a_slip_in_the_name_of_a_hook_is_refused():
    with pytest.raises(TypeError, match=r"on_epoch_ends.*\n.*`on_epoch_end`"):
        callbacks.LambdaCallback(on_epoch_ends=print)
    config.set_strict(False)
    try:
        callbacks.LambdaCallback(on_epoch_ends=print)
    finally:
        config.set_strict(True)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(errors.InvalidArgumentError, match="`on_epoch_end` must be a function"):
        callbacks.LambdaCallback(on_epoch_end="print")
