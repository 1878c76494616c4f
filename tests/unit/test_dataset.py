"""`PyDataset`: batches by number, in order, by threads; its hooks; its errors reach `fit`."""

import gc
import threading
import time

import numpy as np
import pytest

from lamina import layers, models
from lamina.training.dataset import Batches, PyDataset
from lamina.training.stream import source_of

X = np.arange(40, dtype="float32").reshape(20, 2) / 40
Y = X.sum(axis=1, keepdims=True)


class Numbers(PyDataset):
    def __init__(self, count=5, size=4, **kwargs):
        super().__init__(**kwargs)
        self.count, self.size, self.log = count, size, []

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.log.append(i)
        return X[i * self.size : (i + 1) * self.size], Y[i * self.size : (i + 1) * self.size]

    def on_epoch_begin(self):
        self.log.append("begin")

    def on_epoch_end(self):
        self.log.append("end")


def model(**kwargs):
    made = models.Sequential([layers.Dense(1, kernel_initializer="zeros")])
    made.compile("sgd", "mse", **kwargs)
    return made


def batches_of(log):
    return [entry for entry in log if isinstance(entry, int)]


def test_fit_reads_every_batch_once_an_epoch_between_the_hooks():
    data, net = Numbers(), model()
    net.fit(data, epochs=1, shuffle=False, verbose=0)
    first = len(data.log)
    net.fit(data, epochs=2, shuffle=False, verbose=0)
    epoch = ["begin", 0, 1, 2, 3, 4, "end"]
    assert data.log[:first] == ["begin", 0, "end", *epoch]  # Keras looks at a batch first, to build
    assert data.log[first:] == ["end", *epoch, *epoch]


def test_the_batches_are_shuffled_unless_fit_is_told_not_to():
    data = Numbers()
    model().fit(data, epochs=4, verbose=0)
    orders = np.array(batches_of(data.log)[1:]).reshape(4, 5)
    assert len({tuple(order) for order in orders}) > 1
    assert all(sorted(order) == list(range(5)) for order in orders)


def test_validation_and_evaluate_and_predict_read_in_order():
    data, net = Numbers(), model()
    net.fit(X, Y, validation_data=data, verbose=0)
    assert batches_of(data.log)[-5:] == [0, 1, 2, 3, 4]
    assert net.evaluate(data, verbose=0) == pytest.approx(net.evaluate(X, Y, verbose=0), rel=1e-5)
    np.testing.assert_allclose(net.predict(data, verbose=0), net.predict(X, verbose=0), rtol=1e-5)


def test_with_steps_per_epoch_the_next_epoch_goes_on_where_the_last_one_stopped():
    data, net = Numbers(count=5), model()
    net.fit(data, epochs=3, steps_per_epoch=2, shuffle=False, verbose=0, initial_epoch=1)
    assert batches_of(data.log)[1:5] == [0, 1, 2, 3]


def test_with_steps_per_epoch_a_data_set_that_ends_starts_over():
    data, net = Numbers(count=4), model()
    net.fit(data, epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
    assert batches_of(data.log)[1:] == [0, 1, 2, 3, 0, 1]


class Endless(PyDataset):
    num_batches = None

    def __getitem__(self, i):
        return X[:4] + i, Y[:4]


def test_a_data_set_without_end_needs_steps():
    with pytest.raises(ValueError, match="steps_per_epoch"):
        model().fit(Endless(), verbose=0)
    net = model()
    net.fit(Endless(), steps_per_epoch=3, epochs=2, verbose=0)
    assert int(net.optimizer.iterations) == 6


@pytest.mark.parametrize("workers", [2, 5])
def test_threads_keep_the_order(workers):
    class Slow(Numbers):
        def __getitem__(self, i):
            time.sleep(0.02 * (i % 3))
            return super().__getitem__(i)

    found = [batch[0][0, 0] for batch in Batches(Slow(workers=workers, max_queue_size=3))()]
    assert found == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_several_threads_work_at_once():
    meeting = threading.Barrier(2, timeout=20)

    class Together(Numbers):
        def __getitem__(self, i):
            meeting.wait()  # goes on only when another thread is here too
            return super().__getitem__(i)

    assert len(list(Batches(Together(count=4, workers=2))())) == 4


def test_no_more_batches_wait_than_the_queue_may_hold():
    data = Numbers(count=20, size=1, workers=2, max_queue_size=3)
    iterator = Batches(data)()
    next(iterator)
    time.sleep(0.2)
    assert len(data.log) == 4
    iterator.close()


def test_threads_end_with_the_epoch_and_when_nobody_reads_on():
    before = threading.active_count()
    list(Batches(Numbers(workers=3))())
    half = Batches(Numbers(workers=3))()
    next(half)
    del half
    gc.collect()
    for _ in range(500):
        if threading.active_count() <= before:
            break
        time.sleep(0.02)
    assert threading.active_count() <= before


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_batch_reaches_fit_and_costs_no_weights(workers):
    class Broken(Numbers):
        def __getitem__(self, i):
            if i == 3:
                raise RuntimeError("disk on fire")
            return super().__getitem__(i)

    net = model()
    with pytest.raises(RuntimeError, match="disk on fire"):
        net.fit(Broken(workers=workers), shuffle=False, verbose=0)
    assert np.isfinite(net.predict(X, verbose=0)).all()
    net.fit(X, Y, verbose=0)


def test_a_constructor_without_super_is_warned_about_and_works():
    class Careless(Numbers):
        def __init__(self):
            self.count, self.size, self.log = 5, 4, []

    with pytest.warns(UserWarning, match="super"):
        model().fit(Careless(), verbose=0)


def test_processes_are_said_to_be_threads():
    with pytest.warns(UserWarning, match="threads"):
        model().fit(Numbers(workers=2, use_multiprocessing=True), verbose=0)


def test_what_is_missing_is_said():
    class NoItem(PyDataset):
        def __len__(self):
            return 2

    class NoLength(PyDataset):
        def __getitem__(self, i):
            return X, Y

    with pytest.raises(NotImplementedError, match="__getitem__"):
        model().fit(NoItem(), verbose=0)
    with pytest.raises(NotImplementedError, match="num_batches"):
        model().fit(NoLength(), verbose=0)
    with pytest.raises(ValueError, match="no batches"):
        model().fit(Numbers(count=0), verbose=0)


def test_a_batch_of_four_parts_is_refused():
    class Four(Numbers):
        def __getitem__(self, i):
            return X, Y, Y, Y

    with pytest.raises(ValueError, match=r"\(x, y, sample_weight\)"):
        model().fit(Four(), verbose=0)


def test_going_through_it_by_hand_uses_no_threads():
    data = Numbers(workers=4)
    assert [batch[0].shape for batch in data] == [(4, 2)] * 5
    assert data.log == [0, 1, 2, 3, 4]


def test_what_looks_like_a_data_set_is_one():
    class Likeness:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return X, Y

        def on_epoch_end(self):
            pass

    assert isinstance(source_of(Likeness()), Batches)
    assert not isinstance(source_of([1, 2]), Batches)
