"""Windows of a series, and named values."""

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import InvalidArgumentError
from lamina.utils import Config, timeseries_dataset_from_array

SERIES = np.arange(100.0)


@pytest.mark.parametrize(
    ("more", "first", "count"),
    [
        ({}, [0, 1, 2, 3, 4], 96),
        ({"sequence_stride": 3}, [0, 1, 2, 3, 4], 32),
        ({"sampling_rate": 2}, [0, 2, 4, 6, 8], 92),
        ({"start_index": 10, "end_index": 30}, [10, 11, 12, 13, 14], 16),
        ({"shuffle": True, "seed": 1}, None, 96),
    ],
)
def test_windows_are_those_of_the_series(more, first, count):
    data = timeseries_dataset_from_array(SERIES, SERIES * 10, 5, batch_size=7, **more)
    batches = [data[i] for i in range(len(data))]
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert x.shape == (count, 5)
    np.testing.assert_array_equal(y, x[:, 0] * 10)
    assert first is None or x[0].tolist() == first
    assert len(np.unique(x[:, 0])) == count


def test_windows_are_those_that_keras_gives_with_tensorflow():
    # keras.utils.timeseries_dataset_from_array(np.arange(100.), None, 3, sequence_stride=20, sampling_rate=4)
    data = timeseries_dataset_from_array(SERIES, None, 3, sequence_stride=20, sampling_rate=4)
    assert data[0].tolist() == [[s, s + 4, s + 8] for s in (0.0, 20.0, 40.0, 60.0, 80.0)]


def test_a_model_trains_on_windows():
    lamina.set_random_seed(1)
    data = timeseries_dataset_from_array(SERIES / 100, SERIES[5:] / 100, 5, batch_size=16, shuffle=True, seed=0)
    model = lamina.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(data, epochs=60, verbose=0)
    assert model.evaluate(data, verbose=0) < 0.01


@pytest.mark.parametrize(
    "more", [{"start_index": 100}, {"end_index": 0}, {"sampling_rate": 0}, {"sequence_stride": 100}, {"end_index": 101}]
)
def test_windows_that_cannot_be_are_refused(more):
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(more))}` must be"):
        timeseries_dataset_from_array(SERIES, None, 5, **more)


def test_named_values_are_attributes_and_keys():
    config = Config(rate=0.1)
    config.seed = 3
    config["steps"] = 4
    config.update(more=5)
    assert (config.rate, config["seed"], config.get("none", 7), len(config)) == (0.1, 3, 7, 4)
    assert "steps" in config
    assert config.pop("more") == 5
    assert config.to_json() == '{"rate": 0.1, "seed": 3, "steps": 4}'
    with pytest.raises(AttributeError, match=r"(?s)Unknown attribute: 'rat'.*rate"):
        _ = config.rat


def test_frozen_values_stay():
    config = Config(rate=0.1)
    config.freeze()
    for change in (lambda: setattr(config, "rate", 1), lambda: config.update(rate=1), lambda: config.pop("rate")):
        with pytest.raises(InvalidArgumentError, match="the config is frozen"):
            change()
    assert config.frozen
    config.unfreeze()
    config.rate = 2
    assert config.as_dict() == {"rate": 2}
