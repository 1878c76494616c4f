// A network too large for the caches: its parameters stay where the caller has them, products go through tiles, and the
// threads share the columns of each layer, so that every kernel is read once for each product.
// Included inside the namespace of an instruction set with AMX, after network.h and tiles.h.

constexpr int kInnerAtOnce = 8;  // blocks along the inner axis whose operands stay in the second cache
constexpr int kColumnsAtOnce = 8, kRowsAtOnce = 16;  // blocks of sums that a thread holds
constexpr int kStripBytes = 512 << 10;  // of a left operand that meets all columns

struct Wide {
  Network network;
  char *rows, *pairs;  // operands that all threads read
  char* own;  // of thread 0, then of the others: sums, a right operand, a strip
  size_t own_bytes;
};

LAMINA_INLINE int parts_of(const LayerSpec& spec) { return spec.bfloat16 ? 1 : 3; }
LAMINA_INLINE int64_t block_bytes(const LayerSpec& spec) { return (int64_t)parts_of(spec) * kBlockBytes; }

// How many blocks of a layer's inputs learn at once.
LAMINA_INLINE int strip_blocks(const LayerSpec& spec, int batch) {
  const int64_t each = blocks(batch) * block_bytes(spec), most = kStripBytes / each;
  return most < 1 ? 1 : most > 4 ? 4 : (int)most;
}

constexpr size_t kSumBytes = (size_t)kColumnsAtOnce * kRowsAtOnce * kBlockFloats * sizeof(float);
constexpr size_t kRightBytes = (size_t)kInnerAtOnce * 3 * kBlockBytes;

static size_t place(const Plan& plan, Wide& w, char* memory, int threads) {
  Bump bump{memory, 0};
  place_rows(plan, w.network, bump);
  size_t rows = 0, pairs = 0, strip = 0;
  for (int l = 0; l < plan.layers; l++) {
    const LayerSpec& s = plan.layer[l];
    const size_t across = (size_t)blocks(plan.batch) * block_bytes(s);
    const size_t in = across * blocks(s.inputs), out = plan.mode == kTrain ? across * blocks(s.outputs) : 0;
    rows = rows > in ? rows : in, rows = rows > out ? rows : out;
    pairs = pairs > out ? pairs : out;
    const size_t own = plan.mode == kTrain ? across * strip_blocks(s, plan.batch) : 0;
    strip = strip > own ? strip : own;
  }
  w.rows = reinterpret_cast<char*>(bump.take(rows / sizeof(float)));
  w.pairs = reinterpret_cast<char*>(bump.take(pairs / sizeof(float)));
  w.own_bytes = kSumBytes + kRightBytes + strip;
  w.own = reinterpret_cast<char*>(bump.take(w.own_bytes / sizeof(float) * threads));
  return bump.used;
}

LAMINA_INLINE size_t head_bytes() { return (sizeof(Wide) + 63) / 64 * 64; }

static size_t bytes(const Plan& plan, int threads) {
  Wide counted;
  return place(plan, counted, nullptr, threads) + head_bytes();
}

// A thread's share of `count` things.
struct Share {
  int begin, end;
  Share(int count, int thread, int threads)
      : begin((int)((int64_t)count * thread / threads)), end((int)((int64_t)count * (thread + 1) / threads)) {}
};

// Where a layer's kernel or bias and its moments are read and written.
struct Place {
  const float *p, *m, *v;
  float *new_p, *new_m, *new_v;
  Place(const LayerArrays& a, int part, bool first)
      : p(first ? a.param[part] : a.new_param[part]), m(first ? a.first[part] : a.new_first[part]),
        v(first ? a.second[part] : a.new_second[part]), new_p(a.new_param[part]), new_m(a.new_first[part]),
        new_v(a.new_second[part]) {}
};

