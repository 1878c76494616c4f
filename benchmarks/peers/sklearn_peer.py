"""scikit-learn's `MLPClassifier`, which trains on the host in NumPy. A fit begins anew; its start cancels out."""

import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.peers import Absent
from benchmarks.workloads import Workload

NAME = "scikit-learn"
REQUIRES = ("sklearn",)


def fit(workload: Workload) -> Callable[[int], object]:
    if workload.policy != "float32":
        raise Absent("it has no bfloat16")
    (x, y), _ = workload.data()
    return lambda epochs: _classifier(workload, epochs).fit(x, y)


def predict(workload: Workload) -> Callable[[], object]:
    (x, y), _ = workload.data()
    classifier = _classifier(workload, 1).fit(x, y)
    return lambda: classifier.predict_proba(x)


def _classifier(workload: Workload, epochs: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    return MLPClassifier(
        workload.widths[1:-1],
        solver="adam",
        alpha=0.0,
        batch_size=workload.batch,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,  # it must not stop early
        random_state=0,
    )
