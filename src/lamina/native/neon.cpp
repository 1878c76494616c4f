// Kernels for 64-bit ARM processors, all of which have NEON.
#include <arm_neon.h>

#define LAMINA_ISA neon
#define LAMINA_LANES 4
#include "kernels.inc"

namespace lamina {
static bool usable() { return true; }
const Kernels* kernels_neon() {
  static const Kernels kernels LAMINA_KERNELS(neon, usable);
  return &kernels;
}
}  // namespace lamina