// What a thread works with.
struct Worker {
  Wide& w;
  const Job& job;
  int thread;
  float* sums;
  char *right, *strip;
  Worker(Wide& wide, const Job& given, int number) : w(wide), job(given), thread(number) {
    char* own = w.own + w.own_bytes * thread;
    sums = reinterpret_cast<float*>(own), right = own + kSumBytes, strip = right + kRightBytes;
  }
  Share share(int count) const { return Share(count, thread, job.threads); }
  void wait() const { job.wait(job.barrier); }
};

// Asks for a part of the lines of a kernel's block of rows and columns, before they are needed.
LAMINA_INLINE void fetch(const Matrix& x, int row, int rows, int column, int columns, int part, int parts) {
  const int across = columns / 16, lines = rows * across;
  for (int i = lines * part / parts; i < lines * (part + 1) / parts; i++) {
    const int r = row + i / across;
    if (r < x.rows) __builtin_prefetch(x.start + r * x.stride + column + i % across * 16, 0, 2);
  }
}

// sums[column][row] = rows @ kernel, or the kernel's transpose: row blocks [r0, r1), column blocks [j0, j1).
template <int PARTS, bool TURNED>
static void sums_of(const Worker& o, const Matrix& kernel, int row_blocks, int r0, int r1, int j0, int j1) {
  const int inner = blocks(TURNED ? kernel.columns : kernel.rows);
  const int64_t size = (int64_t)PARTS * kBlockBytes;
  for (int k0 = 0; k0 < inner; k0 += kInnerAtOnce) {
    const int count = inner - k0 < kInnerAtOnce ? inner - k0 : kInnerAtOnce;
    for (int j = j0; j < j1; j++) {
      for (int k = 0; k < count; k++)
        TURNED ? pack_block<PARTS, kTurnedPairs>(kernel, j, k0 + k, o.right + k * size)
               : pack_block<PARTS, kPairs>(kernel, k0 + k, j, o.right + k * size);
      const int next = j + 1 < j1 ? j + 1 : j0, then = (j + 1 < j1 ? k0 : k0 + count) * kSide;
      for (int r = r0; r < r1; r++) {
        TURNED ? fetch(kernel, next * kSide, kSide, then, count * kSide, r - r0, r1 - r0)
               : fetch(kernel, then, count * kSide, next * kSide, kSide, r - r0, r1 - r0);
        multiply_blocks<PARTS>(count, o.w.rows + ((int64_t)k0 * row_blocks + r) * size, row_blocks * size, o.right, size,
                               o.sums + ((int64_t)(j - j0) * (r1 - r0) + (r - r0)) * kBlockFloats, k0 > 0, [](int) {});
      }
    }
  }
}

// Calls take(row, column, count, sums) for each row of 32 sums of a product, `count` of which are no padding.
template <int PARTS, bool TURNED, class Take>
static void product(const Worker& o, const Matrix& kernel, const Take& take) {
  const int batch = o.job.plan->batch, row_blocks = blocks(batch), columns = TURNED ? kernel.rows : kernel.columns;
  const Share mine = o.share(blocks(columns));
  for (int j0 = mine.begin; j0 < mine.end; j0 += kColumnsAtOnce) {
    const int j1 = j0 + kColumnsAtOnce < mine.end ? j0 + kColumnsAtOnce : mine.end;
    for (int r0 = 0; r0 < row_blocks; r0 += kRowsAtOnce) {
      const int r1 = r0 + kRowsAtOnce < row_blocks ? r0 + kRowsAtOnce : row_blocks;
      sums_of<PARTS, TURNED>(o, kernel, row_blocks, r0, r1, j0, j1);
      const int end = r1 * kSide < batch ? r1 * kSide : batch;
      for (int row = r0 * kSide; row < end; row++)
        for (int j = j0; j < j1; j++) {
          const float* sums = o.sums + (int64_t)(j - j0) * (r1 - r0) * kBlockFloats + (int64_t)(row - r0 * kSide) * kSide;
          take(row, j * kSide, columns - j * kSide, sums);
        }
    }
  }
}

