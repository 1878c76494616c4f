"""Data of the examples, as NumPy arrays: the sample of digits in lamina, and tables and texts made up by rule."""

import numpy as np

from lamina.datasets import mnist


def digits(train=4000, test=1000):
    """Return pixels from 0 to 1, one row a digit, and labels: `(x, y), (x_test, y_test)`."""
    (x, y), (x_test, y_test) = mnist.load_data()
    x, x_test = (part.reshape(len(part), 784).astype("float32") / 255 for part in (x, x_test))
    return (x[:train], y[:train].astype("int32")), (x_test[:test], y_test[:test].astype("int32"))


def newswires(rows=3000, words=1000, topics=12, length=60):
    """Return texts as the numbers of their words, and their topics: each topic has words of its own."""
    random = np.random.default_rng(0)
    common = 1.0 / np.arange(1, words + 1)
    favourite = np.stack([np.where(random.random(words) < 0.02, 0.04, 0.0) for _ in range(topics)])
    topic = random.integers(0, topics, rows).astype("int32")
    shares = common + favourite
    shares /= shares.sum(axis=1, keepdims=True)
    return np.stack([random.choice(words, length, p=shares[t]) for t in topic]).astype("int32"), topic


def people(rows=3000):
    """Return a table of people as a dict of columns, and whether each of them earns much."""
    random = np.random.default_rng(1)
    table = {
        "age": random.integers(18, 75, rows).astype("float32"),
        "hours": random.normal(40, 8, rows).astype("float32"),
        "years_of_school": random.integers(6, 20, rows).astype("float32"),
        "trade": random.choice(["clerk", "farmer", "nurse", "smith", "teacher"], rows, p=[0.3, 0.1, 0.2, 0.1, 0.3]),
        "region": random.integers(1, 9, rows).astype("int32"),
    }
    bonus = {"clerk": 0.0, "farmer": -1.0, "nurse": 0.5, "smith": 0.2, "teacher": 1.0}
    score = 0.03 * (table["age"] - 40) + 0.05 * (table["hours"] - 40) + 0.25 * (table["years_of_school"] - 12)
    score += np.array([bonus[trade] for trade in table["trade"]]) + 0.8 * (table["region"] % 3 == 0)
    return table, (score + random.normal(0, 0.7, rows) > 0.5).astype("float32")


def payments(rows=8000, share=0.02):
    """Return features of payments and whether each is a fraud: few are."""
    random = np.random.default_rng(2)
    fraud = (random.random(rows) < share).astype("float32")
    x = random.normal(size=(rows, 12)).astype("float32")
    x[:, :4] += 1.6 * fraud[:, None]
    return x, fraud
