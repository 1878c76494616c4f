// What every way to train shares: a network's rows in working memory, and a batch's gather, dropouts, loss and metrics.
// Included inside the namespace of one instruction set, after losses.h.

struct Layer {
  const LayerSpec* spec;
  int64_t lda, ldd;  // strides of inputs and gradients
  int rows, columns;  // of the kernel, whole vectors: rows of its panels, and of those of its transpose
  float *p, *m, *v, *bias, *bias_m, *bias_v;
  float* wt;
  float *a, *factor;  // inputs, and the derivative that led to them, null where their sign tells it
  float* packed;  // a copy of the inputs, as many columns as a tile has rows, row after row; or null
  float* d;  // gradient before the activation
  int dropout;  // which of the network's dropouts stands before the layer, or -1
};

struct Network {
  int layers, outputs;
  float *y, *y_factor;  // outputs and their derivative, null where the loss does without
  int64_t ldy;
  float *targets, *values, *logs, *metrics;  // of the rows of a batch
  int* labels;
  int rows;  // of a batch, rounded up to whole vectors
  Layer layer[kMaxLayers];
};

struct Bump {
  char* start;
  size_t used;
  float* take(size_t floats) {
    float* found = start ? reinterpret_cast<float*>(start + used) : nullptr;
    used += (floats * sizeof(float) + 63) / 64 * 64;
    return found;
  }
};

LAMINA_INLINE bool fused_softmax(const Plan& plan) { return plan.layer[plan.layers - 1].activation == kSoftmax; }

// Places the rows of a batch in every layer; with no memory it only counts.
static void place_rows(const Plan& plan, Network& n, Bump& bump) {
  const bool training = plan.mode == kTrain;
  n.layers = plan.layers;
  int dropouts = 0;
  for (int l = 0; l < plan.layers; l++) {
    Layer& q = n.layer[l];
    const LayerSpec& s = *(q.spec = &plan.layer[l]);
    q.lda = stride(s.inputs), q.ldd = stride(s.outputs);
    q.dropout = s.dropout_before > 0.0f && training ? dropouts++ : -1;
    q.a = bump.take((size_t)plan.batch * q.lda);
    q.d = training || (l + 1 == plan.layers && plan.mode != kPredict) ? bump.take((size_t)plan.batch * q.ldd) : nullptr;
    const bool told = l && piecewise(plan.layer[l - 1].activation) && q.dropout < 0;
    q.factor = l && (!told) ? bump.take((size_t)plan.batch * q.lda) : nullptr;
  }
  const LayerSpec& last = plan.layer[plan.layers - 1];
  n.outputs = last.outputs;
  n.ldy = stride(last.outputs);
  n.y = bump.take((size_t)plan.batch * n.ldy);
  const bool plain = last.activation == kLinear || fused_softmax(plan);
  n.y_factor = plain ? nullptr : bump.take((size_t)plan.batch * n.ldy);
  n.targets = bump.take((size_t)plan.batch * n.ldy);
  n.rows = (plan.batch + 15) / 16 * 16;
  n.values = bump.take(n.rows), n.logs = bump.take(n.rows);
  n.metrics = bump.take((size_t)n.rows * kMaxMetrics);
  n.labels = reinterpret_cast<int*>(bump.take(n.rows));
}

// ---- one batch, rows [r0, r1) of it

static void gather(Network& n, const Job& job, int64_t step, int r0, int r1) {
  const Plan& plan = *job.plan;
  Layer& q = n.layer[0];
  const int in = q.spec->inputs;
  for (int i = r0; i < r1; i++) {
    const int64_t at = step * plan.batch + i;
    int64_t row = job.index ? job.index[at] : at;
    if (row < 0 || row >= job.rows) row = 0;  // only a broken caller gets here: stay inside the array
    __builtin_memcpy(q.a + i * q.lda, job.x + row * in, (size_t)in * sizeof(float));
    if (job.labels) n.labels[i] = job.labels[row];
    if (job.targets)
      __builtin_memcpy(n.targets + i * n.ldy, job.targets + row * n.outputs, (size_t)n.outputs * sizeof(float));
  }
}

static void drop(const Job& job, Layer& q, int64_t step, int r0, int r1) {
  if (q.dropout < 0) return;
  const uint32_t* start = job.keys[q.dropout];
  const uint32_t key[2] = {start[0], start[1] + (uint32_t)step};
  for (int i = r0; i < r1; i++)
    drop_row(q.a + i * q.lda, q.factor ? q.factor + i * q.lda : nullptr, q.spec->inputs, i, key,
             q.spec->dropout_before);
}

