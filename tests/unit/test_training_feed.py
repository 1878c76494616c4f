"""Feeds: every row once an epoch, in NumPy's order, in blocks whose size does not show."""

import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.training import feed as feeds
from lamina.training.feed import ArrayFeed, aligned
from lamina.training.stream import StreamFeed

SIZES = [(10, 4), (12, 4), (3, 4), (1, 1), (7, 1), (64, 64), (65, 32)]
KINDS = [
    pytest.param({}, id="gathered on the host"),
    pytest.param({"resident": True}, id="gathered on the device"),
    pytest.param({"keep": True}, id="kept"),
]


def data_of(rows):
    """Inputs that name their row, in two types, and no weights."""
    x = {"a": np.arange(rows, dtype="float64")[:, None] * [1, -1], "b": np.arange(rows)}
    return x, np.arange(rows, dtype="uint8"), None


def batches_of(feed, count):
    """All batches of an epoch as (x, y) of the real rows, read `count` at a time, and what fills the last one."""
    feed.start_epoch()
    found, fill = [], []
    while (block := feed.block(count)) is not None:
        assert 1 <= block.count <= count
        x, y, weight = jax.tree.map(np.array, block.data)  # copies: the memory is used again
        assert weight is None
        for k in range(block.count):
            real = int(np.asarray(block.rows)[k])
            found.append((jax.tree.map(lambda a, k=k, n=real: a[k, :n], x), y[k, :real]))
            fill.append((found[-1][1], y[k, real:]))
        feed.release(block)
    return found, fill


def rows_of(found):
    return [y.tolist() for _, y in found]


def flat(found):
    return [row for _, y in found for row in y.tolist()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("rows", "size"), SIZES)
def test_without_shuffling_every_row_comes_once_in_order_and_inputs_stay_with_targets(rows, size, padded, kind):
    feed = ArrayFeed(data_of(rows), size, padded=padded, **kind)
    for _ in range(2):
        found, _ = batches_of(feed, 3)
        assert rows_of(found) == [list(range(s, min(s + size, rows))) for s in range(0, rows, size)]
        for x, y in found:
            np.testing.assert_array_equal(x["a"], np.stack([y, -y.astype(float)], axis=1))
            np.testing.assert_array_equal(x["b"], y)
            assert (x["a"].dtype, x["b"].dtype, y.dtype) == (np.float32, np.int32, np.uint8)
    assert feed.steps == feed.batches == len(found)


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("rows", "size"), SIZES)
def test_shuffled_rows_come_in_the_order_of_numpys_permutation(rows, size, padded, kind):
    np.random.seed(7)
    feed = ArrayFeed(data_of(rows), size, shuffle=True, padded=padded, **kind)
    found = [flat(batches_of(feed, 2)[0]) for _ in range(3)]
    np.random.seed(7)
    assert found == [np.random.permutation(rows).tolist() for _ in range(3)]


def test_shuffled_within_batches_each_batch_keeps_its_rows():
    np.random.seed(7)
    feed = ArrayFeed(data_of(10), 4, shuffle="batch")
    found = rows_of(batches_of(feed, 9)[0])
    np.random.seed(7)
    assert found == [(np.random.permutation(n) + s).tolist() for s, n in ((0, 4), (4, 4), (8, 2))]


@pytest.mark.parametrize("kind", KINDS[:2])
def test_what_fills_a_short_batch_are_copies_of_its_real_rows(kind):
    feed = ArrayFeed(data_of(11), 8, shuffle=True, **kind)
    for _ in range(3):
        _, fill = batches_of(feed, 9)
        assert [len(f) for _, f in fill] == [0, 5]
        assert set(fill[1][1].tolist()) == set(fill[1][0].tolist())


