// A network whose parameters are copied into panels for a call, and the loop over batches: forward, loss, backward, update.
// Included inside the namespace of one instruction set, after network.h.

// Inputs of more floats do not stay in the second cache beside a panel of the kernel: a copy in the order in which its
// gradient takes them pays.
constexpr size_t kFarInputs = size_t{1} << 18;

// Places the arrays of a network one after the other; with no memory it only counts.
static size_t place(const Plan& plan, Network& n, char* memory) {
  Bump bump{memory, 0};
  place_rows(plan, n, bump);
  const bool training = plan.mode == kTrain;
  for (int l = 0; l < plan.layers; l++) {
    Layer& q = n.layer[l];
    const LayerSpec& s = plan.layer[l];
    q.rows = padded(s.inputs), q.columns = padded(s.outputs);  // what lies beyond inputs and outputs stays zero
    const size_t kernel = (size_t)q.rows * q.columns;
    const bool moments = training && plan.optimizer != kSgd, second = training && plan.optimizer == kAdam;
    q.p = bump.take(kernel), q.bias = bump.take(q.columns);
    q.m = moments ? bump.take(kernel) : nullptr, q.bias_m = moments ? bump.take(q.columns) : nullptr;
    q.v = second ? bump.take(kernel) : nullptr, q.bias_v = second ? bump.take(q.columns) : nullptr;
    q.wt = training && l ? bump.take(kernel) : nullptr;
    const bool far = (size_t)plan.batch * q.lda > kFarInputs;
    q.packed = training && far ? bump.take((size_t)plan.batch * q.rows) : nullptr;
  }
  return bump.used;
}

LAMINA_INLINE size_t network_bytes() { return (sizeof(Network) + 63) / 64 * 64; }

static size_t bytes(const Plan& plan, int) {
  Network counted;
  return place(plan, counted, nullptr) + network_bytes();
}

// Transposes rows [begin, end) of a panel of a kernel.
static void transpose_panel(Layer& q, const Panel& from, int begin, int end) {
  for (int k = begin; k < end; k += kLanes) {
    const Panel to = panel_of(q.spec->inputs, k);
    for (int o = from.begin; o < from.begin + from.vectors * kLanes; o += kLanes)
      transpose(q.p + panel_place(from, q.rows, k, o), from.vectors * kLanes, q.wt + panel_place(to, q.columns, o, k),
                to.vectors * kLanes);
  }
}
static void transpose_rows(Layer& q, int begin, int end) {
  for (int j = 0; j < q.spec->outputs;) {
    const Panel panel = panel_of(q.spec->outputs, j);
    transpose_panel(q, panel, begin, end);
    j += panel.vectors * kLanes;
  }
}

// The rows of a layer's kernel that are a thread's: whole blocks, so that it can transpose what it has changed.
struct Part {
  int begin, end;
  bool bias;
  Part(const LayerSpec& spec, int thread, int threads) {
    const int blocks = (spec.inputs + 15) / 16;
    const bool last = thread + 1 == threads;
    begin = (int)((int64_t)blocks * thread / threads) * 16;
    end = last ? spec.inputs : (int)((int64_t)blocks * (thread + 1) / threads) * 16;
    bias = last && spec.bias;
  }
};

// Copies rows [begin, end) of an array of `rows` rows and `columns` columns into its panels, or out of them.
static void move_rows(bool in, float* panels, int rows, int begin, int end, int columns, const float* given,
                      float* result) {
  for (int j = 0; j < columns;) {
    const Panel panel = panel_of(columns, j);
    const int width = panel.vectors * kLanes, real = width < columns - j ? width : columns - j;
    for (int k = begin; k < end; k++) {
      float* own = panels + panel_place(panel, rows, k, j);
      const int64_t at = (int64_t)k * columns + j;
      __builtin_memcpy(in ? own : result + at, in ? given + at : own, (size_t)real * sizeof(float));
    }
    j += width;
  }
}

// Copies a thread's part of one array of a layer in, or out.
static void move_part(const Part& part, bool in, const Layer& q, float* own, float* own_bias,
                      const float* const given[2], float* const result[2]) {
  move_rows(in, own, q.rows, part.begin, part.end, q.spec->outputs, given[0], result[0]);
  if (part.bias) move_rows(in, own_bias, 1, 0, 1, q.spec->outputs, given[1], result[1]);
}

static void move_state(Network& n, const Job& job, int thread, bool in) {
  for (int l = 0; l < n.layers; l++) {
    Layer& q = n.layer[l];
    const LayerArrays& a = job.arrays[l];
    const Part part(*q.spec, thread, job.threads);
    move_part(part, in, q, q.p, q.bias, a.param, a.new_param);
    if (q.m) move_part(part, in, q, q.m, q.bias_m, a.first, a.new_first);
    if (q.v) move_part(part, in, q, q.v, q.bias_v, a.second, a.new_second);
    if (in && q.wt) transpose_rows(q, part.begin, part.end);
  }
}

