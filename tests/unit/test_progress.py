import contextlib
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from unit.callback_fakes import Model

from lamina import callbacks, config, errors
from lamina.callbacks import callback_list, console, progress
from lamina.callbacks.progress import Progbar


class Terminal(io.StringIO):
    """A screen that understands what progress writes: returns, rows up, and erasing."""

    encoding = "utf-8"

    def __init__(self, tty=True):
        super().__init__()
        self.tty = tty
        self.writes = 0

    def isatty(self):
        return self.tty

    def write(self, text):
        self.writes += 1
        return super().write(text)

    @property
    def rows(self):
        rows, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\d*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", self.getvalue()):
            if token == "\r":
                column = 0
            elif token == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif token.endswith("A"):
                row -= int(token[2:-1])
            elif token.endswith("K"):
                rows[row] = rows[row][:column]
            elif token.endswith("J"):
                rows[row:] = [rows[row][:column]]
            elif not token.endswith("m"):
                rows[row] = rows[row][:column].ljust(column) + token + rows[row][column + len(token) :]
                column += len(token)
        return [row.rstrip() for row in rows if row.strip()]


def _screen(monkeypatch, stream):
    """Let progress write to a stream; pytest puts its own into `sys.stdout` again and again."""
    monkeypatch.setattr(console, "sys", SimpleNamespace(stdout=stream, __stdout__=None))


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(progress, "time", clock)
    screen = console.Screen()
    for module in (console, progress, callback_list):
        monkeypatch.setattr(module, "screen", screen)
    return clock


@pytest.fixture(params=[80, 120])
def columns(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return request.param


@pytest.fixture
def terminal(monkeypatch, columns):
    terminal = Terminal()
    _screen(monkeypatch, terminal)
    return terminal


@pytest.fixture
def pipe(monkeypatch):
    pipe = Terminal(tty=False)
    _screen(monkeypatch, pipe)
    return pipe


LOGS = {"accuracy": 0.97123, "loss": 0.0913}
ALL = {**LOGS, "val_accuracy": 0.965, "val_loss": 0.12034}


def fit(clock, *, epochs=3, steps=10, each=0.05, logs=ALL, extra=(), block=1, **params):
    params = {"verbose": "auto", "epochs": epochs, "steps": steps, "samples": steps * 128, **params}
    both = callbacks.CallbackList(list(extra), add_history=True, add_progbar=True, model=Model(), **params)
    both.on_train_begin()
    for epoch in range(epochs):
        both.on_epoch_begin(epoch)
        for step in range(block, steps + 1, block):
            clock.now += each * block
            both.on_block_end(step, lambda: LOGS)
        both.on_epoch_end(epoch, logs)
    both.on_train_end()
    return both


def test_a_file_gets_one_line_an_epoch_with_every_result(clock, pipe):
    fit(clock)
    line = "0.5s - 2.56k samples/s - accuracy: 0.9712 - loss: 0.0913 - val_accuracy: 0.9650 - val_loss: 0.1203"
    assert pipe.getvalue() == "".join(f"Epoch {epoch}/3 - {line}\n" for epoch in (1, 2, 3))


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_nothing_is_fetched_in_between_for_a_file(clock, pipe, verbose):
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=verbose, epochs=1, steps=4)
    assert not both.needs_blocks
    both.on_train_begin()
    both.on_epoch_begin(0)
    clock.now += 10
    both.on_block_end(2, lambda: pytest.fail("fetched"))


def test_one_line_an_epoch_in_a_terminal_too_if_asked(clock, terminal):
    both = fit(clock, verbose=2)
    assert not both.needs_blocks
    assert "\x1b" not in terminal.getvalue()
    assert len(terminal.getvalue().splitlines()) == 3


@pytest.mark.parametrize("verbose", ["atuo", -1, 1.5, None])
def test_verbose_is_auto_or_a_number(verbose):
    with pytest.raises(errors.InvalidArgumentError, match="`verbose` must be 'auto', 0, 1 or 2"):
        callbacks.CallbackList([], add_progbar=True, verbose=verbose)


