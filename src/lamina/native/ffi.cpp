// The way in from XLA: buffers of the call to pointers of a job. All sizes are checked against the plan, so that no
// caller, however wrong, makes the kernels touch what is not theirs.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "runtime.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
using lamina::Job;
using lamina::LayerArrays;
using lamina::Plan;

enum Given : int64_t {
  kWeights = 1, kIndex = 2, kReal = 4, kLabels = 8, kAddresses = 16, kStack = 32, kNumbers = 64, kBegins = 128,
  kStop = 256
};

// Which of a stack of networks is meant. Every buffer of a stack has the networks as its first axis, or an axis of one
// there, if it is the same for all.
struct Place {
  bool stacked = false;
  int64_t networks = 1, number = 0;
};

// Returns the elements of one network in a buffer and where they begin.
int64_t share(const ffi::AnyBuffer& buffer, const Place& place, int64_t& begin) {
  const int64_t all = (int64_t)buffer.element_count();
  begin = 0;
  if (!place.stacked) return all;
  const auto sizes = buffer.dimensions();
  if (sizes.size() == 0) return -1;
  if (sizes[0] == 1) return all;
  if (sizes[0] != place.networks) return -1;
  begin = all / place.networks * place.number;
  return all / place.networks;
}

// Hands out the buffers of a call in turn and remembers the first that is not what it must be.
class Arguments {
 public:
  Arguments(ffi::RemainingArgs all, const Place& place) : all_(all), place_(place) {}

  template <class T>
  const T* take(ffi::DataType type, int64_t least, const char* what, int64_t* count = nullptr) {
    auto found = all_.get<ffi::AnyBuffer>(next_++);
    if (!found.has_value()) return fail<T>(what, "is missing");
    if (found->element_type() != type) return fail<T>(what, "has the wrong type");
    int64_t begin;
    const int64_t size = share(*found, place_, begin);
    if (size < least || (!count && size != least)) return fail<T>(what, "has the wrong size");
    if (count) *count = size;
    return static_cast<const T*>(found->untyped_data()) + begin;
  }
  void refuse(const char* what, const char* how) { fail<float>(what, how); }
  const float* floats(int64_t count, const char* what) { return take<float>(ffi::F32, count, what); }
  bool over() const { return next_ == all_.size(); }
  const std::string& problem() const { return problem_; }

 private:
  template <class T>
  const T* fail(const char* what, const char* how) {
    if (problem_.empty()) problem_ = std::string(what) + " " + how;
    return nullptr;
  }
  ffi::RemainingArgs all_;
  Place place_;
  size_t next_ = 0;
  std::string problem_;
};

class Results {
 public:
  Results(ffi::RemainingRets all, const Place& place) : all_(all), place_(place) {}

  float* floats(int64_t count) {
    auto found = all_.get<ffi::AnyBuffer>(next_++);
    int64_t begin = 0;
    if (!found.has_value() || (*found)->element_type() != ffi::F32 || share(**found, place_, begin) != count) {
      wrong_ = true;
      return nullptr;
    }
    return static_cast<float*>((*found)->untyped_data()) + begin;
  }
  bool fit() const { return !wrong_ && next_ == all_.size(); }

 private:
  ffi::RemainingRets all_;
  Place place_;
  size_t next_ = 0;
  bool wrong_ = false;
};

ffi::Error Refused(const std::string& problem) {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "lamina's native kernel was given wrong arguments: " + problem);
}

void take_layer(Arguments& arguments, Results& results, const Plan& plan, const lamina::LayerSpec& spec,
                LayerArrays& arrays) {
  const bool training = plan.mode == lamina::kTrain;
  const int moments = !training || plan.optimizer == lamina::kSgd ? 0 : plan.optimizer == lamina::kAdam ? 2 : 1;
  for (int part = 0; part < (spec.bias ? 2 : 1); part++) {
    const int64_t size = part ? spec.outputs : (int64_t)spec.inputs * spec.outputs;
    arrays.param[part] = arguments.floats(size, "a parameter");
    if (moments > 0) arrays.first[part] = arguments.floats(size, "a momentum");
    if (moments > 1) arrays.second[part] = arguments.floats(size, "a velocity");
    if (training) arrays.new_param[part] = results.floats(size);
    if (moments > 0) arrays.new_first[part] = results.floats(size);
    if (moments > 1) arrays.new_second[part] = results.floats(size);
  }
}

