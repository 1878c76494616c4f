"""The table of formats: how a file is known, and which module reads or writes it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from lamina.interop.net import Net


@dataclass(frozen=True)
class Format:
    """One kind of file or folder.

    Attributes:
        name: The word in `lamina convert --to NAME`.
        title: What a person calls it.
        suffixes: Endings of its files, the first that of a new one.
        module: The module with `matches(path, head) -> bool` (is this file of the kind; `head` holds its first 512
            bytes, empty for a folder), `read(path) -> Net` if it can be read, `write(net, path, **options) -> notes` if
            it can be written.
        reads: Whether there is a reader.
        writes: Whether there is a writer.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    module: str
    reads: bool = True
    writes: bool = True

    def matches(self, path: str, head: bytes) -> bool:
        """Return whether this file is of the kind, by its bytes."""
        return bool(importlib.import_module(self.module).matches(path, head))

    def read(self, path: str) -> Net:
        """Return what the file says."""
        return cast(Callable[[str], Net], importlib.import_module(self.module).read)(path)

    def write(self, net: Net, path: str, **options: Any) -> tuple[str, ...]:
        """Write the net and return what a person should know of the result, a sentence each."""
        write = importlib.import_module(self.module).write
        return cast(Callable[..., tuple[str, ...]], write)(net, path, **options)


FORMATS: dict[str, Format] = {}
