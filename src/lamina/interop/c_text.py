"""The C functions that a written network calls; each is written out only where it is used."""

import numpy as np


def literal(value: float) -> str:
    """Return a number as C has it, exact to the last bit of a float."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0", exp_digits=1)
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}f" if int(exponent) == 0 else f"{mantissa}e{int(exponent)}f"


_AROUND = """
static void {name}(const float *x, float *y, int outer, int count, int inner{more}) {{
  for (int o = 0; o < outer; o++) {{
    for (int i = 0; i < inner; i++) {{
      const float *const a = x + (o * count * inner + i);
      float *const b = y + (o * count * inner + i);
{body}
    }}
  }}
}}"""


def _around(name: str, body: str, more: str = "") -> str:
    lines = "\n".join("      " + line for line in body.strip("\n").split("\n"))
    return _AROUND.format(name=name, more=more, body=lines)


_LARGEST = """
float largest = a[0];
for (int k = 1; k < count; k++) largest = a[k * inner] > largest ? a[k * inner] : largest;
float sum = 0.0f;
"""

HELPERS = {
    "dense": """
static void dense(const float *kernel, const float *bias, const float *x, float *y, int rows, int inputs, int units) {
  for (int r = 0; r < rows; r++) {
    for (int j = 0; j < units; j++) {
      const float *const w = kernel + j * inputs;
      float sum = 0.0f;
      for (int i = 0; i < inputs; i++) sum += w[i] * x[r * inputs + i];
      y[r * units + j] = sum + bias[j];
    }
  }
}""",
    "dense8_work": """
static signed char rounded[@LONGEST@];""",
    "dense8": """
/* scale 0: the range of each row is found first. */
static void dense8(const signed char *kernel, const float *scales, const float *bias, const float *x, float *y,
                   int rows, int inputs, int units, float scale, int zero) {
  for (int r = 0; r < rows; r++) {
    const float *const row = x + r * inputs;
    float step = scale;
    int origin = zero;
    if (step == 0.0f) {
      float low = 0.0f, high = 0.0f;
      for (int i = 0; i < inputs; i++) {
        low = row[i] < low ? row[i] : low;
        high = row[i] > high ? row[i] : high;
      }
      step = high > low ? (high - low) / 255.0f : 1.0f;
      step = step > 0.0f ? step : 1.0f;
      const float start = -128.0f - low / step;
      origin = (int)lrintf(start > -128.0f ? (start < 127.0f ? start : 127.0f) : -128.0f);
    }
    for (int i = 0; i < inputs; i++) {
      const float place = row[i] / step + (float)origin;
      const float inside = place > -128.0f ? (place < 127.0f ? place : 127.0f) : -128.0f;
      rounded[i] = (signed char)lrintf(inside);
    }
    for (int j = 0; j < units; j++) {
      const signed char *const w = kernel + j * inputs;
      int sum = 0;
      for (int i = 0; i < inputs; i++) sum += w[i] * (rounded[i] - origin);
      y[r * units + j] = (float)sum * (step * scales[j]) + bias[j];
    }
  }
}""",
    "softmax": _around(
        "softmax",
        _LARGEST
        + """
for (int k = 0; k < count; k++) {
  b[k * inner] = expf(a[k * inner] - largest);
  sum += b[k * inner];
}
for (int k = 0; k < count; k++) b[k * inner] /= sum;
""",
    ),
    "log_softmax": _around(
        "log_softmax",
        _LARGEST
        + """
for (int k = 0; k < count; k++) sum += expf(a[k * inner] - largest);
sum = logf(sum);
for (int k = 0; k < count; k++) b[k * inner] = a[k * inner] - largest - sum;
""",
    ),
    "sparsemax": _around(
        "sparsemax",
        _LARGEST.replace("float sum", "int last = 0;\nfloat limit = -INFINITY, sum")
        + """
for (int more = 1; more;) {
  int kept = 0;
  sum = 0.0f;
  for (int k = 0; k < count; k++) {
    if (a[k * inner] - largest > limit) {
      kept++;
      sum += a[k * inner] - largest;
    }
  }
  more = kept != last && kept > 0;
  last = kept;
  if (more) limit = (sum - 1.0f) / (float)kept;
}
for (int k = 0; k < count; k++) {
  const float rest = a[k * inner] - largest - limit;
  b[k * inner] = rest > 0.0f ? rest : 0.0f;
}
""",
    ),
    "layer_normalization": _around(
        "layer_normalization",
        """
float mean = 0.0f, square = 0.0f;
for (int k = 0; k < count; k++) mean += a[k * inner];
mean /= (float)count;
for (int k = 0; k < count; k++) square += (a[k * inner] - mean) * (a[k * inner] - mean);
const float factor = 1.0f / sqrtf(square / (float)count + epsilon);
for (int k = 0; k < count; k++) b[k * inner] = (a[k * inner] - mean) * factor;
""",
        ", float epsilon",
    ),
    "rms_normalization": _around(
        "rms_normalization",
        """
float square = 0.0f;
for (int k = 0; k < count; k++) square += a[k * inner] * a[k * inner];
const float factor = 1.0f / sqrtf(square / (float)count + epsilon);
for (int k = 0; k < count; k++) b[k * inner] = a[k * inner] * factor;
""",
        ", float epsilon",
    ),
    "unit_normalization": _around(
        "unit_normalization",
        """
float square = 0.0f;
for (int k = 0; k < count; k++) square += a[k * inner] * a[k * inner];
const float length = sqrtf(square);
const float factor = length > 1e-12f ? 1.0f / length : 1e12f;
for (int k = 0; k < count; k++) b[k * inner] = a[k * inner] * factor;
""",
    ),
}
