"""Keras's switches of logging."""

from lamina.config import disable_interactive_logging as disable_interactive_logging
from lamina.config import enable_interactive_logging as enable_interactive_logging
from lamina.config import is_interactive_logging_enabled as is_interactive_logging_enabled


def set_logging_verbosity(level: str) -> None:
    """Take the level: lamina's logger follows Python's root logger."""
