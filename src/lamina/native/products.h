// Matrix products in tiles that stay in registers. Each element of a result is one chain of sums over the inner axis,
// in order, whatever the shape of its tile: so neither the number of threads nor the place of a row changes a bit.
// Included inside the namespace of one instruction set, after functions.h.

// Kernels, and all that has their shape, lie in panels: as many columns as a tile has, row after row. So a product reads
// one stream, and an update changes whole runs of memory. Panel after panel, the one that begins at column j begins at
// j * rows.
struct Panel {
  int begin, vectors;  // its first column, its width in vectors
};
// The panel that holds a column: of kTileVectors vectors, except that the end of four is split in two halves, which is
// faster than three and one.
LAMINA_INLINE Panel panel_of(int columns, int column) {
  const int all = padded(columns) / kLanes, at = column / kLanes;
  const int tail = kTileVectors == 3 && all % 3 == 1 && all > 3 ? all - 4 : all;
  const int width = at < tail ? kTileVectors : 2;
  const int begin = at < tail ? at / width * width : tail + (at - tail) / width * width;
  return {begin * kLanes, begin + width <= all ? width : all - begin};
}
LAMINA_INLINE int64_t panel_place(const Panel& panel, int rows, int row, int column) {
  return (int64_t)panel.begin * rows + (int64_t)row * panel.vectors * kLanes + (column - panel.begin);
}

// c[MR][NR vectors] += a(i, k) * b[k][:], with a(i, k) = a[i * row + k * column].
template <int MR, int NR>
LAMINA_INLINE void multiply(int inner, const float* a, int64_t row, int64_t column, const float* b, int64_t ldb,
                            V (&c)[MR][NR]) {
  for (int k = 0; k < inner; k++) {
    V v[NR];
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) v[j] = load(b + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
      V x = splat(a[i * row]);
#pragma GCC unroll 8
      for (int j = 0; j < NR; j++) c[i][j] += x * v[j];
    }
    a += column;
    b += ldb;
  }
}
#define LAMINA_EACH(i, j)                                \
  _Pragma("GCC unroll 8") for (int i = 0; i < MR; i++)   \
      _Pragma("GCC unroll 8") for (int j = 0; j < NR; j++)

// outputs = activation(inputs @ kernel + bias).
struct Forward {
  const float* a;
  int64_t lda;
  const float *w, *bias;
  int rows;  // of a panel of w
  int inner;
  float* z;
  int64_t ldz;
  int activation;
  float slope;

  template <int MR, int NR>
  __attribute__((noinline)) void tile(int i0, int j0) const {
    V c[MR][NR];
    LAMINA_EACH(i, j) c[i][j] = load(bias + j0 + kLanes * j);
    multiply<MR, NR>(inner, a + i0 * lda, lda, 1, w + (int64_t)j0 * rows, NR * kLanes, c);
    if (activation == kRelu) LAMINA_EACH(i, j) c[i][j] = pick(c[i][j] <= 0.0f, V{}, c[i][j]);  // NaN stays
    if (activation == kLeakyRelu) LAMINA_EACH(i, j) c[i][j] = pick(c[i][j] <= 0.0f, slope * c[i][j], c[i][j]);
    LAMINA_EACH(i, j) store(z + (i0 + i) * ldz + j0 + kLanes * j, c[i][j]);
  }
};

// Gradient of the layer below before its activation: (gradient @ kernel^T) * derivative.
struct Backward {
  const float* d;
  int64_t ldd;
  const float* wt;  // the kernel, transposed
  int rows;  // of a panel of wt
  int inner;
  const float* a;  // outputs of the layer below: their sign tells the derivative, if `factor` is null
  const float* factor;  // or the derivative itself
  int64_t lda;
  bool linear;
  float slope;
  float* g;
  int64_t ldg;

  template <int MR, int NR>
  __attribute__((noinline)) void tile(int i0, int j0) const {
    V c[MR][NR];
    LAMINA_EACH(i, j) c[i][j] = V{};
    multiply<MR, NR>(inner, d + i0 * ldd, ldd, 1, wt + (int64_t)j0 * rows, NR * kLanes, c);
    if (factor)
      LAMINA_EACH(i, j) c[i][j] *= load(factor + (i0 + i) * lda + j0 + kLanes * j);
    else if (!linear)
      LAMINA_EACH(i, j) c[i][j] = pick(load(a + (i0 + i) * lda + j0 + kLanes * j) > 0.0f, c[i][j], slope * c[i][j]);
    LAMINA_EACH(i, j) store(g + (i0 + i) * ldg + j0 + kLanes * j, c[i][j]);
  }
};

// What one step of an optimizer takes.
struct Update {
  float rate;  // Adam: corrected for the moments' start at zero
  float momentum, first, second, epsilon;  // first, second: 1 - beta
  float decay;  // weight decay times learning rate
};

