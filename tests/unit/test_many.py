"""Many networks at once give what each gives alone, share programs where they can, and say what they cannot do."""

import _thread
import random as python_random
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lamina
from lamina import callbacks, layers, losses, optimizers, regularizers
from lamina.errors import InvalidArgumentError
from lamina.many import fitting as fitting_module
from lamina.many import programs
from lamina.training import crew

ROWS = 50


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, 4), dtype=np.float32)
    return x, np.argmax(x @ random.standard_normal((4, 3)), axis=1).astype(np.int32)


def plain(learning_rate=0.01, units=8, weight_decay=None):
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(units, "relu"), layers.Dense(3)])
    adam = optimizers.Adam(learning_rate, weight_decay=weight_decay)
    model.compile(adam, losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def rich(rate=0.2, momentum=0.5, smoothing=0.1, l2=0.01, decay=0.9):
    inputs = layers.Input((4,))
    x = layers.Dense(6, kernel_regularizer=regularizers.L2(l2))(inputs)
    x = layers.BatchNormalization(momentum=decay)(x)
    x = layers.Dropout(rate)(layers.Activation("tanh")(x))
    outputs = layers.Dense(3, "softmax")(layers.add([x, layers.Dense(6)(x)]))
    model = lamina.Model(inputs, outputs)
    model.compile(optimizers.SGD(0.1, momentum=momentum), losses.CategoricalCrossentropy(label_smoothing=smoothing))
    return model


def one_hot(y):
    return np.eye(3, dtype=np.float32)[y]


def alone(factory, config, x, y, seed=0, **fit):
    lamina.set_random_seed(config.pop("seed", seed))
    model = factory(**config)
    model.fit(x, y, verbose=0, **fit)
    return model


def same(model, other, history):
    for name, values in model.history.history.items():
        assert_allclose(history[name], values, rtol=2e-5, atol=2e-6, err_msg=name)
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("grid", "fit"),
    [
        ({"learning_rate": [0.01, 0.1], "seed": [1, 2]}, {"validation_split": 0.2}),
        ({"learning_rate": [0.01, 0.1]}, {"batch_size": 10}),  # one stream for all
        ({"weight_decay": [0.01, 0.2]}, {"shuffle": "batch", "batch_size": 8}),
        ({"seed": [3, 4]}, {"shuffle": False, "class_weight": {0: 2.0, 1: 1.0, 2: 0.5}}),
    ],
    ids=["rates and seeds", "rates", "decays", "weights of classes"],
)
def test_many_networks_give_what_each_gives_alone(data, grid, fit):
    found = lamina.fit_many(plain, *data, grid, epochs=3, seed=7, **fit)
    assert found.programs == 1
    for i, config in enumerate(found.configs):
        same(alone(plain, dict(config), *data, seed=7, epochs=3, **fit), found.models[i], found.histories[i])


def test_numbers_of_any_layer_loss_or_optimizer_share_a_program(data):
    x, y = data[0], one_hot(data[1])
    grid = [
        {"rate": 0.2, "momentum": 0.5, "smoothing": 0.1, "l2": 0.01, "decay": 0.9},
        {"rate": 0.4, "momentum": 0.9, "smoothing": 0.2, "l2": 0.1, "decay": 0.8},
    ]
    found = lamina.fit_many(rich, x, y, grid, epochs=3, seed=5, batch_size=16)
    assert found.programs == 1
    for i, config in enumerate(found.configs):
        same(alone(rich, dict(config), x, y, seed=5, epochs=3, batch_size=16), found.models[i], found.histories[i])


def test_a_number_that_decides_and_an_architecture_get_programs_of_their_own(data):
    grid = [{"weight_decay": None}, {"weight_decay": 0.1}, {"units": 5}, {"units": 5, "weight_decay": 0.1}]
    found = lamina.fit_many(plain, *data, grid, epochs=1, seed=1)
    assert found.programs == 4
    assert set(found.apart) <= {"units", "weight_decay"}
    smoothed = [{"smoothing": 0.0}, {"smoothing": 0.1}, {"smoothing": 0.2}]  # 0 is asked for: `if not smoothing`
    found = lamina.fit_many(rich, data[0], one_hot(data[1]), smoothed, epochs=1, seed=1)
    assert (found.programs, found.apart) == (2, ["smoothing"])