def test_verbose_0_prints_nothing(clock, terminal):
    logger = callbacks.ProgbarLogger()
    fit(clock, verbose=0, extra=[logger])
    assert terminal.getvalue() == ""


def test_a_terminal_shows_a_live_line(clock, terminal, columns):
    both = callbacks.CallbackList(
        [], add_progbar=True, model=Model(), verbose=1, epochs=12, steps=100, samples=12800, batch_size=128
    )
    assert both.needs_blocks
    both.on_train_begin()
    both.on_epoch_begin(0)
    assert terminal.rows == ["Epoch  1/12 " + "─" * 20 + "   0/100 - starting"]
    clock.now += 5  # compilation
    both.on_block_end(10, lambda: LOGS)
    clock.now += 1
    both.on_block_end(55, lambda: LOGS)
    head = "Epoch  1/12 " + "━" * 11 + "─" * 9 + "  55/100 - 1.0s left - 5.76k samples/s"
    if columns == 120:
        assert terminal.rows == [f"{head} - accuracy: 0.9712 - loss: 0.0913"]
    else:
        assert terminal.rows == [head, " " * 12 + "accuracy: 0.9712 - loss: 0.0913"]
    both.on_test_begin()
    clock.now += 1
    both.on_block_end(3, lambda: pytest.fail("fetched"))
    assert "55/100 - validating - accuracy: 0.9712" in terminal.rows[0]
    both.on_test_end()
    both.on_epoch_end(0, ALL)
    assert " ".join(terminal.rows).startswith("Epoch  1/12 - 7.0s - 1.83k samples/s - accuracy: 0.9712")
    assert "━" not in terminal.rows[0]


def test_every_epoch_stays_in_a_terminal(clock, terminal, columns):
    fit(clock, epochs=10)
    assert terminal.rows[0].startswith("Epoch  1/10 - 0.5s - ")
    assert len(terminal.rows) == (10 if columns == 120 else 20)
    assert all(len(row) < columns for row in terminal.rows)
    assert sum("val_loss: 0.1203" in row for row in terminal.rows) == 10


def test_a_live_line_is_looked_at_ten_times_a_second(clock, terminal):
    fetched = []

    def fetch():
        fetched.append(clock.now)
        return LOGS

    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=1, epochs=1, steps=1000)
    both.on_train_begin()
    both.on_epoch_begin(0)
    for step in range(1, 1001):
        clock.now += 0.001
        both.on_block_end(step, fetch)
    assert 9 <= len(fetched) <= 11


def test_short_epochs_show_no_live_line_and_share_writes(clock, terminal, columns):
    fit(clock, epochs=200, each=0.0003)
    assert sum("Epoch" in row for row in terminal.rows) == 200
    assert terminal.writes < 30
    assert terminal.getvalue().count("\r") <= 4


def test_lines_are_not_held_back_where_a_callback_may_print(clock, pipe):
    extra = [callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(f"own {epoch}", file=pipe))]
    fit(clock, epochs=3, each=0.0001, extra=extra)
    assert [line[:7] for line in pipe.getvalue().splitlines()] == [
        "own 0", "Epoch 1", "own 1", "Epoch 2", "own 2", "Epoch 3",
    ]  # fmt: skip


def test_what_a_callback_prints_stands_above_the_live_line(clock, terminal):
    fit(clock, extra=[callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(f"own {epoch}", file=terminal))])
    firsts = [row[:7] for row in terminal.rows if row.startswith(("own", "Epoch"))]
    assert firsts == ["own 0", "Epoch 1", "own 1", "Epoch 2", "own 2", "Epoch 3"]