// One vector of parameters, with the moments that it has, after its gradient is known.
template <int KIND>
LAMINA_INLINE void updated(const Update& u, V g, V& x, V& m, V& v) {
  x -= x * u.decay;
  if constexpr (KIND == kSgd) {
    x -= u.rate * g;
  } else if constexpr (KIND == kMomentum || KIND == kNesterov) {
    const V pull = u.rate * g;
    m = m * u.momentum - pull;
    x += KIND == kNesterov ? m * u.momentum - pull : m;
  } else {
    m += (g - m) * u.first;
    v += (g * g - v) * u.second;
    x -= over_root(m * u.rate, v, splat(u.epsilon));
  }
}

// The gradient of a kernel, inputs^T @ gradient, and its update while it is in registers: it is never stored.
template <int KIND>
struct Learn {
  const float* a;
  int64_t lda, block;  // of a: from row to row, and from the columns of one tile to those of the next
  const float* d;
  int64_t ldd;
  int inner;
  float *p, *m, *v;
  int rows;  // of a panel of these
  Update u;
  bool bias;  // the inputs are 1

  template <int MR, int NR>
  __attribute__((noinline)) void tile(int i0, int j0) const {
    V c[MR][NR];
    LAMINA_EACH(i, j) c[i][j] = V{};
    const int64_t start = (int64_t)j0 * rows + (int64_t)i0 * NR * kLanes;
    if (bias) {
      static const float one = 1;
      multiply<MR, NR>(inner, &one, 0, 0, d + j0, ldd, c);
    } else {
      // What will be changed is fetched a line of each array at a time: all at once they would keep other loads waiting.
      const float *from = a + i0 / kTileRows * block, *by = d + j0;
      const int some = inner < MR * NR ? inner : MR * NR;
      for (int r = 0; r < some; r++, from += lda, by += ldd) {
        const int64_t o = start + r * kLanes;
        __builtin_prefetch(p + o, 1);
        if (KIND != kSgd) __builtin_prefetch(m + o, 1);
        if (KIND == kAdam) __builtin_prefetch(v + o, 1);
        multiply<MR, NR>(1, from, 1, lda, by, ldd, c);
      }
      multiply<MR, NR>(inner - some, from, 1, lda, by, ldd, c);
    }
    LAMINA_EACH(i, j) {
      const int64_t o = start + (i * NR + j) * kLanes;
      V x = load(p + o), mm = KIND == kSgd ? V{} : load(m + o), vv = KIND == kAdam ? load(v + o) : V{};
      updated<KIND>(u, c[i][j], x, mm, vv);
      store(p + o, x);
      if (KIND != kSgd) store(m + o, mm);
      if (KIND == kAdam) store(v + o, vv);
    }
  }
};

template <int MR, int NR, class T>
LAMINA_INLINE void rest(const T& t, int i, int count, int j) {
  if constexpr (MR > 0) {
    if (count == MR)
      t.template tile<MR, NR>(i, j);
    else
      rest<MR - 1, NR>(t, i, count, j);
  }
}
template <int NR, class T>
static void column(const T& t, int i, int end, int j) {
  for (; i + kTileRows <= end; i += kTileRows) t.template tile<kTileRows, NR>(i, j);
  rest<kTileRows - 1, NR>(t, i, end - i, j);
}
// All tiles of rows [begin, end) of a panel.
template <class T>
static void tiles(const T& t, const Panel& panel, int begin, int end) {
  if (panel.vectors == 3)
    column<kTileVectors>(t, begin, end, panel.begin);
  else if (panel.vectors == 2)
    column<2>(t, begin, end, panel.begin);
  else
    column<1>(t, begin, end, panel.begin);
}

// Calls work(panel, begin, end) for a thread's share of `rows` rows and `columns` columns: panel after panel, and of a
// panel that two threads share blocks of `block` rows. So a thread reads the kernels that it has changed itself: what
// another core has changed takes far longer to come.
template <class F>
static void share_out(int rows, int columns, int block, int thread, int threads, F work) {
  const int blocks = (rows + block - 1) / block;
  const int64_t all = (int64_t)padded(columns) / kLanes * blocks;
  const int64_t from = all * thread / threads, to = all * (thread + 1) / threads;
  int64_t base = 0;
  for (int j = 0; j < columns;) {
    const Panel panel = panel_of(columns, j);
    const int64_t size = (int64_t)panel.vectors * blocks;
    if (from < base + size && to > base) {
      const int64_t first = from <= base ? 0 : (from - base + panel.vectors - 1) / panel.vectors;
      const int64_t last = to >= base + size ? blocks : (to - base + panel.vectors - 1) / panel.vectors;
      const int begin = (int)first * block, end = (int)last * block < rows ? (int)last * block : rows;
      if (begin < end) work(panel, begin, end);
    }
    base += size;
    j += panel.vectors * kLanes;
  }
}
