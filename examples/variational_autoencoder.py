"""A variational autoencoder of dense layers: the penalty is `add_loss` of a layer that samples."""

import numpy as np
from data import digits

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(5)
(x, _), (x_test, _) = digits()


class Sampling(keras.layers.Layer):
    """A random code around the mean; its distance from a standard normal is added to the loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(5)

    def call(self, inputs):
        mean, log_variance = inputs
        distance = -0.5 * (1 + log_variance - keras.ops.square(mean) - keras.ops.exp(log_variance))
        self.add_loss(keras.ops.mean(keras.ops.sum(distance, axis=1)))
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(0.5 * log_variance) * noise


def reconstruction(y_true, y_pred):
    """Return the cross-entropy of all pixels of each digit."""
    return 784 * keras.losses.binary_crossentropy(y_true, y_pred)


pixels = keras.Input((784,))
hidden = keras.layers.Dense(256, activation="relu")(pixels)
mean = keras.layers.Dense(8)(hidden)
log_variance = keras.layers.Dense(8)(hidden)
code = Sampling()([mean, log_variance])
decoder = keras.Sequential(
    [keras.Input((8,)), keras.layers.Dense(256, activation="relu"), keras.layers.Dense(784, activation="sigmoid")]
)
model = keras.Model(pixels, decoder(code))
model.compile(optimizer=keras.optimizers.Adam(0.002), loss=reconstruction)
history = model.fit(x, x, epochs=8, batch_size=128, verbose=0)
drawn = decoder.predict(np.random.default_rng(0).normal(size=(100, 8)).astype("float32"), verbose=0)
print(f"first loss: {history.history['loss'][0]:.2f}")
print(f"last loss: {history.history['loss'][-1]:.2f}")
print(f"test loss: {model.evaluate(x_test, x_test, verbose=0):.2f}")
print(f"ink of drawn digits: {drawn.mean():.4f}")
