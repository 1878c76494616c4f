"""Digits through a bottleneck of 16 numbers and back, with noise taken out on the way."""

import numpy as np
from data import digits

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(4)
(x, _), (x_test, _) = digits()

pixels = keras.Input((784,))
noisy = keras.layers.GaussianNoise(0.2)(pixels)
hidden = keras.layers.Dense(128, activation="relu")(noisy)
code = keras.layers.Dense(16, activation="linear", name="code")(hidden)
hidden = keras.layers.Dense(128, activation="relu")(code)
model = keras.Model(pixels, keras.layers.Dense(784, activation="sigmoid")(hidden))
encoder = keras.Model(pixels, code)

model.compile(optimizer="adam", loss="mse")
history = model.fit(x, x, epochs=8, batch_size=128, verbose=0)
mean_image = np.mean((x_test - x.mean(axis=0)) ** 2)
print(f"training loss: {history.history['loss'][-1]:.5f}")
print(f"test error: {model.evaluate(x_test, x_test, verbose=0):.5f}")
print(f"error of the mean digit: {mean_image:.5f}")
print(f"numbers in a code: {encoder.predict(x_test[:1], verbose=0).shape[1]}")
