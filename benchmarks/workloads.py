"""What is trained: four networks from tiny to wide, on made-up rows whose labels can be learned.

The wide one twice: in float32, and with products of bfloat16 and weights of float32 (Keras's `mixed_bfloat16`).
"""

from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """A network and its data: widths from the inputs to the classes, rows in a batch, in an epoch, dtype policy."""

    name: str
    widths: tuple[int, ...]
    batch: int
    rows: int
    policy: str = "float32"

    @property
    def validation_rows(self) -> int:
        return max(self.batch, self.rows // 10)

    def quick(self) -> "Workload":
        """Return the same network with an eighth of the rows, still a whole number of batches."""
        return self._replace(rows=max(1, self.rows // 8 // self.batch) * self.batch)

    def data(self, seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Return (x, y) to train on and (x, y) to validate with: float32 rows around the centre of their class.

        Every class occurs, so that a library that counts the labels builds the same network.
        """
        random = np.random.default_rng(seed)
        inputs, classes = self.widths[0], self.widths[-1]
        centres = random.standard_normal((classes, inputs), dtype=np.float32)

        def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
            labels = random.permutation(np.arange(rows, dtype=np.int32) % classes)
            return centres[labels] + random.standard_normal((rows, inputs), dtype=np.float32), labels

        return draw(self.rows), draw(self.validation_rows)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("tiny", (4, 16, 3), 32, 12_800),
        Workload("small", (64, 128, 64, 10), 32, 12_800),
        Workload("mnist", (784, 512, 256, 10), 128, 12_800),
        Workload("wide", (1024, 4096, 4096, 1000), 512, 1_536),
        Workload("wide_bf16", (1024, 4096, 4096, 1000), 512, 1_536, "mixed_bfloat16"),
    )
}