// Packs rows of a batch, as left operand of the product to come and, if asked for, as right operand of a gradient's.
template <int PARTS>
static void pack_rows(const Worker& o, const Matrix& x, bool left, bool right) {
  const int row_blocks = blocks(x.rows);
  const int64_t size = (int64_t)PARTS * kBlockBytes;
  const Share mine = o.share(blocks(x.columns));
  for (int j = mine.begin; j < mine.end; j++)
    for (int i = 0; i < row_blocks; i++) {
      const int64_t place = ((int64_t)j * row_blocks + i) * size;
      if (left) pack_block<PARTS, kRows>(x, i, j, o.w.rows + place);
      if (right) pack_block<PARTS, kPairs>(x, i, j, o.w.pairs + place);
    }
}

// ---- forward

template <int PARTS>
static void forward_layer(const Worker& o, int l, bool first) {
  Network& n = o.w.network;
  const Layer& q = n.layer[l];
  const LayerSpec& s = *q.spec;
  const bool last = l + 1 == n.layers;
  float *z = last ? n.y : n.layer[l + 1].a, *factor = last ? n.y_factor : n.layer[l + 1].factor;
  const int64_t ldz = last ? n.ldy : n.layer[l + 1].lda;
  const Place kernel(o.job.arrays[l], 0, first), bias(o.job.arrays[l], 1, first);
  pack_rows<PARTS>(o, {q.a, q.lda, o.job.plan->batch, s.inputs}, true, false);
  o.wait();
  const auto finish = [&](int row, int column, int count, const float* sums) __attribute__((always_inline)) {
    const int width = count > kLanes ? kSide : kLanes;
    float* to = z + row * ldz + column;
    for (int h = 0; h < width; h += kLanes) {
      V x = load(sums + h);
      if (s.bias) x += first_of(bias.p + column + h, count - h);
      if (!factor && s.activation == kRelu) x = pick(x <= 0.0f, V{}, x);  // NaN stays
      if (!factor && s.activation == kLeakyRelu) x = pick(x <= 0.0f, s.slope * x, x);
      store(to + h, x);
    }
    if (factor) activate_row(s.activation, to, factor + row * ldz + column, width, s.slope);
    if (s.bfloat16)
      for (int h = 0; h < width; h += kLanes) store(to + h, rounded(load(to + h)));
  };
  product<PARTS, false>(o, {kernel.p, s.outputs, s.inputs, s.outputs}, finish);
}

static void forward(const Worker& o, int64_t step, int r0, int r1) {
  Network& n = o.w.network;
  for (int l = 0; l < n.layers; l++) {
    Layer& q = n.layer[l];
    if (l && q.dropout >= 0) o.wait();
    drop(o.job, q, step, r0, r1);
    o.wait();
    const bool first = step == 0 || o.job.plan->mode != kTrain;
    parts_of(*q.spec) == 1 ? forward_layer<1>(o, l, first) : forward_layer<3>(o, l, first);
  }
  o.wait();
}

// ---- backward

// The gradient of the layer below before its activation, for this thread's share of its columns.
template <int PARTS>
static void backward_layer(const Worker& o, int l, const float* kernel) {
  Network& n = o.w.network;
  const Layer &q = n.layer[l], &below = n.layer[l - 1];
  const LayerSpec& s = *q.spec;
  const int activation = below.spec->activation;
  const float slope = activation == kLinear ? 1.0f : activation == kRelu ? 0.0f : below.spec->slope;
  const auto finish = [&](int row, int column, int count, const float* sums) __attribute__((always_inline)) {
    for (int h = 0; h < (count > kLanes ? kSide : kLanes); h += kLanes) {
      const int64_t at = row * q.lda + column + h;
      V g = load(sums + h);
      if (q.factor)
        g *= load(q.factor + at);
      else if (slope != 1.0f)
        g = pick(load(q.a + at) > 0.0f, g, slope * g);
      store(below.d + row * below.ldd + column + h, g);
    }
  };
  product<PARTS, true>(o, {kernel, s.outputs, s.inputs, s.outputs}, finish);
}

