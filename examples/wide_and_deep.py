"""Wide and deep: crossed categories go straight to the output, numbers and embeddings through hidden layers."""

import numpy as np
from data import people

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(9)
table, rich = people()
trades = sorted(set(table["trade"]))
trade = np.array([trades.index(name) for name in table["trade"]], "int32")
numbers = np.stack([table[name] for name in ("age", "hours", "years_of_school")], axis=1)
numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
crossed = keras.utils.to_categorical(trade * 9 + table["region"], num_classes=9 * len(trades))

wide = keras.Input((crossed.shape[1],), name="crossed")
dense = keras.Input((3,), name="numbers")
code = keras.Input((1,), name="trade", dtype="int32")
embedded = keras.layers.Flatten()(keras.layers.Embedding(len(trades), 4)(code))
deep = keras.layers.Concatenate()([dense, embedded])
for units in (32, 16):
    deep = keras.layers.Dense(units, activation="relu")(deep)
both = keras.layers.Concatenate()([wide, deep])
model = keras.Model([wide, dense, code], keras.layers.Dense(1, activation="sigmoid", kernel_regularizer="l2")(both))
model.compile(optimizer=keras.optimizers.Adam(0.005), loss="binary_crossentropy", metrics=["accuracy"])

columns = [crossed, numbers, trade[:, None]]
model.fit([c[:2400] for c in columns], rich[:2400], epochs=8, batch_size=32, verbose=0)
loss, accuracy = model.evaluate([c[2400:] for c in columns], rich[2400:], verbose=0)
print(f"test loss: {loss:.4f}")
print(f"test accuracy: {accuracy:.4f}")
