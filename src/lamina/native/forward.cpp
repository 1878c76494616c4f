// Prediction without XLA: networks whose weights wait in panels, and threads that wait for work.
// A call with few rows splits each layer's columns, so that every core keeps its part of the weights in its cache; one
// with many rows splits the rows, and each thread takes a block of them through all layers.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "runtime.h"

namespace lamina {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostThreads = 64;
constexpr int kGroup = 8;              // rows that a claim of columns is for
constexpr int64_t kBlock = 128;        // rows that go through all layers at once, at most
constexpr double kWorth = 5e5;         // operations for which another thread is woken
constexpr int kSpins = 8000;           // in a call, before others may run
constexpr auto kPatience = std::chrono::microseconds(100);  // predictions often come one after the other
constexpr size_t kKept = 4 << 20;      // bytes of scratch that a thread keeps

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class F>
void wait_until(F ready) {
  for (int spins = 0; !ready(); spins++)
    if (spins < kSpins)
      relax();
    else
      std::this_thread::yield();
}

// Aligned memory of a thread, kept for its next call.
class Scratch {
 public:
  ~Scratch() { std::free(start_); }
  float* floats(size_t count) {
    const size_t size = (count * sizeof(float) + 63) / 64 * 64;
    if (size <= size_) return start_;
    std::free(start_);
    start_ = nullptr, size_ = 0;
    void* made = nullptr;
    if (posix_memalign(&made, 64, size)) throw std::bad_alloc();
    std::memset(made, 0, size);
    start_ = static_cast<float*>(made), size_ = size;
    return start_;
  }
  void trim() {
    if (size_ <= kKept) return;
    std::free(start_);
    start_ = nullptr, size_ = 0;
  }

 private:
  float* start_ = nullptr;
  size_t size_ = 0;
};
thread_local Scratch scratch;

// ---- threads

struct Task {
  virtual void work(int thread) = 0;
  virtual ~Task() = default;
};

// Helpers that join a task while it is open. Who brings a task works at once and waits for nobody who has not joined.
class Pool {
 public:
  // Returns false, with nothing done, if the helpers are busy with another caller's task.
  bool run(Task& task, int threads) {
    const std::unique_lock<std::mutex> mine(owner_, std::try_to_lock);
    if (!mine.owns_lock()) return false;
    grow(threads - 1);
    task_ = &task, wanted_ = threads;
    ticket_.fetch_add(1);
    if (parked_.load()) {
      const std::lock_guard<std::mutex> lock(parking_);
      woken_.notify_all();
    }
    const Closing closing{*this};
    task.work(0);
    return true;
  }

 private:
  // Closes the task, even if there was no memory for it.
  struct Closing {
    Pool& pool;
    ~Closing() {
      pool.ticket_.fetch_add(1);
      wait_until([this] { return pool.inside_.load() == 0; });
    }
  };
  void grow(int helpers) {
    for (; helpers_ < helpers; helpers_++) {
      try {
        std::thread([this, id = helpers_ + 1] { help(id); }).detach();
      } catch (const std::system_error&) {  // no more threads to be had: those that there are do the work
        return;
      }
    }
  }
  bool open(uint64_t seen) const {
    const uint64_t now = ticket_.load();
    return now != seen && (now & 1);
  }
  void help(int id) {
    for (uint64_t seen = 0;;) {
      // By the clock: what a pause takes differs tenfold between processors.
      for (const auto end = Clock::now() + kPatience; !open(seen) && Clock::now() < end;)
        for (int spins = 0; spins < 16 && !open(seen); spins++) relax();
      if (!open(seen)) {
        std::unique_lock<std::mutex> lock(parking_);
        parked_.fetch_add(1);
        woken_.wait(lock, [&] { return open(seen); });
        parked_.fetch_sub(1);
      }
      const uint64_t now = ticket_.load();
      if (!(now & 1)) continue;
      inside_.fetch_add(1);
      if (ticket_.load() == now && id < wanted_) task_->work(id);
      inside_.fetch_sub(1);
      seen = now;
    }
  }