// The data of a call, into the job; returns for how many batches there is room.
int64_t take_data(Arguments& arguments, const Plan& plan, int64_t given, Job& job) {
  const int inputs = plan.layer[0].inputs, outputs = plan.layer[plan.layers - 1].outputs;
  const bool labels = given & kLabels, predicting = plan.mode == lamina::kPredict;
  int64_t elements = 0, room;
  if (given & kAddresses) {  // of arrays of the host, which the caller keeps: no copy, and no size in the program
    const uint32_t* halves = arguments.take<uint32_t>(ffi::U32, 8, "the addresses");
    const int32_t* rows = arguments.take<int32_t>(ffi::S32, 1, "the number of rows");
    const auto address = [&](int i) { return halves ? halves[2 * i] | (uint64_t)halves[2 * i + 1] << 32 : 0; };
    job.rows = rows ? *rows : 0;
    job.x = reinterpret_cast<const float*>(address(0));
    if (labels) job.labels = reinterpret_cast<const int32_t*>(address(1));
    if (!labels && !predicting) job.targets = reinterpret_cast<const float*>(address(1));
    if (given & kWeights) job.weights = reinterpret_cast<const float*>(address(2));
    job.index = reinterpret_cast<const int32_t*>(address(3));
    room = job.steps;
  } else {
    // Where the rows of x, targets and weights begin, if they are a part of longer arrays.
    const int32_t* begins = given & kBegins ? arguments.take<int32_t>(ffi::S32, 3, "the first rows") : nullptr;
    int64_t found[3] = {0, 0, 0};
    job.x = arguments.take<float>(ffi::F32, 0, "the inputs", &elements);
    found[0] = found[1] = found[2] = elements / inputs;
    if (!predicting) {
      if (labels)
        job.labels = arguments.take<int32_t>(ffi::S32, 0, "the labels", &elements);
      else
        job.targets = arguments.take<float>(ffi::F32, 0, "the targets", &elements);
      found[1] = labels ? elements : elements / outputs;
    }
    if (given & kWeights) job.weights = arguments.take<float>(ffi::F32, 0, "the weights", &found[2]);
    if (!begins && (found[1] != found[0] || found[2] != found[0])) arguments.refuse("the data", "have different rows");
    for (int i = 0; begins && i < 3; i++) {
      if (begins[i] < 0 || begins[i] > found[i]) {
        arguments.refuse("the first rows", "are none of the data");
        break;
      }
      found[i] -= begins[i];
    }
    if (begins && arguments.problem().empty()) {
      job.x += (int64_t)begins[0] * inputs;
      if (job.labels) job.labels += begins[1];
      if (job.targets) job.targets += (int64_t)begins[1] * outputs;
      if (job.weights) job.weights += begins[2];
    }
    job.rows = std::min(found[0], std::min(found[1], given & kWeights ? found[2] : found[0]));
    room = job.rows / plan.batch;
  }
  if (given & kIndex) {
    job.index = arguments.take<int32_t>(ffi::S32, 0, "the row numbers", &elements);
    room = elements / plan.batch;
  }
  if (given & kReal) {
    job.real = arguments.take<int32_t>(ffi::S32, room, "the numbers of real rows", &elements);
    if (given & kAddresses) room = elements;
  }
  return room;
}

// A network that is not run, or was stopped on the way, stays as it was.
void leave(const Plan& plan, const std::vector<LayerArrays>& arrays) {
  for (int l = 0; l < plan.layers; l++) {
    const lamina::LayerSpec& s = plan.layer[l];
    const LayerArrays& a = arrays[l];
    for (int part = 0; part < (s.bias ? 2 : 1); part++) {
      const size_t size = sizeof(float) * (part ? (size_t)s.outputs : (size_t)s.inputs * s.outputs);
      if (a.new_param[part]) std::memcpy(a.new_param[part], a.param[part], size);
      if (a.new_first[part]) std::memcpy(a.new_first[part], a.first[part], size);
      if (a.new_second[part]) std::memcpy(a.new_second[part], a.second[part], size);
    }
  }
}