def test_messages_push_the_live_line_aside(clock, terminal):
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=1, epochs=2, steps=10)
    both.on_train_begin()
    both.on_epoch_begin(0)
    console.say("hello")
    assert terminal.rows == ["hello"]
    clock.now += 1
    both.on_block_end(5, lambda: LOGS)
    assert terminal.rows[0] == "hello"
    assert terminal.rows[1].startswith("Epoch 1/2 ━━━━━━━━━━───")


def test_an_error_leaves_the_live_line_and_a_free_row(clock, terminal):
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=1, epochs=2, steps=10)
    both.on_train_begin()
    both.on_epoch_begin(0)
    both.flush()
    assert terminal.getvalue().endswith("starting\x1b[J\n")
    both.flush()
    assert terminal.getvalue().count("\n") == 1


def test_many_metrics_stand_in_columns(clock, terminal, columns):
    many = {f"precision_at_{k}": k / 20 for k in range(20)}
    fit(clock, epochs=1, logs=many)
    rows = terminal.rows
    assert rows[0] == "Epoch 1/1 - 0.5s - 2.56k samples/s"
    starts = [[found.start() for found in re.finditer("precision", row)] for row in rows[1:]]
    assert all(start == starts[0][: len(start)] for start in starts)
    assert sum(map(len, starts)) == 20
    assert all(len(row) < columns for row in rows)


def test_a_live_block_never_grows_over_the_screen(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "6")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    _screen(monkeypatch, terminal)
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=1, epochs=1, steps=10)
    both.on_train_begin()
    both.on_epoch_begin(0)
    clock.now += 1
    both.on_block_end(
        5, lambda: {"a_name_wider_than_the_whole_screen_is_in_all": 1.0, **{f"m{k}": 1.0 for k in range(40)}}
    )
    assert len(terminal.rows) <= 5
    assert max(map(len, terminal.rows)) <= 39
    both.on_train_end()


def test_nan_is_red_in_a_terminal_unless_colours_are_off(clock, terminal, monkeypatch):
    bad = {"loss": float("nan"), "mse": float("inf")}
    fit(clock, epochs=1, logs=bad)
    assert "loss: \x1b[31mnan\x1b[0m - mse: \x1b[31minf\x1b[0m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    before = len(terminal.getvalue())
    fit(clock, epochs=1, logs=bad)
    assert "loss: nan - mse: inf" in terminal.getvalue()[before:]
    assert not re.search(r"\x1b\[\d*m", terminal.getvalue()[before:])


def test_an_unknown_number_of_steps_is_counted_and_known_from_the_second_epoch(clock, terminal):
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=1, epochs=2, steps=None)
    both.on_train_begin()
    for epoch in range(2):
        both.on_epoch_begin(epoch)
        for step in range(1, 8):
            clock.now += 0.2
            both.on_block_end(step, lambda: LOGS)
            if step == 3:
                expected = "Epoch 1/2 3 steps - 0.6s - 5.00 steps/s" if epoch == 0 else "━━━━━━━━╸─────────── 3/7"
                assert expected in " ".join(terminal.rows)
        both.on_epoch_end(epoch, ALL)
    assert "Epoch 1/2 - 1.4s - 5.00 steps/s - accuracy: 0.9712" in " ".join(terminal.rows)


def test_an_end_that_is_delivered_late_counts_no_time_twice(clock, pipe):
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=2, epochs=3, steps=10)
    both.on_train_begin()
    both.on_epoch_begin(0)
    clock.now += 1
    both.on_epoch_begin(1)
    clock.now += 1
    both.on_epoch_end(0, LOGS)
    both.on_epoch_begin(2)
    clock.now += 2
    both.on_epoch_end(1, LOGS)
    clock.now += 2
    both.on_epoch_end(2, LOGS)
    both.on_train_end()
    assert [line.split(" - ")[:2] for line in pipe.getvalue().splitlines()] == [
        ["Epoch 1/3", "2.0s"], ["Epoch 2/3", "2.0s"], ["Epoch 3/3", "2.0s"],
    ]  # fmt: skip


