"""Frauds among many payments: what class weights do for those that are found."""

from data import payments

import lamina.keras as keras  # or: import keras

x, fraud = payments()
x_test, fraud_test = x[6000:], fraud[6000:]
x, fraud = x[:6000], fraud[:6000]
frauds = fraud.sum()
weights = {0: len(fraud) / (2 * (len(fraud) - frauds)), 1: len(fraud) / (2 * frauds)}

for name, class_weight in (("without weights", None), ("with weights", weights)):
    keras.utils.set_random_seed(10)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.003),
        loss="binary_crossentropy",
        metrics=[keras.metrics.Recall(name="recall"), keras.metrics.AUC(name="auc")],
    )
    model.fit(x, fraud, epochs=5, batch_size=100, class_weight=class_weight, verbose=0)
    result = model.evaluate(x_test, fraud_test, return_dict=True, verbose=0)
    for key in ("loss", "recall", "auc"):
        print(f"{key} {name}: {result[key]:.4f}")
