"""Who earns more than 50,000 a year? A CSV with categories, from the file to probabilities, in ten lines."""

import sys
import tempfile
from pathlib import Path

import pyarrow.csv

import lamina

table = pyarrow.csv.read_csv(Path(__file__).parent / "tables" / "adult.csv")
train, test = table.slice(0, 2400), table.slice(2400)
x_test, y_test = test.drop_columns("income"), test["income"]

model = lamina.tabular.DenseClassifier(sys.argv[1] if len(sys.argv) > 1 else "default", random_state=1)
model.fit(train.drop_columns("income"), train["income"])

print(f"test accuracy: {model.score(x_test, y_test):.3f}")
commonest = y_test.value_counts()[0]["counts"].as_py() / len(y_test)
print(f"always the commonest class: {max(commonest, 1 - commonest):.3f}")
for row, sure in zip(x_test.slice(0, 3).to_pylist(), model.predict_proba(x_test)[:3], strict=True):
    who = f"{row['age']} years, {row['occupation']}, {row['hours-per-week']} hours a week"
    print(f"{who}: {sure[1]:.0%} {model.classes_[1]}")

# One file holds the model; it predicts where there is no scikit-learn, from any kind of table.
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "income.safetensors")
    again = lamina.tabular.load(Path(folder) / "income.safetensors")
print("from the file:", again.predict(x_test.slice(0, 3).to_pylist()).tolist())
