"""The same models in Keras and in lamina, for the tests of files."""

import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import lamina
from lamina import constraints, initializers, layers, losses, metrics, models, optimizers, regularizers, saving
from lamina.ops import arithmetic

KERAS = types.SimpleNamespace(
    name="keras", layers=keras.layers, Sequential=keras.Sequential, Model=keras.Model, Input=keras.Input,
    optimizers=keras.optimizers, losses=keras.losses, metrics=keras.metrics, regularizers=keras.regularizers,
    initializers=keras.initializers, constraints=keras.constraints, saving=keras.saving, activations=keras.activations,
    ops=keras.ops,
)  # fmt: skip
LAMINA = types.SimpleNamespace(
    name="lamina", layers=layers, Sequential=models.Sequential, Model=models.Model, Input=lamina.Input,
    optimizers=optimizers, losses=losses, metrics=metrics, regularizers=regularizers,
    initializers=initializers, constraints=constraints, saving=saving, activations=lamina.activations,
    ops=arithmetic,
)  # fmt: skip
OTHER = {"keras": LAMINA, "lamina": KERAS}
ROWS = 12


def _subclasses(k: Any) -> types.SimpleNamespace:
    """Return classes of a user's, registered in one of the libraries under the same names."""

    @k.saving.register_keras_serializable("zoo")
    class Block(k.layers.Layer):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.steps = [k.layers.Dense(units, activation="tanh"), [k.layers.Dense(units), k.layers.Dropout(0.1)]]
            self._hidden = k.layers.Dense(units)
            self.by_name = {"b": k.layers.Dense(units), "a": k.layers.Dense(units), "text": "no layer"}

        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
            self.count = self.add_weight(shape=(), initializer="zeros", name="count", trainable=False)

        def call(self, x: Any, training: Any = None) -> Any:
            x = self.steps[1][1](self.steps[1][0](self.steps[0](x * self.scale)), training=training)
            return self._hidden(self.by_name["a"](self.by_name["b"](x)))

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    @k.saving.register_keras_serializable("zoo")
    class Net(k.Model):
        def __init__(self, units: int = 3, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.z_last = k.layers.Dense(1)
            self.block = Block(units)
            self.a_first = k.layers.Dense(5, activation="relu")
            self.norm = k.layers.BatchNormalization()

        @property
        def alias(self) -> Any:
            return self.z_last

        def call(self, x: Any, training: Any = None) -> Any:
            return self.z_last(self.block(self.norm(self.a_first(x), training=training), training=training))

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    @k.saving.register_keras_serializable("zoo")
    class Plain(k.Model):
        """A functional model under another name."""

    @k.saving.register_keras_serializable("zoo")
    class Whole(k.Model):
        """A functional model that makes its own graph."""

        def __init__(self, units: int = 3, **kwargs: Any) -> None:
            inputs = k.Input((4,))
            first = k.layers.Dense(units, name="first")
            super().__init__(inputs, k.layers.Dense(1)(first(inputs)), **kwargs)
            self.units = units
            self.a_name_for_it = first
            self.zz_extra = k.layers.Dense(2)
            self.zz_extra.build((None, 3))

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units, "name": self.name}

    return types.SimpleNamespace(Block=Block, Net=Net, Plain=Plain, Whole=Whole)


CLASSES = {"keras": _subclasses(KERAS), "lamina": _subclasses(LAMINA)}


def sequential(k: Any) -> Any:
    return k.Sequential([k.Input((4,)), k.layers.Dense(8, activation="relu"), k.layers.Dropout(0.2), k.layers.Dense(1)])


def without_input(k: Any) -> Any:
    model = k.Sequential([k.layers.Dense(3, activation="selu"), k.layers.Dense(1)], name="late")
    model.build((None, 4))
    return model


def normalized(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((4,)), k.layers.Dense(6, use_bias=False), k.layers.BatchNormalization(momentum=0.9),
            k.layers.LeakyReLU(0.2), k.layers.LayerNormalization(), k.layers.Dense(6), k.layers.PReLU(),
            k.layers.BatchNormalization(center=False, scale=False), k.layers.Dense(1, dtype="float32"),
        ]
    )  # fmt: skip


def adapted(k: Any) -> Any:
    layer = k.layers.Normalization()
    layer.adapt(np.random.default_rng(3).normal(2.0, 3.0, size=(50, 4)).astype("float32"))
    fixed = k.layers.Normalization(mean=[0.5, 0, 0, 1], variance=[1, 2, 1, 1])
    return k.Sequential([k.Input((4,)), layer, fixed, k.layers.Rescaling(0.5, 0.1), k.layers.Dense(1)])


