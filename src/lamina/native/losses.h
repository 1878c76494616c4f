// Losses and metrics, row by row: the value of each row and the gradient of the batch's loss before the activation.
// Included inside the namespace of one instruction set, after functions.h.

// What a row's target is: a class, or a row of numbers padded with zeros.
struct Target {
  int label;
  const float* values;
};

struct Head {
  const Plan* plan;
  int outputs;

  // Writes exp(z - max z) over its sum to p, which may be z; returns that sum, and the largest z in `top`.
  LAMINA_INLINE float softmax(const float* z, float* p, float& top) const {
    V most = splat(-__builtin_inff());
    for (int j = 0; j < outputs; j += kLanes)
      most = larger(most, pick(first(outputs - j), load(z + j), splat(-__builtin_inff())));
    top = largest(most);
    V total = {};
    for (int j = 0; j < outputs; j += kLanes) {
      V e = pick(first(outputs - j), exponential(load(z + j) - top), V{});
      store(p + j, e);
      total += e;
    }
    const float all = sum(total), share = 1.0f / all;
    for (int j = 0; j < outputs; j += kLanes) store(p + j, load(p + j) * share);
    return all;
  }

  // The targets as the loss takes them: smoothed.
  LAMINA_INLINE V wanted(const Target& t, int j, float spread) const {
    V y = load(t.values + j);
    return plan->smoothing ? y * (1.0f - plan->smoothing) + spread : y;
  }

  // Crossentropy over the classes. `y` holds what the last layer gives before its activation; with `probabilities`,
  // a softmax, it holds its result after. `d` gets the gradient times `scale`. The value is the returned part and the
  // logarithm of `rest`, which the caller takes for many rows at once.
  float crossentropy(float* y, float* d, const Target& t, float scale, bool probabilities, float& rest) const {
    float top;
    float* p = probabilities ? y : d;
    if (plan->loss == kCrossentropy) {
      rest = 1.0f;
      const float all = softmax(y, p, top);
      return spread_crossentropy(y, p, d, t, scale, probabilities, top, all);
    }
    bool counts = t.label >= 0 && t.label < outputs;  // a label of no class costs nothing and teaches nothing
    const float own = counts ? y[t.label] : 0.0f, all = softmax(y, p, top);
    float value = counts && !probabilities ? top - own : 0.0f;
    rest = counts ? all : 1.0f;
    if (counts && probabilities) {
      const float low = plan->epsilon, high = 1.0f - plan->epsilon, q = p[t.label];
      rest = 1.0f / (q < low ? low : q > high ? high : q);
      counts = !(q < low || q > high);
    }
    const float share = counts ? scale : 0.0f;
    for (int j = 0; j < outputs; j += kLanes) store(d + j, load(p + j) * share);
    if (counts) d[t.label] -= scale;
    return value;
  }

  float spread_crossentropy(const float* y, const float* p, float* d, const Target& t, float scale, bool probabilities,
                            float top, float all) const {
    const float spread = plan->smoothing / (float)outputs;
    const V low = splat(plan->epsilon), high = splat(1.0f - plan->epsilon), log_all = logarithm(splat(all)) + top;
    V value = {}, weight = {};
    for (int j = 0; j < outputs; j += kLanes) {
      const I real = first(outputs - j);
      const V w = pick(real, wanted(t, j, spread), V{}), q = load(p + j);
      const V cost = probabilities ? -logarithm(smaller(larger(q, low), high)) : log_all - load(y + j);
      value += pick(real, w * cost, V{});
      weight += probabilities ? pick((q < low) | (q > high), V{}, w) : w;
    }
    const float whole = sum(weight);
    for (int j = 0; j < outputs; j += kLanes) {
      const V w = pick(first(outputs - j), wanted(t, j, spread), V{}), q = load(p + j);
      store(d + j, (q * whole - (probabilities ? pick((q < low) | (q > high), V{}, w) : w)) * scale);
    }
    return sum(value);
  }

  // Losses that are a mean over the outputs. `y` holds the activated outputs.
  float by_output(const float* y, float* d, const Target& t, float scale) const {
    const float each = scale / (float)outputs, spread = plan->smoothing * 0.5f;
    const V low = splat(plan->epsilon), high = splat(1.0f - plan->epsilon);
    V value = {};
    for (int j = 0; j < outputs; j += kLanes) {
      const I real = first(outputs - j);
      const V p = load(y + j);
      V v, g;
      if (plan->loss == kSquaredError) {
        const V e = p - load(t.values + j);
        v = e * e, g = 2.0f * e;
      } else if (plan->loss == kAbsoluteError) {
        const V e = p - load(t.values + j);
        v = magnitude(e);
        g = pick(e > 0.0f, splat(1.0f), pick(e < 0.0f, splat(-1.0f), e));
      } else if (plan->from_logits) {
        const V w = wanted(t, j, spread), tail = exponential(-magnitude(p));
        v = larger(p, V{}) - p * w + logarithm_one_more(tail);
        g = sigmoid(p) - w;
      } else {
        const V w = wanted(t, j, spread), c = smaller(larger(p, low), high);
        v = -(w * logarithm(c) + (1.0f - w) * logarithm(1.0f - c));
        g = pick((p >= low) & (p <= high), (c - w) / (c * (1.0f - c)), V{});
      }
      value += pick(real, v, V{});
      store(d + j, pick(real, g * each, V{}));
    }
    return sum(value) / (float)outputs;
  }

  // ---- metrics

  static int place_of_largest(const float* y, int count) {
    int place = 0;
    for (int j = 1; j < count; j++)
      if (y[j] > y[place] || (y[j] != y[j] && y[place] == y[place])) place = j;  // the first; NaN counts as largest
    return place;
  }

  float metric(const MetricSpec& m, const float* y, const Target& t) const {
    if (m.kind == kSparseAccuracy) return place_of_largest(y, outputs) == t.label ? 1.0f : 0.0f;
    if (m.kind == kCategoricalAccuracy)
      return place_of_largest(y, outputs) == place_of_largest(t.values, outputs) ? 1.0f : 0.0f;
    float total = 0.0f;
    for (int j = 0; j < outputs; j++) {
      const float target = t.values ? t.values[j] : (float)t.label, e = y[j] - target;
      if (m.kind == kBinaryAccuracy)
        total += (y[j] > m.threshold ? 1.0f : 0.0f) == target ? 1.0f : 0.0f;
      else
        total += m.kind == kMeanSquared ? e * e : __builtin_fabsf(e);
    }
    return total / (float)outputs;
  }
};