  std::mutex owner_, parking_;
  std::condition_variable woken_;
  std::atomic<int> parked_{0};
  int helpers_ = 0;
  Task* task_ = nullptr;  // this and the next are written while no task is open
  int wanted_ = 0;
  alignas(64) std::atomic<uint64_t> ticket_{0};  // odd while a task is open
  alignas(64) std::atomic<int> inside_{0};
};
Pool& pool = *new Pool;  // never destroyed: its threads run until the process ends

// ---- networks

// Memory for all weights of a network: on large pages where it is large, which spreads it over the cache evenly.
class Block {
 public:
  Block() = default;
  ~Block() { std::free(start_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* reserve(size_t size) {
    const size_t page = size >= (size_t{1} << 20) ? size_t{2} << 20 : 4096;
    size = (size + page - 1) / page * page;
    if (posix_memalign(&start_, page, size)) throw std::bad_alloc();
#if defined(__linux__)
    if (page > 4096) madvise(start_, size, MADV_HUGEPAGE);
#endif
    return start_;
  }

 private:
  void* start_ = nullptr;
};

struct Net {
  const Kernels* kernels;
  std::vector<LayerSpec> layers;
  std::vector<float*> packed;            // of each layer: bias and kernel, see `pack`
  Block memory;
  std::vector<std::vector<int>> panels;  // of each layer: where they begin, and the end
  int64_t stride = 0;                    // of the rows of outputs inside
  double operations = 0;                 // of a row
  mutable std::atomic<unsigned> passes{0};
  mutable std::atomic<int> users{0};     // calls that read the weights; -1 while they are written

  void set_up() {
    size_t size = 0;
    std::vector<size_t> places;
    for (const LayerSpec& s : layers) {
      std::vector<int> begins{0};
      while (begins.back() < s.outputs) begins.push_back(kernels->panel_end(s.outputs, begins.back()));
      stride = std::max<int64_t>(stride, ((begins.back() + 15) / 16 | 1) * 16);
      panels.push_back(std::move(begins));
      operations += 2.0 * s.inputs * s.outputs;
      places.push_back(size);
      size += (kernels->packed_floats(s) * sizeof(float) + 63) / 64 * 64;
    }
    char* start = static_cast<char*>(memory.reserve(size));
    for (size_t place : places) packed.push_back(reinterpret_cast<float*>(start + place));
  }
};

// Rows through all layers, on one thread. Returns whether what came and what went is finite.
bool pass(const Net& net, const float* x, float* y, int rows, float* memory) {
  // Weights a little larger than the cache, read in the same order each time, would all have left it when their turn
  // comes again. So the panels are read to and fro.
  const bool back = rows <= kGroup && (net.passes.fetch_add(1, std::memory_order_relaxed) & 1);
  const size_t count = net.layers.size();
  const int64_t inputs = net.layers[0].inputs;
  if (!net.kernels->all_finite(x, rows * inputs)) return false;
  const float* a = x;
  int64_t lda = inputs;
  float* z = memory;
  for (size_t l = 0; l < count; l++) {
    z = memory + (l % 2) * rows * net.stride;
    const std::vector<int>& begins = net.panels[l];
    const size_t panels = begins.size() - 1;
    for (size_t k = 0; k < panels; k++) {
      const size_t p = back ? panels - 1 - k : k;
      net.kernels->columns_of(net.layers[l], net.packed[l], a, lda, z, net.stride, rows, begins[p], begins[p + 1]);
    }
    a = z, lda = net.stride;
  }
  return net.kernels->hand_over(net.layers.back(), z, net.stride, y, rows);
}

struct ByRows final : Task {
  const Net& net;
  const float* x;
  float* y;
  int64_t rows, block, blocks;
  std::atomic<int64_t> next{0};
  std::atomic<bool> finite{true};

  ByRows(const Net& net, const float* x, float* y, int64_t rows, int threads) : net(net), x(x), y(y), rows(rows) {
    const int64_t most = std::max<int64_t>(1, (rows + kBlock * threads - 1) / (kBlock * threads)) * threads;
    block = std::max<int64_t>(1, (rows + most - 1) / most);
    block = (block + kGroup - 1) / kGroup * kGroup;
    blocks = (rows + block - 1) / block;
  }
  void work(int thread) override {
    float* memory = nullptr;
    try {
      memory = scratch.floats((size_t)(2 * block * net.stride));
    } catch (const std::bad_alloc&) {
      if (thread == 0) throw;
      return;
    }
    for (int64_t b; finite.load(std::memory_order_relaxed) && (b = next.fetch_add(1)) < blocks;) {
      const int64_t at = b * block;
      const int count = (int)std::min(block, rows - at);
      if (!pass(net, x + at * net.layers[0].inputs, y + at * net.layers.back().outputs, count, memory))
        finite.store(false);
    }
    scratch.trim();
  }
};

// A claim is a panel for a group of rows. Threads begin at places of their own and take what is left of others'.
struct ByColumns final : Task {
  const Net& net;
  const float* x;
  float* memory;
  int rows, groups, threads;
  std::unique_ptr<std::atomic<uint8_t>[]> claimed;
  std::unique_ptr<std::atomic<int>[]> done;

  ByColumns(const Net& net, const float* x, float* memory, int rows, int threads)
      : net(net), x(x), memory(memory), rows(rows), groups((rows + kGroup - 1) / kGroup), threads(threads) {
    size_t claims = 0;
    for (const std::vector<int>& begins : net.panels) claims += (begins.size() - 1) * (size_t)groups;
    claimed.reset(new std::atomic<uint8_t>[claims]());
    done.reset(new std::atomic<int>[net.panels.size()]());
  }
  void work(int thread) override {
    const float* a = x;
    int64_t lda = net.layers[0].inputs;
    std::atomic<uint8_t>* claim = claimed.get();
    for (size_t l = 0; l < net.layers.size(); l++) {
      const std::vector<int>& begins = net.panels[l];
      const int count = ((int)begins.size() - 1) * groups, start = (int)((int64_t)count * thread / threads);
      float* z = memory + (int64_t)(l % 2) * rows * net.stride;
      for (int k = 0; k < count; k++) {
        const int at = start + k < count ? start + k : start + k - count;
        if (claim[at].load(std::memory_order_relaxed) || claim[at].exchange(1)) continue;
        const int panel = at / groups, row = at % groups * kGroup;
        net.kernels->columns_of(net.layers[l], net.packed[l], a + row * lda, lda, z + row * net.stride,
                                net.stride, std::min(kGroup, rows - row), begins[panel], begins[panel + 1]);
        done[l].fetch_add(1, std::memory_order_release);
      }
      claim += count;
      if (thread && l + 1 == net.layers.size()) return;
      wait_until([&] { return done[l].load(std::memory_order_acquire) == count; });
      a = z, lda = net.stride;
    }
  }
};

// Keeps the weights as they are while a call reads them.
class Reading {
 public:
  explicit Reading(const Net& net) : users_(net.users) {
    int before = users_.load(std::memory_order_relaxed);
    wait_until([&] {
      if (before >= 0 && users_.compare_exchange_strong(before, before + 1, std::memory_order_acquire)) return true;
      before = users_.load(std::memory_order_relaxed);
      return false;
    });
  }
  ~Reading() { users_.fetch_sub(1, std::memory_order_release); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  std::atomic<int>& users_;
};

enum Outcome : int { kDone, kNotFinite, kNoMemory, kOtherKernels };

int predict(const Net& net, const float* x, float* y, int64_t rows, int threads) {
  if (net.kernels != &kernels()) return kOtherKernels;
  const Reading reading(net);
  const double worth = net.operations * (double)rows / kWorth;
  threads = std::min({threads, kMostThreads, std::max(1, (int)std::min(worth, 1e3))});
  if (threads > 1 && rows < kBlock / 2 * threads) {
    float* memory = scratch.floats((size_t)(2 * rows * net.stride));
    if (!net.kernels->all_finite(x, rows * net.layers[0].inputs)) return kNotFinite;
    ByColumns task(net, x, memory, (int)rows, threads);
    if (!pool.run(task, threads)) task.work(0);
    float* z = memory + (int64_t)((net.layers.size() - 1) % 2) * rows * net.stride;
    const bool finite = net.kernels->hand_over(net.layers.back(), z, net.stride, y, (int)rows);
    scratch.trim();
    return finite ? kDone : kNotFinite;
  }
  ByRows task(net, x, y, rows, threads);
  if (threads == 1 || !pool.run(task, threads)) task.work(0);
  return task.finite ? kDone : kNotFinite;
}

}  // namespace
}  // namespace lamina

#define LAMINA_EXPORT extern "C" __attribute__((visibility("default")))

// ---- for ctypes; whoever calls keeps the arrays and frees the network

// Returns a network for the plan, as `read_plan` takes it, or null.
LAMINA_EXPORT void* lamina_forward_new(const int64_t* shape, size_t shape_size, const float* numbers,
                                       size_t numbers_size) {
  try {
    auto plan = std::make_unique<lamina::Plan>();
    if (!lamina::read_plan(shape, shape_size, numbers, numbers_size, *plan).empty()) return nullptr;
    auto net = std::make_unique<lamina::Net>();
    net->kernels = &lamina::kernels();
    net->layers.assign(plan->layer, plan->layer + plan->layers);
    net->set_up();
    return net.release();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

LAMINA_EXPORT void lamina_forward_free(void* net) { delete static_cast<lamina::Net*>(net); }

// Takes the weights over: addresses of each layer's kernel and bias, 0 where it has none. Returns 0, or 1 with nothing
// done while a call reads the old ones.
LAMINA_EXPORT int lamina_forward_pack(void* net, const uint64_t* addresses) {
  auto& to = *static_cast<lamina::Net*>(net);
  int nobody = 0;
  if (!to.users.compare_exchange_strong(nobody, -1, std::memory_order_acquire)) return 1;
  for (size_t l = 0; l < to.layers.size(); l++)
    to.kernels->pack(to.layers[l], reinterpret_cast<const float*>(addresses[2 * l]),
                     reinterpret_cast<const float*>(addresses[2 * l + 1]), to.packed[l]);
  to.users.store(0, std::memory_order_release);
  return 0;
}

// Fills float32 `(rows, outputs)` y. Returns 0; 1 if a number that came or went is not finite; 2 without memory; 3 if
// the network was made for other kernels than those in use.
LAMINA_EXPORT int lamina_forward_run(const void* net, const float* x, float* y, int64_t rows, int threads) {
  try {
    return lamina::predict(*static_cast<const lamina::Net*>(net), x, y, rows, threads);
  } catch (const std::bad_alloc&) {
    return lamina::kNoMemory;
  }
}
