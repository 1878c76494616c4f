"""Many networks by the native kernels: as by XLA, whatever differs between them, and stopped in the middle of an epoch."""

import _thread
import threading

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import lamina
from lamina import layers, losses, optimizers
from lamina.errors import InvalidArgumentError
from lamina.native import library
from lamina.native import plan as native
from lamina.training import crew, engines, native_program

pytestmark = pytest.mark.skipif(not library.available(), reason=library.why_not())
ROWS = 53


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, 4), dtype=np.float32)
    return x, np.argmax(x @ random.standard_normal((4, 3)), axis=1)


def net(
    learning_rate=0.01, units=7, dropout=0.2, decay=0.01, momentum=0.9, slope=0.2, loss=None, kind="adam", engine="auto"
):
    model = lamina.Sequential([
        layers.Input((4,)),
        layers.Dense(units),
        layers.LeakyReLU(slope),
        layers.Dropout(dropout),
        layers.Dense(units, "tanh"),
        layers.Dense(3),
    ])  # fmt: skip
    rule = {
        "adam": lambda: optimizers.AdamW(learning_rate, weight_decay=decay),
        "sgd": lambda: optimizers.SGD(learning_rate, momentum=momentum, weight_decay=decay),
        "schedule": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(learning_rate, 5, 0.9)),
    }[kind]()
    loss = loss or losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(rule, loss, metrics=["accuracy"], engine=engine)
    return model


def smoothed(smoothing=0.1, engine="auto"):
    return net(loss=losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing), engine=engine)


def both(factory, x, y, grid, **fit):
    """Return the same networks trained by the kernels and by XLA."""
    found = []
    for engine in ("native", "xla"):
        found.append(lamina.fit_many(factory, x, y, [{**one, "engine": engine} for one in grid], seed=3, **fit))
    assert found[0].programs == 1
    return found


def flat(found):
    """Return what there is of each network: with folds, those of a configuration are a list."""
    return [one for each in found for one in (each if isinstance(each, list | tuple) else [each])]


