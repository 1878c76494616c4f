// Vectors of LAMINA_LANES floats by the vector extension of GCC and Clang: one source for every instruction set.
// Included inside the namespace of one instruction set.

typedef float V __attribute__((vector_size(4 * LAMINA_LANES)));
typedef int32_t I __attribute__((vector_size(4 * LAMINA_LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LAMINA_LANES)));
// An unaligned vector that may overlap anything, for arrays of the caller.
typedef float Loose __attribute__((vector_size(4 * LAMINA_LANES), aligned(4), may_alias));

#define LAMINA_INLINE inline __attribute__((always_inline))

constexpr int kLanes = LAMINA_LANES;
#if LAMINA_LANES == 16
constexpr int kTileRows = 8, kTileVectors = 3;  // 24 sums, 3 vectors of b, a broadcast: 28 of 32 registers
#elif LAMINA_LANES == 8
constexpr int kTileRows = 4, kTileVectors = 3;  // 12 + 3 + 1 of 16 registers
#elif defined(__aarch64__)
constexpr int kTileRows = 8, kTileVectors = 3;
#else
constexpr int kTileRows = 4, kTileVectors = 2;  // products need a register of their own without fused operations
#endif

LAMINA_INLINE int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Floats from one row to the next: whole cache lines, and an odd number of them, so that rows spread over the cache's
// sets.
LAMINA_INLINE int stride(int n) {
  int lines = (n + 15) / 16;
  return (lines | 1) * 16;
}

LAMINA_INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }
LAMINA_INLINE void store(float* p, V v) { *reinterpret_cast<V*>(p) = v; }
LAMINA_INLINE V splat(float f) { return f - V{}; }
LAMINA_INLINE V pick(I mask, V yes, V no) { return mask ? yes : no; }
LAMINA_INLINE V larger(V a, V b) { return pick(a < b, b, a); }  // NaN in `a` stays
LAMINA_INLINE V smaller(V a, V b) { return pick(a > b, b, a); }
LAMINA_INLINE V magnitude(V x) { return (V)((I)x & 0x7fffffff); }

LAMINA_INLINE I lanes() {
  I i = {};
#pragma GCC unroll 16
  for (int k = 0; k < kLanes; k++) i[k] = k;
  return i;
}
// True for the first n lanes.
LAMINA_INLINE I first(int n) { return lanes() < (n - I{}); }

template <class F>
LAMINA_INLINE float reduce(V v, F f) {
#if defined(__clang__)
  float t[kLanes];
  __builtin_memcpy(t, &v, sizeof v);
  for (int s = kLanes / 2; s; s /= 2)
    for (int i = 0; i < s; i++) {
      V a = splat(t[i]), b = splat(t[i + s]);
      t[i] = f(a, b)[0];
    }
  return t[0];
#else
#pragma GCC unroll 4
  for (int s = kLanes / 2; s; s /= 2) v = f(v, __builtin_shuffle(v, lanes() ^ s));
  return v[0];
#endif
}
LAMINA_INLINE float sum(V v) {
  return reduce(v, [](V a, V b) __attribute__((always_inline)) { return a + b; });
}
LAMINA_INLINE float largest(V v) {
  return reduce(v, [](V a, V b) __attribute__((always_inline)) { return larger(a, b); });
}

LAMINA_INLINE V root(V x) {
#if LAMINA_LANES == 16
  return _mm512_sqrt_ps(x);
#elif LAMINA_LANES == 8
  return _mm256_sqrt_ps(x);
#elif defined(__aarch64__)
  return vsqrtq_f32(x);
#else
  for (int i = 0; i < kLanes; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// a / (sqrt(v) + epsilon), to 2e-7. The processor's own division and root would cost twice the rest of an update.
LAMINA_INLINE V over_root(V a, V v, V epsilon) {
#if LAMINA_LANES == 16
  V w = larger(v, splat(1e-36f)), r = _mm512_rsqrt14_ps(w), h = w * r;  // then a step of Newton's method each
  V s = 0.5f * h * (1.0f - h * r) + h + epsilon, y = _mm512_rcp14_ps(s);
  return a * (y + y * (1.0f - s * y));
#else
  return a / (root(v) + epsilon);
#endif
}

// rows x columns of s, kLanes each, transposed into d.
LAMINA_INLINE void transpose(const float* s, int64_t lds, float* d, int64_t ldd) {
#if LAMINA_LANES == 16
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) r[i] = _mm512_load_ps(s + i * lds);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
      __m512d a = _mm512_castps_pd(t[4 * i + j]), b = _mm512_castps_pd(t[4 * i + j + 2]);
      r[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      r[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    _mm512_store_ps(d + i * ldd, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
    _mm512_store_ps(d + (i + 4) * ldd, _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_store_ps(d + (i + 8) * ldd, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
    _mm512_store_ps(d + (i + 12) * ldd, _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd));
  }
#else
  float block[kLanes * kLanes];  // read by rows, written by rows, turned in between: in the first cache
  for (int i = 0; i < kLanes; i++)
    for (int j = 0; j < kLanes; j++) block[j * kLanes + i] = s[i * lds + j];
  for (int i = 0; i < kLanes; i++)
    for (int j = 0; j < kLanes; j++) d[i * ldd + j] = block[i * kLanes + j];
#endif
}
