// Kernels for any processor: four lanes by whatever the compiler takes for its base line.
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LAMINA_ISA portable
#define LAMINA_LANES 4
#include "kernels.inc"

namespace lamina {
static bool usable() { return true; }
const Kernels* kernels_portable() {
  static const Kernels kernels LAMINA_KERNELS(portable, usable);
  return &kernels;
}
}  // namespace lamina