def same(native, xla):
    assert [row["epochs"] for row in native.table] == [row["epochs"] for row in xla.table]
    for ours, theirs in zip(flat(native.histories), flat(xla.histories), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_allclose(ours[name], theirs[name], rtol=2e-4, atol=2e-5, err_msg=name)
    for ours, theirs in zip(flat(native.models), flat(xla.models), strict=True):
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert_allclose(a, b, rtol=2e-3, atol=2e-4)


GRIDS = {
    "dropouts and slopes": [{"dropout": 0.1, "slope": 0.1}, {"dropout": 0.5, "slope": 0.4, "seed": 4}],
    "momenta and decays": [{"kind": "sgd", "momentum": 0.5}, {"kind": "sgd", "momentum": 0.9, "decay": 0.2}],
    "schedules": [{"kind": "schedule", "learning_rate": 0.01}, {"kind": "schedule", "learning_rate": 0.05, "seed": 8}],
    "epochs and decays": [{"epochs": 1, "decay": 0.0}, {"epochs": 3, "seed": 5}, {"epochs": 3, "decay": 0.3}],
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_numbers_that_differ_are_those_of_each_network(data, grid):
    same(*both(net, *data, grid, epochs=3, batch_size=16, validation_split=0.2))


def test_a_loss_may_differ_in_its_smoothing(data):
    y = np.eye(3, dtype=np.float32)[data[1]]
    same(*both(smoothed, data[0], y, [{"smoothing": 0.05}, {"smoothing": 0.3}], epochs=2, batch_size=16))


FITS = {
    "a validation for all": {"validation_data": "given", "shuffle": False},
    "folds": {"folds": 3, "class_weight": {0: 2.0, 1: 1.0, 2: 0.5}},
    "early stopping": {"epochs": 30, "patience": 2, "min_delta": 0.01, "validation_split": 0.3},
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())
def test_every_option_gives_what_xla_gives(data, fit):
    if "validation_data" in fit:
        x, y = data
        fit = fit | {"validation_data": (x[:20] + 0.5, y[:20], np.linspace(0, 1, 20, dtype=np.float32))}
    grid = [{"learning_rate": 0.02}, {"learning_rate": 0.1}]
    same(*both(net, *data, grid, **({"epochs": 3, "batch_size": 16} | fit)))


def test_rows_weights_and_data_may_be_each_networks_own(data):
    x, y = data
    weights = np.linspace(0.1, 2, ROWS, dtype=np.float32)
    grid = [{"rows": np.arange(17)}, {"rows": np.arange(ROWS) % 3 > 0}]
    same(*both(net, x, y, grid, epochs=3, batch_size=16, sample_weight=weights))
    grid = [
        {"x": x + 1, "y": y[::-1].copy(), "sample_weight": weights},
        {"sample_weight": weights[::-1].copy()},
        {"x": x[:30], "y": y[:30], "sample_weight": weights[:30], "seed": 9},
    ]
    same(*both(net, x, y, grid, epochs=3, batch_size=16, validation_split=0.2, sample_weight=weights))


def test_the_same_seed_gives_the_same_bits_whoever_trains_what(data):
    grid, fit = {"seed": range(9)}, {"epochs": 4, "batch_size": 16, "validation_split": 0.2, "patience": 1}
    one, other = (lamina.fit_many(net, *data, grid, workers=workers, **fit) for workers in (1, 3))
    assert one.histories == other.histories
    for a, b in zip(one.models, other.models, strict=True):
        assert all((u == v).all() for u, v in zip(a.get_weights(), b.get_weights(), strict=True))


def test_a_network_that_diverges_leaves_its_neighbours_alone(data):
    grid = [{"seed": 1}, {"seed": 1, "learning_rate": 1e30, "kind": "adam"}, {"seed": 1}]
    with pytest.warns(RuntimeWarning, match="1 of 3 networks are not finite"):
        found = lamina.fit_many(net, *data, [{"learning_rate": 0.01} | one for one in grid], epochs=5, batch_size=16)
    assert [row["status"] for row in found.table] == ["done", "not finite", "done"]
    assert found.histories[0] == found.histories[2]
    assert all(np.isfinite(w).all() for w in found.models[1].get_weights())


def test_who_runs_them_is_chosen_in_one_place_and_may_be_forced(data, monkeypatch):
    made = []
    monkeypatch.setattr(native_program, "epochs", lambda *a, real=native_program.epochs: made.append(1) or real(*a))
    lamina.fit_many(net, *data, 2, seed=1)
    assert made
    made.clear()
    lamina.fit_many(lambda: net(engine="xla"), *data, 2, seed=1)
    assert not made
    monkeypatch.setattr(engines, "MOST_WEIGHTS", 10)  # a rule for networks alone
    lamina.fit_many(net, *data, 2, seed=1)
    assert made

    def unsuited():
        return net(loss=losses.Huber(), engine="native")

    with pytest.raises(InvalidArgumentError, match="native kernels cannot train this model: its loss"):
        lamina.fit_many(unsuited, data[0], np.eye(3, dtype=np.float32)[data[1]], 2)


def test_ctrl_c_ends_an_epoch_in_its_middle_and_the_last_whole_one_stays(monkeypatch):
    random = np.random.default_rng(0)
    x = random.standard_normal((400_000, 4), dtype=np.float32)  # seconds for an epoch of the stack
    y = np.argmax(x[:, :3], axis=1)
    real, begun = crew._Worker._dispatch, threading.Event()

    def dispatch(self, count):
        if count and not begun.is_set():
            begun.set()
            threading.Timer(0.3, _thread.interrupt_main).start()
        return real(self, count)

    monkeypatch.setattr(crew._Worker, "_dispatch", dispatch)
    with pytest.warns(RuntimeWarning, match="Interrupted"):
        found = lamina.fit_many(net, x, y, 32, epochs=50, seed=0, batch_size=1, workers=1)
    assert {row["status"] for row in found.table} == {"interrupted"}
    untrained = lamina.fit_many(net, x, y, 32, epochs=0, seed=0, batch_size=1)
    early = [i for i, row in enumerate(found.table) if row["epochs"] == 0]
    assert early  # one after the other: the first may be through
    for i in early:
        for ours, theirs in zip(found.models[i].get_weights(), untrained.models[i].get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"network {i} of {len(early)} at the start")


def test_a_stack_takes_rows_of_a_part_of_the_data_and_refuses_those_beyond():
    plan = native.Plan((native.DensePlan(3, 2, True, "linear"),))
    random, flag = np.random.default_rng(0), np.zeros(1, np.int32)
    x, y = random.standard_normal((9, 3), dtype=np.float32), random.standard_normal((9, 2), dtype=np.float32)
    kernels = random.standard_normal((2, 3, 2), dtype=np.float32)
    address = flag.__array_interface__["data"][0]
    stop = np.array([address & 0xFFFFFFFF, address >> 32], np.uint32)

    def run(begins, numbers=None):
        def one(kernel, begins):
            stack = native.Stack(plan.numbers() if numbers is None else numbers, begins, stop)
            bias, zero = np.zeros(2, np.float32), np.float32(0)
            data = native.Data(x, y, None, np.arange(4, dtype=np.int32).reshape(2, 2))
            return native.evaluate(plan, 2, data, np.int32(2), np.int32(1), [zero, zero], [kernel, bias], stack)

        total, count = jax.jit(jax.vmap(one))(kernels, np.array(begins, np.int32))
        return np.asarray(total) / np.maximum(np.asarray(count), 1)

    losses = [
        np.mean((x[a : a + 4] @ k - y[b : b + 4]) ** 2) for k, (a, b) in zip(kernels, [(0, 5), (3, 1)], strict=True)
    ]
    assert_allclose(run([[0, 5, 0], [3, 1, 0]]), losses, rtol=1e-5)
    for begins in ([[0, 0, 0], [10, 0, 0]], [[0, -1, 0], [0, 0, 0]]):
        with pytest.raises(Exception, match="the first rows are none of the data"):
            run(begins)
    with pytest.raises(Exception, match="the numbers of the plan has the wrong size"):
        run([[0, 0, 0]] * 2, numbers=np.zeros(3, np.float32))
    flag[0] = 1
    assert (run([[0, 0, 0]] * 2) == 0).all()  # nothing was counted
