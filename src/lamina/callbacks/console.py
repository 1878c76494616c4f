"""What callbacks print: messages, finished lines, and one live block at the foot of a terminal."""

import logging
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal, TextIO

import numpy as np

from lamina import config

Mode = Literal["terminal", "notebook", "plain", "log"]
PAUSE = 0.05  # seconds between writes when lines come faster than anybody reads
_NOTEBOOK_COLUMNS = 110
_PLAIN = str.maketrans({"━": "=", "╸": ">", "─": "-", "…": "~"})
_log = logging.getLogger("lamina")


def mode() -> Mode:
    """Return how to show progress: a terminal or notebook can overwrite, a file or pipe cannot, a log has no screen."""
    if not config.is_interactive_logging_enabled():
        return "log"
    stream = sys.stdout
    if type(stream).__module__.startswith("ipykernel"):
        return "notebook"
    try:
        if stream.isatty():
            return "plain" if os.environ.get("TERM") == "dumb" else "terminal"
    except (AttributeError, ValueError):
        return "plain"  # no standard output, or a closed one
    return "notebook" if "PYCHARM_HOSTED" in os.environ and stream is sys.__stdout__ else "plain"


def size(where: Mode) -> tuple[int, int]:
    """Return the number of characters and of rows that a live block may have."""
    if where == "notebook":
        return _NOTEBOOK_COLUMNS, 1
    terminal = shutil.get_terminal_size()
    return max(terminal.columns - 1, 20), max(terminal.lines - 1, 1)


