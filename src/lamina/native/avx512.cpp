// Kernels for processors with AVX-512. Compiled with -mavx512f and -mfma, and entered only after `usable`.
#include <immintrin.h>

#define LAMINA_ISA avx512
#define LAMINA_LANES 16
#include "kernels.inc"

namespace lamina {
static bool usable() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
}
const Kernels* kernels_avx512() {
  static const Kernels kernels LAMINA_KERNELS(avx512, usable);
  return &kernels;
}
}  // namespace lamina
