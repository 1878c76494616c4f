"""Digits with residual blocks: a layer made of layers, and a learning rate that falls by a cosine."""

from data import digits

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(6)
(x, y), (x_test, y_test) = digits()


class Block(keras.layers.Layer):
    """The input plus what two layers make of it."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.LayerNormalization()
        self.wide = keras.layers.Dense(2 * units, activation="gelu")
        self.narrow = keras.layers.Dense(units)

    def call(self, inputs):
        return inputs + self.narrow(self.wide(self.norm(inputs)))


inputs = keras.Input((784,))
hidden = keras.layers.Dense(64)(inputs)
for _ in range(4):
    hidden = Block(64)(hidden)
outputs = keras.layers.Dense(10)(keras.layers.LayerNormalization()(hidden))
model = keras.Model(inputs, outputs)
steps = 4 * (len(x) // 100)
model.compile(
    optimizer=keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.002, steps), weight_decay=0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(x, y, epochs=4, batch_size=100, verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"weights: {model.count_params()}")
print(f"training loss: {history.history['loss'][-1]:.4f}")
print(f"test loss: {loss:.4f}")
print(f"test accuracy: {accuracy:.4f}")