def _put(stream: TextIO | None, text: str) -> None:
    """Write and flush. A screen that is gone, full or too narrow in its alphabet never stops a training."""
    if stream is None or not text:
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "utf-8"
            stream.write(text.translate(_PLAIN).encode(encoding, errors="ignore").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        return


class Screen:
    """Standard output with at most one live block on it, which any other text pushes aside.

    Attributes:
        drawn: Rows of the live block; 0 if there is none.
    """

    def __init__(self) -> None:
        self.drawn = 0
        self._width = 0
        self._notebook = False
        self._stream: TextIO | None = None
        self._waiting: list[str] = []
        self._written = 0.0

    def draw(self, lines: Sequence[str], where: Mode, width: int) -> None:
        """Show a live block in the place of the last one.

        Args:
            lines: Rows, none wider than the screen. A notebook shows the first.
            where: "terminal" or "notebook".
            width: Visible characters of the first row.
        """
        if self._stream is not sys.stdout or self._waiting:
            self.clear()
            self.flush()
        if where == "notebook":
            text = f"\r{lines[0]}{' ' * (self._width - width)}"
        else:
            up = f"\x1b[{self.drawn - 1}A" if self.drawn > 1 else ""
            text = "\r" + up + "\x1b[K\n".join(lines) + "\x1b[J"
        self.drawn, self._width, self._stream = (1 if where == "notebook" else len(lines)), width, sys.stdout
        self._notebook = where == "notebook"
        _put(self._stream, text)

    def _erasure(self) -> str:
        if not self.drawn:
            return ""
        if self._notebook:
            return f"\r{' ' * self._width}\r"
        return "\r" + (f"\x1b[{self.drawn - 1}A" if self.drawn > 1 else "") + "\x1b[J"

    def clear(self) -> None:
        """Take the live block off the screen."""
        if self.drawn:
            text, self.drawn = self._erasure(), 0
            _put(self._stream, text)

    def line(self, text: str, *, later: bool = False) -> None:
        """Write a line that stays.

        Args:
            text: The line, without its end.
            later: Whether it may wait a moment for others, to be written with them.
        """
        now = time.perf_counter()
        self._waiting.append(text)
        if not later or now - self._written >= PAUSE:
            self.flush()
            self._written = now

    def flush(self) -> None:
        """Write the lines that wait."""
        if not self._waiting:
            return
        text, self._waiting = "\n".join(self._waiting) + "\n", []
        if not config.is_interactive_logging_enabled():
            self.clear()
            _log.info(text[:-1])
        elif self.drawn and self._stream is sys.stdout:
            erasure, self.drawn = self._erasure(), 0
            _put(sys.stdout, erasure + text)
        else:
            self.clear()
            _put(sys.stdout, text)

    def leave(self) -> None:
        """Write what waits and let a live block stay where it is, for the end of a run that an error cuts off."""
        self.flush()
        if self.drawn:
            self.drawn = 0
            _put(self._stream, "\n")


screen = Screen()


def say(message: Any, line_break: bool = True) -> None:
    """Print a message to standard output, or to the `lamina` logger if interactive logging is off."""
    screen.flush()
    screen.clear()
    if config.is_interactive_logging_enabled():
        _put(sys.stdout, f"{message}\n" if line_break else str(message))
    else:
        _log.info(str(message))


def number(value: Any) -> str:
    """Return a loss or metric with four decimals, or in powers of ten where those would hide it."""
    if not isinstance(value, float):
        try:
            value = float(np.mean(value))
        except (TypeError, ValueError):
            return str(value)
    if 1e-3 <= abs(value) < 1e5 or value == 0:
        return f"{value:.4f}"
    return f"{value:.4e}" if math.isfinite(value) else str(value)


def duration(seconds: float) -> str:
    """Return a time as `0.4ms`, `35ms`, `0.4s`, `42s`, `2m05s` or `1h03m`."""
    if seconds < 0.001:
        return f"{seconds * 1e3:.1f}ms"
    if seconds < 0.0995:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def rate(count: float, seconds: float, unit: str) -> str:
    """Return a speed with three digits: `953 samples/s`, `310k samples/s`, `1.24M samples/s`."""
    speed = count / max(seconds, 1e-9)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if speed >= 0.9995 * size:
            return f"{_three(speed / size)}{letter} {unit}"
    return f"{_three(speed)} {unit}"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def metrics(logs: dict[str, Any]) -> list[str]:
    """Return `["accuracy: 0.9712", "loss: 0.0913"]`."""
    return [f"{name}: {number(value)}" for name, value in logs.items()]


def wrap(parts: Sequence[str], width: int, indent: int) -> list[str]:
    """Return parts joined by ` - ` in rows of at most `width`, broken between parts, later rows indented.

    Where that takes more than three rows, what holds a value is set in columns, one below the other.
    """
    rows, row = [], parts[0]
    for part in parts[1:]:
        if len(row) + 3 + len(part) <= width:
            row += f" - {part}"
        else:
            rows.append(row)
            row = " " * indent + part
    rows.append(row)
    return rows if len(rows) <= 3 else _grid(parts, width)


def _grid(parts: Sequence[str], width: int) -> list[str]:
    values = [part for part in parts if ": " in part]
    widest = max(len(value) for value in values)
    count = max((width - 4 + 2) // (widest + 2), 1)
    rows = [values[start : start + count] for start in range(0, len(values), count)]
    head = " - ".join(part for part in parts if ": " not in part)
    return [head, *("    " + "  ".join(value.ljust(widest) for value in row).rstrip() for row in rows)]


def bar(share: float, width: int) -> tuple[str, str]:
    """Return the done and the open part of a bar; together they are `width` characters."""
    halves = min(max(int(2 * width * share), 0), 2 * width)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return done, "─" * (width - len(done))


def bold(text: str) -> str:
    """Return text in bold, unless `NO_COLOR` is set."""
    return text if os.environ.get("NO_COLOR") else f"\x1b[1m{text}\x1b[0m"


def alarmed(row: str) -> str:
    """Return a row with what is not finite in red, unless `NO_COLOR` is set."""
    if (": nan" not in row and "inf" not in row) or os.environ.get("NO_COLOR"):
        return row
    return re.sub(r": (nan|-?inf)\b", ": \x1b[31m\\1\x1b[0m", row)


def painted(done: str, rest: str) -> str:
    """Return a bar in colour, unless `NO_COLOR` is set."""
    if os.environ.get("NO_COLOR"):
        return done + rest
    return f"\x1b[32m{done}\x1b[0m\x1b[2m{rest}\x1b[0m"
