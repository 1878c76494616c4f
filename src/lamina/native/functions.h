// Elementary functions of vectors, and the activations with their derivatives.
// Included inside the namespace of one instruction set, after simd.h. Errors are a few units in the last place.

// 2^n for whole n in [-126, 127].
LAMINA_INLINE V power_of_two(I n) { return (V)((n + 127) << 23); }

// exp(x) = 2^n (1 + q): range reduction and polynomial of Cephes's expf (S. Moshier). NaN stays NaN.
LAMINA_INLINE V reduced_exp(V x, I& n) {
  x = smaller(larger(x, splat(-87.3f)), splat(88.7f));
  V whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // to the nearest integer
  V r = x - whole * 0.693359375f;
  r = r - whole * -2.12194440e-4f;
  V p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  n = __builtin_convertvector(pick(whole == whole, whole, V{}), I);
  return p * r * r + r;
}
LAMINA_INLINE V exponential(V x) {
  I n;
  V q = reduced_exp(x, n);
  I half = n >> 1;  // 2^128 is no float, its two halves are
  return (q + 1.0f) * power_of_two(half) * power_of_two(n - half);
}
// exp(x) - 1 for x <= 0, exact for small x.
LAMINA_INLINE V exponential_less_one(V x) {
  I n;
  V q = reduced_exp(x, n), scale = power_of_two(n);
  return q * scale + (scale - 1.0f);
}
// log(x) for positive normal x; NaN otherwise as from the processor. Cephes's logf.
LAMINA_INLINE V logarithm(V x) {
  I bits = (I)x;
  I e = ((bits >> 23) & 0xff) - 126;
  V m = (V)((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
  I low = m < 0.707106781186547524f;
  V exponent = __builtin_convertvector(e + low, V);  // a true lane is -1
  m = pick(low, m + m, m) - 1.0f;
  V z = m * m, p = splat(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  V y = m * z * p - exponent * 2.12194440e-4f - 0.5f * z + m + exponent * 0.693359375f;
  return pick(x == x, y, x);
}
// log(1 + x) for 0 <= x <= 1, exact for small x: the rounding of 1 + x is put right.
LAMINA_INLINE V logarithm_one_more(V x) {
  V u = 1.0f + x;
  return logarithm(u) + (x - (u - 1.0f)) / u;
}
LAMINA_INLINE V sigmoid(V x) {
  V e = exponential(-magnitude(x)), r = 1.0f / (1.0f + e);
  return pick(x >= 0.0f, r, e * r);
}
LAMINA_INLINE V hyperbolic_tangent(V x) {
  V a = magnitude(x), z = x * x;
  V p = splat(-5.70498872745e-3f);
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  V e = exponential(-2.0f * a), t = (1.0f - e) / (1.0f + e);
  return pick(a < 0.625f, p * z * x + x, pick(x < 0.0f, -t, t));
}
// The error function, as a quotient of polynomials of x^2 (Eigen's coefficients, which XLA uses too).
LAMINA_INLINE V error_function(V x) {
  x = smaller(larger(x, splat(-3.832506856900711f)), splat(3.832506856900711f));
  V z = x * x, p = splat(-2.72614225801306e-10f), q = splat(-1.45660718464996e-05f);
  p = p * z + 2.77068142495902e-08f;
  p = p * z - 2.10102402082508e-06f;
  p = p * z - 5.69250639462346e-05f;
  p = p * z - 7.34990630326855e-04f;
  p = p * z - 2.95459980854025e-03f;
  p = p * z - 1.60960333262415e-02f;
  q = q * z - 2.13374055278905e-04f;
  q = q * z - 1.68282697438203e-03f;
  q = q * z - 7.37332916720468e-03f;
  q = q * z - 1.42647390514189e-02f;
  return x * p / q;
}

// Whether the derivative can be told from the output's sign alone: `slope` below 0, 1 above.
LAMINA_INLINE bool piecewise(int activation) {
  return activation == kLinear || activation == kRelu || activation == kLeakyRelu;
}

// Returns the activation of z and writes its derivative to d. Softmax is the loss's business.
template <int activation>
LAMINA_INLINE V activate(V z, float slope, V& d) {
  if constexpr (activation == kTanh) {
    V t = hyperbolic_tangent(z);
    d = 1.0f - t * t;
    return t;
  } else if constexpr (activation == kSigmoid) {
    V s = sigmoid(z);
    d = s * (1.0f - s);
    return s;
  } else if constexpr (activation == kGelu) {
    V normal = 0.5f + 0.5f * error_function(z * 0.70710678118654752f);
    d = normal + z * (0.39894228040143268f * exponential(-0.5f * z * z));
    return z * normal;
  } else if constexpr (activation == kGeluTanh) {
    constexpr float c = 0.79788456080286536f;
    V t = hyperbolic_tangent(c * (z + 0.044715f * z * z * z));
    d = 0.5f * (1.0f + t) + 0.5f * z * (1.0f - t * t) * (c + 3.0f * 0.044715f * c * z * z);
    return 0.5f * z * (1.0f + t);
  } else if constexpr (activation == kSilu) {
    V s = sigmoid(z);
    d = s + z * s * (1.0f - s);
    return z * s;
  } else if constexpr (activation == kSelu || activation == kElu) {
    constexpr float scale = 1.0507009873554804934193349852946f, alpha = 1.6732632423543772848170429916717f;
    const float outer = activation == kSelu ? scale : 1.0f, inner = activation == kSelu ? alpha : slope;
    V e = inner * exponential_less_one(pick(z > 0.0f, V{}, z));
    d = pick(z > 0.0f, splat(outer), outer * (e + inner));
    return pick(z > 0.0f, z, e) * outer;
  } else {
    const float below = activation == kLinear ? 1.0f : activation == kRelu ? 0.0f : slope;
    d = pick(z > 0.0f, splat(1.0f), splat(below));
    return activation == kLinear ? z : pick(z <= 0.0f, z * below, z);
  }
}

// Activates `count` numbers in place and writes the derivatives beside them.
template <int activation>
static void activate_row(float* z, float* derivative, int count, float slope) {
  for (int j = 0; j < count; j += kLanes) {
    V d;
    store(z + j, activate<activation>(load(z + j), slope, d));
    store(derivative + j, d);
  }
}
static void activate_row(int activation, float* z, float* derivative, int count, float slope) {
  switch (activation) {
    case kTanh: return activate_row<kTanh>(z, derivative, count, slope);
    case kSigmoid: return activate_row<kSigmoid>(z, derivative, count, slope);
    case kGelu: return activate_row<kGelu>(z, derivative, count, slope);
    case kGeluTanh: return activate_row<kGeluTanh>(z, derivative, count, slope);
    case kSilu: return activate_row<kSilu>(z, derivative, count, slope);
    case kSelu: return activate_row<kSelu>(z, derivative, count, slope);
    case kElu: return activate_row<kElu>(z, derivative, count, slope);
    case kRelu: return activate_row<kRelu>(z, derivative, count, slope);
    case kLeakyRelu: return activate_row<kLeakyRelu>(z, derivative, count, slope);
    default: return activate_row<kLinear>(z, derivative, count, slope);
  }
}

// ---- dropout: JAX's threefry2x32 (Salmon et al. 2011) with one 64-bit counter for each element

template <int r>
LAMINA_INLINE U rotated(U x) {
  return (x << r) | (x >> (32 - r));
}
template <int a, int b, int c, int d>
LAMINA_INLINE void four_rounds(U& x, U& y) {
  x += y, y = rotated<a>(y) ^ x;
  x += y, y = rotated<b>(y) ^ x;
  x += y, y = rotated<c>(y) ^ x;
  x += y, y = rotated<d>(y) ^ x;
}
LAMINA_INLINE U threefry(const uint32_t key[2], uint32_t high, U low) {
  const uint32_t k0 = key[0], k1 = key[1], k2 = k0 ^ k1 ^ 0x1BD11BDAu;
  U x = (high + k0) - U{}, y = low + k1;
  four_rounds<13, 15, 26, 6>(x, y), x += k1, y += k2 + 1;
  four_rounds<17, 29, 16, 24>(x, y), x += k2, y += k0 + 2;
  four_rounds<13, 15, 26, 6>(x, y), x += k0, y += k1 + 3;
  four_rounds<17, 29, 16, 24>(x, y), x += k1, y += k2 + 4;
  four_rounds<13, 15, 26, 6>(x, y), x += k2, y += k0 + 5;
  return x ^ y;
}

// Drops a share of row `row` of an array of `count` columns, in place; `factor`, if any, is multiplied alike. An
// element is kept where jax.random.bernoulli says so: where its 23 random bits, as a fraction, are below 1 - rate.
static void drop_row(float* values, float* factor, int count, int64_t row, const uint32_t key[2], float rate) {
  const float keep = (float)(1.0 - (double)rate);
  const int32_t limit = (int32_t)__builtin_ceilf(keep * 8388608.0f);
  for (int j = 0; j < count; j += kLanes) {
    const uint64_t first_counter = (uint64_t)row * count + j;
    U low = (uint32_t)first_counter + (U)lanes();
    U bits = threefry(key, (uint32_t)(first_counter >> 32), low);
    if ((uint32_t)first_counter + (uint32_t)kLanes < (uint32_t)first_counter) {  // the counter runs over in this vector
      U next = threefry(key, (uint32_t)(first_counter >> 32) + 1, low);
      bits = low < (U)((uint32_t)first_counter - U{}) ? next : bits;
    }
    I kept = (I)(bits >> 9) < (limit - I{});
    store(values + j, pick(kept, load(values + j) / keep, V{}));
    if (factor) store(factor + j, pick(kept, load(factor + j) / keep, V{}));
  }
}
