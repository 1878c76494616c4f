"""What callback tests use in the place of a model: no more than the contract between callbacks and models."""

import numpy as np


class Metric:
    def __init__(self, name, direction=None):
        self.name = name
        if direction is not None:
            self._direction = direction


class MetricGroup:
    """Several metrics behind one entry of `model.metrics`."""

    name = "compile_metrics"

    def __init__(self, *metrics):
        self.metrics = list(metrics)


class Optimizer:
    """A learning rate in float32, as every optimizer keeps it."""

    def __init__(self, learning_rate=0.1, name="sgd"):
        self.name = name
        self._rate = np.float32(learning_rate)

    @property
    def learning_rate(self):
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._rate = np.float32(value)


class ScheduledOptimizer(Optimizer):
    @property
    def learning_rate(self):
        return np.float32(0.5)

    @learning_rate.setter
    def learning_rate(self, value):
        raise TypeError("This optimizer was created with a `LearningRateSchedule` object.")


class Model:
    """Weights are one array; `saved` lists the files that were asked for."""

    def __init__(self, metrics=(), optimizer=None):
        self.stop_training = False
        self.metrics = list(metrics)
        self.optimizer = optimizer or Optimizer()
        self.weights = [np.zeros(2, "float32")]
        self.saved = []

    def get_weights(self):
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        self.weights = [np.asarray(weight) for weight in weights]

    built = True
    trainable_variables = ()

    def save(self, filepath, overwrite=True):
        self.saved.append(filepath)

    def save_weights(self, filepath, overwrite=True):
        self.saved.append(filepath)


def fit(callbacks, epochs_of_logs, steps=4):
    """Run the life of a `fit` with these logs, epoch by epoch, until it is asked to stop. Returns epochs run."""
    callbacks.model.stop_training = False
    callbacks.on_train_begin()
    done = 0
    for epoch, logs in enumerate(epochs_of_logs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(steps):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, logs)
            callbacks.on_block_end(batch + 1, lambda logs=logs: logs)
            if callbacks.model.stop_training:
                break
        callbacks.on_epoch_end(epoch, logs)
        done += 1
        if callbacks.model.stop_training:
            break
    callbacks.on_train_end(logs if done else None)
    return done
