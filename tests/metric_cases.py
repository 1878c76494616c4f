"""Every metric class of the library with the data that it is for: the table that unit and parity tests share."""

import numpy as np

RNG = np.random.default_rng(7)


def _softmax(*shape):
    scores = np.exp(RNG.normal(size=shape))
    return (scores / scores.sum(-1, keepdims=True)).astype("float32")


def _binary(*tail, targets=None):
    def make(n):
        true = RNG.integers(0, 2, (n, *(tail if targets is None else targets))).astype("float32")
        return true, np.round(RNG.random((n, *tail)), 2).astype("float32")

    return make


def _numbers(*tail, targets=None):
    def make(n):
        true = RNG.normal(1, 2, (n, *(tail if targets is None else targets))).astype("float32")
        return true, RNG.normal(1, 2, (n, *tail)).astype("float32")

    return make


def _classes(*tail):
    return lambda n: (np.eye(4, dtype="float32")[RNG.integers(0, 4, (n, *tail))], _softmax(n, *tail, 4))


def _sparse(*tail, targets=None):
    shape = tail if targets is None else targets
    return lambda n: (RNG.integers(0, 4, (n, *shape)).astype("int32"), _softmax(n, *tail, 4))


DATA = {
    "binary (n,)": _binary(),
    "binary (n, 1)": _binary(1),
    "binary (n,) for (n, 1)": _binary(1, targets=()),
    "binary (n, 4)": _binary(4),
    "binary (n, 2, 3)": _binary(2, 3),
    "integers": lambda n: (RNG.integers(0, 3, (n, 4)), RNG.integers(0, 3, (n, 4))),
    "signs": lambda n: (RNG.choice([-1.0, 1.0], (n, 4)), RNG.normal(size=(n, 4)).astype("float32")),
    "numbers (n,)": _numbers(),
    "numbers (n, 1)": _numbers(1),
    "numbers (n,) for (n, 1)": _numbers(1, targets=()),
    "numbers (n, 4)": _numbers(4),
    "numbers (n, 2, 3)": _numbers(2, 3),
    "positive": lambda n: (RNG.random((n, 4)).astype("float32"), RNG.random((n, 4)).astype("float32") + 0.1),
    "classes (n, 4)": _classes(),
    "classes (n, 2, 4)": _classes(2),
    "sparse (n,)": _sparse(),
    "sparse (n, 1)": _sparse(targets=(1,)),
    "sparse (n, 2)": _sparse(2),
    "ids": lambda n: (RNG.integers(0, 4, (n,)), np.stack([RNG.permutation(4) for _ in range(n)])),
}
BINARY = [name for name in DATA if name.startswith("binary")]
COLUMN = BINARY[1:3]
NUMBERS = [name for name in DATA if name.startswith("numbers")]
CLASSES = ["classes (n, 4)", "classes (n, 2, 4)"]
SPARSE = ["sparse (n,)", "sparse (n, 1)", "sparse (n, 2)"]
MATRICES = ["binary (n, 4)", "classes (n, 4)"]
TENSORS = ["numbers (n, 4)", "numbers (n, 2, 3)"]
LABELS = [0.1, 0.2, 0.3, 0.4]

