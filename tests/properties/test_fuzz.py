"""A few damaged files for each reader on every run; `make fuzz` goes on for ten minutes each."""

import pytest
from tests.fuzz import run, targets

COUNT = {"keras": 40, "h5": 40, "weights": 60, "weights_plain": 100}


@pytest.mark.parametrize("name", targets.names())
def test_damaged_files_are_refused_or_read_within_their_memory(name):
    outcome = run.run(name, count=COUNT.get(name, 150))
    assert not outcome.failures, outcome.failures[:3]
    assert outcome.refused > 0
