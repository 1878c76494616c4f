"""Handwritten digits with a network of two hidden layers."""

from data import digits

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(1)
(x, y), (x_test, y_test) = digits()

model = keras.Sequential(
    [
        keras.Input((784,)),
        keras.layers.Dense(256, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, batch_size=128, epochs=5, validation_split=0.1, verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"training loss: {history.history['loss'][-1]:.4f}")
print(f"test loss: {loss:.4f}")
print(f"test accuracy: {accuracy:.4f}")
