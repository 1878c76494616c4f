// Kernels for processors with AVX2 and FMA. Compiled with -mavx2 and -mfma, and entered only after `usable`.
#include <immintrin.h>

#define LAMINA_ISA avx2
#define LAMINA_LANES 8
#include "kernels.inc"

namespace lamina {
static bool usable() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
const Kernels* kernels_avx2() {
  static const Kernels kernels LAMINA_KERNELS(avx2, usable);
  return &kernels;
}
}  // namespace lamina