def test_early_stopping_is_that_of_the_callback(data):
    fit = {"validation_split": 0.3, "epochs": 40, "batch_size": 16}
    grid = {"learning_rate": [0.05, 0.2], "seed": [1, 2]}
    found = lamina.fit_many(plain, *data, grid, patience=3, monitor="val_accuracy", min_delta=0.01, **fit)
    stopping = {"monitor": "val_accuracy", "patience": 3, "min_delta": 0.01, "restore_best_weights": True}
    for i, config in enumerate(found.configs):
        model = alone(plain, dict(config), *data, callbacks=[callbacks.EarlyStopping(**stopping)], **fit)
        assert len(model.history.history["loss"]) == found.table[i]["epochs"]
        same(model, found.models[i], found.histories[i])
    assert "stopped early" in {row["status"] for row in found.table}
    assert found.best_score == max(max(h["val_accuracy"]) for h in found.histories)


def test_more_networks_than_places_follow_each_other(data, monkeypatch):
    monkeypatch.setattr(programs, "MOST_PLACES", 2)
    fit = {"validation_split": 0.3, "epochs": 12, "batch_size": 16}
    few = lamina.fit_many(plain, *data, {"learning_rate": [0.2], "seed": range(7)}, patience=1, workers=2, **fit)
    monkeypatch.setattr(programs, "MOST_PLACES", 32)
    all_ = lamina.fit_many(plain, *data, {"learning_rate": [0.2], "seed": range(7)}, patience=1, workers=1, **fit)
    assert [row["epochs"] for row in few.table] == [row["epochs"] for row in all_.table]
    assert_allclose(few.scores, all_.scores, rtol=1e-5)


def test_a_validation_set_is_common_to_all(data):
    x, y = data
    held = (x[:20] + 0.5, y[:20], np.linspace(0, 1, 20, dtype=np.float32))
    found = lamina.fit_many(plain, *data, 2, epochs=2, seed=5, validation_data=held)
    same(alone(plain, {"seed": 6}, *data, epochs=2, validation_data=held), found.models[1], found.histories[1])
    with pytest.raises(InvalidArgumentError, match=r"(?s)Configuration 0.*validation_data"):
        lamina.fit_many(plain, *data, 1, validation_data=(x[:, :3], y))


def test_folds_train_on_the_other_rows(data):
    found = lamina.fit_many(plain, *data, {"learning_rate": [0.01, 0.1]}, folds=3, epochs=2, seed=3)
    assert found.programs == 1
    assert [len(models) for models in found.models] == [3, 3]
    order = np.random.default_rng(3).permutation(ROWS)
    held = np.sort(np.array_split(order, 3)[1])
    kept = np.setdiff1d(np.arange(ROWS), held)
    x, y = data
    model = alone(plain, {"learning_rate": 0.1}, x[kept], y[kept], 3, epochs=2, validation_data=(x[held], y[held]))
    same(model, found.models[1][1], found.histories[1][1])
    assert found.table[1]["val_loss"] == pytest.approx(np.mean([h["val_loss"][-1] for h in found.histories[1]]))
    assert "val_loss_std" in found.table[1]
    pairs = [(kept, held), (held, kept)]
    given = lamina.fit_many(plain, *data, [{"learning_rate": 0.1}], folds=pairs, epochs=2, seed=3)
    assert_allclose(given.histories[0][0]["val_loss"], found.histories[1][1]["val_loss"], rtol=1e-5)


def test_networks_may_have_rows_weights_and_data_of_their_own(data):
    x, y = data
    weight = np.linspace(0.5, 2, ROWS).astype(np.float32)
    even, other = np.arange(ROWS) % 2 == 0, (x + 1)[::-1].copy()
    grid = [
        {"rows": even, "sample_weight": weight},
        {"sample_weight": weight[::-1].copy()},
        {"x": other, "y": y, "sample_weight": weight},
    ]
    found = lamina.fit_many(plain, x, y, grid, epochs=2, seed=2, batch_size=16)
    own = [(x[even], y[even], weight[even]), (x, y, weight[::-1]), (other, y, weight)]
    for i, (inputs, targets, weights) in enumerate(own):
        model = alone(plain, {}, inputs, targets, 2, epochs=2, batch_size=16, sample_weight=weights)
        same(model, found.models[i], found.histories[i])


def test_a_batch_of_rows_that_depend_on_each_other_is_not_padded(data):
    def factory(l1=0.01):
        model = lamina.Sequential([layers.Input((4,)), layers.Dense(5, activity_regularizer=regularizers.L1(l1))])
        model.add(layers.Dense(3))
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    found = lamina.fit_many(factory, *data, {"l1": [0.01, 0.1]}, epochs=2, seed=4, batch_size=16)
    for i, config in enumerate(found.configs):
        same(alone(factory, dict(config), *data, 4, epochs=2, batch_size=16), found.models[i], found.histories[i])
    assert lamina.fit_many(factory, *data, 1, epochs=1, folds=3).programs == 2  # 33 and 34 rows


