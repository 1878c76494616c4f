// Matrix products by the tiles of AMX: 16 rows of 16 pairs of bfloat16, sums in float32. A float32 product is six of
// them: each number is the sum of three bfloat16, and what is left out is smaller than the rounding of a float32 sum.
// Each element of a result is one chain of sums in order, whatever the thread and the batch.
// Included inside the namespace of an instruction set with AVX-512, after simd.h.

constexpr int kSide = 32;  // rows and columns of a block of sums, and its step along the inner axis: two tiles each
constexpr int kBlockBytes = 2 * 1024;  // of a block of operands: two tiles
constexpr int kBlockFloats = kSide * kSide;

LAMINA_INLINE int blocks(int n) { return (n + kSide - 1) / kSide; }

// An array of the caller's, row after row.
struct Matrix {
  const float* start;
  int64_t stride;
  int rows, columns;
};

// The first `count` of 16 numbers, and zeros.
LAMINA_INLINE V first_of(const float* p, int count) {
  return count >= kLanes ? _mm512_loadu_ps(p) : count <= 0 ? V{} : _mm512_maskz_loadu_ps((1 << count) - 1, p);
}
LAMINA_INLINE void store_first(float* p, int count, V v) {
  if (count >= kLanes)
    _mm512_storeu_ps(p, v);
  else if (count > 0)
    _mm512_mask_storeu_ps(p, (1 << count) - 1, v);
}
LAMINA_INLINE V at(const Matrix& x, int row, int column) {
  return row < x.rows ? first_of(x.start + row * x.stride + column, x.columns - column) : V{};
}

LAMINA_INLINE V upper_half(V x) { return (V)((I)x & (int32_t)0xffff0000); }
// What the upper half of its bits leaves of a number; nothing of infinity.
LAMINA_INLINE V lower_part(V x) {
  const V whole = upper_half(x);
  return pick(x == whole, V{}, x - whole);
}
LAMINA_INLINE V rounded(V x) {
  return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16);
}

// 16 pairs of numbers in bfloat16, each pair in 32 bits; with three parts, that of each number beside its fellow's.
template <int PARTS>
LAMINA_INLINE void paired(V even, V odd, char* to) {
  if constexpr (PARTS == 1) {
    _mm512_store_si512(to, (__m512i)((U)rounded(even) >> 16 | (U)rounded(odd)));
  } else {
#pragma GCC unroll 3
    for (int s = 0; s < PARTS; s++, to += kBlockBytes) {
      _mm512_store_si512(to, (__m512i)((U)even >> 16 | (U)upper_half(odd)));
      even = lower_part(even), odd = lower_part(odd);
    }
  }
}
// 32 numbers that follow each other, in bfloat16.
template <int PARTS>
LAMINA_INLINE void in_row(V low, V high, char* to) {
  if constexpr (PARTS == 1) {
    _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  } else {
    alignas(64) static const uint16_t odd_words[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                       33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    const __m512i odd = _mm512_load_si512(odd_words);
#pragma GCC unroll 3
    for (int s = 0; s < PARTS; s++, to += kBlockBytes) {
      _mm512_store_si512(to, _mm512_permutex2var_epi16((__m512i)low, odd, (__m512i)high));
      low = lower_part(low), high = lower_part(high);
    }
  }
}

enum Form { kRows, kPairs, kTurnedRows, kTurnedPairs };

// Block (i, j) of an array as an operand. kRows: a left operand whose rows are the array's. kPairs: a right operand
// whose columns are the array's. Turned: of the array's transpose.
template <int PARTS, Form FORM>
static void pack_block(const Matrix& x, int i, int j, char* to) {
  alignas(64) char turned[PARTS * kBlockBytes];
  char* now = FORM == kRows || FORM == kPairs ? to : turned;
  const int row = i * kSide, column = j * kSide;
  for (int half = 0; half < 2; half++)
    for (int r = 0; r < 16; r++) {
      char* line = now + half * 1024 + r * 64;
      if constexpr (FORM == kRows || FORM == kTurnedPairs) {
        const int k = row + half * 16 + r;
        in_row<PARTS>(at(x, k, column), at(x, k, column + kLanes), line);
      } else {
        const int k = row + 2 * r, c = column + half * kLanes;
        paired<PARTS>(at(x, k, c), at(x, k + 1, c), line);
      }
    }
  if (now == turned)
    for (int tile = 0; tile < 2 * PARTS; tile++)
      transpose(reinterpret_cast<float*>(turned + tile * 1024), 16, reinterpret_cast<float*>(to + tile * 1024), 16);
}

struct alignas(64) TileShapes {
  uint8_t palette, start, none[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};
static void begin_tiles() {
  TileShapes shapes{};
  shapes.palette = 1;
  for (int i = 0; i < 8; i++) shapes.bytes[i] = 64, shapes.rows[i] = 16;
  asm volatile("" ::"m"(shapes));
  _tile_loadconfig(&shapes);
}
static void end_tiles() { _tile_release(); }

// Tiles 0 to 3 are sums, 4 and 5 a block of the left operand, 6 and 7 one of the right.
#define LAMINA_LEFT(part)                                \
  _tile_loadd(4, left + (part)*kBlockBytes, 64);         \
  _tile_loadd(5, left + (part)*kBlockBytes + 1024, 64)
#define LAMINA_RIGHT(part)                               \
  _tile_loadd(6, right + (part)*kBlockBytes, 64);        \
  _tile_loadd(7, right + (part)*kBlockBytes + 1024, 64)
#define LAMINA_MULTIPLY    \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)

// A block of sums, [32][32]: what it was if `add`, and the product of `count` blocks. `ahead(i)` is called in between.
template <int PARTS, class Ahead>
LAMINA_INLINE void multiply_blocks(int count, const char* left, int64_t left_step, const char* right,
                                   int64_t right_step, float* sums, bool add, const Ahead& ahead) {
  asm volatile("" ::: "memory");  // the compiler does not know what the tiles read
  if (add) {
    _tile_loadd(0, sums, 4 * kSide);
    _tile_loadd(1, sums + 16, 4 * kSide);
    _tile_loadd(2, sums + 16 * kSide, 4 * kSide);
    _tile_loadd(3, sums + 16 * kSide + 16, 4 * kSide);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int i = 0; i < count; i++, left += left_step, right += right_step) {
    ahead(i);
    if constexpr (PARTS == 1) {
      LAMINA_LEFT(0);
      LAMINA_RIGHT(0);
      LAMINA_MULTIPLY;
    } else {
      LAMINA_LEFT(0);
      LAMINA_RIGHT(2);
      LAMINA_MULTIPLY;
      LAMINA_RIGHT(1);
      LAMINA_MULTIPLY;
      LAMINA_RIGHT(0);
      LAMINA_MULTIPLY;
      LAMINA_LEFT(1);
      LAMINA_MULTIPLY;
      LAMINA_RIGHT(1);
      LAMINA_MULTIPLY;
      LAMINA_LEFT(2);
      LAMINA_RIGHT(0);
      LAMINA_MULTIPLY;
    }
  }
  _tile_stored(0, sums, 4 * kSide);
  _tile_stored(1, sums + 16, 4 * kSide);
  _tile_stored(2, sums + 16 * kSide, 4 * kSide);
  _tile_stored(3, sums + 16 * kSide + 16, 4 * kSide);
  asm volatile("" ::: "memory");
}
#undef LAMINA_LEFT
#undef LAMINA_RIGHT
#undef LAMINA_MULTIPLY