CASES = [
    ("Accuracy", {}, ["integers", "binary (n,)"]),
    ("BinaryAccuracy", {}, BINARY),
    ("BinaryAccuracy", {"threshold": 0.3}, COLUMN),
    ("CategoricalAccuracy", {}, CLASSES),
    ("SparseCategoricalAccuracy", {}, SPARSE),
    ("TopKCategoricalAccuracy", {"k": 2}, CLASSES),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, ["sparse (n,)", "sparse (n, 2)"]),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, ["ids"]),
    ("MeanSquaredError", {}, NUMBERS),
    ("MeanAbsoluteError", {}, ["numbers (n, 1)", "numbers (n, 4)"]),
    ("MeanAbsolutePercentageError", {}, ["numbers (n, 1)", "numbers (n, 4)"]),
    ("MeanSquaredLogarithmicError", {}, ["positive"]),
    ("RootMeanSquaredError", {}, NUMBERS),
    ("LogCoshError", {}, ["numbers (n, 1)", "numbers (n, 4)"]),
    ("CosineSimilarity", {}, TENSORS),
    ("CosineSimilarity", {"axis": 1}, ["numbers (n, 2, 3)"]),
    ("R2Score", {}, ["numbers (n, 1)", "numbers (n,) for (n, 1)", "numbers (n, 4)"]),
    ("R2Score", {"class_aggregation": None}, ["numbers (n, 4)"]),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, ["numbers (n, 4)"]),
    ("KLDivergence", {}, ["positive", "classes (n, 2, 4)"]),
    ("Poisson", {}, ["positive"]),
    ("BinaryCrossentropy", {}, ["binary (n, 1)", "binary (n, 2, 3)"]),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, ["binary (n, 4)"]),
    ("CategoricalCrossentropy", {}, CLASSES),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, CLASSES[:1]),
    ("SparseCategoricalCrossentropy", {}, SPARSE),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, SPARSE[:1]),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}, ["sparse (n,)", "sparse (n, 2)"]),
    ("Hinge", {}, ["signs", "binary (n, 1)"]),
    ("SquaredHinge", {}, ["signs"]),
    ("CategoricalHinge", {}, CLASSES),
    ("PearsonCorrelation", {}, TENSORS),
    ("ConcordanceCorrelation", {}, TENSORS),
    ("TruePositives", {}, COLUMN),
    ("TrueNegatives", {}, COLUMN),
    ("FalsePositives", {"thresholds": [0.2, 0.7]}, ["binary (n,)", "binary (n, 2, 3)"]),
    ("FalseNegatives", {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}, BINARY),
    ("Precision", {}, BINARY),
    ("Precision", {"thresholds": [0.0, 0.5, 1.0]}, COLUMN),
    ("Precision", {"thresholds": [0.9, 0.1]}, ["binary (n, 4)"]),
    ("Precision", {"top_k": 2}, MATRICES),
    ("Precision", {"top_k": 2, "class_id": 1}, MATRICES),
    ("Precision", {"top_k": 3, "thresholds": 0.4}, MATRICES),
    ("Recall", {}, COLUMN),
    ("Recall", {"class_id": 2}, MATRICES),
    ("Recall", {"top_k": 1}, MATRICES),
    ("SensitivityAtSpecificity", {"specificity": 0.5}, COLUMN),
    ("SpecificityAtSensitivity", {"sensitivity": 0.5, "num_thresholds": 1}, COLUMN),
    ("SpecificityAtSensitivity", {"sensitivity": 0.4, "num_thresholds": 2}, COLUMN),
    ("PrecisionAtRecall", {"recall": 0.6}, COLUMN),
    ("RecallAtPrecision", {"precision": 0.6, "class_id": 1}, MATRICES),
    ("AUC", {}, BINARY),
    ("AUC", {"num_thresholds": 7, "from_logits": True}, ["numbers (n, 4)"]),
    ("AUC", {"curve": "PR"}, COLUMN),
    ("AUC", {"curve": "PRGAIN", "num_thresholds": 11}, ["binary (n, 4)"]),
    ("AUC", {"thresholds": [0.1, 0.35, 0.9]}, ["binary (n,)", "binary (n, 4)"]),
    ("AUC", {"thresholds": [0.5], "curve": "pr", "summation_method": "majoring"}, ["binary (n,)"]),
    ("AUC", {"summation_method": "minoring", "num_thresholds": 20}, ["binary (n, 4)"]),
    ("AUC", {"multi_label": True}, ["binary (n, 4)"]),
    ("AUC", {"multi_label": True, "num_labels": 4, "curve": "PR"}, ["binary (n, 4)"]),
    ("AUC", {"multi_label": True, "label_weights": LABELS, "thresholds": [0.2, 0.3]}, ["binary (n, 4)"]),
    ("AUC", {"label_weights": LABELS}, ["binary (n, 4)"]),
    ("AUC", {"label_weights": LABELS, "thresholds": [0.2, 0.3]}, ["binary (n, 4)"]),
    ("FBetaScore", {"beta": 2.0}, MATRICES),
    ("FBetaScore", {"beta": 0.5, "average": "weighted", "threshold": 0.3}, MATRICES),
    ("FBetaScore", {"average": "macro"}, MATRICES),
    ("F1Score", {"average": "micro"}, MATRICES),
    ("F1Score", {"threshold": 0.5}, ["binary (n, 1)", "binary (n, 4)"]),
]
ROWS = [(name, arguments, data) for name, arguments, kinds in CASES for data in kinds]
IDS = [f"{name}-{arguments}-{data}" for name, arguments, data in ROWS]