// Updates 32 x 32 parameters, fewer at the edges, whose gradients are `sums`.
template <int KIND>
static void update_block(const Update& u, const Place& k, const LayerSpec& s, int row, int column, const float* sums) {
  const int rows = s.inputs - row < kSide ? s.inputs - row : kSide;
  for (int i = 0; i < rows; i++)
    for (int h = 0; h < kSide; h += kLanes) {
      const int count = s.outputs - column - h;
      const int64_t at = (int64_t)(row + i) * s.outputs + column + h;
      if (count <= 0) continue;
      V x = first_of(k.p + at, count), m = {}, v = {};
      if (KIND != kSgd) m = first_of(k.m + at, count);
      if (KIND == kAdam) v = first_of(k.v + at, count);
      updated<KIND>(u, load(sums + i * kSide + h), x, m, v);
      store_first(k.new_p + at, count, x);
      if (KIND != kSgd) store_first(k.new_m + at, count, m);
      if (KIND == kAdam) store_first(k.new_v + at, count, v);
    }
}

template <int KIND>
static void update_bias(const Worker& o, Update u, const Place& b, const Layer& q) {
  const LayerSpec& s = *q.spec;
  const Share mine = o.share(blocks(s.outputs));
  const int end = mine.end * kSide < s.outputs ? mine.end * kSide : s.outputs;
  for (int j = mine.begin * kSide; j < end; j += kLanes) {
    V g = {}, m = {}, v = {}, x = first_of(b.p + j, s.outputs - j);
    for (int i = 0; i < o.job.plan->batch; i++) g += load(q.d + i * q.ldd + j);
    if (KIND != kSgd) m = first_of(b.m + j, s.outputs - j);
    if (KIND == kAdam) v = first_of(b.v + j, s.outputs - j);
    updated<KIND>(u, g, x, m, v);
    store_first(b.new_p + j, s.outputs - j, x);
    if (KIND != kSgd) store_first(b.new_m + j, s.outputs - j, m);
    if (KIND == kAdam) store_first(b.new_v + j, s.outputs - j, v);
  }
}

// Updates this thread's share of a layer's kernel, strip by strip of its rows, while each gradient is in the cache.
template <int KIND, int PARTS>
static void learn_layer(const Worker& o, int l, int64_t step) {
  const Layer& q = o.w.network.layer[l];
  const LayerSpec& s = *q.spec;
  const int batch = o.job.plan->batch, inner = blocks(batch), columns = blocks(s.outputs);
  const int64_t size = (int64_t)PARTS * kBlockBytes;
  const float rate = rate_of(o.job, step);
  Update u = update_of<KIND>(o.job, step);
  u.decay = s.decay_kernel * rate;
  const Place k(o.job.arrays[l], 0, step == 0);
  const Share mine = o.share(blocks(s.inputs));
  const int most = strip_blocks(s, batch);
  for (int i0 = mine.begin; i0 < mine.end; i0 += most) {
    const int count = mine.end - i0 < most ? mine.end - i0 : most;
    for (int i = 0; i < count; i++)
      for (int b = 0; b < inner; b++)
        pack_block<PARTS, kTurnedRows>({q.a, q.lda, batch, s.inputs}, b, i0 + i, o.strip + ((int64_t)i * inner + b) * size);
    for (int j = 0; j < columns; j++)
      for (int i = 0; i < count; i++) {
        const int row = (i0 + (i + 1 < count ? i + 1 : 0)) * kSide, column = (i + 1 < count ? j : j + 1) * kSide;
        const auto ahead = [&](int part) __attribute__((always_inline)) {
          const float* const read[3] = {k.p, k.m, k.v};
          for (const float* from : read)
            if (from) fetch({from, s.outputs, s.inputs, s.outputs}, row, kSide, column, kSide, part, inner);
        };
        multiply_blocks<PARTS>(inner, o.strip + (int64_t)i * inner * size, size, o.w.pairs + (int64_t)j * inner * size,
                               size, o.sums, false, ahead);
        update_block<KIND>(u, k, s, (i0 + i) * kSide, j * kSide, o.sums);
      }
  }
  u.decay = s.decay_bias * rate;
  if (s.bias) update_bias<KIND>(o, u, Place(o.job.arrays[l], 1, step == 0), q);
}

