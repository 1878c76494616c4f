"""Options that a command passes on to the reader or writer of a file, without knowing them."""

import json
from typing import Any

import click

PASSED_ON: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True}


def given(arguments: list[str]) -> dict[str, Any]:
    """Return what `--name value --flag` says: numbers and JSON as such, everything else as text."""
    found: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise click.UsageError(f"Got unexpected extra argument ({word})")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        try:
            found[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.replace("-", "_")] = value
    return found
