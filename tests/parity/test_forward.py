"""The native forward pass gives what XLA gives: every covered network, any number of rows, all instruction sets."""

import copy
import pickle
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from native_models import ACTIVATIONS, needs_kernels, network

import lamina
from lamina import layers, models, placing
from lamina.errors import InvalidArgumentError
from lamina.native import library
from lamina.training import forward

pytestmark = needs_kernels
X = np.random.default_rng(0).standard_normal((300, 7)).astype("float32")


def by_xla(model, x, call=False):
    engine, model.engine = model.engine, "xla"
    try:
        return np.asarray(model(x) if call else model.predict(x, verbose=0))
    finally:
        model.engine = engine


def close(found, wanted):
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=2e-5, atol=2e-6)


def native(model):
    """Return the model, after a look whether its forward pass is native."""
    assert forward.of(model) is not None
    return model


@pytest.fixture(params=library.usable() or ["none"])
def instructions(request):
    library.use(request.param)
    yield request.param
    library.use(None)


def with_norms():
    model = models.Sequential([
        layers.Input((7,)), layers.BatchNormalization(), layers.Dense(33), layers.BatchNormalization(scale=False),
        layers.ReLU(), layers.Dropout(0.3), layers.BatchNormalization(center=False), layers.GaussianNoise(0.1),
        layers.Dense(5, "tanh", use_bias=False), layers.Dense(3), layers.BatchNormalization(), layers.Softmax(),
    ])  # fmt: skip
    rng = np.random.default_rng(1)
    model.set_weights([np.abs(rng.standard_normal(w.shape)) + 0.1 for w in model.get_weights()])
    return model


def functional():
    inputs = layers.Input((7, 1))
    inner = models.Sequential([layers.Input((9,)), layers.Dense(50, "gelu"), layers.Dropout(0.5)])
    hidden = inner(layers.Dense(9, kernel_regularizer="l2", kernel_constraint="max_norm")(layers.Flatten()(inputs)))
    return models.Model(inputs, layers.Dense(1, "sigmoid")(layers.LeakyReLU()(layers.Dense(17)(hidden))))


NETWORKS = {
    **{name: (lambda name=name: network(name, "softmax", widths=(49, 16))) for name in ACTIVATIONS},
    "wide": lambda: network(widths=(200, 130)),
    "one layer": lambda: network(widths=()),
    "deep": lambda: network("tanh", widths=(5,) * 40),
    "normalized": with_norms,
    "functional": functional,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_predicts_as_with_xla(name, instructions):
    model = native(NETWORKS[name]())
    x = X[..., None] if name == "functional" else X
    wanted = by_xla(model, x)
    for rows in (1, 2, 3, 7, 8, 9, 31, 64, 65, 128, 257, 300):
        close(model.predict(x[:rows], verbose=0), wanted[:rows])
        close(model.predict_on_batch(x[:rows]), wanted[:rows])
    close(model(x[:65]), wanted[:65])


def test_any_number_of_rows_and_of_threads_gives_the_same_bits():
    model = native(network(widths=(400, 300)))
    whole = model.predict(X, verbose=0)
    for threads in (1, 2, 3, 8):
        forward.of(model).threads = threads
        for rows in range(1, 66):
            np.testing.assert_array_equal(model.predict(X[:rows], verbose=0), whole[:rows])
        np.testing.assert_array_equal(model.predict(np.tile(X, (20, 1)), verbose=0), np.tile(whole, (20, 1)))


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "int8", "int16", "bool", "int64", "int32"])
def test_other_types_and_orders_of_numbers_predict_as_with_xla(dtype):
    model = native(network())
    x = np.abs(X * 5).astype(dtype)
    for given in (x, np.asfortranarray(x), x[::2], np.repeat(x, 2, axis=1)[:, ::2]):
        close(model.predict(given, verbose=0), by_xla(model, given))
        close(model(given), by_xla(model, given, call=True))
    swapped = x.astype(x.dtype.newbyteorder())
    close(model.predict(swapped, verbose=0), by_xla(model, swapped))


