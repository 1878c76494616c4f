"""Weights in HDF5: written in memory, read with suspicion. A file is data here and may never reach outside itself."""

import io
import math
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, InvalidArgumentError, message
from lamina.saving.superblock import sealed
from lamina.saving.texts import Texts
from lamina.variables import Variable

# A dataset beyond this size must be backed by bytes in the file: one that declares more than a hundred times of what
# it holds is a bomb.
_BOMB_FLOOR = 64 << 20
_BOMB_RATIO = 100
_CHUNK = 4 << 20  # bytes under one checksum
_AT_ONCE = 1 << 16  # bytes of an array up to which it is read when it is looked at, if they are all in the file
_COMPACT = 4096  # an array of up to so many bytes lives in the header, which has a checksum of its own
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}  # those that are part of HDF5: no plugin is ever loaded
_OLD_ROOT = "_layer_checkpoint_dependencies"  # what Keras 2.13 called "layers"
_HEAP = b"GCOL\x01"  # how a heap of strings begins
_DAMAGED = "the file is damaged, cut short or no HDF5 file: take an earlier copy, or save the model again."
_H5_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, AttributeError, IndexError)


@dataclass(slots=True)
class Group:
    """What one part of a model keeps: its path in the file, its arrays by name, and what is said about it."""

    path: str
    arrays: Mapping[str, Any]
    attributes: dict[str, str] = field(default_factory=dict)


