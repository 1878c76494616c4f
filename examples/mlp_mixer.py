"""MLP-Mixer: digits cut into 16 patches; dense layers mix the patches, then the features of each patch."""

from data import digits

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(7)
(x, y), (x_test, y_test) = digits()


def patches(images):
    """Return 4 x 4 patches of 7 x 7 pixels: `(rows, 16, 49)`."""
    return images.reshape(-1, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 49)


def mix(inputs, units):
    """Return the input plus two dense layers along its last axis."""
    hidden = keras.layers.LayerNormalization()(inputs)
    hidden = keras.layers.Dense(units, activation="gelu")(hidden)
    return keras.layers.Add()([inputs, keras.layers.Dense(inputs.shape[-1])(hidden)])


inputs = keras.Input((16, 49))
hidden = keras.layers.Dense(32)(inputs)
for _ in range(2):
    turned = keras.layers.Permute((2, 1))(hidden)
    hidden = keras.layers.Permute((2, 1))(mix(turned, 32))
    hidden = mix(hidden, 64)
hidden = keras.layers.Flatten()(keras.layers.LayerNormalization()(hidden))
model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
model.compile(optimizer=keras.optimizers.Adam(0.003), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(patches(x), y, epochs=4, batch_size=100, verbose=0)
loss, accuracy = model.evaluate(patches(x_test), y_test, verbose=0)
print(f"weights: {model.count_params()}")
print(f"training loss: {history.history['loss'][-1]:.4f}")
print(f"test loss: {loss:.4f}")
print(f"test accuracy: {accuracy:.4f}")
