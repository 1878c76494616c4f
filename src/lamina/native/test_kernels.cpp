// A stand-alone test of the kernels, to be compiled with the sanitizers: networks of odd sizes, on every instruction
// set that this machine has, on one thread and on several, must agree with a plain computation in double precision.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "runtime.h"

using namespace lamina;

namespace {

struct Case {
  std::vector<int> widths;
  int batch, rows, activation;
};

// How the kernels are to do it.
struct Way {
  bool wide, bfloat16;
};

struct Net {
  std::vector<std::vector<float>> params, first, second;  // kernel, bias, kernel, bias, ...
};

double activated(int kind, double z) {
  switch (kind) {
    case kRelu: return z > 0 ? z : 0;
    case kTanh: return std::tanh(z);
    case kSigmoid: return 1 / (1 + std::exp(-z));
    default: return z;
  }
}
double slope_of(int kind, double z) {
  switch (kind) {
    case kRelu: return z > 0 ? 1 : 0;
    case kTanh: return 1 - std::tanh(z) * std::tanh(z);
    case kSigmoid: return activated(kSigmoid, z) * (1 - activated(kSigmoid, z));
    default: return 1;
  }
}

// One epoch of gradient descent on the squared error, in double; returns the mean loss.
double reference(const Case& c, std::vector<std::vector<double>>& p, const std::vector<float>& x,
                 const std::vector<float>& y, const std::vector<int>& order, double rate) {
  const int layers = (int)c.widths.size() - 1, out = c.widths.back();
  double total = 0;
  for (int start = 0; start < c.rows; start += c.batch) {
    const int real = std::min(c.batch, c.rows - start);
    std::vector<std::vector<double>> grads;
    for (const auto& one : p) grads.emplace_back(one.size(), 0.0);
    for (int i = 0; i < real; i++) {
      const int row = order[start + i];
      std::vector<std::vector<double>> z(layers), a(layers + 1);
      a[0].assign(x.begin() + (long)row * c.widths[0], x.begin() + (long)(row + 1) * c.widths[0]);
      for (int l = 0; l < layers; l++) {
        z[l] = p[2 * l + 1];
        for (int k = 0; k < c.widths[l]; k++)
          for (int o = 0; o < c.widths[l + 1]; o++) z[l][o] += a[l][k] * p[2 * l][k * c.widths[l + 1] + o];
        a[l + 1] = z[l];
        if (l + 1 < layers)
          for (double& v : a[l + 1]) v = activated(c.activation, v);
      }
      std::vector<double> d(out);
      for (int o = 0; o < out; o++) {
        const double e = a[layers][o] - y[(long)row * out + o];
        total += e * e / out;
        d[o] = 2 * e / out / real;
      }
      for (int l = layers - 1; l >= 0; l--) {
        std::vector<double> below(c.widths[l], 0.0);
        for (int o = 0; o < c.widths[l + 1]; o++) {
          grads[2 * l + 1][o] += d[o];
          for (int k = 0; k < c.widths[l]; k++) {
            grads[2 * l][k * c.widths[l + 1] + o] += a[l][k] * d[o];
            below[k] += d[o] * p[2 * l][k * c.widths[l + 1] + o];
          }
        }
        if (l)
          for (int k = 0; k < c.widths[l]; k++) below[k] *= slope_of(c.activation, z[l - 1][k]);
        d = below;
      }
    }
    for (size_t i = 0; i < p.size(); i++)
      for (size_t k = 0; k < p[i].size(); k++) p[i][k] -= rate * grads[i][k];
  }
  return total / c.rows;
}

int failures = 0;
void expect(bool right, const char* what, const Case& c, const char* kernels, int threads) {
  if (right) return;
  failures++;
  std::printf("%s is wrong: kernels %s, %d threads, batch %d, widths", what, kernels, threads, c.batch);
  for (int w : c.widths) std::printf(" %d", w);
  std::printf("\n");
}

Plan plan_of(const Case& c, int optimizer, float dropout, const Way& way) {
  Plan plan{};
  plan.layers = (int)c.widths.size() - 1, plan.batch = c.batch, plan.mode = kTrain, plan.wide = way.wide;
  for (int l = 0; l < plan.layers; l++)
    plan.layer[l] = {c.widths[l], c.widths[l + 1], true, l + 1 < plan.layers ? c.activation : kLinear,
                     0.2f, dropout, 0.0f, 0.0f, way.bfloat16};
  plan.loss = kSquaredError, plan.optimizer = optimizer, plan.mean = true, plan.epsilon = 1e-7f;
  plan.momentum = 0.9f, plan.beta_1 = 0.9f, plan.beta_2 = 0.999f, plan.rest_1 = 0.1f, plan.rest_2 = 0.001f;
  plan.adam_epsilon = 1e-7f, plan.metrics = 1, plan.metric[0] = {kMeanAbsolute, false, 0.5f};
  return plan;
}

struct Data {
  std::vector<float> x, y;
  std::vector<int> order;  // of all rows, filled up to whole batches
};

constexpr double kStopped = -1, kBroken = -2;

// Trains for an epoch; returns the mean loss, or `kStopped` with nothing changed.
double train(const Plan& plan, const Case& c, const Data& data, Net& net, int threads, const int32_t* stop = nullptr) {
  const int steps = (c.rows + c.batch - 1) / c.batch;
  std::vector<int32_t> real(steps, c.batch);
  if (c.rows % c.batch) real.back() = c.rows % c.batch;
  Net next = net;
  std::vector<LayerArrays> arrays(plan.layers);
  for (int l = 0; l < plan.layers; l++)
    for (int k = 0; k < 2; k++) {
      const int i = 2 * l + k;
      arrays[l].param[k] = net.params[i].data(), arrays[l].new_param[k] = next.params[i].data();
      arrays[l].first[k] = net.first[i].data(), arrays[l].new_first[k] = next.first[i].data();
      arrays[l].second[k] = net.second[i].data(), arrays[l].new_second[k] = next.second[i].data();
    }
  const uint32_t key[2] = {1, 0xfffffffe};
  std::vector<const uint32_t*> keys(plan.layers, key);
  const float rate = 0.05f, before[4] = {0, 0, 0, 0};
  float after[4] = {0, -1, 0, 0};
  Job job{};
  job.plan = &plan, job.arrays = arrays.data(), job.x = data.x.data(), job.targets = data.y.data();
  job.index = data.order.data(), job.real = real.data(), job.rows = c.rows, job.steps = steps, job.rates = &rate;
  job.rate_count = 1, job.keys = keys.data(), job.totals = before, job.new_totals = after, job.threads = threads;
  job.stop = stop;
  if (!run(job)) return next.params == net.params && after[1] == -1 ? kStopped : kBroken;
  net = next;
  return after[0] / after[1];
}

Data made_up(const Case& c, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Data data;
  data.x.resize((size_t)c.rows * c.widths[0]), data.y.resize((size_t)c.rows * c.widths.back());
  for (float& v : data.x) v = normal(random);
  for (float& v : data.y) v = normal(random);
  for (int i = 0; i < (c.rows + c.batch - 1) / c.batch * c.batch; i++) data.order.push_back((i * 7 + 3) % c.rows);
  return data;
}

Net started(const Case& c, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Net start;
  for (size_t l = 0; l + 1 < c.widths.size(); l++)
    for (int rows : {c.widths[l], 1}) {
      start.params.emplace_back((size_t)rows * c.widths[l + 1]);
      for (float& v : start.params.back()) v = normal(random) / std::sqrt((float)c.widths[l]);
      start.first.emplace_back(start.params.back().size(), 0.0f);
      start.second.emplace_back(start.params.back().size(), 0.0f);
    }
  return start;
}

// Whether parameters are what they must be: each of them and the change of each array, or with bfloat16, whose rounding
// may switch a relu, the change on the whole.
bool close(const Net& found, const std::vector<std::vector<double>>& exact, const Net& start, const Way& way) {
  double all_error = 0, all_change = 0;
  for (size_t i = 0; i < exact.size(); i++) {
    double error = 0, change = 0;
    for (size_t k = 0; k < exact[i].size(); k++) {
      const double e = found.params[i][k] - exact[i][k], c = exact[i][k] - start.params[i][k];
      if (!way.bfloat16 && !(std::fabs(e) <= 1e-4 * (1 + std::fabs(exact[i][k])))) return false;
      error += e * e, change += c * c;
    }
    if (!way.bfloat16 && !(std::sqrt(error) <= 1e-4 * std::sqrt(change) + 1e-6)) return false;
    all_error += error, all_change += change;
  }
  return std::sqrt(all_error) <= 0.1 * std::sqrt(all_change) + 1e-6;
}

void check(const Case& c, std::mt19937& random, const char* name, const Way& way) {
  const Data data = made_up(c, random);
  const Net start = started(c, random);
  std::vector<std::vector<double>> exact;
  for (const auto& one : start.params) exact.emplace_back(one.begin(), one.end());
  const double loss = reference(c, exact, data.x, data.y, data.order, 0.05f);
  for (int optimizer : {kSgd, kMomentum, kNesterov, kAdam})
    for (float dropout : {0.0f, 0.4f}) {
      const Plan plan = plan_of(c, optimizer, dropout, way);
      Net one = start;
      const double found = train(plan, c, data, one, 1);
      if (optimizer == kSgd && dropout == 0.0f) {
        expect(std::fabs(found - loss) <= (way.bfloat16 ? 0.02 : 1e-4) * std::fabs(loss), "the loss", c, name, 1);
        expect(close(one, exact, start, way), "a parameter", c, name, 1);
      }
      const int32_t flags[2] = {0, 1};
      Net again = start;
      expect(train(plan, c, data, again, 2, &flags[0]) == found, "a flag that is not set", c, name, 1);
      expect(train(plan, c, data, again, 1, &flags[1]) == kStopped, "the end before the end", c, name, 1);
      for (int threads : {2, 3}) {
        Net many = start;
        expect(train(plan, c, data, many, threads) == found && many.params == one.params && many.first == one.first &&
                   many.second == one.second, "the agreement of threads", c, name, threads);
      }
    }
}

}  // namespace

int check_threads();

// With any argument only what several threads do at once, which is enough for ThreadSanitizer.
int main(int count, char**) {
  failures = check_threads();
  if (count > 1) return failures ? 1 : 0;
  const std::vector<Case> cases = {
      {{4, 16, 3}, 32, 64, kRelu},      {{1, 1}, 1, 3, kLinear},        {{7, 33, 18, 5}, 16, 101, kTanh},
      {{50, 70, 49, 17}, 9, 40, kRelu}, {{17, 64, 1}, 24, 25, kSigmoid}, {{130, 3, 48, 2}, 8, 20, kRelu},
      {{3, 100}, 5, 23, kLinear},       {{16, 16, 16, 16}, 15, 31, kRelu},
  };
  for (const std::string& name : usable_kernels()) {
    choose(name);
    std::vector<Way> ways = {{false, false}};
    if (name == "amx") ways = {{true, false}, {true, true}};  // without tiles they are those for AVX-512
    std::mt19937 random(1);
    for (const Way& way : ways)
      for (const Case& c : cases) check(c, random, name.c_str(), way);
    std::printf("%s: %zu networks\n", name.c_str(), cases.size() * ways.size());
  }
  return failures ? 1 : 0;
}
