"""The choice of the engine, and what holds whatever it is: determinism, threads, NaN, interruption, memory."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from native_models import ONE_HOT, REAL, X, needs_kernels, needs_tiles, network

import lamina
from lamina import callbacks, constraints, layers, losses, metrics, models, optimizers, regularizers
from lamina.errors import InvalidArgumentError
from lamina.native import library
from lamina.native import plan as native
from lamina.training import engines, native_program, session


def compiled(model=None, optimizer="adam", loss="mse", engine="auto", **options):
    model = network() if model is None else model
    model.compile(optimizer, loss, engine=engine, **options)
    return model


def fit(model, x=X, y=REAL, **options):
    return model.fit(x, y, **{"epochs": 1, "verbose": 0, "batch_size": 16, **options})


def chosen(model):
    return next(program for key, program in model.programs.items() if key[0] == "train")


# ---- the choice


def test_an_engine_of_another_name_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"`engine` must be one of .*Received: engine='natve'\n.*native"):
        compiled(engine="natve")


@needs_kernels
def test_a_plain_network_is_trained_by_the_kernels_and_says_so(capsys):
    model = compiled()
    fit(model, verbose=2)
    assert chosen(model).name == "native"
    assert "native kernels" in capsys.readouterr().out


def test_xla_can_be_asked_for():
    model = compiled(engine="xla")
    fit(model)
    assert chosen(model).name == "xla"


def _shared():
    inputs = layers.Input((7,))
    twice = layers.Dense(7)
    return models.Model(inputs, layers.Dense(3)(twice(twice(inputs))))


def _residual():
    inputs = layers.Input((7,))
    return models.Model(inputs, layers.Dense(3)(inputs + layers.Dense(7)(inputs)))


def _always_dropping():
    inputs = layers.Input((7,))
    return models.Model(inputs, layers.Dense(3)(layers.Dropout(0.5, name="always")(inputs, training=True)))


def _sharing():
    model = _with(layers.Dropout(0.5))
    other = layers.Dropout(0.5)
    other.seed_generator = model.layers[1].seed_generator
    return models.Sequential([layers.Input((7,)), *model.layers[:2], layers.Dense(3), other, layers.Dense(3)])


def _frozen():
    model = network()
    model.layers[0].trainable = False
    return model


def _with(layer, *, first=False):
    inner = [layer, layers.Dense(4)] if first else [layers.Dense(4), layer]
    return models.Sequential([layers.Input((7,)), *inner, layers.Dense(3)])


REFUSED = {
    "dense_named.*kernel regularizer|add to the loss": lambda: compiled(
        _with(layers.Dense(3, kernel_regularizer=regularizers.L2(0.1), name="dense_named"))
    ),
    "`kept` has a kernel constraint": lambda: compiled(
        _with(layers.Dense(3, kernel_constraint=constraints.NonNeg(), name="kept"))
    ),
    "`norm` is a BatchNormalization": lambda: compiled(_with(layers.BatchNormalization(name="norm"))),
    "`odd` has the activation": lambda: compiled(_with(layers.Dense(3, activation="softplus", name="odd"))),
    "no chain": lambda: compiled(_residual()),
    "used twice": lambda: compiled(_shared()),
    "`always` is called with more": lambda: compiled(_always_dropping()),
    "share a generator": lambda: compiled(_sharing()),
    "is frozen": lambda: compiled(_frozen()),
    "noise shape": lambda: compiled(_with(layers.Dropout(0.5, noise_shape=(None, 1)))),
    "optimizer is RMSprop": lambda: compiled(optimizer="rmsprop"),
    "clipnorm=1.0": lambda: compiled(optimizer=optimizers.Adam(clipnorm=1.0)),
    "loss `huber` is none of|`huber": lambda: compiled(loss=losses.Huber(name="huber")),
    "`auc` is none of|`auc": lambda: compiled(metrics=[metrics.AUC(name="auc")]),
    "no softmax": lambda: compiled(loss="categorical_crossentropy"),
}


@needs_kernels
@pytest.mark.parametrize("reason", REFUSED)
def test_what_the_kernels_cannot_do_goes_to_xla_and_is_an_error_where_they_are_demanded(reason):
    model = REFUSED[reason]()
    y = ONE_HOT
    fit(model, y=y)
    assert chosen(model).name == "xla"
    model.engine = "native"
    model.programs.clear()
    with pytest.raises(
        InvalidArgumentError, match=rf"(?s)native kernels cannot train this model: .*({reason}).*engine='auto'"
    ):
        fit(model, y=y)


@needs_kernels
def test_a_network_beyond_the_measured_limit_goes_to_xla_unless_the_kernels_are_demanded(monkeypatch):
    monkeypatch.setattr(engines, "MOST_WEIGHTS", 100)
    library.use(next(name for name in library.usable() if name != "amx"))
    try:
        model = compiled()
        fit(model)
        assert "879 weights" in chosen(model).reason
        model = compiled(engine="native")
        fit(model)
        assert chosen(model).name == "native"
    finally:
        library.use(None)


@needs_tiles
def test_tiles_are_for_large_kernels_with_many_rows_and_for_the_largest_always():
    def wide(weights, batch, **options):
        return engines._wide(native.Plan((native.DensePlan(weights, 1, True, "relu", **options),)), batch)

    assert wide(engines.WIDE_WEIGHTS + 1, engines.WIDE_BATCH)
    assert not wide(engines.WIDE_WEIGHTS, engines.WIDE_BATCH)
    assert not wide(engines.MOST_WEIGHTS, engines.WIDE_BATCH - 1)
    assert wide(engines.MOST_WEIGHTS + 1, 1)
    assert wide(4, 1, bfloat16=True)


@needs_tiles
def test_a_mixed_policy_is_trained_through_tiles_and_by_xla_where_there_are_none():
    def run():
        model = compiled(network(dtype="mixed_bfloat16"))
        fit(model)
        return chosen(model)

    assert run().name == "native"
    library.use("avx512")
    try:
        assert run().name == "xla"
        assert "computes in bfloat16" in run().reason
    finally:
        library.use(None)


@needs_tiles
def test_a_network_is_trained_through_tiles_in_the_memory_of_its_state(monkeypatch):
    monkeypatch.setattr(engines, "MOST_WEIGHTS", 0)

    def run(kept):
        monkeypatch.setattr(engines, "KEPT_STATE_BYTES", kept)
        lamina.set_random_seed(2)
        model = compiled(network("tanh", dropout=0.1), metrics=["mae"])
        history = fit(model, epochs=3).history
        assert chosen(model).donates == (not kept)
        return history, model.get_weights()

    one, other = run(1 << 30), run(0)
    assert one[0] == other[0]
    assert all(np.array_equal(a, b) for a, b in zip(one[1], other[1], strict=True))


@needs_tiles
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_number_that_is_not_finite_comes_out_of_the_tiles_as_such(dtype, monkeypatch):
    monkeypatch.setattr(engines, "MOST_WEIGHTS", 0)
    lamina.config.set_strict(False)
    x = X.copy()
    x[70, 3] = np.nan
    try:
        model = compiled(network(dtype=dtype))
        with pytest.warns(RuntimeWarning, match="loss is not finite"):
            history = fit(model, x).history
    finally:
        lamina.config.set_strict(True)
    assert np.isnan(history["loss"][0])
    assert all(np.isfinite(w).all() for w in model.get_weights())


@needs_kernels
def test_weights_for_each_number_of_a_target_take_xla_s_program():
    model, other = compiled(engine="native"), compiled(engine="xla")
    other.set_weights(model.get_weights())
    weights = np.abs(REAL[:, :1])  # one a row: the kernels take these
    lamina.set_random_seed(0)
    one = fit(model, sample_weight=weights).history["loss"]
    lamina.set_random_seed(0)
    assert one == pytest.approx(fit(other, sample_weight=weights).history["loss"], rel=1e-5)


# ---- what holds for both


@needs_kernels
@pytest.mark.parametrize("name", library.usable())
def test_the_number_of_threads_changes_no_bit(name, monkeypatch):
    def run(threads):
        monkeypatch.setattr(native_program, "threads_for", lambda *_: threads)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(threads), raising=False)
        lamina.set_random_seed(5)
        model = compiled(network("relu", dropout=0.2, widths=(70, 40)), metrics=["mae"])
        history = fit(model, epochs=2).history
        return history, model.get_weights()

    library.use(name)
    monkeypatch.setattr(engines, "MOST_WEIGHTS", 0)
    try:
        one, many = run(1), [run(threads) for threads in (2, 3, 5)]
    finally:
        library.use(None)
    for other in many:
        assert other[0] == one[0]
        assert all(np.array_equal(a, b) for a, b in zip(one[1], other[1], strict=True))


@needs_kernels
def test_threads_come_with_work_and_never_beyond_the_cores():
    small = native.Plan((native.DensePlan(4, 16, True, "relu"), native.DensePlan(16, 3, True, "linear")))
    large = native.Plan((native.DensePlan(784, 512, True, "relu"), native.DensePlan(512, 10, True, "linear")))
    assert native_program.threads_for(small, 32, 8) == 1
    assert native_program.threads_for(large, 128, 8) == 8
    assert native_program.threads_for(large, 128, 2) == 2


@needs_kernels
def test_a_loss_that_is_not_finite_leaves_the_weights_of_the_last_good_step():
    model = compiled(network("linear"), optimizers.SGD(1e9), engine="native")
    with pytest.warns(RuntimeWarning, match="The loss is not finite"):
        history = fit(model, epochs=3)
    assert np.isnan(history.history["loss"][-1])
    assert all(np.isfinite(w).all() for w in model.get_weights())


@needs_kernels
def test_callbacks_see_each_batch_and_may_change_the_learning_rate():
    class Halving(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2

    def run(engine):
        lamina.set_random_seed(0)
        model = compiled(engine=engine)
        fit(model, callbacks=[Halving()])
        return model.get_weights()

    for a, b in zip(run("native"), run("xla"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@needs_kernels
def test_the_state_goes_on_where_another_engine_left_it():
    def run(second):
        lamina.set_random_seed(0)
        model = compiled(network(dropout=0.3), engine="native")
        fit(model)
        model.engine = second
        model.programs.clear()
        return fit(model).history["loss"]

    assert run("xla") == pytest.approx(run("native"), rel=1e-5)


@needs_kernels
def test_wrong_arrays_are_refused_by_the_library_itself():
    plan = native.Plan((native.DensePlan(3, 2, True, "linear"),))
    zero, good = np.float32(0), [np.zeros((3, 2), np.float32), np.zeros(2, np.float32)]
    data = native.Data(np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32))

    def run(data=data, count=2, params=good, plan=plan):
        call = jax.jit(lambda: native.evaluate(plan, 2, data, np.int32(count), np.int32(1), [zero, zero], params))
        return jax.block_until_ready(call())

    run()
    for wrong in (
        {"count": 3},
        {"count": -1},
        {"params": good[::-1]},
        {"params": [*good, good[1]]},
        {"data": data._replace(y=np.zeros((3, 2), np.float32))},
        {"data": data._replace(weights=np.zeros(3, np.float32))},
        {"plan": plan._replace(layers=plan.layers * 2)},
    ):
        with pytest.raises(Exception, match=r"lamina's native kernel was given wrong arguments"):
            run(**wrong)


# ---- the library


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@needs_kernels
def test_the_environment_turns_the_kernels_off_or_takes_a_lesser_set():
    show = "from lamina.native import library as l; print(l.available(), l.instructions(), l.why_not())"
    assert python(show, LAMINA_NATIVE="0") == "False None turned off by LAMINA_NATIVE=0"
    assert python(show, LAMINA_NATIVE="portable") == "True portable"
    assert f"none of 0,{','.join(library.usable())}" in python(show, LAMINA_NATIVE="mmx")


@needs_kernels
def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(InvalidArgumentError, match="`name` must be one of"):
        library.use("mmx")


def test_without_the_library_xla_trains_and_the_reason_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "FILE", tmp_path / "none.so")
    library._load.cache_clear()
    try:
        assert not library.available()
        assert "not built" in library.describe()
        with pytest.raises(InvalidArgumentError, match="There are no native kernels"):
            library.use("avx2")
        model = compiled()
        fit(model)
        assert "not built" in chosen(model).reason
        with pytest.raises(InvalidArgumentError, match="not built"):
            fit(compiled(engine="native"))
        (tmp_path / "none.so").write_bytes(b"no library")
        library._load.cache_clear()
        assert "cannot be loaded" in library.why_not()
    finally:
        library._load.cache_clear()


def test_evaluations_and_sessions_name_their_engine():
    model = compiled(engine="xla")
    fit(model)
    assert session.Testing(model, padded=True).engine.name == "xla"


@needs_kernels
def test_a_layer_that_is_frozen_while_the_kernels_train_keeps_its_weights_from_then_on():
    class Freeze(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.layers[0].trainable = False
                self.kept = self.model.layers[0].get_weights()[0].copy()

    model, freeze = compiled(), Freeze()
    fit(model, epochs=3, callbacks=[freeze])
    assert chosen(model).name == "xla"
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], freeze.kept)