def test_a_network_that_diverges_is_stopped_and_the_others_go_on(data):
    with pytest.warns(RuntimeWarning, match=r"1 of 2 networks are not finite.*configuration 1 .*1e\+30"):
        found = lamina.fit_many(plain, *data, {"learning_rate": [0.01, 1e30]}, epochs=4, seed=1)
    assert [row["status"] for row in found.table] == ["done", "not finite"]
    assert all(np.isfinite(w).all() for w in found.models[1].get_weights())
    assert found.best_index == 0


def test_entries_that_the_factory_does_not_take_go_to_the_optimizer_and_to_fit(data):
    def factory():
        return plain()

    grid = [{"learning_rate": 0.1, "epochs": 1}, {"learning_rate": 0.01, "epochs": 3, "batch_size": 10}]
    found = lamina.fit_many(factory, *data, grid, seed=1)
    assert [row["epochs"] for row in found.table] == [1, 3]
    model = alone(lambda: plain(0.01), {}, *data, 1, epochs=3, batch_size=10)
    same(model, found.models[1], found.histories[1])
    assert float(found.models[0].optimizer.learning_rate) == pytest.approx(0.1)


def test_global_random_streams_are_left_as_they_were(data):
    lamina.set_random_seed(11)
    before = (python_random.getstate(), np.random.get_state()[1].tolist())
    found = lamina.fit_many(plain, *data, 2, epochs=1, seed=0)
    _ = found.best
    assert (python_random.getstate(), np.random.get_state()[1].tolist()) == before
    lamina.set_random_seed(11)
    first = lamina.fit_many(plain, *data, 2, epochs=1).scores
    lamina.set_random_seed(11)
    assert first.tolist() == lamina.fit_many(plain, *data, 2, epochs=1).scores.tolist()


def test_a_trained_model_is_a_real_one(data, tmp_path):
    found = lamina.fit_many(plain, *data, {"learning_rate": [0.01, 0.1]}, epochs=2, seed=1)
    model = found.best
    frame = pytest.importorskip("pandas").DataFrame(data[0], columns=list("abcd"))
    assert lamina.fit_many(plain, frame, data[1], epochs=0).models[0].column_names == list("abcd")
    assert model is found.models[found.best_index]
    assert model.history.history["loss"] == found.histories[found.best_index]["loss"]
    model.save(tmp_path / "best.keras")
    again = lamina.models.load_model(tmp_path / "best.keras")
    assert_allclose(again.predict(data[0], verbose=0), model.predict(data[0], verbose=0), rtol=1e-6)
    steps = int(model.optimizer.iterations)
    model.fit(*data, epochs=1, verbose=0)
    assert int(model.optimizer.iterations) == steps + 2


def test_the_time_limit_and_ctrl_c_leave_what_was_reached(data, monkeypatch):
    told, now, later = crew.Progress.add, crew.time.monotonic, [0.0]
    with monkeypatch.context() as patch:

        def hurries(self, epochs, steps):  # a day passes with the first dispatch, however slow the machine is
            told(self, epochs, steps)
            later[0] = 86_400.0

        patch.setattr(crew.Progress, "add", hurries)
        patch.setattr(crew.time, "monotonic", lambda: now() + later[0])
        found = lamina.fit_many(plain, *data, 3, epochs=1_000_000, time_limit=3600, seed=0)
    assert found.interrupted
    assert {row["status"] for row in found.table} == {"interrupted"}
    assert any(h.get("loss") for h in found.histories)

    with monkeypatch.context() as patch:

        def presses(self, epochs, steps):
            told(self, epochs, steps)
            patch.setattr(crew.Progress, "add", told)
            _thread.interrupt_main()

        patch.setattr(crew.Progress, "add", presses)
        with pytest.warns(RuntimeWarning, match="Interrupted: the result holds"):
            found = lamina.fit_many(plain, *data, 3, epochs=1_000_000, seed=0)
    assert found.interrupted
    assert len(found.best.history.history["loss"]) >= 1

    def interrupted(program, networks, progress, workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting_module.crew, "train", interrupted)
    with pytest.warns(RuntimeWarning, match="Interrupted: the result holds"):
        found = lamina.fit_many(plain, *data, 2, epochs=3, seed=0)
    assert found.interrupted
    with pytest.raises(InvalidArgumentError, match="No network has a score"):
        _ = found.best


