import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import machine
from lamina.errors import InvalidArgumentError


def test_devices_are_those_of_jax():
    assert [device.number for device in machine.devices()] == [device.id for device in jax.devices()]
    assert machine.devices()[0].platform == jax.default_backend()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu.max": "nonsense"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_the_cores_are_those_that_scheduler_and_container_allow(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert machine.cores(tmp_path) == expected


def test_without_affinity_the_cores_are_counted(tmp_path, monkeypatch):
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 7)
    assert machine.cores(tmp_path) == 7


@pytest.mark.parametrize(
    ("lengths", "seconds", "expected"),
    [
        ([5, 1, 2, 1, 9], 0, 2),  # at least five, and the median does not see the one that was disturbed
        ([1, 1, 1, 1, 1, 3, 3, 3], 12, 1),
        ([9, 9, 9, 9, 9, 1, 1, 1, 1, 1], 50, 5),
    ],
)
def test_the_time_of_some_work_is_the_median_of_what_fits(lengths, seconds, expected):
    readings = itertools.accumulate([100, *lengths])
    done = []
    median = machine._median_time(lambda: done.append(1), seconds, clock=lambda: next(readings))
    assert median == expected
    assert len(done) == len(lengths)


def test_the_rate_is_the_operations_of_a_product_over_its_time(monkeypatch):
    monkeypatch.setattr(machine, "_median_time", lambda work, seconds: seconds)
    assert machine.matmul_rate(8, seconds=0.5) == 2 * 8**3 / 0.5


def test_the_processor_has_a_name():
    assert machine.processor().strip()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_rate_of_a_real_product_is_positive(dtype):
    assert machine.matmul_rate(32, dtype, seconds=0) > 0


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_size_that_is_not_a_positive_integer_is_refused(size):
    with pytest.raises(InvalidArgumentError, match="`size`"):
        machine.matmul_rate(size)


def test_the_clock_counts_time_that_is_covered_twice_once():
    clock = machine.CompileClock()
    clock.spans = [(2.0, 3.0), (1.0, 4.0), (8.0, 10.0), (9.5, 10.5), (3.5, 4.5)]
    assert clock.seconds == 3.5 + 2.5


def test_the_clock_takes_reports_of_compiling_only():
    clock = machine.CompileClock()
    clock.record("/jax/compilation_cache/cache_retrieval_time_sec", 99.0)
    assert clock.seconds == 0
    clock.record("/jax/core/compile/backend_compile_duration", 2.0, fun_name="step")
    assert clock.seconds == pytest.approx(2.0)


def test_the_clock_runs_where_something_compiles_and_nowhere_else():
    program = jax.jit(lambda x: jnp.tanh(x) * 3.25)
    with machine.compiling() as clock:
        program(np.ones(5, np.float32))
    first = clock.seconds
    assert first > 0
    with machine.compiling() as again:
        program(np.ones(5, np.float32))
    assert again.seconds == 0
    jax.jit(lambda x: jnp.tanh(x) * 4.25)(np.ones(5, np.float32))
    assert clock.seconds == first
