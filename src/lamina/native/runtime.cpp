#include "runtime.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(LAMINA_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lamina {

// ---- which kernels

#if defined(LAMINA_AMX)
// Whether the processor has the instructions, the system keeps the tiles of a thread, and this process may use them.
static bool tiles_usable() {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & bit_AMX_BF16) || !(d & bit_AMX_TILE)) return false;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & bit_AVX512BF16)) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileState = 3u << 17;
  if ((low & kTileState) != kTileState) return false;
  constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

// Those for AVX-512, except that wide networks go through tiles. Made here, not where AVX-512 is a matter of course.
static const Kernels* kernels_amx() {
  static const Kernels kernels = [] {
    Kernels made = *kernels_avx512();
    made.name = "amx";
    made.bytes = [](const Plan& plan, int threads) {
      return plan.wide ? wide_bytes(plan, threads) : kernels_avx512()->bytes(plan, threads);
    };
    made.run = [](const Job& job, int thread) {
      return job.plan->wide ? wide_run(job, thread) : kernels_avx512()->run(job, thread);
    };
    return made;
  }();
  return &kernels;
}
#endif

static std::vector<const Kernels*> usable() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(LAMINA_AMX)
  if (kernels_avx512()->usable() && tiles_usable()) found.push_back(kernels_amx());
#endif
  for (const Kernels* one : {kernels_avx512(), kernels_avx2()})
    if (one->usable()) found.push_back(one);
#endif
#if defined(__aarch64__)
  found.push_back(kernels_neon());
#endif
  found.push_back(kernels_portable());
  return found;
}

static std::atomic<const Kernels*> chosen{nullptr};

const Kernels& kernels() {
  const Kernels* found = chosen.load(std::memory_order_acquire);
  if (!found) {
    found = usable().front();
    chosen.store(found, std::memory_order_release);
  }
  return *found;
}

bool choose(const std::string& name) {
  for (const Kernels* one : usable())
    if (name.empty() || name == one->name) {
      chosen.store(one, std::memory_order_release);
      return true;
    }
  return false;
}

std::vector<std::string> usable_kernels() {
  std::vector<std::string> names;
  for (const Kernels* one : usable()) names.emplace_back(one->name);
  return names;
}

// ---- plans

std::string read_plan(const int64_t* shape, size_t shape_size, const float* numbers, size_t numbers_size, Plan& plan) {
  constexpr size_t kHead = 9, kOfLayer = 5, kNumbers = 8;
  if (shape_size < kHead || numbers_size < kNumbers) return "a plan that is cut off";
  const int64_t layers = shape[6], metrics = shape[7];
  if (layers < 1 || layers > kMaxLayers) return "a number of layers that is not supported";
  if (metrics < 0 || metrics > kMaxMetrics) return "a number of metrics that is not supported";
  if (shape_size != kHead + kOfLayer * layers + 2 * metrics || numbers_size != kNumbers + 4 * layers + metrics)
    return "a plan of the wrong length";
  constexpr int64_t kMost = 1 << 24;
  if (shape[1] < 1 || shape[1] > kMost) return "a batch size that is not supported";
  plan.mode = (int)shape[0], plan.batch = (int)shape[1], plan.loss = (int)shape[2], plan.optimizer = (int)shape[3];
  plan.from_logits = shape[4], plan.mean = shape[5], plan.layers = (int)layers, plan.metrics = (int)metrics;
  plan.wide = shape[8];
  plan.smoothing = numbers[0], plan.epsilon = numbers[1], plan.momentum = numbers[2], plan.beta_1 = numbers[3];
  plan.beta_2 = numbers[4], plan.rest_1 = numbers[5], plan.rest_2 = numbers[6], plan.adam_epsilon = numbers[7];
  for (int64_t l = 0; l < layers; l++) {
    const int64_t* s = shape + kHead + kOfLayer * l;
    const float* f = numbers + kNumbers + 4 * l;
    if (s[0] < 1 || s[0] > kMost || s[1] < 1 || s[1] > kMost) return "a layer whose width is not supported";
    if (l && s[0] != shape[kHead + kOfLayer * (l - 1) + 1]) return "layers that do not fit together";
    if (s[3] < 0 || s[3] > kSoftmax || (s[3] == kSoftmax && l + 1 < layers)) return "an unknown activation";
    plan.layer[l] = {(int)s[0], (int)s[1], s[2] != 0, (int)s[3], f[0], f[1], f[2], f[3], s[4] != 0};
  }
  for (int64_t k = 0; k < metrics; k++) {
    const int64_t* s = shape + kHead + kOfLayer * layers + 2 * k;
    plan.metric[k] = {(int)s[0], s[1] != 0, numbers[kNumbers + 4 * layers + k]};
  }
  return "";
}

// ---- memory: a few blocks are kept, since new pages cost more than a small network's epoch