// The share of row i in the loss of its batch.
LAMINA_INLINE float share_of(const Job& job, int64_t step, int i) {
  const Plan& plan = *job.plan;
  const int real = job.real ? job.real[step] : plan.batch;
  if (i >= real) return 0.0f;
  float share = plan.mean ? 1.0f / (float)real : 1.0f;
  if (job.weights) {
    const int64_t at = step * plan.batch + i;
    share *= job.weights[job.index ? job.index[at] : at];
  }
  return share;
}

static void losses(Network& n, const Job& job, int64_t step, int r0, int r1) {
  const Plan& plan = *job.plan;
  const Head head{&plan, n.outputs};
  const Layer& last = n.layer[n.layers - 1];
  const bool softmax = fused_softmax(plan), by_class = plan.loss == kSparseCrossentropy || plan.loss == kCrossentropy;
  for (int i = r0; i < r1; i++) {
    float *y = n.y + i * n.ldy, *d = last.d + i * last.ldd;
    const Target target{job.labels ? n.labels[i] : 0, job.targets ? n.targets + i * n.ldy : nullptr};
    const float share = share_of(job, step, i);
    n.logs[i] = 1.0f;
    n.values[i] = by_class ? head.crossentropy(y, d, target, share, softmax, n.logs[i])
                           : head.by_output(y, d, target, share);
    if (n.y_factor)
      for (int j = 0; j < n.outputs; j += kLanes) store(d + j, load(d + j) * load(n.y_factor + i * n.ldy + j));
    for (int k = 0; k < plan.metrics; k++) n.metrics[k * n.rows + i] = head.metric(plan.metric[k], y, target);
  }
}

// Adds a batch to the totals: the loss as a mean over batches weighted by their rows, and each metric.
static void add_up(Network& n, const Job& job, int64_t step, float* totals) {
  const Plan& plan = *job.plan;
  const int real = job.real ? job.real[step] : plan.batch;
  if (plan.loss == kSparseCrossentropy)
    for (int i = 0; i < n.rows; i += kLanes) store(n.values + i, load(n.values + i) + logarithm(load(n.logs + i)));
  double loss = 0.0;
  for (int i = 0; i < real; i++) loss += (double)n.values[i] * share_of(job, step, i);
  totals[0] += (float)loss * (float)real;
  totals[1] += (float)real;
  for (int k = 0; k < plan.metrics; k++) {
    double total = 0.0, count = real;
    const bool weighted = plan.metric[k].weighted && job.weights;
    if (weighted) count = 0.0;
    for (int i = 0; i < real; i++) {
      const int64_t at = step * plan.batch + i;
      const float weight = weighted ? job.weights[job.index ? job.index[at] : at] : 1.0f;
      total += (double)n.metrics[k * n.rows + i] * weight;
      if (weighted) count += weight;
    }
    totals[2 + 2 * k] += (float)total;
    totals[3 + 2 * k] += (float)count;
  }
}

LAMINA_INLINE float rate_of(const Job& job, int64_t step) { return job.rates[job.rate_count > 1 ? step : 0]; }

// What the optimizer takes in a step, weight decay aside.
template <int KIND>
static Update update_of(const Job& job, int64_t step) {
  const Plan& plan = *job.plan;
  const float t = (float)(job.updates + step + 1), rate = rate_of(job, step);
  Update u{rate, plan.momentum, plan.rest_1, plan.rest_2, plan.adam_epsilon, 0.0f};
  if (KIND == kAdam)
    u.rate = rate * __builtin_sqrtf(1.0f - __builtin_powf(plan.beta_2, t)) / (1.0f - __builtin_powf(plan.beta_1, t));
  return u;
}

static void give_out(Network& n, const Job& job, int64_t step, int r0, int r1) {
  const Head head{job.plan, n.outputs};
  const int real = job.real ? job.real[step] : job.plan->batch;
  float top;
  for (int i = r0; i < r1 && i < real; i++) {
    float* y = n.y + i * n.ldy;
    if (fused_softmax(*job.plan)) head.softmax(y, y, top);
    __builtin_memcpy(job.outputs + (step * job.plan->batch + i) * n.outputs, y, (size_t)n.outputs * sizeof(float));
  }
}
