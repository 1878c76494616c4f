import shutil

import pytest
from benchmarks.small_machine import measure

from lamina.demo import job
from lamina.random import set_random_seed

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def test_the_demos_network_fits_a_machine_of_four_megabytes(tmp_path):
    set_random_seed(1)
    (x, y), _, _ = job.digits("sample", 1)
    model = job.network(2, rows=len(y))
    model.fit(x, y, batch_size=job.BATCH, epochs=2, verbose=0)
    found = measure(model, tmp_path)
    assert found.network < 1_000_000
    assert found.peak_resident < found.peak_address_space <= 4 << 20
    assert found.float_accuracy > 0.9
    assert found.int8_accuracy >= found.float_accuracy - 0.005
