"""The demo's network on a machine with 4 MB: `python -m benchmarks.small_machine lamina-demo/model.keras`.

The model becomes C with 8-bit weights, is built as a static program, and classifies the test digits within a limited
address space. Printed: code, weights and buffers of the network, the program's peak memory, and both accuracies.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina.datasets import mnist
from lamina.saving.convert import convert

LIMIT = 4096  # KiB of address space, all of it: program, stack, libraries
_MAIN = """
#include "digits.h"
#include <stdio.h>
#include <string.h>
int main(void) {
  static unsigned char pixels[DIGITS_INPUT_SIZE];
  static float input[DIGITS_INPUT_SIZE], output[DIGITS_OUTPUT_SIZE];
  char line[256];
  while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
    int best = 0;
    for (int i = 0; i < DIGITS_INPUT_SIZE; i++) input[i] = (float)pixels[i];
    digits_predict(input, output);
    for (int i = 1; i < DIGITS_OUTPUT_SIZE; i++) best = output[i] > output[best] ? i : best;
    putchar('0' + best);
  }
  putchar('\\n');
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status))
    if (!strncmp(line, "VmHWM", 5) || !strncmp(line, "VmPeak", 6)) fputs(line, stdout);
  return 0;
}
"""


class Measurement(NamedTuple):
    """Sizes in bytes, accuracies as shares of the test digits."""

    text: int
    data: int
    bss: int
    peak_resident: int
    peak_address_space: int
    float_accuracy: float
    int8_accuracy: float
    notes: tuple[str, ...]

    @property
    def network(self) -> int:
        """Code, weights and buffers together."""
        return self.text + self.data + self.bss


def measure(model: Any, folder: Path) -> Measurement:
    """Return what the model takes as C with 8-bit weights, calibrated on training digits."""
    (x, y), (test_x, test_y) = mnist.load_data("sample")
    np.savez(folder / "calibration.npz", x=x[:1000], y=y[:1000])
    done = convert(model, folder / "digits.c", int8=True, calibration=str(folder / "calibration.npz"), check=False)
    header = (folder / "digits.h").read_text()
    names = [line.split()[1] for line in header.splitlines() if line.startswith("#define") and "_SIZE" in line]
    main = _MAIN.replace("DIGITS_INPUT_SIZE", names[0]).replace("DIGITS_OUTPUT_SIZE", names[1])
    (folder / "main.c").write_text(main)
    flags = ["gcc", "-std=c99", "-Os", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*flags, "-c", "digits.c", "-o", "digits.o"], cwd=folder, check=True)
    subprocess.run([*flags, "-static", "main.c", "digits.o", "-o", "digits", "-lm"], cwd=folder, check=True)
    sizes = subprocess.run(["size", "digits.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    text, data, bss = (int(n) for n in sizes.splitlines()[1].split()[:3])
    command = ["sh", "-c", f"ulimit -v {LIMIT} && exec ./digits"]
    run = subprocess.run(command, cwd=folder, check=True, capture_output=True, input=test_x.astype(np.uint8).tobytes())
    answers, *memory = run.stdout.decode().splitlines()
    used = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in memory}
    exact = np.asarray(done.model.predict(test_x, batch_size=500, verbose=0)).argmax(1)
    return Measurement(
        text,
        data,
        bss,
        used["VmHWM"],
        used["VmPeak"],
        float(np.mean(exact == test_y)),
        float(np.mean(np.array(list(answers), int) == test_y)),
        done.notes,
    )


def main() -> None:
    """Print the measurement of the model whose file the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(sys.argv[1] if len(sys.argv) > 1 else "lamina-demo/model.keras", Path(folder))
    sizes = f"{found.text:,} code and constants + {found.data:,} data + {found.bss:,} buffers"
    print(f"network          {found.network:>9,} bytes   {sizes}; limit 1,000,000")
    print(f"peak resident    {found.peak_resident:>9,} bytes   the whole static program")
    print(f"address space    {found.peak_address_space:>9,} bytes   under `ulimit -v {LIMIT}` (4 MiB)")
    loss = 100 * (found.float_accuracy - found.int8_accuracy)
    print(
        f"accuracy         {found.float_accuracy:.2%} floats, {found.int8_accuracy:.2%} 8 bits: {loss:.2f} points lost"
    )


if __name__ == "__main__":
    main()
