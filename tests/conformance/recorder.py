"""A pytest plug-in that writes the outcome of every case to a file: `{case: [outcome, reason]}`."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

_outcomes: dict[str, list[str]] = {}
_NOISE = 400
LIMIT = 240  # seconds for one case


def case_name(nodeid: str) -> str:
    """Return `Class.test` for a node of pytest."""
    return ".".join(nodeid.split("::")[1:])


def _reason(report: Any) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)[:_NOISE]


def pytest_runtest_logreport(report: Any) -> None:
    name = case_name(report.nodeid)
    if report.failed:
        _outcomes[name] = ["failed", _reason(report)]
    elif report.skipped:
        _outcomes[name] = ["skipped", _reason(report)]
    elif report.when == "call":
        _outcomes.setdefault(name, ["passed", ""])


def _stop(number: int, frame: Any) -> None:
    raise TimeoutError(f"stopped after {LIMIT} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(LIMIT)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        _outcomes["(the file itself)"] = ["failed", str(report.longrepr)[-3 * _NOISE :]]


def pytest_sessionfinish() -> None:
    with open(os.environ["CONFORMANCE_REPORT"], "w") as file:
        json.dump(_outcomes, file)