static void forward(Network& n, const Job& job, int64_t step, int r0, int r1, int thread) {
  drop(job, n.layer[0], step, r0, r1);
  job.wait(job.barrier);
  for (int l = 0; l < n.layers; l++) {
    Layer& q = n.layer[l];
    const bool last = l + 1 == n.layers;
    float* z = last ? n.y : n.layer[l + 1].a;
    const int64_t ldz = last ? n.ldy : n.layer[l + 1].lda;
    float* factor = last ? n.y_factor : n.layer[l + 1].factor;
    Forward f{q.a, q.lda, q.p, q.bias, q.rows, q.spec->inputs, z, ldz, factor ? kLinear : q.spec->activation,
              q.spec->slope};
    share_out(job.plan->batch, q.spec->outputs, kTileRows, thread, job.threads,
              [&f](const Panel& panel, int begin, int end) { tiles(f, panel, begin, end); });
    job.wait(job.barrier);
    if (!factor) continue;
    for (int i = r0; i < r1; i++)
      activate_row(q.spec->activation, z + i * ldz, factor + i * ldz, padded(q.spec->outputs), q.spec->slope);
    if (last) continue;
    drop(job, n.layer[l + 1], step, r0, r1);  // an input that is dropped has a factor
    job.wait(job.barrier);
  }
}

static void pack_inputs(Network& n, const Job& job, int r0, int r1) {
  const int64_t batch = job.plan->batch;
  for (int l = 0; l < n.layers; l++) {
    Layer& q = n.layer[l];
    for (int j = 0; q.packed && j < q.spec->inputs; j += kTileRows)
      for (int i = r0; i < r1; i++)
        __builtin_memcpy(q.packed + j * batch + i * kTileRows, q.a + i * q.lda + j, kTileRows * sizeof(float));
  }
}

static void backward(Network& n, const Job& job, int thread) {
  for (int l = n.layers - 1; l > 0; l--) {  // the first layer's inputs need no gradient
    Layer &q = n.layer[l], &below = n.layer[l - 1];
    const int activation = below.spec->activation;
    Backward b{q.d, q.ldd, q.wt, q.columns, q.spec->outputs, q.a, q.factor, q.lda, activation == kLinear,
               activation == kRelu ? 0.0f : below.spec->slope, below.d, below.ldd};
    job.wait(job.barrier);
    share_out(job.plan->batch, q.spec->inputs, kTileRows, thread, job.threads,
              [&b](const Panel& panel, int begin, int end) { tiles(b, panel, begin, end); });
  }
}

template <int KIND>
static void learn(Network& n, const Job& job, int64_t step, int thread) {
  const Plan& plan = *job.plan;
  const float rate = rate_of(job, step);
  Update kernel = update_of<KIND>(job, step), bias = kernel;
  for (int l = n.layers - 1; l >= 0; l--) {
    Layer& q = n.layer[l];
    kernel.decay = q.spec->decay_kernel * rate, bias.decay = q.spec->decay_bias * rate;
    const float* a = q.packed ? q.packed : q.a;
    const int64_t lda = q.packed ? kTileRows : q.lda, block = q.packed ? (int64_t)kTileRows * plan.batch : kTileRows;
    Learn<KIND> w{a, lda, block, q.d, q.ldd, plan.batch, q.p, q.m, q.v, q.rows, kernel, false};
    Learn<KIND> b{a, lda, block, q.d, q.ldd, plan.batch, q.bias, q.bias_m, q.bias_v, 1, bias, true};
    share_out(q.spec->inputs, q.spec->outputs, 16, thread, job.threads, [&](const Panel& panel, int begin, int end) {
      tiles(w, panel, begin, end);
      if (q.wt) transpose_panel(q, panel, begin, end);
      if (q.spec->bias && end == q.spec->inputs) tiles(b, panel, 0, 1);
    });
  }
}

static void learn(Network& n, const Job& job, int64_t step, int thread) {
  switch (job.plan->optimizer) {
    case kSgd: return learn<kSgd>(n, job, step, thread);
    case kMomentum: return learn<kMomentum>(n, job, step, thread);
    case kNesterov: return learn<kNesterov>(n, job, step, thread);
    default: return learn<kAdam>(n, job, step, thread);
  }
}

// The part of one thread. All threads hold the same network; thread 0 sets it up and writes it back. Returns whether it
// came to the end.
static bool run(const Job& job, int thread) {
  const Plan& plan = *job.plan;
  Network& n = *reinterpret_cast<Network*>(job.memory);
  if (thread == 0) place(plan, n, job.memory + network_bytes());
  job.wait(job.barrier);
  move_state(n, job, thread, true);
  job.wait(job.barrier);
  const int r0 = (int)((int64_t)plan.batch * thread / job.threads);
  const int r1 = (int)((int64_t)plan.batch * (thread + 1) / job.threads);
  float totals[2 + 2 * kMaxMetrics];
  const int count = 2 + 2 * plan.metrics;
  if (plan.mode != kPredict) __builtin_memcpy(totals, job.totals, (size_t)count * sizeof(float));
  for (int64_t step = 0; step < job.steps; step++) {
    if (job.stop && __atomic_load_n(job.stop, __ATOMIC_RELAXED)) return false;
    gather(n, job, step, r0, r1);
    forward(n, job, step, r0, r1, thread);
    if (plan.mode == kPredict) {
      give_out(n, job, step, r0, r1);
      continue;
    }
    losses(n, job, step, r0, r1);
    if (plan.mode == kTrain) {
      pack_inputs(n, job, r0, r1);
      backward(n, job, thread);
    }
    job.wait(job.barrier);
    if (thread == 0) add_up(n, job, step, totals);
    if (plan.mode == kTrain) learn(n, job, step, thread);
    job.wait(job.barrier);
  }
  if (plan.mode == kTrain) move_state(n, job, thread, false);
  if (thread == 0 && plan.mode != kPredict) __builtin_memcpy(job.new_totals, totals, (size_t)count * sizeof(float));
  return true;
}
