// Prediction alone: a layer's panel of columns for some rows, and what stands around it.
// Included inside the namespace of one instruction set, after losses.h.

// Where the panel that begins at a column ends.
static int panel_end(int columns, int begin) {
  const Panel panel = panel_of(columns, begin);
  return begin + panel.vectors * kLanes;
}

static size_t packed_floats(const LayerSpec& spec) { return (size_t)padded(spec.outputs) * ((size_t)spec.inputs + 1); }

// Writes a layer's bias, zeros where it has none, then its kernel in panels.
static void pack(const LayerSpec& spec, const float* kernel, const float* bias, float* packed) {
  const int wide = padded(spec.outputs);
  __builtin_memset(packed, 0, (size_t)wide * sizeof(float));
  if (bias) __builtin_memcpy(packed, bias, (size_t)spec.outputs * sizeof(float));
  float* to = packed + wide;
  for (int j = 0; j < spec.outputs;) {
    const int end = panel_end(spec.outputs, j), width = end - j;
    const int real = end < spec.outputs ? width : spec.outputs - j;
    for (int k = 0; k < spec.inputs; k++, to += width) {
      const float* from = kernel + (int64_t)k * spec.outputs + j;
      for (int c = 0; c < real; c += kLanes) {
        const int left = real - c;
        if (left >= kLanes)
          store(to + c, *reinterpret_cast<const Loose*>(from + c));
        else {
          store(to + c, V{});
          __builtin_memcpy(to + c, from + c, (size_t)left * sizeof(float));
        }
      }
    }
    j = end;
  }
}

template <int activation>
static void apply(float* z, int count, float slope) {
  for (int j = 0; j < count; j += kLanes) {
    V unused;
    store(z + j, activate<activation>(load(z + j), slope, unused));
  }
}
static void apply(int activation, float* z, int count, float slope) {
  switch (activation) {
    case kTanh: return apply<kTanh>(z, count, slope);
    case kSigmoid: return apply<kSigmoid>(z, count, slope);
    case kGelu: return apply<kGelu>(z, count, slope);
    case kGeluTanh: return apply<kGeluTanh>(z, count, slope);
    case kSilu: return apply<kSilu>(z, count, slope);
    case kSelu: return apply<kSelu>(z, count, slope);
    case kElu: return apply<kElu>(z, count, slope);
    default: return;  // the product has done it
  }
}

// Columns [begin, end) of a layer's outputs, whole panels, for `rows` rows.
static void columns_of(const LayerSpec& spec, const float* packed, const float* a, int64_t lda, float* z, int64_t ldz,
                       int rows, int begin, int end) {
  const Forward f{a,   lda, packed + padded(spec.outputs), packed, spec.inputs, spec.inputs, z,
                  ldz, spec.activation, spec.slope};
  for (int j = begin; j < end;) {
    const Panel panel = panel_of(spec.outputs, j);
    if (panel.vectors == 3)
      column<kTileVectors>(f, 0, rows, j);
    else if (panel.vectors == 2)
      column<2>(f, 0, rows, j);
    else
      column<1>(f, 0, rows, j);
    j += panel.vectors * kLanes;
  }
  if (!piecewise(spec.activation))
    for (int i = 0; i < rows; i++) apply(spec.activation, z + i * ldz + begin, end - begin, spec.slope);
}

// Whether all numbers are finite: zero times any other is NaN, which stays in the sum.
static bool all_finite(const float* p, int64_t count) {
  V total[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int k = 0; k < 4; k++) total[k] += *reinterpret_cast<const Loose*>(p + i + k * kLanes) * 0.0f;
  float rest = 0.0f;
  for (; i < count; i++) rest += p[i] * 0.0f;
  return sum(total[0] + total[1] + total[2] + total[3]) + rest == 0.0f;
}

// Copies the outputs of the last layer to the caller's rows; a softmax on the way. Returns whether all are finite.
static bool hand_over(const LayerSpec& last, float* z, int64_t ldz, float* y, int rows) {
  const Head head{nullptr, last.outputs};
  float top;
  for (int i = 0; i < rows; i++, z += ldz) {
    if (last.activation == kSoftmax) head.softmax(z, z, top);
    __builtin_memcpy(y + (int64_t)i * last.outputs, z, (size_t)last.outputs * sizeof(float));
  }
  return all_finite(y, (int64_t)rows * last.outputs);
}
