"""One fit of one model on one split, in a process of its own: `python -m benchmarks.table_peers MODEL FILE SPLIT`.

The peers run with their defaults, on what each takes by its own documentation: trees get categorical columns as such,
the rest one-hot columns. What is timed is `fit`, with all that a first fit does: encoding, compilation, training.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Pair = tuple[Any, Callable[[Any], Any]]


class Split:
    """Rows to fit and rows to score: four fifths and one fifth, stratified by class."""

    def __init__(self, path: Path, seed: int) -> None:
        from sklearn.model_selection import train_test_split

        frame = pd.read_parquet(path)
        y, x = frame.iloc[:, -1], frame.iloc[:, :-1]
        self.regression = y.dtype.kind == "f"
        self.categorical = [c for c in x if not pd.api.types.is_numeric_dtype(x[c]) or x[c].dtype == bool]
        self.numeric = [c for c in x if c not in self.categorical]
        if not self.regression:
            y = pd.Series(np.unique(y.to_numpy(), return_inverse=True)[1], index=y.index)
        how = None if self.regression else y
        self.x, self.test, y, truth = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=how)
        self.y, self.truth, self.seed = y.to_numpy(), truth.to_numpy(), seed
        self.classes = 0 if self.regression else int(self.y.max()) + 1

    def with_categories(self, x: pd.DataFrame) -> pd.DataFrame:
        """Categories as those of the rows to fit; others become missing."""
        kinds = {c: pd.CategoricalDtype(sorted(self.x[c].dropna().unique(), key=str)) for c in self.categorical}
        return x.assign(**{c: pd.Categorical(x[c].astype(object), dtype=kind) for c, kind in kinds.items()})


def sklearn_mlp(split: Split) -> Pair:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), split.numeric),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), split.categorical),
    )
    network = MLPRegressor if split.regression else MLPClassifier
    return make_pipeline(columns, network(random_state=split.seed)), lambda x: x


def hgb(split: Split) -> Pair:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor if split.regression else HistGradientBoostingClassifier
    return trees(random_state=split.seed, categorical_features="from_dtype"), split.with_categories


def xgboost(split: Split) -> Pair:
    from xgboost import XGBClassifier, XGBRegressor

    trees = XGBRegressor if split.regression else XGBClassifier
    return trees(random_state=split.seed, enable_categorical=True), split.with_categories


def lightgbm(split: Split) -> Pair:
    from lightgbm import LGBMClassifier, LGBMRegressor

    trees = LGBMRegressor if split.regression else LGBMClassifier
    return trees(random_state=split.seed, verbose=-1), split.with_categories


def catboost(split: Split) -> Pair:
    from catboost import CatBoostClassifier, CatBoostRegressor

    trees = CatBoostRegressor if split.regression else CatBoostClassifier
    model = trees(random_seed=split.seed, verbose=0, cat_features=split.categorical, allow_writing_files=False)
    return model, lambda x: x.assign(
        **{c: x[c].astype(object).where(x[c].notna(), "?").astype(str) for c in split.categorical}
    )


def pytabkit(name: str) -> Callable[[Split], Pair]:
    def make(split: Split) -> Pair:
        import pytabkit

        kind = "Regressor" if split.regression else "Classifier"
        return getattr(pytabkit, f"{name}_{kind}")(random_state=split.seed, device="cpu"), lambda x: _filled(split, x)

    return make


def _filled(split: Split, x: pd.DataFrame) -> pd.DataFrame:
    """No missing numbers: pytabkit refuses them."""
    return split.with_categories(x).assign(**{c: x[c].fillna(split.x[c].median()) for c in split.numeric})


def ours(preset: str) -> Callable[[Split], Pair]:
    def make(split: Split) -> Pair:
        from lamina.tabular import DenseClassifier, DenseRegressor

        network = DenseRegressor if split.regression else DenseClassifier
        return network(preset=preset, random_state=split.seed), lambda x: x

    return make


MODELS: dict[str, Callable[[Split], Pair]] = {
    "mlp": sklearn_mlp,
    "hgb": hgb,
    "xgboost": xgboost,
    "lightgbm": lightgbm,
    "catboost": catboost,
    "realmlp-tds": pytabkit("RealMLP_TD_S"),
    "realmlp-td": pytabkit("RealMLP_TD"),
    "tabm": pytabkit("TabM_D"),
    "fast": ours("fast"),
    "default": ours("default"),
    "best": ours("best"),
}


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy, by confidence (Guo et al. 2017)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(truth))


def scores(model: Any, x: Any, split: Split) -> dict[str, float]:
    """`error` is what ratios are made of: the part of rows with a wrong class, or the root mean squared error."""
    from sklearn.metrics import roc_auc_score

    if split.regression:
        residual = np.asarray(model.predict(x), np.float64).ravel() - split.truth
        return {
            "error": float(np.sqrt(np.mean(residual**2))),
            "r2": float(1 - np.mean(residual**2) / split.truth.var()),
        }
    p = np.asarray(model.predict_proba(x), np.float64)
    result = {
        "error": float(np.mean(p.argmax(1) != split.truth)),
        "log_loss": float(-np.log(np.clip(p[np.arange(len(p)), split.truth], 1e-15, 1)).mean()),
        "ece": calibration(p, split.truth),
    }
    if split.classes == 2:
        result["auc"] = float(roc_auc_score(split.truth, p[:, 1]))
    return result


def main() -> None:
    name, path, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    split = Split(path, seed)
    model, prepared = MODELS[name](split)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(prepared(split.x), split.y)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu} | scores(model, prepared(split.test), split)))


if __name__ == "__main__":
    main()
