// Wide networks on processors with AMX. Compiled with the flags of AVX-512, -mavx512bf16, -mamx-tile and -mamx-bf16, and
// entered only where runtime.cpp has found all of these.
#include <immintrin.h>

#include "plan.h"

#define LAMINA_LANES 16
namespace lamina {
namespace amx {
#include "simd.h"
#include "functions.h"
#include "products.h"
#include "losses.h"
#include "network.h"
#include "tiles.h"
#include "wide.h"
}  // namespace amx

size_t wide_bytes(const Plan& plan, int threads) { return amx::bytes(plan, threads); }
bool wide_run(const Job& job, int thread) { return amx::run(job, thread); }
}  // namespace lamina
