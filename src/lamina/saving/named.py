"""The form of Keras 2: lists of names in attributes say where the arrays are."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from lamina.saving.hdf5 import Entry, WeightsFile, as_text, check_heaps, damaged
from lamina.saving.texts import Texts


class Named:
    """A file in which lists of names in attributes say where the arrays are: the form of Keras 2."""

    def __init__(self, source: str, file: Any, texts: Texts) -> None:
        self.source = source
        self._file = file
        self._checks = WeightsFile(source)
        self._checks.watch(file, texts)

    def _at(self, path: str) -> Any:
        """Return what is at a path, every step of which is a plain link; None if it is not there."""
        item = self._file
        for name in path.split("/") if path else []:
            if not hasattr(item, "keys") or name not in item:
                return None
            item = self._checks.item(item, name, path)
        return item

    def has(self, path: str) -> bool:
        """Return whether there is a group at a path."""
        with damaged(self.source, path):
            return hasattr(self._at(path), "keys")

    def has_attribute(self, path: str, key: str) -> bool:
        """Return whether a group says something under a key, or under the key with a number."""
        with damaged(self.source, path):
            attributes = self._checks.attributes(self._at(path))
            return key in attributes or f"{key}0" in attributes

    def text(self, path: str, key: str) -> str | None:
        """Return a text that a group has under a key, or None."""
        with damaged(self.source, path):
            return as_text(self._checks.attributes(self._at(path)).get(key))

    def names(self, path: str, key: str) -> list[str]:
        """Return the names that a group lists under a key; a long list is cut into `key0`, `key1`, ..."""
        with damaged(self.source, path):
            group = self._at(path)
            if not hasattr(group, "keys"):
                return []
            said = self._checks.attributes(group)
            parts = [said[key]] if key in said else []
            while not key.isdigit() and f"{key}{len(parts)}" in said:
                parts.append(said[f"{key}{len(parts)}"])
            return [text for part in parts for item in part if (text := as_text(item)) is not None]

    def entries(self, path: str) -> list[Entry]:
        """Return the arrays that the group at a path lists, in order."""
        return [self.entry(f"{path}/{name}") for name in self.names(path, "weight_names")]

    def entry(self, path: str) -> Entry:
        """Return the array at a path.

        Raises:
            FileFormatError: If there is none, or it leads out of the file.
        """
        with damaged(self.source, path):
            item = self._at(path)
            if not hasattr(item, "dtype"):
                raise KeyError("it has no such array")
            return self._checks.entry(path, item.id)

    def size(self) -> int:
        """Return the bytes of the file, which its weights cannot exceed."""
        return int(self._file.id.get_filesize())


@contextmanager
def opened_by_name(path: str, source: str) -> Iterator[Named]:
    """Open a file of Keras 2 for the length of the block.

    Raises:
        FileFormatError: If it is no HDF5 file or damaged.
    """
    import h5py

    check_heaps(path, source)
    with ExitStack() as stack:
        with damaged(source, None):
            texts = stack.enter_context(closing(Texts(path, source)))
            named = Named(source, stack.enter_context(h5py.File(path, "r", locking=False)), texts)
        yield named
