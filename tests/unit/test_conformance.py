"""Keras's own tests run against lamina: the harness works, and two small files keep what they reached."""

from fnmatch import fnmatchcase

import pytest
from tests.conformance import tables
from tests.conformance.files import NAMED, OTHERS, SMOKE, path_of
from tests.conformance.runner import run_file

FLOORS = tables.read(tables.FLOORS)
REFERENCE = tables.read(tables.REFERENCE)


@pytest.mark.parametrize("name", SMOKE)
def test_a_small_file_of_keras_passes_unmodified(name):
    outcomes, printed = run_file(name)
    row = tables.row_of(name, outcomes, REFERENCE, tables.read(tables.DIFFERENCES))
    assert len(row.passed) >= FLOORS[name] > 0, printed
    assert not row.failed, printed


def test_every_file_that_is_listed_is_in_the_wheel_and_has_a_floor_that_keras_itself_reaches():
    for name in [*NAMED, *OTHERS]:
        assert path_of(name).exists(), name
        assert 0 <= FLOORS[name] <= REFERENCE[name]["passed"], name


def test_a_case_counts_once_and_only_if_it_passes_in_keras():
    outcomes = {
        "T.good": ["passed", ""],
        "T.bad": ["failed", "why"],
        "T.absent": ["skipped", "missing layers.Conv2D"],
        "T.own_way": ["failed", "why"],
        "T.keras_fails": ["failed", "no TensorFlow"],
    }
    reference = {"a/a": {"passed": 5, "not": ["T.keras_fails"]}}
    row = tables.row_of("a/a", outcomes, reference, [{"file": "a/*", "case": "T.own*", "reason": "better"}])
    assert row.passed == ["T.good"]
    assert list(row.failed) == ["T.bad"]
    assert row.missing == {"T.absent": "layers.Conv2D", "(not collected 1)": "not collected"}
    assert row.differs == {"T.own_way": "better"}
    assert (row.skipped, row.counted, row.concern) == (1, 5, 4)


def test_every_difference_says_why_and_is_about_a_file_that_is_run():
    for entry in tables.read(tables.DIFFERENCES):
        assert set(entry) - {"kind"} == {"file", "case", "reason"}, entry
        assert entry.get("kind", "outside") == "outside", entry
        assert any(fnmatchcase(name, entry["file"]) for name in [*NAMED, *OTHERS]), entry
