"""Damaged and hostile files for every reader: `python -m tests.fuzz` runs until told to stop, the tests a few of each."""