@given(rows=st.integers(1, 40), size=st.integers(1, 12), counts=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_the_number_of_batches_in_a_block_does_not_show(rows, size, counts):
    def read(counts):
        np.random.seed(3)
        feed = ArrayFeed(data_of(rows), min(size, rows), shuffle=True)
        return [rows_of(batches_of(feed, count)[0]) for count in counts]

    assert read(counts) == read([1] * len(counts)) == read([1 << 30] * len(counts))


@given(rows=st.integers(1, 40), size=st.integers(1, 9), steps=st.integers(1, 12))
def test_with_fewer_steps_than_batches_the_next_epoch_goes_on_where_the_last_one_stopped(rows, size, steps):
    size = min(size, rows)
    feed = ArrayFeed(data_of(rows), size, steps_per_epoch=steps)
    batches = -(-rows // size)
    wanted, place = [], batches
    for _ in range(4):
        place = 0 if place >= batches else place
        wanted.append(list(range(place, min(batches, place + steps))))
        dry = batches - place < steps
        place = min(batches, place + steps)
        assert [r[0] // size for r in rows_of(batches_of(feed, 5)[0])] == wanted[-1]
        assert feed.ran_dry == dry


def test_a_new_order_is_drawn_only_when_all_rows_have_come():
    np.random.seed(1)
    feed = ArrayFeed(data_of(12), 4, shuffle=True, steps_per_epoch=2)
    first = flat(batches_of(feed, 1)[0]) + flat(batches_of(feed, 1)[0])
    assert sorted(first) == list(range(12))
    np.random.seed(1)
    assert first == np.random.permutation(12).tolist()


def test_the_memory_of_a_block_is_used_again_only_after_its_release():
    feed = ArrayFeed((np.arange(64.0), None, None), 1)
    feed.start_epoch()
    one, two = feed.block(8), feed.block(8)
    np.testing.assert_array_equal(one.data[0][:8, 0], np.arange(8))
    feed.release(one)
    three = feed.block(8)
    assert np.shares_memory(one.data[0], three.data[0])
    np.testing.assert_array_equal(two.data[0][:8, 0], np.arange(8, 16))
    np.testing.assert_array_equal(three.data[0][:8, 0], np.arange(16, 24))


def test_kept_blocks_are_put_on_the_device_once():
    feed = ArrayFeed(data_of(10), 4, keep=True)
    feed.start_epoch()
    first = feed.block(99)
    feed.start_epoch()
    assert all(a is b for a, b in zip(jax.tree.leaves(first.data), jax.tree.leaves(feed.block(99).data), strict=True))


def test_blocks_stay_small_for_wide_rows_and_start_at_a_cache_line(monkeypatch):
    monkeypatch.setattr(feeds, "BLOCK_BYTES", 1 << 12)
    feed = ArrayFeed((np.ones((64, 128), "float32"), None, None), 2)  # a batch is 1 KiB
    feed.start_epoch()
    block = feed.block(1 << 30)
    assert block.count == 4
    assert block.data[0].nbytes == 1 << 12
    assert block.data[0].ctypes.data % 64 == 0
    assert aligned((3, 5), "int16").ctypes.data % 64 == 0


@pytest.mark.parametrize("padded", [True, False])
def test_the_shapes_that_a_feed_promises_are_those_that_it_gives(padded):
    feed = ArrayFeed(data_of(10), 4, padded=padded)
    promised = jax.tree.map(lambda s: (s.shape, s.dtype), feed.peek())
    feed.start_epoch()
    given_ = jax.tree.map(lambda a: (a.shape[1:], a.dtype), feed.block(1).data)
    assert promised == given_


# ---- streams


def pieces(lengths):
    """Batches of these lengths, of rows numbered on."""
    starts = np.cumsum([0, *lengths])
    return [
        (np.arange(s, s + n, dtype="float64")[:, None], np.arange(s, s + n, dtype="uint8"))
        for s, n in zip(starts, lengths, strict=False)
    ]


def stream_of(lengths, **kwargs):
    kwargs = {"check": lambda batch, label: batch, "padded": True, "steps": None, **kwargs}
    return StreamFeed(lambda: iter(pieces(lengths)), **kwargs)


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    count=st.integers(1, 9),
    padded=st.booleans(),
)
def test_every_batch_of_a_stream_comes_once_whatever_its_length(lengths, count, padded):
    feed = stream_of(lengths, padded=padded)
    assert jax.tree.leaves(feed.peek())[0].shape == (lengths[0], 1)
    for _ in range(2):
        found, fill = batches_of(feed, count)
        assert rows_of(found) == [y.tolist() for _, y in pieces(lengths)]
        assert all(np.array_equal(x[:, 0], y) and x.dtype == np.float32 for x, y in found)
        for real, rest in fill:
            assert set(rest.tolist()) <= set(real.tolist())
            assert padded or not rest.size


def test_equal_batches_share_a_block_and_the_short_last_one_too_if_it_may_be_filled():
    for padded, sizes in ((True, [4]), (False, [3, 1])):
        feed = stream_of([4, 4, 4, 2], padded=padded)
        feed.start_epoch()
        assert [b.count for b in iter(lambda: feed.block(99), None)] == sizes  # noqa: B023 - used at once


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_stream_of_given_steps_gives_as_many(steps):
    feed = stream_of([2] * 7, steps=steps)
    for _ in range(2):
        assert len(batches_of(feed, 2)[0]) == steps
        assert not feed.ran_dry
    short = stream_of([2] * 7, steps=9)
    assert len(batches_of(short, 4)[0]) == 7
    assert short.ran_dry


def test_an_iterator_is_read_no_further_than_the_epoch_asks():
    source = iter(pieces([2] * 9))
    feed = StreamFeed(source, 3, check=lambda batch, label: batch, padded=True)
    batches_of(feed, 99)
    assert next(source)[1].tolist() == [6, 7]


# ---- memory

MEMORY = """
import resource, sys
import numpy as np
from lamina import layers, models, optimizers

def peak():
    if sys.platform == "linux":  # there `ru_maxrss` begins with what the parent process had
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

x = np.empty(((300 << 20) // np.dtype({dtype}).itemsize // 1024, 1024), {dtype})  # 300 MiB
x.fill(1)  # in place: the peak so far must be that of the data alone
y = np.zeros((len(x), 1), np.float32)
model = models.Sequential([layers.Input((1024,)), layers.Dense(1)])
model.compile(optimizers.SGD(1e-6), "mse")
model.fit(x[:4096], y[:4096], batch_size=128, epochs=2, verbose=0)
model.evaluate(x[:4096], y[:4096], batch_size=128, verbose=0)
model.predict(x[:16384], verbose=0)
before = peak()
{work}
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("dtype", "work", "copies"),
    [
        pytest.param("np.float32", "model.fit(x, y, batch_size=128, verbose=0)", False, id="fit on float32"),
        pytest.param("np.uint8", "model.fit(x, y, batch_size=128, verbose=0)", False, id="fit on bytes"),
        pytest.param("np.float32", "model.fit(x, y, batch_size=128, validation_split=0.5, verbose=0)", False,
                     id="fit on half, the rest to validate on"),
        pytest.param("np.float32", "model.evaluate(x, y, verbose=0)", False, id="evaluate"),
        pytest.param("np.float32", "model.predict(x, verbose=0)", False, id="predict"),
        pytest.param("np.float32", "x.copy()", True, id="what a copy would be seen as"),
    ],
)  # fmt: skip
def test_the_data_are_not_copied_as_a_whole(dtype, work, copies):
    script = textwrap.dedent(MEMORY).format(dtype=dtype, work=work)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (float(done.stdout) > 100) == copies, done.stdout
