"""Small functions of Keras's inside."""


def removesuffix(text: str, suffix: str) -> str:
    """Return `text` without `suffix` at its end."""
    return text.removesuffix(suffix)


def removeprefix(text: str, prefix: str) -> str:
    """Return `text` without `prefix` at its start."""
    return text.removeprefix(prefix)
