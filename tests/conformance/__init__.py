"""Keras's own tests, unmodified, read from the installed wheel and run against lamina: `python -m tests.conformance`."""