namespace {

struct Block {
  void* start = nullptr;
  size_t size = 0;
  std::vector<int64_t> layout;  // of what it held last; the padding between its rows is zero still
};

// What decides where the arrays of a plan lie.
std::vector<int64_t> layout_of(const Plan& plan, const Kernels& used, int threads) {
  std::vector<int64_t> found = {reinterpret_cast<int64_t>(&used), plan.mode, plan.batch, plan.optimizer, plan.loss,
                                plan.wide ? threads : 0};
  for (int l = 0; l < plan.layers; l++) {
    const LayerSpec& s = plan.layer[l];
    found.insert(found.end(), {s.inputs, s.outputs, s.activation, s.dropout_before > 0, s.bfloat16});
  }
  return found;
}

std::mutex pool_mutex;
std::vector<Block>& pool = *new std::vector<Block>;  // never destroyed: threads may run when the process ends
constexpr size_t kKept = 4, kKeptBytes = size_t{256} << 20;

// Returns a zeroed block, or one of the same layout, whose arrays will all be written before they are read.
Block borrow(size_t size, const std::vector<int64_t>& layout) {
  Block found;
  {
    const std::lock_guard<std::mutex> lock(pool_mutex);
    for (const bool same : {true, false})
      for (size_t i = 0; i < pool.size() && !found.start; i++)
        if (same ? pool[i].layout == layout : pool[i].size >= size && pool[i].size <= 4 * size) {
          found = std::move(pool[i]);
          pool.erase(pool.begin() + (std::ptrdiff_t)i);
        }
  }
  if (found.start) {
    if (found.layout != layout) std::memset(found.start, 0, size);
    found.layout = layout;
    return found;
  }
  const size_t page = size >= (size_t{1} << 20) ? size_t{2} << 20 : 4096;
  Block made;
  made.size = (size + page - 1) / page * page;
  if (posix_memalign(&made.start, page, made.size)) throw std::bad_alloc();
#if defined(__linux__)
  if (page > 4096) madvise(made.start, made.size, MADV_HUGEPAGE);
#endif
  std::memset(made.start, 0, made.size);
  made.layout = layout;
  return made;
}

void give_back(Block block) {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  if (block.size > kKeptBytes) {
    std::free(block.start);
    return;
  }
  if (pool.size() == kKept) {
    std::free(pool.front().start);
    pool.erase(pool.begin());
  }
  pool.push_back(std::move(block));
}

// ---- threads

struct Barrier {
  explicit Barrier(int threads) : threads(threads) {}
  int threads;
  std::atomic<int> arrived{0};
  alignas(64) std::atomic<int> round{0};

  // Spins for a few microseconds, the usual wait; then lets others run: what it waits for may be on the same core, and a
  // pause takes ten times as long on some processors as on others.
  void wait() {
    if (threads == 1) return;
    const int before = round.load(std::memory_order_relaxed);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived.store(0, std::memory_order_relaxed);
      round.store(before + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round.load(std::memory_order_acquire) == before; spins++) {
      if (spins > 64) {
        std::this_thread::yield();
        continue;
      }
#if defined(__x86_64__)
      _mm_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
  }
};

struct Gate {
  std::atomic<bool> open{false};
};

// Moves the calling thread off a core, where it may run on others. A new thread begins on the core of the one that made
// it, and until the system finds that out, after some milliseconds, the two take turns.
void leave_core(int core) {
#if defined(__linux__)
  cpu_set_t may, elsewhere;
  if (core < 0 || core >= CPU_SETSIZE || sched_getaffinity(0, sizeof may, &may)) return;
  elsewhere = may;
  CPU_CLR(core, &elsewhere);
  if (CPU_COUNT(&elsewhere) && !sched_setaffinity(0, sizeof elsewhere, &elsewhere)) sched_setaffinity(0, sizeof may, &may);
#else
  (void)core;
#endif
}
int this_core() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

}  // namespace

bool run(Job job) {
  const Kernels& used = kernels();
  if (job.threads > job.plan->batch) job.threads = job.plan->batch;
  if (job.threads < 1 || job.stop) job.threads = 1;
  const size_t size = used.bytes(*job.plan, job.threads);
  Block block = borrow(size, layout_of(*job.plan, used, job.threads));
  job.memory = static_cast<char*>(block.start);
  Barrier barrier(1);
  Gate gate;
  job.barrier = &barrier;
  job.wait = [](void* where) { static_cast<Barrier*>(where)->wait(); };
  std::vector<std::thread> helpers;
  const int wanted = job.threads, here = this_core();
  for (int t = 1; t < wanted; t++) {
    try {
      helpers.emplace_back([&used, &job, &gate, t, here] {
        leave_core(here);
        while (!gate.open.load(std::memory_order_acquire)) std::this_thread::yield();
        used.run(job, t);
      });
    } catch (const std::system_error&) {  // no more threads to be had: those that there are do the work
      break;
    }
  }
  job.threads = barrier.threads = (int)helpers.size() + 1;
  gate.open.store(true, std::memory_order_release);
  const bool whole = used.run(job, 0);
  for (std::thread& helper : helpers) helper.join();
  // NaN spreads into the padding.
  if (!whole || job.plan->mode == kPredict || !std::isfinite(job.new_totals[0])) block.layout.clear();
  give_back(std::move(block));
  return whole;
}

}  // namespace lamina
