"""JSON out of files: parsed only if it does not nest without end."""

import json
import re
from typing import Any

from lamina.errors import FileFormatError, message

_DEPTH = 300
# A string, whose brackets do not count, or a bracket.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)


def from_json(data: bytes, source: str, part: str) -> Any:
    """Return what a JSON text says.

    Args:
        data: The text.
        source: What to call the file in an error.
        part: What to call the text in it.

    Raises:
        FileFormatError: If it is no JSON, or nested without end.
    """
    depth = 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        if depth > _DEPTH:
            raise FileFormatError(message(f"{part} is nested more than {_DEPTH} levels deep.", owner=source))
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(message(f"{part} is not valid JSON: {error}", owner=source)) from error