template <int PARTS>
static void backward_and_learn(const Worker& o, int l, int64_t step) {
  const Layer& q = o.w.network.layer[l];
  pack_rows<PARTS>(o, {q.d, q.ldd, o.job.plan->batch, q.spec->outputs}, l > 0, true);
  o.wait();
  if (l) backward_layer<PARTS>(o, l, Place(o.job.arrays[l], 0, step == 0).p);
  switch (o.job.plan->optimizer) {  // what this thread updates only this thread reads above
    case kSgd: learn_layer<kSgd, PARTS>(o, l, step); break;
    case kMomentum: learn_layer<kMomentum, PARTS>(o, l, step); break;
    case kNesterov: learn_layer<kNesterov, PARTS>(o, l, step); break;
    default: learn_layer<kAdam, PARTS>(o, l, step);
  }
}

// Without a step the results are what was given.
static void pass_on(const Job& job) {
  for (int l = 0; l < job.plan->layers; l++)
    for (int part = 0; part < 2; part++) {
      const LayerSpec& s = job.plan->layer[l];
      const Place k(job.arrays[l], part, true);
      const size_t size = (part ? 1 : (size_t)s.inputs) * s.outputs * sizeof(float);
      if (k.new_p && k.new_p != k.p) __builtin_memcpy(k.new_p, k.p, size);
      if (k.new_m && k.new_m != k.m) __builtin_memcpy(k.new_m, k.m, size);
      if (k.new_v && k.new_v != k.v) __builtin_memcpy(k.new_v, k.v, size);
    }
}

// The part of one thread, as in resident.h. It is stopped only before it begins: what it writes is the result at once.
static bool run(const Job& job, int thread) {
  const Plan& plan = *job.plan;
  if (job.stop && __atomic_load_n(job.stop, __ATOMIC_RELAXED)) return false;
  Wide& w = *reinterpret_cast<Wide*>(job.memory);
  Network& n = w.network;
  if (thread == 0) place(plan, w, job.memory + head_bytes(), job.threads);
  if (thread == 0 && plan.mode == kTrain && job.steps == 0) pass_on(job);
  job.wait(job.barrier);
  const Worker o(w, job, thread);
  const Share mine = o.share(plan.batch);
  float totals[2 + 2 * kMaxMetrics];
  const int count = 2 + 2 * plan.metrics;
  if (plan.mode != kPredict) __builtin_memcpy(totals, job.totals, (size_t)count * sizeof(float));
  begin_tiles();
  for (int64_t step = 0; step < job.steps; step++) {
    gather(n, job, step, mine.begin, mine.end);
    forward(o, step, mine.begin, mine.end);
    if (plan.mode == kPredict) {
      give_out(n, job, step, mine.begin, mine.end);
      continue;
    }
    losses(n, job, step, mine.begin, mine.end);
    o.wait();
    if (thread == 0) add_up(n, job, step, totals);
    for (int l = plan.mode == kTrain ? n.layers - 1 : -1; l >= 0; l--) {
      parts_of(*n.layer[l].spec) == 1 ? backward_and_learn<1>(o, l, step) : backward_and_learn<3>(o, l, step);
      o.wait();
    }
  }
  end_tiles();
  if (thread == 0 && plan.mode != kPredict) __builtin_memcpy(job.new_totals, totals, (size_t)count * sizeof(float));
  return true;
}