def test_the_table_is_printed_best_first(data, capsys):
    found = lamina.fit_many(plain, *data, {"learning_rate": [0.001, 0.1]}, epochs=3, seed=0, verbose=1)
    text = capsys.readouterr().out
    assert "2 networks in 1 program" in text
    found.print()
    text = capsys.readouterr().out
    assert text.index("0.1 ") < text.index("0.001 ")
    frame = found.to_pandas()
    assert frame["learning_rate"].tolist() == [0.1, 0.001]
    assert "learning_rate': 0.1" in repr(found)


def not_compiled():
    return lamina.Sequential([layers.Input((4,)), layers.Dense(3)])


def fails(a=1):
    raise OSError("no such thing")


class Own(lamina.Sequential):
    def train_step(self, state, data):
        return {}, state


def own_step():
    model = Own([layers.Input((4,)), layers.Dense(3)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("factory", "grid", "arguments", "text"),
    [
        (plain, [{"learning_rat": 0.1}], {}, r"Configuration 0 \{'learning_rat': 0.1\}:.*Did you mean 'learning_rate'"),
        (plain, [{"learning_rate": -1.0}], {}, r"Configuration 0 \{'learning_rate': -1.0\}"),
        (plain, [{}, {"units": 0}], {}, r"Configuration 1 \{'units': 0\}"),
        (plain, [], {}, "no configuration"),
        (plain, {"learning_rate": 0.1}, {}, r"list of values.*learning_rate=0.1"),
        (plain, "abc", {}, "a list of configurations"),
        (plain, [{"seed": -1}], {}, "Configuration 0.*seed"),
        (plain, [{"batch_size": 0}], {}, "Configuration 0.*batch_size"),
        (plain, [{"rows": np.array([0, 99])}], {}, "Configuration 0.*row numbers"),
        (plain, 1, {"monitor": "val_loss"}, "since nothing is validated"),
        (plain, 1, {"monitor": "acuracy"}, "Did you mean 'accuracy'"),
        (plain, 1, {"mode": "up"}, "'auto', 'min' or 'max'"),
        (plain, 1, {"folds": 2, "validation_split": 0.1}, "Only one of"),
        (plain, 1, {"folds": 1}, "at least 2 folds"),
        (plain, 1, {"folds": 51}, "cannot be cut"),
        (plain, 1, {"time_limit": 0}, "seconds above 0"),
        (plain, 1, {"epochs": -1}, "`epochs`"),
        (plain, 1, {"validation_data": 3}, "`validation_data`"),
        (not_compiled, 1, {}, "compiled model"),
        (lambda: 3, 1, {}, "must return a model"),
        (own_step, 1, {}, "`train_step` of its own"),
        (None, 1, {}, "`model_factory` must be a function"),
    ],
)
def test_what_cannot_be_is_refused_by_name(data, factory, grid, arguments, text):
    with pytest.raises(InvalidArgumentError, match=f"(?s){text}"):
        lamina.fit_many(factory, *data, grid, **arguments)


def test_an_error_of_the_factory_is_its_own_and_names_the_configuration(data):
    with pytest.raises(OSError, match="no such thing") as caught:
        lamina.fit_many(fails, *data, [{"a": 2}])
    assert caught.value.__notes__ == ["In configuration 0 {'a': 2}."]


def test_bad_data_are_refused_before_any_work(data):
    x, y = data
    with pytest.raises(InvalidArgumentError, match="Configuration 0"):
        lamina.fit_many(plain, x, np.where(y == 2, 7, y))
    with pytest.raises(InvalidArgumentError, match="NaN"):
        lamina.fit_many(plain, np.where(x > 2, np.nan, x), y)
    with pytest.raises(InvalidArgumentError, match="must be arrays"):
        lamina.fit_many(plain, (batch for batch in [(x, y)]))


def test_a_worker_that_fails_ends_the_others(data, monkeypatch):
    real = crew.Network.keep

    def breaks(self, *arguments):
        if self.numbers is not None and len(self.logs.get("loss", ())) > 2:
            raise RuntimeError("broken")
        real(self, *arguments)

    monkeypatch.setattr(crew.Network, "keep", breaks)
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="broken"):
        lamina.fit_many(plain, *data, 4, epochs=100_000_000, workers=2, seed=0, time_limit=60)
    assert time.monotonic() - begin < 50
