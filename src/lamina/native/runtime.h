// Which kernels run, on how many threads and in which memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "plan.h"

namespace lamina {

// The fastest kernels that this processor can run, or those that were asked for.
const Kernels& kernels();
// Returns whether kernels of this name exist and can run here, and takes them from now on; "" takes the fastest.
bool choose(const std::string& name);
// The names of all kernels that can run here, the fastest first.
std::vector<std::string> usable_kernels();

// Reads a plan from flat numbers; returns what is wrong with them, or nothing.
std::string read_plan(const int64_t* shape, size_t shape_size, const float* numbers, size_t numbers_size, Plan& plan);

// Runs a job on `job.threads` threads, of which the calling one is one; on one alone if it has a flag to stop it.
// Returns whether it came to the end; if not, nothing was written.
bool run(Job job);

}  // namespace lamina
