"""The JavaScript functions that a written network calls; each is written out only where it is used."""

import math


def literal(value: float) -> str:
    """Return a number as JavaScript has it."""
    return (
        repr(float(value))
        if math.isfinite(value)
        else ("NaN" if value != value else "Infinity" if value > 0 else "-Infinity")
    )


def _around(name: str, body: str, more: str = "") -> str:
    lines = "\n".join("      " + line for line in body.strip("\n").split("\n"))
    return (
        f"function {name}(x, y, outer, count, inner{more}) {{\n"
        "  for (let o = 0; o < outer; o++) {\n    for (let i = 0; i < inner; i++) {\n"
        "      const start = o * count * inner + i;\n"
        f"{lines}\n    }}\n  }}\n}}"
    )


_LARGEST = """
let largest = -Infinity, sum = 0;
for (let k = 0; k < count; k++) largest = x[start + k * inner] > largest ? x[start + k * inner] : largest;
"""

HELPERS = {
    "dense": """
function dense(kernel, bias, x, y, rows, inputs, units) {
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < units; j++) {
      let sum = bias[j];
      for (let i = 0, k = j * inputs, a = r * inputs; i < inputs; i++) sum += kernel[k + i] * x[a + i];
      y[r * units + j] = sum;
    }
  }
}""",
    # The series near 0 and the continued fraction further out, both to the last bit of a float.
    "erf": """
function erf(x) {
  const a = Math.abs(x);
  if (!(a < 6)) return x > 0 ? 1 : x < 0 ? -1 : NaN;
  if (a < 2.5) {
    let term = x, sum = x;
    for (let n = 1; n < 60; n++) {
      term *= -x * x / n;
      sum += term / (2 * n + 1);
    }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + fraction) * Math.sqrt(Math.PI)));
}""",
    "softmax": _around(
        "softmax",
        _LARGEST
        + """
for (let k = 0; k < count; k++) sum += Math.exp(x[start + k * inner] - largest);
for (let k = 0; k < count; k++) y[start + k * inner] = Math.exp(x[start + k * inner] - largest) / sum;
""",
    ),
    "log_softmax": _around(
        "log_softmax",
        _LARGEST
        + """
for (let k = 0; k < count; k++) sum += Math.exp(x[start + k * inner] - largest);
sum = Math.log(sum);
for (let k = 0; k < count; k++) y[start + k * inner] = x[start + k * inner] - largest - sum;
""",
    ),
    "sparsemax": _around(
        "sparsemax",
        _LARGEST
        + """
let limit = -Infinity;
for (let last = 0, kept = -1; kept !== last;) {
  last = kept;
  kept = sum = 0;
  for (let k = 0; k < count; k++) {
    const value = x[start + k * inner] - largest;
    if (value > limit) {
      kept++;
      sum += value;
    }
  }
  if (kept > 0) limit = (sum - 1) / kept;
}
for (let k = 0; k < count; k++) y[start + k * inner] = Math.max(x[start + k * inner] - largest - limit, 0);
""",
    ),
    "layer_normalization": _around(
        "layer_normalization",
        """
let mean = 0, square = 0;
for (let k = 0; k < count; k++) mean += x[start + k * inner] / count;
for (let k = 0; k < count; k++) square += (x[start + k * inner] - mean) ** 2 / count;
const factor = 1 / Math.sqrt(square + epsilon);
for (let k = 0; k < count; k++) y[start + k * inner] = (x[start + k * inner] - mean) * factor;
""",
        ", epsilon",
    ),
    "rms_normalization": _around(
        "rms_normalization",
        """
let square = 0;
for (let k = 0; k < count; k++) square += x[start + k * inner] ** 2 / count;
const factor = 1 / Math.sqrt(square + epsilon);
for (let k = 0; k < count; k++) y[start + k * inner] = x[start + k * inner] * factor;
""",
        ", epsilon",
    ),
    "unit_normalization": _around(
        "unit_normalization",
        """
let square = 0;
for (let k = 0; k < count; k++) square += x[start + k * inner] ** 2;
const factor = 1 / Math.max(Math.sqrt(square), 1e-12);
for (let k = 0; k < count; k++) y[start + k * inner] = x[start + k * inner] * factor;
""",
    ),
}
