"""What does a diamond cost? A CSV of numbers and categories, from the file to prices, with scikit-learn's tools."""

import sys
from pathlib import Path

import pyarrow.csv
from sklearn.metrics import mean_absolute_error

import lamina

table = pyarrow.csv.read_csv(Path(__file__).parent / "tables" / "diamonds.csv")
train, test = table.slice(0, 2400), table.slice(2400)
x_test, price = test.drop_columns("price"), test["price"].to_numpy()

model = lamina.tabular.DenseRegressor(sys.argv[1] if len(sys.argv) > 1 else "default", random_state=1)
model.fit(train.drop_columns("price"), train["price"])
found = model.predict(x_test)

print(f"test R2: {model.score(x_test, price):.3f}")
print(f"off by: {mean_absolute_error(price, found):,.0f} dollars of {price.mean():,.0f}")
for row, true, cost in zip(x_test.slice(0, 3).to_pylist(), price, found, strict=False):
    print(f"{row['carat']} carat, cut {row['cut']}, colour {row['color']}: {cost:,.0f} dollars, in truth {true:,}")

# Single rows may be dicts; what is missing or unknown does no harm.
print(f"one carat of nothing known: {model.predict([dict.fromkeys(table.column_names[:-1]) | {'carat': 1.0}])[0]:,.0f}")