ffi::Error RunOne(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Span<const int64_t> shape,
                  ffi::Span<const float> numbers, int64_t given, const Place& place) {
  auto plan = std::make_unique<Plan>();
  Arguments arguments(args, place);
  Results results(rets, place);
  const float* own = numbers.begin();
  if (given & kNumbers) own = arguments.floats((int64_t)numbers.size(), "the numbers of the plan");
  if (!own) return Refused(arguments.problem());
  std::string problem = lamina::read_plan(shape.begin(), shape.size(), own, numbers.size(), *plan);
  if (!problem.empty()) return Refused(problem);
  const int outputs = plan->layer[plan->layers - 1].outputs;
  const bool predicting = plan->mode == lamina::kPredict;
  Job job{};
  job.plan = plan.get();
  if (given & kStop) {
    const uint32_t* halves = arguments.take<uint32_t>(ffi::U32, 2, "the address of the flag");
    if (halves) job.stop = reinterpret_cast<const int32_t*>(halves[0] | (uint64_t)halves[1] << 32);
  }
  const int32_t* steps = arguments.take<int32_t>(ffi::S32, 1, "the number of batches");
  const int32_t* threads = arguments.take<int32_t>(ffi::S32, 1, "the number of threads");
  job.steps = steps ? *steps : 0, job.threads = threads ? *threads : 1;
  const int64_t room = take_data(arguments, *plan, given, job);
  std::vector<const uint32_t*> keys;
  std::vector<float> totals;
  if (plan->mode == lamina::kTrain) {
    const int32_t* updates = arguments.take<int32_t>(ffi::S32, 1, "the number of updates");
    job.updates = updates ? *updates : 0;
    job.rates = arguments.take<float>(ffi::F32, 1, "the learning rates", &job.rate_count);
    if (job.rate_count > 1 && job.rate_count < room) return Refused("too few learning rates");
    for (int l = 0; l < plan->layers; l++)
      if (plan->layer[l].dropout_before > 0) keys.push_back(arguments.take<uint32_t>(ffi::U32, 2, "a key"));
  }
  const int count = predicting ? 0 : 2 + 2 * plan->metrics;
  float* new_totals[2 + 2 * lamina::kMaxMetrics];
  for (int i = 0; i < count; i++) {
    const float* total = arguments.floats(1, "a total");
    totals.push_back(total ? *total : 0);
    new_totals[i] = results.floats(1);
  }
  if (predicting) job.outputs = results.floats(room * plan->batch * outputs);
  std::vector<LayerArrays> arrays(plan->layers);
  for (int l = 0; l < plan->layers; l++) take_layer(arguments, results, *plan, plan->layer[l], arrays[l]);
  if (!arguments.problem().empty()) return Refused(arguments.problem());
  if (!arguments.over()) return Refused("too many arrays");
  if (!results.fit()) return Refused("results of other sizes");
  if (job.steps < 0 || job.steps > room) return Refused("more batches than there is room for");
  std::vector<float> after(totals);
  job.arrays = arrays.data(), job.keys = keys.data(), job.totals = totals.data(), job.new_totals = after.data();
  bool whole = false;
  try {
    if (!place.stacked || job.steps) whole = lamina::run(job);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the network");
  }
  if (!whole) leave(*plan, arrays);
  for (int i = 0; i < count; i++) *new_totals[i] = after[i];
  return ffi::Error::Success();
}

ffi::Error Run(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Span<const int64_t> shape,
               ffi::Span<const float> numbers, int64_t given) {
  Place place;
  if (given & kStack) {
    auto first = rets.get<ffi::AnyBuffer>(0);
    if (!first.has_value() || (*first)->dimensions().size() == 0) return Refused("no stack of networks");
    place.stacked = true, place.networks = (*first)->dimensions()[0];
  }
  for (place.number = 0; place.number < place.networks; place.number++) {
    ffi::Error found = RunOne(args, rets, shape, numbers, given, place);
    if (found.failure()) return found;
  }
  return ffi::Error::Success();
}

}  // namespace

#define LAMINA_EXPORT extern "C" __attribute__((visibility("default")))

LAMINA_EXPORT XLA_FFI_Error* lamina_native_run(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_native_run, Run,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<ffi::Span<const int64_t>>("shape")
                                  .Attr<ffi::Span<const float>>("numbers")
                                  .Attr<int64_t>("given"));

// ---- for ctypes

LAMINA_EXPORT int lamina_native_version() { return 6; }

LAMINA_EXPORT int lamina_native_choose(const char* name) { return lamina::choose(name ? name : "") ? 1 : 0; }

LAMINA_EXPORT const char* lamina_native_chosen() { return lamina::kernels().name; }

// The names of the kernels that can run here, the fastest first, with commas between.
LAMINA_EXPORT const char* lamina_native_usable() {
  static const std::string names = [] {
    std::string all;
    for (const std::string& name : lamina::usable_kernels()) all += (all.empty() ? "" : ",") + name;
    return all;
  }();
  return names.c_str();
}
