// What the kernels are told: the network, its loss, its optimizer, and where the numbers lie. Plain data, no code:
// it is shared by files that are compiled for different instruction sets, and an inline function of the standard
// library that two of them share would be linked once, compiled for the wrong one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lamina {

constexpr int kMaxLayers = 512;
constexpr int kMaxMetrics = 8;

enum Activation : int { kLinear, kRelu, kLeakyRelu, kTanh, kSigmoid, kGelu, kGeluTanh, kSilu, kSelu, kElu, kSoftmax };
enum Loss : int { kSparseCrossentropy, kCrossentropy, kBinaryCrossentropy, kSquaredError, kAbsoluteError };
enum Optimizer : int { kSgd, kMomentum, kNesterov, kAdam };
enum Metric : int { kSparseAccuracy, kCategoricalAccuracy, kBinaryAccuracy, kMeanSquared, kMeanAbsolute };
enum Mode : int { kTrain, kEvaluate, kPredict };

// A fully connected layer: activation(inputs @ kernel + bias), then dropout.
struct LayerSpec {
  int inputs, outputs;
  bool bias;
  int activation;
  float slope;  // of leaky relu below 0; alpha of elu
  float dropout_before;  // rate of a dropout of the layer's input; 0: none
  float decay_kernel, decay_bias;  // weight decay, before the learning rate
  bool bfloat16;  // products of bfloat16, outputs rounded to it; kernels that cannot compute in float32
};

struct MetricSpec {
  int kind;
  bool weighted;
  float threshold;
};

struct Plan {
  int layers, metrics, batch;
  LayerSpec layer[kMaxLayers];
  MetricSpec metric[kMaxMetrics];
  int loss, optimizer, mode;
  bool wide;  // parameters stay in place, products go through tiles; kernels that have none do it as any other
  bool from_logits, mean;  // mean: over the rows that count; else the sum
  float smoothing, epsilon;  // of the loss: label smoothing, and how far probabilities are kept from 0 and 1
  float momentum, beta_1, beta_2, rest_1, rest_2, adam_epsilon;  // rest: 1 - beta, rounded once
};

// Pointers to the arrays of one layer, in the order kernel, bias.
struct LayerArrays {
  const float *param[2], *first[2], *second[2];  // first, second: momentum and velocity, if the optimizer has them
  float *new_param[2], *new_first[2], *new_second[2];
};

// One call: `steps` batches of one network.
struct Job {
  const Plan* plan;
  LayerArrays* arrays;
  const float* x;
  const int32_t* labels;  // one of the two, by the loss; null for predictions
  const float* targets;
  const float* weights;  // of the samples, or null
  const int32_t* index;  // numbers of the rows of all batches, or null: row after row
  const int32_t* real;  // real rows of each batch, or null: all
  int64_t rows;  // in x
  int64_t steps;
  int64_t updates;  // made before the first step
  const float* rates;  // learning rate of each step
  int64_t rate_count;  // 1: the same for all
  const uint32_t* const* keys;  // of each dropout, in the order of the layers
  const float* totals;  // (total, count) of the loss, then of each metric
  float* new_totals;
  float* outputs;  // of predictions
  const int32_t* stop;  // null, or a flag that another thread sets to end the job early; on one thread only
  int threads;
  void (*wait)(void*);  // waits until all threads have come here
  void* barrier;
  char* memory;  // aligned, zeroed
};

// The kernels for one instruction set.
struct Kernels {
  const char* name;
  bool (*usable)();
  size_t (*bytes)(const Plan&, int threads);  // working memory of a job
  bool (*run)(const Job&, int thread);  // whether it came to the end; if not, it has written nothing
  // Prediction alone, see forward.h.
  size_t (*packed_floats)(const LayerSpec&);
  void (*pack)(const LayerSpec&, const float* kernel, const float* bias, float* packed);
  int (*panel_end)(int columns, int begin);
  void (*columns_of)(const LayerSpec&, const float* packed, const float* a, int64_t lda, float* z, int64_t ldz,
                     int rows, int begin, int end);
  bool (*all_finite)(const float*, int64_t count);
  bool (*hand_over)(const LayerSpec&, float* z, int64_t ldz, float* y, int rows);
};

const Kernels* kernels_avx512();
const Kernels* kernels_avx2();
const Kernels* kernels_neon();
const Kernels* kernels_portable();

// What those for AVX-512 do with a wide plan where there is AMX.
size_t wide_bytes(const Plan&, int threads);
bool wide_run(const Job&, int thread);

}  // namespace lamina
