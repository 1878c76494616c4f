"""The life of a layer: made, built, called, built again, saved, copied."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, metrics, registry, serialization
from lamina.errors import InvalidArgumentError, NotBuiltError, UnboundVariableError
from lamina.graph import KerasTensor
from lamina.layers import Dense, Dropout, Layer
from lamina.layers.context import CallContext, calling, get_mask, set_mask
from lamina.random import SeedGenerator
from lamina.variables import Variable, bound

X = np.ones((4, 3), "float32")


class Scale(Layer):
    """One weight for each feature."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="w")

    def call(self, x):
        return x * self.w * self.factor


class Pair(Layer):
    """Layers in a list, a dict and an attribute."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = Dense(2)
        self.many = [Dense(2), {"last": Dense(1)}]

    def call(self, x):
        return self.many[1]["last"](self.many[0](self.first(x)))


# ---- build


def test_a_layer_has_no_weights_before_its_first_call():
    layer = Dense(10)
    assert layer.weights == []
    assert layer.get_weights() == []
    with pytest.raises(AttributeError, match="'Dense' object has no attribute 'bias'"):
        layer.bias  # noqa: B018
    layer(X)
    assert (layer.kernel.shape, layer.bias.shape) == ((3, 10), (10,))


def test_building_it_again_replaces_the_weights():
    layer = Dense(10)
    for inputs in (4, 20, 4):
        layer.build((None, inputs))
        assert [w.shape for w in layer.weights] == [(inputs, 10), (10,)]
    assert layer(np.ones((2, 4))).shape == (2, 10)


def test_a_build_that_fails_leaves_the_layer_as_it_was():
    layer = Dense(10)
    with pytest.raises(InvalidArgumentError, match="known size"):
        layer.build((None, None))
    assert not layer.built
    assert layer.weights == []
    layer.build((None, 4))
    before = layer.get_weights()
    with pytest.raises(InvalidArgumentError):
        layer.build((None, None))
    assert layer.built
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
    assert layer.kernel is layer.weights[0]


def test_weights_made_in_init_survive_building_again():
    class Both(Layer):
        def __init__(self):
            super().__init__()
            self.a = self.add_weight(shape=(1,), initializer="ones", name="a")

        def build(self, input_shape):
            self.b = self.add_weight(shape=(input_shape[-1],), name="b")

        def call(self, x):
            return x * self.b + self.a

    layer = Both()
    first = layer.a
    layer.build((None, 2))
    layer.build((None, 5))
    assert [v.shape for v in layer.weights] == [(1,), (5,)]
    assert layer.a is first


def test_a_layer_that_is_part_of_a_graph_is_not_built_for_another_width():
    layer = Dense(2)
    layer(layers.Input((3,)))
    layer.build((None, 3))
    with pytest.raises(InvalidArgumentError, match="would break the model"):
        layer.build((None, 5))
    assert layer.kernel.shape == (3, 2)


def test_build_may_ask_for_the_shapes_of_several_arguments():
    class Two(Layer):
        def build(self, bar_shape, foo_shape):
            self.shapes = (foo_shape, bar_shape)

        def call(self, foo, bar):
            return foo[:, :1] + bar[:, :1]

    layer = Two()
    layer(np.ones((4, 1)), np.ones((4, 2)))
    assert layer.shapes == ((4, 1), (4, 2))
    assert layer.get_build_config() == {"shapes_dict": {"bar_shape": (4, 2), "foo_shape": (4, 1)}}
    again = Two()
    again.build_from_config(layer.get_build_config())
    assert again.shapes == layer.shapes


@pytest.mark.parametrize(
    ("names", "problem"),
    [(("foo_shape", "bar"), "does not end in `_shape`"), (("foo_shape", "baz_shape"), "does not have argument `baz`")],
)
def test_a_build_whose_arguments_match_nothing_is_refused(names, problem):
    space = {}
    exec(f"def build(self, {', '.join(names)}): pass", space)
    cls = type("Odd", (Layer,), {"build": space["build"], "call": lambda self, foo, bar: foo + bar})
    with pytest.raises(InvalidArgumentError, match=problem):
        cls()(X, X)


def test_a_layer_without_build_builds_what_it_holds_at_its_first_call():
    for inputs in (X, KerasTensor((None, 3))):
        layer = Pair()
        layer(inputs)
        assert [w.shape for w in layer.weights] == [(3, 2), (2,), (2, 2), (2,), (2, 1), (1,)]
        assert layer.built


def test_parts_may_be_missing_from_lists_and_dicts_of_inputs():
    class Maybe(Layer):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, xs):
            return self.dense(xs["a"]) + (0 if xs.get("b") is None else self.dense(xs["b"]))

    layer = Maybe()
    assert layer({"a": X, "b": None}).shape == (4, 2)
    assert layer({"a": KerasTensor((4, 3)), "b": KerasTensor((4, 3))}).shape == (4, 2)


# ---- parts


def test_every_part_is_found_once_wherever_it_is_held():
    class Holder(Layer):
        def __init__(self):
            super().__init__()
            self.direct = Dense(2)
            self.twice = self.direct
            self.nested = {"a": [Dense(2), (Dense(2),)]}
            self.seed = SeedGenerator(3)
            self.seeds = [SeedGenerator(4)]
            self.free = Variable(np.ones(2), name="free")
            self.metric = metrics.Mean()

        def call(self, x):
            return self.nested["a"][1][0](self.nested["a"][0](self.direct(x)))

    layer = Holder()
    layer(X)
    assert len(layer._layers) == 3
    assert len(layer.weights) == 7
    assert len(layer.variables) == 9
    assert layer.metrics == [layer.metric]
    assert len(layer.metrics_variables) == 2
    assert [v.trainable for v in layer.variables].count(False) == 2
    assert layer.count_params() == sum(w.size for w in layer.weights)


def test_attributes_set_before_the_constructor_of_the_base_count_too():
    class Early(Layer):
        def __init__(self):
            self.w = Variable(np.ones(2))
            super().__init__()

    assert len(Early().weights) == 1


def test_paths_of_weights_name_the_layers_around_them():
    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Scale()

        def call(self, x):
            return self.inner(x)

    layer = Outer()
    layer(KerasTensor((None, 3)))
    assert [v.path for v in layer.weights] == ["outer/scale/w"]
    assert layer.inner.path == "outer/scale"
    late = layer.inner.add_weight(shape=(), name="late")
    assert late.path == "outer/scale/late"


def test_names_are_counted_and_checked():
    assert [Dense(1).name, Dense(1).name, Dense(1, name="mine").name] == ["dense", "dense_1", "mine"]
    for bad in ("a/b", 3):
        with pytest.raises(InvalidArgumentError, match="cannot contain character `/`"):
            Dense(1, name=bad)


# ---- weights


def test_add_weight_has_defaults_for_each_type():
    layer = Layer()
    assert layer.add_weight().dtype == "float32"
    assert layer.add_weight(dtype="int32", trainable=False).numpy() == 0
    assert layer.add_weight(dtype="bool", trainable=False).numpy() == np.False_
    assert layer.add_weight((2, 2), "zeros", "float16").shape == (2, 2)
    mixed = Layer(dtype="mixed_bfloat16").add_weight(shape=(1,))
    assert mixed.dtype == "float32"


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "problem"),
    [
        (("w",), {}, ValueError, "`name` must be passed as a keyword argument"),
        (("w",), {"shape": (3,)}, ValueError, "`name` must be passed as a keyword argument"),
        (((3,),), {"shape": (3,)}, ValueError, "`shape` was passed both positionally and as a keyword argument"),
        (((3,), "ones"), {"initializer": "ones"}, ValueError, "`initializer` was passed both"),
        (((3,), "ones", "float32", "w"), {}, TypeError, "takes at most 3 positional arguments"),
        ((), {"shape": (None, 2)}, ValueError, "fully-defined"),
        ((), {"initializer": "glorot_unifrom", "shape": (2,)}, ValueError, "glorot_uniform"),
    ],
)
def test_bad_arguments_of_add_weight_are_refused(args, kwargs, error, problem):
    with pytest.raises(error, match=problem):
        Layer().add_weight(*args, **kwargs)


def test_a_weight_made_in_call_is_refused():
    class Bad(Layer):
        def call(self, x):
            self.w = self.add_weight(shape=(), initializer="zeros")
            return x

    with pytest.raises(InvalidArgumentError, match="cannot add new elements of state"):
        Bad()(X)


def test_a_weight_can_be_taken_away_again():
    layer = Layer()
    layer.w = layer.add_weight(shape=(2,))
    layer.w = layer._untrack_variable(layer.w)
    assert layer.weights == []
    assert layer.w is None


def test_set_weights_changes_all_or_nothing():
    layer = Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    kernel, bias = np.ones((3, 2)), np.ones(2)
    for bad, problem in (
        ([kernel], "weight list of length 1, but the layer was expecting 2"),
        ([kernel, np.ones(3)], r"weight shape \(2,\) is not compatible with provided weight shape \(3,\)"),
        ([kernel.T, bias], "transposed"),
        ([kernel, np.array(["a", "b"])], "must be numbers"),
    ):
        with pytest.raises(InvalidArgumentError, match=problem):
            layer.set_weights(bad)
        for array, old in zip(layer.get_weights(), before, strict=True):
            np.testing.assert_array_equal(array, old)
    layer.set_weights([kernel, bias])
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    with pytest.raises(InvalidArgumentError, match="build the layer first"):
        Dense(2).set_weights([kernel])


def test_what_get_weights_gives_is_a_copy():
    layer = Dense(2)
    layer.build((None, 3))
    layer.get_weights()[1][:] = 7
    assert not layer.get_weights()[1].any()


def test_trainable_holds_for_all_that_is_inside():
    class Frozen(Layer):
        def build(self, _):
            self.w1 = self.add_weight(shape=(), trainable=True)
            self.w2 = self.add_weight(shape=(), trainable=False)
            self.inner = Scale()
            self.inner.build((None, 2))
            self.seed = SeedGenerator(1)

    layer = Frozen()
    layer.build(None)
    for value, counts in ((True, (2, 1, 2)), (False, (0, 3, 4)), (True, (2, 1, 2))):
        layer.trainable = value
        found = (layer.trainable_weights, layer.non_trainable_weights, layer.non_trainable_variables)
        assert tuple(map(len, found)) == counts
        assert layer.inner.w.trainable is value
    cold = Frozen(trainable=False)
    cold.build(None)
    assert (cold.trainable_weights, len(cold.non_trainable_weights)) == ([], 3)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_trainable_must_be_a_boolean(value):
    with pytest.raises(InvalidArgumentError, match="Expected `trainable` to be a boolean"):
        Dense(2, trainable=value)


def test_an_unknown_argument_is_refused_with_the_nearest():
    with pytest.raises(InvalidArgumentError, match=r"(?s)Unrecognized keyword arguments passed to Dense.*'activation'"):
        Dense(2, activasion="relu")
    assert Dropout(0.5, lora_rank=None).rate == 0.5
    with pytest.raises(InvalidArgumentError, match="Unrecognized"):
        Dropout(0.5, lora_rank=4)


def test_count_params_needs_weights():
    with pytest.raises(NotBuiltError, match="You tried to call `count_params` on layer 'dense'"):
        Dense(2).count_params()
    assert Dropout(0.5).count_params() == 0


# ---- call


def test_the_base_class_says_what_is_missing():
    layer = Layer()
    layer.built = True
    for method in ("call", "compute_output_shape"):
        with pytest.raises(NotImplementedError, match=f"does not have a `{method}` method implemented."):
            getattr(layer, method)(None)


def test_only_arrays_may_be_passed_by_position():
    class Switch(Layer):
        def call(self, x, flag):
            return x if flag else x + 1

    with pytest.raises(InvalidArgumentError, match="Only input tensors may be passed as positional arguments"):
        Switch()(X, True)
    np.testing.assert_array_equal(Switch()(X, flag=False), X + 1)


@pytest.mark.parametrize("given", [X, X.tolist(), jnp.asarray(X), Variable(X), X.astype("float64")])
def test_anything_that_becomes_an_array_may_come_in(given):
    output = layers.Identity()(given)
    assert isinstance(output, jax.Array)
    assert output.dtype == "float32"


@pytest.mark.parametrize("given", [np.array([["a"]]), np.array([[object()]]), np.array([["2020"]], "datetime64")])
def test_what_holds_no_numbers_is_refused(given):
    with pytest.raises(InvalidArgumentError, match="Invalid dtype"):
        Dense(2)(given)


def test_an_input_of_another_width_is_refused_in_the_words_of_the_lecture():
    layer = Dense(10)
    layer.build((None, 20))
    with pytest.raises(InvalidArgumentError) as error:
        layer(np.ones((4, 12)))
    text = str(error.value)
    assert "Matrix size-incompatible: In[0]: [4,12], In[1]: [20,10]" in text
    assert "expected axis -1 of input shape to have value 20, but received input with shape (4, 12)" in text
    assert "To fix it" in text


@pytest.mark.parametrize(
    ("spec", "shape", "problem"),
    [
        ({"ndim": 2}, (2, 3, 4), "expected ndim=2, found ndim=3"),
        ({"min_ndim": 2}, (3,), "expected min_ndim=2, found ndim=1"),
        ({"max_ndim": 2}, (2, 3, 4), "expected max_ndim=2, found ndim=3"),
        ({"axes": {-1: 5}, "ndim": 2}, (2, 3), "expected axis -1 of input shape to have value 5"),
        ({"shape": (None, 4)}, (2, 3), r"expected shape=\(None, 4\), found shape=\(2, 3\)"),
        ({"dtype": "int32"}, (2, 3), "expected dtype=int32, found dtype=float32"),
    ],
)
def test_the_input_spec_is_checked(spec, shape, problem):
    layer = layers.Identity()
    layer.input_spec = layers.InputSpec(**spec)
    with pytest.raises(InvalidArgumentError, match=f"of layer 'identity' is incompatible with the layer: {problem}"):
        layer(np.ones(shape, "float32"))


@pytest.mark.parametrize("explicit", [None, True, False])
@pytest.mark.parametrize("outer", [None, True, False])
def test_training_is_what_was_passed_else_what_the_outer_call_got_else_the_default(explicit, outer):
    seen = []

    class Probe(Layer):
        def call(self, x, training=False):
            seen.append(training)
            return x

    class Middle(Layer):  # takes no `training` itself
        def __init__(self):
            super().__init__()
            self.probe = Probe()

        def call(self, x):
            return self.probe(x) if explicit is None else self.probe(x, training=explicit)

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.middle, self.after = Middle(), Probe()

        def call(self, x, training=None):
            return self.after(self.middle(x))

    layer = Outer()
    layer(X) if outer is None else layer(X, training=outer)
    inside = explicit if explicit is not None else outer
    assert seen == [inside if inside is not None else False, outer if outer is not None else False]


def test_an_interrupted_call_leaves_no_trace():
    class Bad(Layer):
        def call(self, x, training=False):
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError):
        Bad()(X, training=True)
    np.testing.assert_array_equal(Dropout(0.9)(X), X)


def test_arguments_registered_for_it_pass_from_outer_to_inner_calls():
    class Inner(Layer):
        def __init__(self):
            super().__init__()
            self._register_call_context_args("mode")

        def call(self, x, mode=None):
            return x + (1 if mode else 0)

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self._register_call_context_args("mode")
            self.inner = Inner()

        def call(self, x):
            return self.inner(x)

    layer = Outer()
    assert layer(np.array(0.0), mode=True) == 1
    assert layer(np.array(0.0)) == 0
    assert layer._call_context_args == {"training", "mode"}
    with pytest.raises(RuntimeError, match="Cannot add call-context args after the layer has been called"):
        layer._register_call_context_args("other")


def test_a_layer_computes_in_its_compute_type_and_keeps_its_weights_in_the_other():
    layer = Dense(2, dtype="mixed_bfloat16")
    output = layer(X)
    assert (output.dtype, layer.kernel.dtype, layer.compute_dtype) == ("bfloat16", "float32", "bfloat16")
    layer.dtype_policy = "float16"
    assert (layer.compute_dtype, layer.variable_dtype) == ("float16", "float16")
    assert layers.Identity(dtype="float16")(np.array([1, 2])).dtype == "int32"


def test_a_layer_inside_uses_its_own_types():
    seen = {}

    class Inner(Layer):
        def build(self, _):
            self.v = self.add_weight(shape=())

        def call(self, x):
            seen[self.name] = (str(x.dtype), self.v.dtype)
            return x + self.v

    class Outer(Layer):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.full, self.mixed = Inner(dtype="float32", name="full"), Inner(dtype="mixed_float16", name="mixed")

        def call(self, x):
            return self.mixed(self.full(x))

    assert Outer()(X).dtype == "float16"
    assert seen == {"full": ("float32", "float32"), "mixed": ("float16", "float16")}


# ---- losses


def test_losses_are_those_of_the_last_call():
    class Loss(Layer):
        def call(self, x):
            self.add_loss(jnp.sum(x))
            return x

    layer = Loss(activity_regularizer="l1")
    for _ in range(2):
        layer(X)
        assert [float(loss) for loss in layer.losses] == pytest.approx([12.0, 0.03])

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Loss()
            self.dense = Dense(1, kernel_regularizer="l2", kernel_initializer="ones")

        def call(self, x):
            return self.dense(self.inner(x))

    outer = Outer()
    for _ in range(2):
        outer(X)
        assert [float(loss) for loss in outer.losses] == pytest.approx([12.0, 0.03])
    with pytest.raises(InvalidArgumentError, match="scalar losses"):
        layer.add_loss(jnp.ones(2))


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_penalty_of_the_output_does_not_depend_on_the_number_of_rows(rows):
    layer = layers.Identity(activity_regularizer="l2")
    layer(jnp.full((rows, 5), 2.0))
    assert float(layer.losses[0]) == pytest.approx(0.2 if rows else 0.0)
    assert not layer.rowwise


# ---- masks


def test_masks_travel_also_while_jax_traces():
    found = []

    class Taker(Layer):
        supports_masking = True

        def call(self, x, mask=None):
            found.append(mask)
            return x * 1.0

    def run(x):
        x = layers.Masking()(x)
        return get_mask(Taker()(Taker(dtype="float16")(x)))

    x = np.array([[[0.0, 0.0], [1.0, 0.0]]], "float32")
    for function in (run, jax.jit(run)):
        np.testing.assert_array_equal(function(x), [[False, True]])
    assert len(found) == 4
    assert all(mask is not None for mask in found)


def test_a_mask_is_given_to_the_arguments_that_ask_for_it():
    class Two(Layer):
        supports_masking = True

        def call(self, a, b, a_mask=None, b_mask=None):
            self.got = (a_mask, b_mask)
            return a + b

    a, b = jnp.ones((2, 3)), jnp.ones((2, 3))
    set_mask(a, jnp.array([True, False]))
    layer = Two()
    layer(a, b)
    assert layer.got[0] is get_mask(a)
    assert layer.got[1] is None
    layer(a=b, b=a)
    assert layer.got[1] is get_mask(a)


def test_an_explicit_mask_is_passed_on():
    layer = layers.Softmax()
    mask = jnp.array([[True, False, True]] * 4)
    assert get_mask(layer(X, mask=mask)) is mask


def test_a_layer_that_destroys_a_mask_says_so():
    x = layers.Masking()(np.ones((1, 2, 3), "float32"))
    with pytest.warns(UserWarning, match="Layer 'flatten'.* will therefore destroy the mask information"):
        layers.Flatten()(x)


def test_a_class_that_computes_masks_supports_them():
    class Mine(Layer):
        def compute_mask(self, inputs, previous_mask):
            return jnp.ones(2, bool)

        def call(self, x):
            return x + 1

    assert Mine().supports_masking
    assert get_mask(Mine()(jnp.ones((2, 2)))) is not None
    assert not Scale().supports_masking


def test_masks_of_stand_ins_travel_too():
    x = layers.Embedding(5, 2, mask_zero=True)(layers.Input((4,), dtype="int32"))
    assert get_mask(x).shape == (None, 4)
    assert get_mask(layers.Dropout(0.5)(x)) is get_mask(x)


def test_no_mask_is_kept_alive_by_the_table_of_tracers():
    from lamina.ops import masks

    def run(x):
        y = x * 2
        set_mask(y, x > 0)
        assert get_mask(y) is not None
        return y

    jax.jit(run)(jnp.ones(3))
    import gc

    gc.collect()
    assert masks._masks == {}


# ---- shapes


@pytest.mark.parametrize(
    "structure",
    [lambda s: s, lambda s: (s, s), lambda s: [s, s], lambda s: {"a": s, "b": {"c": s}}, lambda s: (s, (s, s))],
)
def test_compute_output_shape_is_enough_for_a_symbolic_call(structure):
    class Shaped(Layer):
        def call(self, x):
            raise RuntimeError("must not run")

        def compute_output_shape(self, input_shape):
            return structure(input_shape)

    found = Shaped().compute_output_spec(KerasTensor((None, 3)))
    assert jax.tree.map(lambda t: t.shape, found) == structure((None, 3))


def test_the_shape_of_a_layer_that_says_nothing_is_found_by_tracing():
    class Silent(Layer):
        def call(self, x):
            return jnp.concatenate([x, x], -1).astype("int32"), x[0]

    whole, row = Silent()(KerasTensor((None, 3)))
    assert (whole.shape, whole.dtype, row.shape) == ((None, 6), "int32", (3,))
    assert Silent().compute_output_shape((None, 3)) == ((None, 6), (3,))


# ---- without side effects


def test_stateless_call_changes_nothing():
    class All(Layer):
        def __init__(self):
            super().__init__()
            self.seed = SeedGenerator(7)
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.w = self.add_weight(shape=(), initializer="ones", regularizer="l1")
            self._build_at_init()

        def call(self, x):
            self.add_loss(jnp.sum(x))
            self.count.assign(self.count + 1)
            return x * self.w + lamina.random.normal((), seed=self.seed)

    layer, twin = All(), All()
    before = [np.asarray(v) for v in layer.variables]
    outputs, state, losses = layer.stateless_call(
        layer.trainable_variables, layer.non_trainable_variables, X, return_losses=True
    )
    for variable, old in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
    np.testing.assert_allclose(outputs, twin(X))
    for new, variable in zip(state, twin.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(new, variable)
    assert [float(loss) for loss in losses] == pytest.approx([12.0, 0.01])
    assert layer.losses == [pytest.approx(0.01)]


def test_stateless_call_refuses_what_it_cannot_do():
    with pytest.raises(NotBuiltError, match="must be built"):
        Dense(2).stateless_call([], [], X)
    layer = Dense(2)
    layer.build((None, 3))
    with pytest.raises(InvalidArgumentError, match="Received list with length 1, but expected 2 variables"):
        layer.stateless_call([layer.kernel], [], X)


def test_a_layer_that_the_step_does_not_own_is_an_error():
    mine, foreign = Scale(), Scale()
    mine(X), foreign(X)
    with (
        bound(mine.variables, [v.value for v in mine.variables]),
        calling(CallContext()),
        pytest.raises(UnboundVariableError, match="scale_1/w"),
    ):
        foreign(X)


# ---- configs and copies


def test_a_library_layer_is_described_by_its_arguments():
    layer = Dense(3, activation="relu", kernel_regularizer="l2", name="d", trainable=False)
    again = Dense.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert list(layer.get_config())[:4] == ["name", "trainable", "dtype", "units"]
    assert "activity_regularizer" not in layer.get_config()


def test_the_type_in_a_config_reaches_the_constructor_as_a_name():
    seen = []

    class Probe(Dense):
        def __init__(self, *args, **kwargs):
            seen.append(kwargs["dtype"])
            super().__init__(*args, **kwargs)

    Probe.from_config(Dense(2, dtype="bfloat16").get_config())
    assert seen == ["bfloat16"]


def test_a_class_of_the_users_needs_no_get_config():
    class Mine(Layer):
        def __init__(self, units, act="relu", *, inner=None, **kwargs):
            super().__init__(**kwargs)
            self.renamed = units

    layer = Mine(3, inner=Dense(2, name="x"), name="mine", dtype="float16")
    config = layer.get_config()
    assert {key: config[key] for key in ("name", "units", "act")} == {"name": "mine", "units": 3, "act": "relu"}
    again = Mine.from_config(config)
    assert again.get_config() == config
    assert again.compute_dtype == "float16"


def test_a_constructor_that_takes_no_name_is_no_obstacle():
    class Plain(Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

    layer = Plain(3)
    layer.name, layer.trainable = "other", False
    layer.dtype_policy = "mixed_bfloat16"
    again = Plain.from_config(layer.get_config())
    assert (again.name, again.trainable, again.compute_dtype, again.units) == ("other", False, "bfloat16", 3)


def test_a_get_config_by_hand_adds_to_that_of_the_library():
    class Child(Dense):
        def __init__(self, units, extra=1, **kwargs):
            super().__init__(units, **kwargs)
            self.extra = extra

        def get_config(self):
            return {**super().get_config(), "extra": self.extra}

    layer = Child(3, extra=5, activation="tanh")
    assert layer.get_config()["activation"] == "tanh"
    assert Child.from_config(layer.get_config()).get_config() == layer.get_config()

    class Own(Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

        def get_config(self):
            return {"units": self.units, **super().get_config()}

    assert list(Own(3).get_config()) == ["units", "name", "trainable", "dtype"]


def test_a_child_of_a_library_class_is_described_by_what_it_was_made_with():
    class Same(Dense):
        pass

    class Fixed(Dense):
        def __init__(self, **kwargs):
            super().__init__(units=5, **kwargs)

    assert Same(3).get_config()["units"] == 3
    assert Same.from_config(Same(3).get_config()).units == 3
    fixed = Fixed(activation="relu")
    assert Fixed.from_config(fixed.get_config()).get_config() == fixed.get_config()


def test_arguments_without_a_name_cannot_be_described():
    class Star(Layer):
        def __init__(self, *sizes):
            super().__init__()

    assert "sizes" not in Star().get_config()
    with pytest.raises(NotImplementedError, match="variadic positional"):
        Star(1, 2).get_config()


def test_a_config_that_does_not_fit_says_for_which_class():
    for config in ({"units": 0}, {"units": 3, "wrong": 1}, {}):
        with pytest.raises(serialization.ConfigError, match="Error when deserializing class 'Dense'"):
            Dense.from_config(config)


def test_a_registered_class_crosses_a_file():
    registry.register_keras_serializable("Tests")(Scale)
    layer = Scale(3.0)
    layer(X)
    layer.set_weights([np.array([1.0, 2.0, 3.0])])
    again = serialization.deserialize(serialization.serialize(layer))
    assert isinstance(again, Scale)
    assert again.built
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(X), layer(X))


@pytest.mark.parametrize("twin", [lambda layer: pickle.loads(pickle.dumps(layer)), copy.deepcopy])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Dense(2, activation="relu"),
        lambda: layers.BatchNormalization(),
        lambda: Dropout(0.5, seed=3),
        Pair,
        lambda: layers.TimeDistributed(Dense(2)),
        lambda: layers.Normalization(mean=1.0, variance=2.0),
    ],
)
def test_a_copy_has_weights_of_its_own(make, twin):
    layer = make()
    x = np.ones((2, 3, 3), "float32")
    layer(x)
    copied = twin(layer)
    assert copied.get_config() == layer.get_config()
    np.testing.assert_array_equal(copied(x, training=True), layer(x, training=True))
    for a, b in zip(copied.variables, layer.variables, strict=True):
        assert a is not b
        a.assign(a.value + 1)
        assert not np.array_equal(a, b)


def test_a_layer_stays_small():
    layer = Dense(2)
    layer.build((None, 2))
    assert len(pickle.dumps(layer)) < 5000


def test_input_and_output_are_those_of_the_first_symbolic_call():
    layer = Dense(2)
    with pytest.raises(AttributeError, match="has never been called and thus has no defined output"):
        layer.output  # noqa: B018
    x = layers.Input((3,))
    y = layer(x)
    layer(layers.Input((3,)))
    assert layer.input is x
    assert layer.output is y
    assert repr(layer) == "<Dense name=dense, built=True>"