def test_a_call_gives_an_array_of_jaxs_that_belongs_to_nobody_else():
    model = native(network())
    x = X[:4].copy()
    found = model(x)
    kept = np.array(found)
    x[:] = 0
    assert isinstance(found, jax.Array)
    assert found.dtype == jnp.float32
    assert not found.committed
    model.predict(X, verbose=0)
    np.testing.assert_array_equal(found, kept)
    assert placing._put() is not None  # JAX's private way is still there: without it a call takes longer
    with jax.disable_jit():
        assert isinstance(model(X[:4]), jax.Array)
    with jax.default_device(jax.devices()[0]):
        close(model(X[:4]), kept)


def _fit(model):
    model.compile("sgd", "mse")
    model.fit(X, X[:, :3], verbose=0)


def _batch(model):
    model.compile("adam", "mse", engine="native")
    model.train_on_batch(X, X[:, :3])


CHANGES = {
    "fit": _fit,
    "train_on_batch": _batch,
    "assign": lambda model: model.layers[0].kernel.assign(model.layers[0].kernel * 2),
    "bias": lambda model: model.layers[-1].bias.assign([1.0, 2.0, 3.0]),
    "set_weights": lambda model: model.set_weights([w + 1 for w in model.get_weights()]),
    "activation": lambda model: setattr(model.layers[1], "activation", lamina.activations.tanh),
    "own function": lambda model: setattr(model.layers[1], "activation", lambda x: x * 3),
    "lora": lambda model: (model.layers[0].enable_lora(2), model.layers[0].lora_kernel_b.assign_add(np.ones((2, 33)))),
    "quantized": lambda model: model.quantize("int8"),
    "layer added": lambda model: model.add(layers.Dense(4)),
    "layer taken": lambda model: model.pop(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_shows_in_the_next_prediction(change):
    model = native(network())
    before = model.predict(X[:5], verbose=0)
    CHANGES[change](model)
    found = model.predict(X[:5], verbose=0)
    model.programs.clear()
    wanted = by_xla(model, X[:5])
    close(found, wanted)
    close(model(X[:5]), wanted)
    assert found.shape != before.shape or np.abs(found - before).max() > 1e-4


def test_statistics_of_a_normalization_that_have_moved_show():
    model = native(with_norms())
    model.predict(X, verbose=0)
    model.layers[0].moving_mean.assign(np.arange(7.0))
    close(model.predict(X, verbose=0), by_xla(model, X))


def test_copies_predict_with_weights_of_their_own(tmp_path):
    model = native(network())
    wanted = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    twins = [
        copy.deepcopy(model), pickle.loads(pickle.dumps(model)), lamina.saving.load_model(tmp_path / "model.keras"),
    ]  # fmt: skip
    model.set_weights([w * 0 for w in model.get_weights()])
    assert not model.predict(X, verbose=0).any()
    for twin in twins:
        np.testing.assert_array_equal(native(twin).predict(X, verbose=0), wanted)
    clone = models.clone_model(model)
    close(native(clone).predict(X, verbose=0), by_xla(clone, X))


BAD = {
    "NaN": np.where(np.arange(7) == 3, np.nan, X[:5]),
    "infinity": np.where(np.arange(7) == 3, np.inf, X[:5]).astype("float32"),
    "too large": X[:5].astype("float64") * 1e300,
    "other width": X[:, :6],
    "other rank": X[None],
    "a number": np.float32(3),
    "no rows": X[:0],
    "strings": np.array([["a"] * 7]),
    "complex": X * 1j,
    "objects": np.array([[None] * 7]),
    "masked": np.ma.masked_array(X, X > 0),
    "none": None,
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("method", ["predict", "predict_on_batch", "__call__"])
def test_errors_are_those_of_the_ordinary_way(name, method):
    def outcome(engine):
        model = network()
        model.name, model.engine = "net", engine
        for layer, own in zip(model.layers, "abc", strict=True):
            layer.name = own
        if engine == "auto":
            native(model)
        try:
            return np.asarray(getattr(model, method)(BAD[name]))
        except Exception as error:
            return type(error), str(error).replace(model._graph.inputs[0].name, "input")

    found, wanted = outcome("auto"), outcome("xla")
    if isinstance(wanted, tuple):
        assert found == wanted
    else:
        assert found.shape == wanted.shape
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": 2.5}, {"steps": 0}, {"callbacks": ["x"]}])
def test_arguments_that_cannot_be_right_are_refused_as_before(arguments):
    with pytest.raises((InvalidArgumentError, TypeError)):
        native(network()).predict(X, verbose=0, **arguments)


def test_infinity_among_the_weights_comes_out_as_with_xla():
    model = native(network("relu"))
    model.layers[-1].bias.assign([np.inf, 0.0, np.nan])
    np.testing.assert_allclose(model.predict(X, verbose=0), by_xla(model, X), rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(model(X), by_xla(model, X), rtol=2e-5, atol=2e-6)


def test_callbacks_and_a_line_of_progress_see_a_native_prediction(capsys):
    calls = []

    class Watching(lamina.callbacks.Callback):
        def on_predict_begin(self, logs=None):
            calls.append("begin")

        def on_predict_end(self, logs=None):
            calls.append("end")

    model = native(network())
    close(model.predict(X, callbacks=[Watching()]), by_xla(model, X))
    assert calls == ["begin", "end"]
    assert capsys.readouterr().out == ""
    close(model.predict(X, verbose=2), by_xla(model, X))
    assert "Predict" in capsys.readouterr().out
    model.predict(X)
    assert capsys.readouterr().out == ""


class Called(models.Sequential):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs) + 1


class Stepping(models.Sequential):
    def predict_step(self, state, data):
        outputs, stats = super().predict_step(state, data)
        return outputs + 1, stats


@pytest.mark.parametrize("kind", [Called, Stepping])
def test_a_model_whose_user_says_what_a_prediction_is_goes_the_ordinary_way(kind):
    model = kind([layers.Input((7,)), layers.Dense(3)])
    assert forward.of(model) is None
    plain = models.Sequential(model.layers)
    close(model.predict(X, verbose=0), plain.predict(X, verbose=0) + 1)


@pytest.mark.parametrize(
    "layer", [layers.Softmax, lambda: layers.LayerNormalization(), lambda: layers.Activation("softplus"),
              lambda: layers.Dense(3, activity_regularizer="l2"), lambda: layers.Dense(3, dtype="mixed_bfloat16")]
)  # fmt: skip
def test_what_is_not_covered_goes_the_ordinary_way(layer):
    model = models.Sequential([layers.Input((7,)), layers.Dense(8), layer(), layers.Dense(3)])
    assert forward.of(model) is None
    assert model.predict(X, verbose=0).shape == (300, 3)


def test_a_call_inside_a_trace_or_a_step_goes_the_ordinary_way():
    model = native(network())
    params = [v.value for v in model.trainable_variables]
    outputs, _ = model.stateless_call([p * 0 for p in params], [], X[:5])
    assert not np.asarray(outputs).any()
    close(jax.jit(lambda: model(X[:5]))(), by_xla(model, X[:5]))


def test_threads_predict_at_once_while_another_one_trains():
    model = native(network(widths=(300, 200)))
    model.compile("sgd", "mse")
    x = np.tile(X, (30, 1))
    frozen = native(network(widths=(300, 200)))
    wanted, wrong = frozen.predict(x, verbose=0), []

    def ask(rows):
        for _ in range(20):
            found = frozen.predict(x[:rows], verbose=0)
            if not np.array_equal(found, wanted[:rows]) or not np.isfinite(model.predict(x[:rows], verbose=0)).all():
                wrong.append(rows)

    threads = [threading.Thread(target=ask, args=(rows,)) for rows in (1, 40, 150, 9000)]
    for thread in threads:
        thread.start()
    model.fit(X, X[:, :3], epochs=20, verbose=0)
    for thread in threads:
        thread.join()
    assert not wrong
    close(model.predict(X, verbose=0), by_xla(model, X))


def test_networks_that_are_gone_leave_no_memory_behind():
    import gc
    import weakref

    model = native(network())
    gone = weakref.ref(forward.of(model)._network)
    del model
    gc.collect()
    assert gone() is None


def test_another_set_of_instructions_is_taken_from_the_next_call_on():
    model = native(network())
    wanted = model.predict(X, verbose=0)
    for name in library.usable():
        library.use(name)
        try:
            close(model.predict(X, verbose=0), wanted)
        finally:
            library.use(None)


def test_a_prediction_may_be_asked_for_in_any_piece():
    model = native(network())
    wanted = model.predict(X, verbose=0)
    forward.of(model).piece = 7
    np.testing.assert_array_equal(model.predict(X, verbose=0), wanted)
    np.testing.assert_array_equal(model.predict(X, verbose=0, callbacks=[]), wanted)