def evaluate(clock, kind, seconds, **params):
    both = callbacks.CallbackList([], add_progbar=True, model=Model(), epochs=1, steps=10, samples=1000, **params)
    getattr(both, f"on_{kind}_begin")()
    clock.now += seconds
    both.on_block_end(10, lambda: LOGS)
    getattr(both, f"on_{kind}_end")(LOGS if kind == "test" else None)


def test_evaluate_leaves_its_results(clock, pipe):
    evaluate(clock, "test", 0.1, verbose="auto")
    assert pipe.getvalue() == "Evaluate - 0.1s - 10.0k samples/s - accuracy: 0.9712 - loss: 0.0913\n"


@pytest.mark.parametrize(
    ("seconds", "verbose", "line"), [(0.1, "auto", False), (0.1, 1, True), (2.0, "auto", True), (2.0, 0, False)]
)
def test_predict_leaves_a_line_if_it_took_long_or_was_asked_to(clock, pipe, seconds, verbose, line):
    both = callbacks.ProgbarLogger()
    params = {"verbose": verbose, "epochs": 1, "steps": 10, "samples": 1000}
    listed = callbacks.CallbackList([both], model=Model(), **params)
    listed.on_predict_begin()
    clock.now += seconds
    listed.on_predict_end()
    assert bool(pipe.getvalue()) is line


def test_evaluate_and_predict_show_bars_in_a_terminal(clock, terminal):
    for kind, label in (("test", "Evaluate"), ("predict", "Predict")):
        both = callbacks.CallbackList([], add_progbar=True, model=Model(), verbose=1, epochs=1, steps=10)
        getattr(both, f"on_{kind}_begin")()
        clock.now += 1
        both.on_block_end(5, lambda: LOGS)
        assert f"{label} ━━━━━━━━━━──────────  5/10" in " ".join(terminal.rows)
        getattr(both, f"on_{kind}_end")(LOGS)
    assert len(terminal.rows) == 2


def test_progress_goes_to_the_logger_if_interactive_logging_is_off(clock, terminal, caplog):
    config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", logger="lamina"):
            assert not fit(clock).needs_blocks
    finally:
        config.enable_interactive_logging()
    assert terminal.getvalue() == ""
    assert [record.message[:9] for record in caplog.records] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]


def test_redirected_output_is_plain(clock):
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        fit(clock, epochs=2)
    assert len(captured.getvalue().splitlines()) == 2
    assert "\x1b" not in captured.getvalue()


def test_a_dumb_terminal_is_plain(clock, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    fit(clock, epochs=2)
    assert "\x1b" not in terminal.getvalue()


def test_a_notebook_shows_one_live_row_and_whole_lines(clock, monkeypatch):
    out = type("OutStream", (Terminal,), {"__module__": "ipykernel.iostream"})(tty=False)
    _screen(monkeypatch, out)
    many = {f"precision_at_{k}": k / 20 for k in range(20)}
    fit(clock, epochs=1, logs=many)
    assert "\x1b[J" not in out.getvalue()
    assert "\x1b[A" not in out.getvalue()
    assert "━" in out.getvalue()
    assert len(out.rows) == 1
    assert out.rows[0].endswith("precision_at_9: 0.4500")


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "latin-1"])
def test_a_screen_with_a_small_alphabet_gets_another_bar(clock, monkeypatch, columns, encoding):
    class Narrow(Terminal):
        def write(self, text):
            text.encode(encoding)
            return super().write(text)

    Narrow.encoding = encoding
    out = Narrow()
    _screen(monkeypatch, out)
    fit(clock, epochs=1)
    assert "====" in out.getvalue()
    assert "----" in out.getvalue()
    assert "val_loss: 0.1203" in out.getvalue()