def image(groups: Iterable[Group], checksums: bool) -> tuple[memoryview, ...]:
    """Return an HDF5 file, in pieces, with each group's arrays at `<path>/vars/<name>`.

    It is made in memory, so that a full disk cannot catch HDF5 in the middle of a write.

    Args:
        groups: What to write.
        checksums: Whether HDF5 guards data and structure: then a reader, Keras too, notices every flipped bit. A zip
            archive has checksums of its own.
    """
    import h5py

    version = ("v110", "v110") if checksums else None  # from 1.10 on the structure too has checksums
    with h5py.File("weights", "w", driver="core", backing_store=False, libver=version) as file:
        for group in groups:
            place = file.create_group(f"{group.path}/vars" if group.path else "vars")
            for key, text in group.attributes.items():
                # Of a fixed length, so that it lies in the header, under its checksum, and not in a heap.
                data = text.encode()
                place.attrs.create(key, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
            for name, value in group.arrays.items():
                _put(place, name, np.asarray(value), checksums)
        file.flush()
        return sealed(file.id.get_file_image())


def _put(place: Any, name: str, array: Numpy, checksums: bool) -> None:
    import h5py

    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise FileFormatError(
            message(
                "Only arrays of numbers can be saved.",
                owner=f"`save_own_variables`, entry {name!r} of {place.name}",
                received=f"dtype {array.dtype}",
            )
        )
    marked = array.dtype.name == "bfloat16"
    if marked:
        array = array.view("V2")
    if not checksums or array.size == 0:
        dataset = place.create_dataset(name, data=array)
    elif array.nbytes > _COMPACT:
        row = array.nbytes // array.shape[0]
        chunk = (min(array.shape[0], max(1, _CHUNK // row)), *array.shape[1:])
        dataset = place.create_dataset(name, data=array, chunks=chunk, fletcher32=True)
    else:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(array.shape) if array.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        kind = h5py.h5t.py_create(array.dtype, logical=True)
        low = h5py.h5d.create(place.id, name.encode(), kind, space, layout)
        low.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(array))
        dataset = h5py.Dataset(low)
    if marked:
        dataset.attrs["dtype"] = "bfloat16"


@dataclass(slots=True)
class Entry:
    """An array in a file that has been looked at; a small one has been read with it."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    source: str
    _dataset: Any  # of h5py's lower level: ten thousand layers have many
    _stored: np.dtype[Any]
    _array: Numpy | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * self._stored.itemsize

    def read(self) -> Numpy:
        """Return the array.

        Raises:
            FileFormatError: If its bytes are damaged.
        """
        array = self._array
        if array is None:
            array = self._read()
        if self.dtype == "bfloat16":
            import ml_dtypes

            return array.view(ml_dtypes.bfloat16)
        return array

    def _read(self) -> Numpy:
        import h5py

        with damaged(self.source, self.path):
            # Where a CPU device takes it as it is.
            nbytes = self.nbytes
            memory = np.empty(nbytes + 64, np.uint8)
            start = -memory.ctypes.data % 64
            array: Numpy = memory[start : start + nbytes].view(self._stored).reshape(self.shape)
            if array.size:
                self._dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return array

    def at_once(self) -> "Entry":
        """Return the entry with its array, and let go of the file's."""
        self._array, self._dataset = self._read(), None
        return self


class WeightsFile:
    """The groups of a weights file, or of several shards, looked through but not read.

    Attributes:
        source: What to call the file in an error.
        groups: Path of a part to its arrays by name, e.g. `groups["layers/dense"]["0"]`.
        nbytes: Bytes of all arrays together.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.groups: dict[str, dict[str, Entry]] = {}
        self.nbytes = 0
        self._homes: dict[str, Any] = {}
        self._texts: dict[int, Texts] = {}

    def watch(self, file: Any, texts: Texts) -> None:
        """Have the texts of a file looked at before they are read."""
        import h5py

        self._texts[h5py.h5o.get_info(file.id).fileno] = texts

    def attributes(self, thing: Any) -> Any:
        """Return what is said about a group or an array, once its texts have been looked at."""
        import h5py

        texts = self._texts.get(h5py.h5o.get_info(thing.id).fileno)
        if texts is not None:
            texts.check(thing)
        return thing.attrs

    def attribute(self, path: str, key: str) -> str | None:
        """Return what is said about a part: its "name", or the "class_name" of an optimizer. None: nothing."""
        home = self._homes.get(path)
        if home is None:
            return None
        with damaged(self.source, path):
            file, place = home
            return as_text(self.attributes(file[place]).get(key))

    def _add(self, file: Any) -> None:
        """Look through a file. Only plain groups and arrays are let in: no link, no data from elsewhere."""
        import h5py

        seen = {_identity(file.id)}
        # As few objects as can be are open at a time: HDF5 gets slower with each of ten thousand layers.
        stack = [("", file.id, iter(_links(file.id)))]
        while stack:
            path, group, links = stack[-1]
            key, kind = next(links, (b"", None))
            if kind is None:
                stack.pop()
                continue
            name = key.decode("utf-8", "surrogateescape")
            place = f"{path}/{name}" if path else name
            item = self._opened(group, key, kind, place)
            if isinstance(item, h5py.h5g.GroupID):
                if _identity(item) in seen:
                    raise self._refused(place, "a group that contains itself")
                seen.add(_identity(item))
                stack.append((place, item, iter(_links(item))))
                if name == "vars":
                    self._homes[_normal(path)] = file, place
            elif path.endswith("vars") and path.rpartition("/")[2] == "vars":
                self._enter(path.rpartition("/")[0], name, self.entry(place, item))

    def _opened(self, group: Any, key: bytes, kind: int, place: str) -> Any:
        """Return a group or an array of a group, of h5py's lower level, if the link to it is a plain one."""
        import h5py

        if kind != h5py.h5l.TYPE_HARD:
            link = h5py.Group(group).get(key, getlink=True)
            raise self._refused(place, f"a link to another place ({type(link).__name__})")
        item = h5py.h5o.open(group, key)
        if not isinstance(item, h5py.h5g.GroupID | h5py.h5d.DatasetID):
            what = type(h5py.Group(group)[key]).__name__
            raise self._refused(place, f"something else than a group or an array ({what})")
        return item

    def item(self, group: Any, name: str, place: str) -> Any:
        """Return what a group of h5py's has under a name, if it is a group or an array and no link."""
        import h5py

        key = name.encode("utf-8", "surrogateescape")
        item = self._opened(group.id, key, group.id.links.get_info(key).type, place)
        return h5py.Group(item) if isinstance(item, h5py.h5g.GroupID) else h5py.Dataset(item)

    def _enter(self, path: str, name: str, entry: Entry) -> None:
        arrays = self.groups.setdefault(_normal(path), {})
        if name in arrays:
            raise self._refused(entry.path, "an array that is there twice")
        arrays[name] = entry
        self.nbytes += entry.nbytes

    def entry(self, place: str, dataset: Any) -> Entry:
        """Return an array of h5py's lower level, after a look whether it is whole, plain and as large as it says."""
        import h5py

        layout = dataset.get_create_plist()
        if layout.get_external_count():
            raise self._refused(place, "an external Dataset: data in another file")
        if layout.get_layout() == h5py.h5d.VIRTUAL:
            raise self._refused(place, "a virtual Dataset: data in another file")
        filters = {layout.get_filter(i)[0] for i in range(layout.get_nfilters())}
        if filters - set(_FILTERS):
            raise self._refused(
                place, f"an array that only a plugin could read (filter {min(filters - set(_FILTERS))})"
            )
        stored_as = dataset.dtype
        dtype = self._dtype(place, dataset, stored_as)
        shape = dataset.shape
        if shape is None:
            raise self._refused(place, "an array without a shape")
        stored, declared = dataset.get_storage_size(), math.prod(shape) * stored_as.itemsize
        if declared > _BOMB_FLOOR and declared > _BOMB_RATIO * stored:
            raise self._refused(place, f"a shape bomb: it declares {declared:,} bytes and holds {stored:,}")
        in_chunks = layout.get_layout() == h5py.h5d.CHUNKED
        chunks = 0
        if in_chunks:
            chunks = math.prod(-(-size // one) for size, one in zip(shape, layout.get_chunk(), strict=True) if one)
        if (stored < declared and 1 not in filters) or (in_chunks and dataset.get_num_chunks() < chunks):
            raise self._refused(place, f"an array that is not whole: {stored:,} of its {declared:,} bytes are there")
        entry = Entry(place, tuple(shape), dtype, self.source, dataset, stored_as)
        return entry.at_once() if declared <= min(_AT_ONCE, stored) else entry

    def _dtype(self, place: str, dataset: Any, found: "np.dtype[Any]") -> str:
        import h5py

        if found.kind == "V" and found.itemsize == 2 and found.fields is None:
            said = self.attributes(h5py.Dataset(dataset)).get("dtype")
            if said in ("bfloat16", b"bfloat16"):
                return "bfloat16"
        if found.kind not in "fiub" or found.itemsize > 8:
            raise self._refused(place, f"an array that holds no plain numbers ({found})")
        return _name_of(found)

    def _refused(self, place: str, what: str) -> FileFormatError:
        return FileFormatError(
            message(
                f"Not allowed: H5 file with {what}, at `/{place}`.",
                owner=self.source,
                fix="load only files that Keras or lamina wrote, and that came to you unchanged.",
            )
        )


@lru_cache(maxsize=64)
def _name_of(dtype: "np.dtype[Any]") -> str:
    return str(dtype.name)


def _identity(item: Any) -> tuple[int, int]:
    """Return what tells an object of a file from all others."""
    import h5py

    info = h5py.h5o.get_info(item)
    return info.fileno, info.addr


def _links(group: Any) -> list[tuple[bytes, int]]:
    """Return the names in a group of HDF5's, each with the kind of its link."""
    found: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, info: found.append((name, info.type)), info=True)
    return found


def as_text(value: Any) -> str | None:
    """Return a text out of an attribute, or None if it is something else."""
    if isinstance(value, str):  # h5py keeps bytes that are no UTF-8 as halves of pairs
        value = value.encode("utf-8", "replace")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def _normal(path: str) -> str:
    return path.replace(_OLD_ROOT, "layers") if _OLD_ROOT in path else path


@contextmanager
def opened(files: "Mapping[str, str | io.BytesIO]", source: str) -> Iterator[WeightsFile]:
    """Open one weights file, or the shards of one, for the length of the block.

    Args:
        files: Names for errors to paths or contents.
        source: What to call all of it.

    Raises:
        FileFormatError: If one is no HDF5 file, is damaged, or holds what must not be read.
    """
    import h5py

    found = WeightsFile(source)
    with ExitStack() as stack:
        for name, place in files.items():
            check_heaps(place, name)
            with damaged(name, None):
                options = {} if isinstance(place, io.BytesIO) else {"locking": False}
                texts = stack.enter_context(closing(Texts(place, name)))
                file = stack.enter_context(h5py.File(place, "r", **options))
                found.watch(file, texts)
                found._add(file)
        yield found


def check_heaps(place: "str | io.BytesIO", source: str) -> None:
    """Refuse a heap of strings in which HDF5 would go round in circles: an object without a size, in a damaged file.

    Keras's files have their names in such heaps, which have no checksum. Layout: HDF5 File Format Specification, III.E.
    """
    with ExitStack() as stack:
        if isinstance(place, str):
            file = stack.enter_context(open(place, "rb"))
            if not os.path.getsize(place):
                return
            data: Any = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            data = place.getvalue()
        start = data.find(_HEAP)
        while start >= 0:
            if _goes_in_circles(data, start):
                raise FileFormatError(
                    message("The weights cannot be read: a heap of strings is damaged.", owner=source, fix=_DAMAGED)
                )
            start = data.find(_HEAP, start + 1)


def _goes_in_circles(data: Any, start: int) -> bool:
    size = int.from_bytes(data[start + 8 : start + 16], "little")
    place, end = start + 16, start + size
    if size < 4096 or end > len(data):
        return False  # HDF5 itself refuses it
    while place + 16 <= end:
        number = int.from_bytes(data[place : place + 2], "little")
        length = int.from_bytes(data[place + 8 : place + 16], "little")
        step = -(-length // 8) * 8 + 16 if number else length
        if step == 0:
            return True
        place += step
    return False


@contextmanager
def damaged(source: str, place: str | None) -> Iterator[None]:
    """Turn what HDF5 raises into one error that names the file and the place in it."""
    try:
        yield
    except FileFormatError:
        raise
    except (*_H5_ERRORS, MemoryError) as error:
        where = f" at `/{place}`" if place else ""
        raise FileFormatError(
            message(
                f"The weights{where} cannot be read: {_first_line(error)}",
                owner=source,
                fix=_DAMAGED,
            )
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error.args[0]) if error.args else repr(error)).split("\n")[0][:200]


def converted(array: Numpy, variable: Variable) -> Numpy:
    """Return numbers from a file in the type of a variable.

    Raises:
        InvalidArgumentError: If a number does not fit into that type: too large, or not whole.
    """
    target = jnp.dtype(variable._dtype)
    if array.dtype == target:
        return array
    with np.errstate(all="ignore"):
        cast = array.astype(target)
        fits = True
        if target.kind in "iub":
            fits = bool(np.array_equal(cast.astype(array.dtype), array))
        elif array.dtype.kind not in "iub":
            fits = bool(np.array_equal(np.isinf(cast), np.isinf(array)))
    if not fits:
        raise InvalidArgumentError(
            f"the numbers of `{variable.path}` do not fit into its type {target.name}; the file has {array.dtype.name}."
        )
    return cast
