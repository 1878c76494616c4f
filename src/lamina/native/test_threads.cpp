// What several threads do at once, to be compiled with ThreadSanitizer: predictions of one network while its weights are
// packed anew, on as many helpers as they like, and trainings beside each other. Each must give the bits that it gives
// alone.
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "runtime.h"

using namespace lamina;

extern "C" {
void* lamina_forward_new(const int64_t*, size_t, const float*, size_t);
void lamina_forward_free(void*);
int lamina_forward_pack(void*, const uint64_t*);
int lamina_forward_run(const void*, const float*, float*, int64_t, int);
}

namespace {

constexpr int kRows = 300, kInputs = 70, kHidden = 130, kOutputs = 9, kRounds = 40;

std::vector<float> numbers(size_t count, float scale) {
  std::vector<float> made(count);
  for (size_t i = 0; i < count; i++) made[i] = scale * (float)((int)(i * 7919 % 1009) - 504) / 504.0f;
  return made;
}

// The layers of both tests as `read_plan` takes them, for one mode, batch size and way of multiplying.
struct Numbers {
  std::vector<int64_t> shape;
  std::vector<float> values = {0, 1e-7f, 0.9f, 0.9f, 0.999f, 0.1f, 0.001f, 1e-7f, 0, 0, 0, 0, 0, 0, 0, 0};
  Numbers(int mode, int batch, bool wide)
      : shape{mode, batch, kSquaredError, kAdam, 0, 1, 2, 0, wide, kInputs, kHidden, 1, kRelu, 0, kHidden, kOutputs,
              1,    kTanh, 0} {}
};

const std::vector<float> x = numbers((size_t)kRows * kInputs, 1.0f), y = numbers((size_t)kRows * kOutputs, 0.5f);
const std::vector<std::vector<float>> weights = {
    numbers((size_t)kInputs * kHidden, 0.3f), numbers(kHidden, 0.1f), numbers((size_t)kHidden * kOutputs, 0.3f),
    numbers(kOutputs, 0.1f)};

bool at_once(const std::vector<std::function<bool()>>& tasks) {
  std::vector<char> right(tasks.size(), 0);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < tasks.size(); i++) threads.emplace_back([&, i] { right[i] = tasks[i](); });
  for (std::thread& one : threads) one.join();
  for (char one : right)
    if (!one) return false;
  return true;
}

bool predictions() {
  const Numbers plan(kPredict, 1, false);
  void* net = lamina_forward_new(plan.shape.data(), plan.shape.size(), plan.values.data(), plan.values.size());
  if (!net) return false;
  std::vector<uint64_t> places;
  for (const auto& one : weights) places.push_back(reinterpret_cast<uint64_t>(one.data()));
  std::vector<float> alone((size_t)kRows * kOutputs);
  if (lamina_forward_pack(net, places.data()) || lamina_forward_run(net, x.data(), alone.data(), kRows, 1)) return false;
  std::vector<std::function<bool()>> tasks = {[&] {
    for (int i = 0; i < kRounds; i++) {
      lamina_forward_pack(net, places.data());  // or not, where somebody reads
      std::this_thread::yield();
    }
    return true;
  }};
  for (int rows : {1, 8, 41, kRows})
    tasks.push_back([&, rows] {
      for (int i = 0; i < kRounds; i++) {
        std::vector<float> found((size_t)rows * kOutputs);
        if (lamina_forward_run(net, x.data(), found.data(), rows, 1 + i % 3)) return false;
        for (size_t k = 0; k < found.size(); k++)
          if (found[k] != alone[k]) return false;
      }
      return true;
    });
  const bool right = at_once(tasks);
  lamina_forward_free(net);
  return right;
}

// Trains for an epoch; returns what has become of the weights.
std::vector<std::vector<float>> trained(int batch, bool wide, int threads) {
  const Numbers numbers(kTrain, batch, wide);
  Plan plan{};
  if (!read_plan(numbers.shape.data(), numbers.shape.size(), numbers.values.data(), numbers.values.size(), plan).empty())
    return {};
  std::vector<std::vector<float>> first, second;
  for (const auto& one : weights) first.emplace_back(one.size(), 0.0f), second.emplace_back(one.size(), 0.0f);
  std::vector<std::vector<float>> result = weights, new_first = first, new_second = second;
  LayerArrays arrays[2];
  for (int i = 0; i < 4; i++) {
    LayerArrays& a = arrays[i / 2];
    a.param[i % 2] = weights[i].data(), a.new_param[i % 2] = result[i].data();
    a.first[i % 2] = first[i].data(), a.new_first[i % 2] = new_first[i].data();
    a.second[i % 2] = second[i].data(), a.new_second[i % 2] = new_second[i].data();
  }
  const float rate = 0.01f, before[2] = {0, 0};
  float after[2];
  Job job{};
  job.plan = &plan, job.arrays = arrays, job.x = x.data(), job.targets = y.data(), job.rows = kRows;
  job.steps = kRows / batch, job.rates = &rate, job.rate_count = 1, job.totals = before, job.new_totals = after;
  job.threads = threads;
  run(job);
  return result;
}

bool trainings() {
  std::vector<std::function<bool()>> tasks;
  for (bool wide : {false, true})
    for (int batch : {20, 50})
      tasks.push_back([wide, batch, alone = trained(batch, wide, 1)] {
        for (int i = 0; i < 3; i++)
          if (alone.empty() || trained(batch, wide, 2) != alone) return false;
        return true;
      });
  return at_once(tasks);
}

}  // namespace

int check_threads() {
  int failures = 0;
  for (const std::string& name : usable_kernels()) {
    choose(name);
    if (!predictions()) failures++, std::printf("predictions at once are wrong: kernels %s\n", name.c_str());
    if (!trainings()) failures++, std::printf("trainings at once are wrong: kernels %s\n", name.c_str());
  }
  std::printf("several at once: %zu kernels\n", usable_kernels().size());
  return failures;
}
