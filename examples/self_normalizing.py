"""A self-normalizing network: SELU, LeCun's weights and AlphaDropout keep mean 0 and variance 1 through 8 layers."""

from data import digits

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(8)
(x, y), (x_test, y_test) = digits()
scale = keras.layers.Normalization(axis=None)
scale.adapt(x)

layers = [keras.Input((784,)), scale]
for _ in range(8):
    layers.append(keras.layers.Dense(64, activation="selu", kernel_initializer="lecun_normal"))
    layers.append(keras.layers.AlphaDropout(0.02))
model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
deep = keras.Model(model.inputs, model.layers[-2].output)
signal = deep.predict(x_test, verbose=0)
model.compile(
    optimizer=keras.optimizers.SGD(0.02, momentum=0.9), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
model.fit(x, y, epochs=4, batch_size=100, verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"mean after 8 layers: {signal.mean():.4f}")
print(f"deviation after 8 layers: {signal.std():.4f}")
print(f"test loss: {loss:.4f}")
print(f"test accuracy: {accuracy:.4f}")
