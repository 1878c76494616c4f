"""The topic of a newswire from its words, whatever their order."""

import numpy as np
from data import newswires

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(2)
texts, topics = newswires()
bags = np.asarray(keras.layers.CategoryEncoding(num_tokens=1000, output_mode="multi_hot")(texts))
targets = keras.utils.to_categorical(topics, num_classes=12)
x, x_test, y, y_test = bags[:2400], bags[2400:], targets[:2400], targets[2400:]

model = keras.Sequential(
    [
        keras.Input((1000,)),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(12, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
history = model.fit(x, y, epochs=12, batch_size=64, validation_split=0.1, callbacks=[stop], verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"epochs: {len(history.history['loss'])}")
print(f"test loss: {loss:.4f}")
print(f"test accuracy: {accuracy:.4f}")
