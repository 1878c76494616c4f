"""A table of numbers and categories: each column is prepared in its own way, inside the model."""

import numpy as np
from data import people

import lamina.keras as keras  # or: import keras

keras.utils.set_random_seed(3)
table, rich = people()
trades = sorted(set(table["trade"]))
table["trade"] = np.array([trades.index(trade) for trade in table["trade"]], "int32")

inputs, encoded = {}, []
for name in ("age", "hours", "years_of_school"):
    inputs[name] = keras.Input((1,), name=name)
    scale = keras.layers.Normalization()
    scale.adapt(table[name][:2400, None])
    encoded.append(scale(inputs[name]))
for name, size in (("trade", len(trades)), ("region", 9)):
    inputs[name] = keras.Input((1,), name=name, dtype="int32")
    encoded.append(keras.layers.CategoryEncoding(num_tokens=size, output_mode="one_hot")(inputs[name]))
ages = keras.layers.Discretization(bin_boundaries=[25.0, 35.0, 45.0, 55.0, 65.0], output_mode="one_hot")
encoded.append(ages(inputs["age"]))

x = keras.layers.Concatenate()(encoded)
x = keras.layers.Dense(32, activation="relu")(x)
x = keras.layers.Dropout(0.2)(x)
model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
model.compile(optimizer=keras.optimizers.Adam(0.003), loss="binary_crossentropy", metrics=["accuracy", "auc"])

train = {name: column[:2400] for name, column in table.items()}
test = {name: column[2400:] for name, column in table.items()}
model.fit(train, rich[:2400], epochs=8, verbose=0)
result = model.evaluate(test, rich[2400:], return_dict=True, verbose=0)
for name, value in result.items():
    print(f"test {name}: {value:.4f}")
