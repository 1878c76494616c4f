"""The version, kept apart so that the command line can print it without importing JAX."""

__version__ = "0.1.0"
