"""A network of 1,200 layers that learns, beside two of the same depth that cannot, and the picture that shows why.

Each block adds to its input what two layers of 64 units make of it: `x + f(x)`. Taken away are once the `x +`, once the
batch normalization in `f`. Run it with `python examples/deep_1200.py`; it takes some minutes.
"""

import argparse
import time
import warnings

import lamina
from lamina import datasets, initializers, inspect, layers, models, optimizers


def network(depth: int, *, skip: bool = True, normalize: bool = True) -> models.Model:
    """Return a network of `depth` layers of 64 units in blocks of two, written as the loop that it is."""
    inputs = layers.Input((784,))
    x = layers.Dense(64, kernel_initializer="he_normal")(layers.Dropout(0.2)(inputs))
    for _ in range(depth // 2):
        h = x
        for scale in (1.0, 0.1):  # a block begins as a small change of its input
            if normalize:
                h = layers.BatchNormalization(momentum=0.9, gamma_initializer=initializers.Constant(scale))(h)
            h = layers.Activation("relu")(h)
            h = layers.Dense(64, kernel_initializer="he_normal")(h)
        x = layers.add([x, h]) if skip else h
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x) if normalize else x)
    return models.Model(inputs, layers.Dense(10, activation="softmax")(x))


KINDS = {
    "as it should be": {},
    "without skip connections": {"skip": False},
    "without normalization": {"normalize": False},
}


def main() -> dict[str, float]:
    """Train the three, print how well they do, draw their gradients; return the accuracies on the test digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=1200, help="layers of 64 units (default: 1200)")
    parser.add_argument("--epochs", type=int, default=8, help="of the first network; the others get two (default: 8)")
    parser.add_argument("--rows", type=int, default=10_000, help="training digits (default: 10000)")
    parser.add_argument("--picture", default="deep_1200.png", help="PNG to write (default: deep_1200.png)")
    options = parser.parse_args()
    (x, y), (x_test, y_test) = datasets.mnist.load_data("sample")
    x, x_test = (a.reshape(len(a), -1).astype("float32") / 255 for a in (x, x_test))
    x, y = x[: options.rows], y[: options.rows]
    accuracies, signals = {}, {}
    for name, arguments in KINDS.items():
        lamina.set_random_seed(0)
        model = network(options.depth, **arguments)
        signals[name] = inspect.signal(model, x[:128])
        epochs = options.epochs if name == "as it should be" else min(2, options.epochs)
        steps = epochs * -(-len(x) // 128)
        rate = optimizers.schedules.CosineDecay(4e-3, steps)
        model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], remat=True)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the third one's loss is not finite, and says so
            model.fit(x, y, batch_size=128, epochs=epochs, verbose=2)
        seconds = time.perf_counter() - start
        accuracies[name] = model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]
        print(f"{options.depth} layers, {name}: {accuracies[name]:.1%} of the test digits, {seconds:.0f} s")
        print(f"    before training: {signals[name].verdict}")
    inspect.plot(signals, options.picture)
    print(f"The norms of the gradients by layer, before training: {options.picture}")
    return accuracies


if __name__ == "__main__":
    main()
