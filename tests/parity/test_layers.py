"""Every layer against Keras's own, live: outputs, gradients, state, configs, shapes, masks and half precision."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import functools
import inspect
import random

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras.src.utils import naming

import lamina
from lamina import layers
from lamina.graph import KerasTensor
from lamina.layers.context import CallContext, calling

X2 = (4, 6)
X3 = (4, 3, 6)
L1 = {"module": "keras.regularizers", "class_name": "L1", "config": {"l1": 0.5}, "registered_name": None}
RENORM = {"rmin": 0.5, "rmax": 1.5, "dmax": 0.3}

# (class, arguments, shape of the input or list of shapes)
CASES = [
    ("Dense", {"units": 3}, X2),
    ("Dense", {"units": 3, "activation": "relu", "use_bias": False, "kernel_regularizer": "l2"}, X3),
    ("Dense", {"units": 3, "activation": "tanh", "activity_regularizer": L1, "bias_initializer": "normal"}, X2),
    ("Activation", {"activation": "relu"}, X2),
    ("Activation", {"activation": "softmax"}, X3),
    ("ReLU", {}, X2),
    ("ReLU", {"max_value": 0.8, "negative_slope": 0.1, "threshold": 0.2}, X2),
    ("LeakyReLU", {}, X2),
    ("LeakyReLU", {"negative_slope": 0.05}, X3),
    ("PReLU", {}, X2),
    ("PReLU", {"alpha_initializer": "uniform", "shared_axes": [1], "alpha_regularizer": L1}, X3),
    ("ELU", {}, X2),
    ("ELU", {"alpha": 0.4}, X2),
    ("Softmax", {}, X2),
    ("Softmax", {"axis": 1}, X3),
    ("Softmax", {"axis": [1, 2]}, X3),
    ("Dropout", {"rate": 0.4}, X2),
    ("Dropout", {"rate": 0.4, "seed": 7, "noise_shape": (None, 1, 6)}, X3),
    ("Dropout", {"rate": 0}, X2),
    ("Dropout", {"rate": 1.0}, X2),
    ("AlphaDropout", {"rate": 0.3}, X2),
    ("AlphaDropout", {"rate": 0.3, "seed": 3, "noise_shape": (None, 1, None)}, X3),
    ("GaussianDropout", {"rate": 0.3}, X2),
    ("GaussianNoise", {"stddev": 0.3, "seed": 11}, X3),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, X2),
    ("BatchNormalization", {}, X2),
    ("BatchNormalization", {"momentum": 0.7, "epsilon": 0.01, "center": False}, X3),
    ("BatchNormalization", {"scale": False, "axis": 1, "beta_initializer": "normal"}, X3),
    ("BatchNormalization", {"trainable": False, "moving_mean_initializer": "normal"}, X2),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": RENORM, "renorm_momentum": 0.8}, X2),
    ("BatchNormalization", {"gamma_regularizer": "l2", "gamma_constraint": "non_neg"}, X2),
    ("LayerNormalization", {}, X2),
    ("LayerNormalization", {"axis": [1, 2], "gamma_initializer": "normal", "beta_initializer": "normal"}, X3),
    ("LayerNormalization", {"axis": 1, "center": False, "scale": False}, X3),
    ("RMSNormalization", {}, X2),
    ("RMSNormalization", {"axis": [1, 2], "epsilon": 1e-3}, X3),
    ("GroupNormalization", {"groups": 3, "gamma_initializer": "normal"}, X2),
    ("GroupNormalization", {"groups": -1, "axis": 1, "center": False}, X3),
    ("UnitNormalization", {}, X2),
    ("UnitNormalization", {"axis": [1, 2]}, X3),
    ("SpectralNormalization", {"layer": ("Dense", {"units": 5}), "power_iterations": 2}, X2),
    ("Flatten", {}, X3),
    ("Flatten", {"data_format": "channels_first"}, X3),
    ("Flatten", {}, (4,)),
    ("Reshape", {"target_shape": (3, 2)}, X2),
    ("Reshape", {"target_shape": (-1, 9)}, X3),
    ("Permute", {"dims": (2, 1)}, X3),
    ("RepeatVector", {"n": 3}, X2),
    ("Rescaling", {"scale": 0.5, "offset": -1.0}, X2),
    ("Rescaling", {"scale": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}, X3),
    ("Normalization", {}, X2),
    ("Normalization", {"mean": 3.0, "variance": 4.0}, X2),
    ("Normalization", {"axis": (1, 2), "mean": [1.0] * 6, "variance": [2.0] * 6, "invert": True}, X3),
    ("Normalization", {"axis": None}, X3),
    ("Identity", {}, X3),
    ("Masking", {"mask_value": 0.0}, X3),
    ("Add", {}, [X2, X2, X2]),
    ("Add", {}, [X3, (4, 6)]),
    ("Subtract", {}, [X3, (4, 1, 6)]),
    ("Multiply", {}, [X2, X2]),
    ("Average", {}, [X2, X2, X2]),
    ("Maximum", {}, [X2, X2]),
    ("Minimum", {}, [X3, X3]),
    ("Concatenate", {}, [X2, (4, 2)]),
    ("Concatenate", {"axis": 1}, [X3, (4, 2, 6)]),
    ("Dot", {"axes": 1}, [X2, X2]),
    ("Dot", {"axes": (2, 1), "normalize": True}, [X3, (4, 6, 2)]),
    ("Dot", {"axes": (-1, -1)}, [X3, (4, 2, 6)]),
    ("Dot", {"axes": (-2, -1)}, [(4, 3, 2), (4, 1, 2, 3)]),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 5, "bias_axes": "c"}, X2),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 5, "bias_axes": "y", "activation": "relu"}, X3),
    ("EinsumDense", {"equation": "abc,bcd->ad", "output_shape": 2}, X3),
    ("EinsumDense", {"equation": "ab...,bc->ac...", "output_shape": 5, "bias_axes": "c"}, X3),
    ("TimeDistributed", {"layer": ("Dense", {"units": 2, "activation": "relu"})}, X3),
    ("TimeDistributed", {"layer": ("BatchNormalization", {"momentum": 0.5})}, X3),
    ("TimeDistributed", {"layer": ("Dropout", {"rate": 0.5, "seed": 2})}, X3),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


def make(module, name, arguments):
    """Return a layer of either library; a layer inside is written as (class, arguments)."""
    inner = {
        key: make(module, *value) if isinstance(value, tuple) and value and isinstance(value[0], str) else value
        for key, value in arguments.items()
    }
    return getattr(module, name)(**inner)


def pair(name, arguments, shapes=None):
    """Return the layer of both libraries, made (and built) with the same seed and the same counters of names."""
    made = []
    for module, reset in ((keras.layers, naming.reset_uids), (layers, lamina.names.reset)):
        reset()
        random.seed(5)
        made.append(make(module, name, arguments))
        if shapes is not None and not made[-1].built:
            made[-1].build([tuple(s) for s in shapes] if isinstance(shapes, list) else shapes)
    return made


def data(shapes, seed=0):
    generator = np.random.default_rng(seed)
    if isinstance(shapes, list):
        return [generator.normal(size=shape).astype("float32") for shape in shapes]
    return generator.normal(size=shapes).astype("float32")


def numbers(tree):
    return [np.asarray(x, "float32") for x in jax.tree.leaves(tree)]


def assert_same(theirs, ours, tolerance=2e-5):
    theirs, ours = numbers(theirs), numbers(ours)
    assert len(theirs) == len(ours)
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


def pure(layer, arrays, x, **arguments):
    """Return outputs, new values of all variables and losses of one call; nothing is changed."""
    if isinstance(layer, keras.Layer):
        mapping = list(zip(layer.variables, arrays, strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            outputs = layer(x, **arguments)
            new = [scope.get_current_value(v) for v in layer.variables]
            return outputs, [v if n is None else n for n, v in zip(new, arrays, strict=True)], layer.losses
    context = CallContext(collecting=True)
    with lamina.variables.bound(layer.variables, arrays), calling(context):
        outputs = layer(x, **arguments)
        return outputs, list(lamina.variables.values(layer.variables)), layer.losses


def with_gradients(layer, takes_training, training):
    """Return a function of variables and inputs: gradients to both (in float32), outputs, new variables, losses."""
    places = [i for i, v in enumerate(layer.variables) if v.trainable]

    def loss(weights, x, arrays):
        arrays = list(arrays)
        for place, weight in zip(places, weights, strict=True):
            arrays[place] = weight
        outputs, new, losses = pure(layer, arrays, x, **({"training": training} if takes_training else {}))
        factors = jnp.cos(jnp.arange(outputs.size, dtype="float32")).reshape(outputs.shape)
        return jnp.sum(outputs * factors) + sum(losses), (outputs, new, losses)

    def run(arrays, x):
        if layer.compute_dtype != "float32":
            return loss([arrays[i] for i in places], x, arrays)
        return jax.grad(loss, argnums=(0, 1), has_aux=True)([arrays[i] for i in places], x, arrays)

    return run


@functools.cache
def everything():
    """Return what both libraries give for every case, training and policy, from ONE compiled program: much quicker."""
    jobs, inputs = {}, {}
    for i, (name, arguments, shapes) in enumerate(CASES):
        for policy in ("float32", "mixed_bfloat16"):
            x = jax.tree.map(jnp.asarray, data(shapes))
            for which, layer in zip(
                ("theirs", "ours"), pair(name, {**arguments, "dtype": policy}, shapes), strict=True
            ):
                takes = "training" in inspect.signature(layer.call).parameters
                for training in (False, True) if takes else (False,):
                    jobs[i, policy, training, which] = with_gradients(layer, takes, training)
                    inputs[i, policy, training, which] = ([jnp.asarray(v.value) for v in layer.variables], x)
    failures = {}

    def program(inputs):
        found = {}
        for key, job in jobs.items():
            try:
                found[key] = job(*inputs[key])
            except Exception as error:  # told by the test of this case
                failures[key] = error
        return list(found.items())

    keys = []

    def flat(inputs):
        found = program(inputs)
        keys[:] = [key for key, _ in found]
        return [value for _, value in found]

    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    values = jax.jit(flat, compiler_options=quick)(inputs)
    return dict(zip(keys, values, strict=True)), failures


def found_for(i, policy, training):
    results, failures = everything()
    for which in ("theirs", "ours"):
        if (i, policy, training, which) in failures:
            raise failures[i, policy, training, which]
    return results.get((i, policy, training, "theirs")), results.get((i, policy, training, "ours"))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("i", range(len(CASES)), ids=IDS)
def test_outputs_state_losses_and_gradients_are_equal(i, training):
    theirs, ours = found_for(i, "float32", training)
    if theirs is not None:
        assert_same(theirs, ours)


@pytest.mark.parametrize("i", range(len(CASES)), ids=IDS)
def test_half_precision_is_kept_where_keras_keeps_it(i):
    for training in (False, True):
        theirs, ours = found_for(i, "mixed_bfloat16", training)
        if theirs is not None:
            assert jax.tree.map(lambda a: str(a.dtype), theirs) == jax.tree.map(lambda a: str(a.dtype), ours)
            assert_same(theirs, ours, tolerance=0.03)


@pytest.mark.parametrize(("name", "arguments", "shapes"), CASES, ids=IDS)
def test_initial_weights_and_configs_are_equal_and_go_both_ways(name, arguments, shapes):
    theirs, ours = pair(name, arguments, shapes)
    assert [v.path for v in theirs.weights] == [v.path for v in ours.weights]
    assert [v.trainable for v in theirs.weights] == [v.trainable for v in ours.weights]
    for a, b in zip(theirs.variables, ours.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
        assert a.dtype == b.dtype
    assert theirs.get_config() == ours.get_config()
    if name != "ELU":  # whose config Keras orders by itself
        assert list(theirs.get_config()) == list(ours.get_config())
    assert type(theirs).from_config(ours.get_config()).get_config() == theirs.get_config()
    assert type(ours).from_config(theirs.get_config()).get_config() == ours.get_config()
    assert theirs.get_build_config() == ours.get_build_config()
    whole = keras.saving.serialize_keras_object(theirs)
    assert lamina.serialization.serialize(ours) == whole
    again = lamina.serialization.deserialize(whole)
    assert [v.shape for v in again.weights] == [v.shape for v in ours.weights]


STATEFUL = [c for c in CASES if c[0] in ("BatchNormalization", "SpectralNormalization", "ActivityRegularization")]
STATEFUL += [c for c in CASES if "regularizer" in str(c[1]) and c[0] != "BatchNormalization"]


@pytest.mark.parametrize(("name", "arguments", "shapes"), STATEFUL)
def test_called_outside_of_a_step_it_keeps_state_and_losses_as_in_keras(name, arguments, shapes):
    theirs, ours = pair(name, arguments)
    for seed in range(2):
        outputs = []
        for layer in (theirs, ours):
            random.seed(5)  # it may be built only now
            outputs.append(layer(data(shapes, seed), training=True))
        assert_same(*outputs)
        assert_same([v.value for v in theirs.variables], [v.value for v in ours.variables])
        assert_same(list(theirs.losses), list(ours.losses))


@pytest.mark.parametrize("batch", [4, None])
@pytest.mark.parametrize("i", range(len(CASES)), ids=IDS)
def test_symbolic_shapes_and_types_are_equal(i, batch):
    name, arguments, shapes = CASES[i]
    found = []
    for layer, tensor in zip(pair(name, arguments), (keras.KerasTensor, KerasTensor), strict=True):
        several = isinstance(shapes, list)
        inputs = [tensor((batch, *s[1:])) for s in shapes] if several else tensor((batch, *shapes[1:]))
        output = layer(inputs)
        given = [tuple(x.shape) for x in inputs] if several else tuple(inputs.shape)
        assert tuple(layer.compute_output_shape(given)) == tuple(output.shape)
        found.append((tuple(output.shape), output.dtype))
    assert found[0] == found[1]
    if batch:
        assert found_for(i, "float32", False)[1][1][0].shape == found[1][0]


def test_embeddings_are_equal():
    numbers_in = np.array([[1, 0, 2], [2, 2, 0]])
    theirs, ours = pair("Embedding", {"input_dim": 3, "output_dim": 4, "mask_zero": True}, (None, 3))
    assert_same(theirs(numbers_in), ours(numbers_in))
    np.testing.assert_array_equal(theirs.compute_mask(numbers_in), ours.compute_mask(numbers_in))
    np.testing.assert_array_equal(ours(numbers_in)._keras_mask, theirs(numbers_in)._keras_mask)
    assert theirs.get_config() == ours.get_config()

    def loss(table, layer):
        return jnp.sum(jnp.sin(layer.stateless_call([table], [], numbers_in)[0]))

    table = jnp.asarray(ours.embeddings.value)
    assert_same(jax.grad(loss)(table, theirs), jax.grad(loss)(table, ours))


@pytest.mark.parametrize("wide", [None, (1, 5), (2, 5)])
def test_batch_normalization_ignores_what_a_mask_hides(wide):
    x = data((4, 5, 3))
    mask = np.random.default_rng(1).random((4, 5)) > 0.4
    theirs, ours = pair("BatchNormalization", {"momentum": 0.5}, (4, 5, 3))
    assert_same(theirs(x, training=True, mask=mask), ours(x, training=True, mask=mask))
    assert_same([v.value for v in theirs.variables], [v.value for v in ours.variables])


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("renorm", [False, True])
def test_batch_normalization_of_a_filled_up_batch_equals_keras_on_the_short_one(axis, masked, renorm):
    x, real = data((5, 4, 3)), 3
    mask = (np.random.default_rng(1).random((5, 4)) > 0.4) if masked else None
    x[real:] = x[0]
    arguments = {"momentum": 0.5, "axis": axis, "renorm": renorm}
    theirs, ours = pair("BatchNormalization", arguments, (None, 4, 3))
    short = {} if mask is None else {"mask": mask[:real]}
    expected = theirs(x[:real], training=True, **short)
    with calling(CallContext(training=True, rows=jnp.arange(5) < real)):
        found = ours(x, training=True, **({} if mask is None else {"mask": mask}))
    assert_same(expected, found[:real])
    assert_same([v.value for v in theirs.variables], [v.value for v in ours.variables])


def test_the_gradients_of_a_filled_up_batch_equal_those_of_the_short_one_in_keras():
    x, real = data((6, 4)), 4
    x[real:] = x[1]
    grads = []
    for layer, rows in zip(pair("BatchNormalization", {}, (None, 4)), (None, jnp.arange(6) < real), strict=True):
        given = x if rows is not None else x[:real]
        state = [jnp.asarray(v.value) for v in layer.non_trainable_variables]

        def loss(weights, given, layer=layer, state=state, rows=rows):
            if rows is None:
                outputs, _ = layer.stateless_call(weights, state, given, training=True)
            else:
                with (
                    lamina.variables.bound(layer.variables, [*weights, *state]),
                    calling(CallContext(training=True, rows=rows, collecting=True)),
                ):
                    outputs = layer(given, training=True)
            return jnp.sum(jnp.sin(3 * outputs[:real]))

        weights = [jnp.asarray(v.value) for v in layer.trainable_variables]
        to_weights, to_inputs = jax.grad(loss, argnums=(0, 1))(weights, jnp.asarray(given))
        grads.append((to_weights, to_inputs[:real]))
    assert_same(*grads)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Dropout", {"rate": 0.4}),
        ("Dropout", {"rate": 0.4, "noise_shape": (None, 1, 6)}),
        ("Dropout", {"rate": 0.4, "noise_shape": (1, 3, 6)}),
        ("AlphaDropout", {"rate": 0.3}),
        ("GaussianDropout", {"rate": 0.3}),
        ("GaussianNoise", {"stddev": 0.3}),
    ],
)
def test_the_rows_of_a_filled_up_batch_draw_the_bits_of_the_short_one_in_keras(name, arguments, dtype):
    theirs, ours = pair(name, {**arguments, "dtype": dtype})
    assert ours.rowwise
    x = data((7, 3, 6))
    for _ in range(2):
        expected = np.asarray(theirs(x[:5], training=True))
        np.testing.assert_array_equal(np.asarray(ours(x, training=True))[:5], expected)


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
@pytest.mark.parametrize("second", [False, True])
def test_merging_masked_inputs_equals_keras(name, second):
    x1 = np.array([[[0, 0], [-1, 2], [0, 0], [3, 4]]], "float32")
    x2 = np.array([[[0, 0], [0, 0], [1, -2], [3, 4]]], "float32")
    found = []
    for module, get in ((keras.layers, lambda t: getattr(t, "_keras_mask", None)), (layers, layers.context.get_mask)):
        masking = module.Masking()
        inputs = [masking(x1), masking(x2) if second else jnp.asarray(x2)]
        output = getattr(module, name)()(inputs)
        mask = get(output)
        found.append((output, None if mask is None else np.asarray(mask, "float32")))
    assert_same(*[f[0] for f in found])
    assert (found[0][1] is None) == (found[1][1] is None)
    if found[0][1] is not None:
        np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot"])
def test_the_functions_that_merge_equal_keras(name):
    x = data([X2, X2])
    assert_same(getattr(keras.layers, name)(x), getattr(layers, name)(x))


@pytest.mark.parametrize("axis", [-1, None, 1, (1, 2)])
def test_adapting_to_an_array_equals_keras(axis):
    x = data((50, 3, 2)) * 3 + 10
    theirs, ours = pair("Normalization", {"axis": axis})
    theirs.adapt(x)
    ours.adapt(x)
    assert_same(theirs(x), ours(x), 1e-4)
    assert_same([theirs.mean, theirs.variance], [ours.mean, ours.variance], 1e-4)
    assert [v.name for v in theirs.weights] == [v.name for v in ours.weights]
    assert [str(v.dtype) for v in theirs.weights] == [str(v.dtype) for v in ours.weights]


def test_a_softmax_hides_what_its_mask_hides_as_keras_does():
    x, mask = data(X3), np.random.default_rng(2).random(X3) > 0.5
    mask[0, 0] = False
    assert_same(keras.layers.Softmax()(x, mask=mask), layers.Softmax()(x, mask=mask))
    assert_same(keras.layers.Softmax()(x, mask=mask * 1.0), layers.Softmax()(x, mask=mask * 1.0))


def test_a_registered_function_of_the_users_crosses_over():
    def twice(x):
        return 2 * x

    keras.saving.register_keras_serializable("Tests")(twice)
    lamina.registry.register_keras_serializable("Tests")(twice)
    for name, arguments in (("Activation", {"activation": twice}), ("Lambda", {"function": twice})):
        theirs, ours = pair(name, arguments)
        assert_same(type(theirs).from_config(ours.get_config())(data(X2)), ours(data(X2)))
        assert_same(type(ours).from_config(theirs.get_config())(data(X2)), ours(data(X2)))