def test_a_screen_that_is_gone_never_stops_training(clock, monkeypatch):
    class Gone(Terminal):
        def write(self, text):
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    for out in (Gone(), Gone(tty=False), closed, None):
        _screen(monkeypatch, out)
        fit(clock, epochs=2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97123, "0.9712"),
        (0.0, "0.0000"),
        (-0.5, "-0.5000"),
        (12.0, "12.0000"),
        (0.00012, "1.2000e-04"),
        (5.7e22, "5.7000e+22"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (3, "3.0000"),
        (np.float32(0.25), "0.2500"),
        (np.array([1.0, 2.0]), "1.5000"),
        ([1.0, 2.0], "1.5000"),
        ("text", "text"),
        (None, "None"),
    ],
)
def test_numbers_are_short(value, text):
    assert console.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0.4ms"), (0.003, "3ms"), (0.0994, "99ms"), (0.0996, "0.1s"), (9.94, "9.9s"), (9.96, "10s"),
     (59.7, "1m00s"), (125, "2m05s"), (3599.6, "1h00m"), (3780, "1h03m")],
)  # fmt: skip
def test_times_are_short(seconds, text):
    assert console.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(953.4, "953 u/s"), (9.5, "9.50 u/s"), (99.96, "100 u/s"), (999.6, "1.00k u/s"), (51_640, "51.6k u/s"),
     (310_000, "310k u/s"), (999_900, "1.00M u/s"), (1.24e6, "1.24M u/s"), (2e9, "2.00G u/s")],
)  # fmt: skip
def test_speeds_have_three_digits(count, text):
    assert console.rate(count, 1.0, "u/s") == text


@pytest.mark.parametrize("share", [0, 0.001, 0.26, 0.5, 0.99, 1, 1.7, -1])
def test_a_bar_is_always_as_wide(share):
    done, rest = console.bar(share, 20)
    assert len(done + rest) == 20
    assert (rest == "") is (share > 0.98)


@pytest.mark.parametrize("value", [1.0, np.array(1.0), [0.0, 1.0, 2.0], np.float32(1)])
def test_progbar_takes_any_number(pipe, value):
    Progbar(target=1).update(1, values=[("values", value)], finalize=True)
    assert "1/1 ━━━━━━━━━━━━━━━━━━━━ - " in pipe.getvalue()
    assert pipe.getvalue().endswith("- values: 1.0000\n")


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("target", [0, None])
def test_progbar_works_without_steps(pipe, verbose, target):
    bar = Progbar(target=target, verbose=verbose)
    bar.update(0, finalize=True)
    assert bool(pipe.getvalue()) is (verbose == 1)


def test_progbar_takes_one_list_of_names():
    with pytest.raises(errors.InvalidArgumentError, match="Only one of"):
        Progbar(target=1, stateful_metrics=[], stateless_metrics=[])


@pytest.mark.parametrize(
    ("stateful", "stateless", "shown"),
    [([], None, "1."), (["value"], None, "2."), (None, [], "2."), (None, ["value"], "1."), (None, None, "1.")],
)
def test_progbar_averages_what_it_is_told_to(stateful, stateless, shown):
    bar = Progbar(target=3, stateful_metrics=stateful, stateless_metrics=stateless, interval=0.0)
    bar.update(1, values=[("value", 0.0)])
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        bar.update(2, values=[("value", 2.0)])
    assert f"value: {shown}" in captured.getvalue()


def test_progbar_redraws_in_a_terminal_and_stays_at_the_end(clock, terminal):
    bar = Progbar(target=10, unit_name="sample")
    for _ in range(10):
        clock.now += 0.1
        bar.add(1, [("loss", 0.5)])
    assert len(terminal.rows) == 1
    assert terminal.rows[0] == "10/10 " + "━" * 20 + " - 1.0s - 0.1s/sample - loss: 0.5000"
    assert terminal.writes == 10


def test_progbar_writes_fewer_lines_into_a_file(clock, pipe):
    bar = Progbar(target=100)
    for _ in range(100):
        clock.now += 0.1
        bar.add(1)
    assert 9 <= len(pipe.getvalue().splitlines()) <= 11