def configured(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((4,)),
            k.layers.Dense(
                5, activation=k.activations.gelu, kernel_initializer=k.initializers.HeNormal(seed=4),
                bias_initializer=k.initializers.Constant(0.1), kernel_regularizer=k.regularizers.L1L2(1e-4, 1e-3),
                bias_regularizer="l2", activity_regularizer=k.regularizers.L1(1e-4),
                kernel_constraint=k.constraints.MaxNorm(2.0), bias_constraint="non_neg", name="first",
            ),
            k.layers.Dense(4, kernel_initializer="orthogonal", kernel_regularizer=k.regularizers.OrthogonalRegularizer()),
            k.layers.Activation("softplus"),
            k.layers.Dense(3, trainable=False, kernel_initializer=k.initializers.VarianceScaling(2.0, "fan_out")),
            k.layers.LeakyReLU(0.1), k.layers.GaussianNoise(0.1), k.layers.Dense(1, activation=k.layers.PReLU()),
        ]
    )  # fmt: skip


def skips(k: Any) -> Any:
    inputs = k.Input((4,), name="features")
    x = k.layers.Dense(4, activation="relu")(inputs)
    y = k.layers.Dense(4)(x + inputs) * 2.0
    z = k.layers.Add()([x, y, inputs]) - 0.5 * y
    return k.Model(inputs, k.layers.Dense(1)(k.layers.Concatenate()([z, -x])), name="skips")


def shared(k: Any) -> Any:
    inputs = k.Input((4,))
    twice = k.layers.Dense(4, activation="tanh", name="twice")
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(4)], name="inner")
    x = inner(twice(twice(inputs)))
    return k.Model(inputs, k.layers.Dense(1)(inner(x) + twice(x)))


def many(k: Any) -> Any:
    a, b = k.Input((4,), name="a"), k.Input((2,), name="b")
    x = k.layers.Concatenate()([k.layers.Dense(3)(a), b])
    first = k.layers.Dense(1, name="first")(x)
    second = k.layers.Dense(1, name="second")(k.layers.Multiply()([x, x]))
    return k.Model(inputs={"a": a, "b": b}, outputs={"first": first, "second": second})


def listed(k: Any) -> Any:
    a, b = k.Input((4,), name="a"), k.Input((2,), name="b")
    x = k.layers.Dense(3)(a)
    return k.Model([a, b], [k.layers.Dense(1)(x), k.layers.Average()([k.layers.Dense(1)(b), k.layers.Dense(1)(x)])])


def nested(k: Any) -> Any:
    i = k.Input((4,))
    o = k.layers.Dense(3)(i)
    inner = k.Model(i, [o, k.layers.Dense(2)(o)], name="two_ways")
    inputs = k.Input((4,))
    left, right = inner(inputs)
    chain = k.Sequential([k.layers.Dense(3), k.Sequential([k.layers.Dense(2), k.layers.ReLU()])])
    return k.Model(inputs, k.layers.Dense(1)(k.layers.Concatenate()([chain(left), right])))


def model_at_the_end(k: Any) -> Any:
    i = k.Input((4,))
    inner = k.Model(i, k.layers.Dense(1)(i), name="head")
    inputs = k.Input((4,))
    return k.Model(inputs, inner(k.layers.Dense(4)(inputs)))


def words(k: Any) -> Any:
    return k.Sequential(
        [k.Input((4,), dtype="int32"), k.layers.Embedding(10, 3), k.layers.Flatten(), k.layers.Dense(1)]
    )


def subclassed(k: Any) -> Any:
    model = CLASSES[k.name].Net(4)
    model(np.zeros((2, 4), "float32"))
    return model


def with_own_layer(k: Any) -> Any:
    return k.Sequential([k.Input((4,)), CLASSES[k.name].Block(3), k.layers.Dense(1)])


def functional_subclass(k: Any) -> Any:
    inputs = k.Input((4,))
    return CLASSES[k.name].Plain(inputs, k.layers.Dense(1)(k.layers.Dense(3)(inputs)))


def functional_with_own_init(k: Any) -> Any:
    return CLASSES[k.name].Whole(5)


def frozen(k: Any) -> Any:
    model = k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.BatchNormalization(), k.layers.Dense(1)])
    model.layers[0].trainable = False
    model.layers[1].trainable = False
    return model


def half(k: Any) -> Any:
    return k.Sequential([k.Input((4,)), k.layers.Dense(3, dtype="bfloat16"), k.layers.Dense(1, dtype="float16")])


MODELS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (
        sequential, without_input, normalized, adapted, configured, skips, shared, many, listed, nested,
        model_at_the_end, words, subclassed, with_own_layer, functional_subclass, functional_with_own_init, frozen,
        half,
    )
}  # fmt: skip


def inputs_for(name: str) -> Any:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(ROWS, 4)).astype("float32")
    if name == "words":
        return rng.integers(0, 10, size=(ROWS, 4)).astype("int32")
    if name in ("many", "listed"):
        b = rng.normal(size=(ROWS, 2)).astype("float32")
        return {"a": x, "b": b} if name == "many" else [x, b]
    return x


def targets_for(name: str) -> Any:
    y = np.random.default_rng(12).normal(size=(ROWS, 1)).astype("float32")
    if name == "many":
        return {"first": y, "second": y}
    return [y, y] if name == "listed" else y


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [tree[key] for key in sorted(tree)]
    return list(tree) if isinstance(tree, list | tuple) else [tree]
