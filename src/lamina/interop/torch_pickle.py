"""Pickles of PyTorch, read by an interpreter that knows tensors, containers and plain values, and calls nothing.

A pickle is a program. This one has no way to import, to call or to build an object: a name in it is only compared with
the few below, and everything else is refused. Opcodes: `pickletools` of the standard library.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina._types import Numpy
from lamina.errors import FileFormatError, message

_OPERATIONS = 200_000  # what a file may say beside its tensors: more would fill the memory with small objects
_FOR_EACH = 200  # and for each tensor, which takes some 40
_FIX = "save the weights alone: `torch.save(model.state_dict(), path)`."
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
_TENSORS = {"_rebuild_tensor_v2", "_rebuild_tensor"}


@dataclass(frozen=True)
class Name:
    """A name in a pickle. It stands for nothing: it is only compared."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """The numbers behind one or more tensors."""

    data: Numpy


class _Mark:
    pass


_MARK = _Mark()
# What gives the numbers of a storage: key, name of the numbers' type, how many there are.
Fetch = Callable[[str, str, int], Numpy]


def load(data: Any, source: str, fetch: Fetch, tensors: int = 1000) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, plain values, and arrays in the place of tensors.

    Args:
        data: The bytes, or an open file, which is left behind the pickle.
        source: What to call the file in an error.
        fetch: What gives the numbers of a storage; it must check the size before it allocates.
        tensors: How many tensors there may be.

    Raises:
        FileFormatError: If it is damaged, or asks for anything else than tensors.
    """
    try:
        return _Reader(source, fetch).run(data, _OPERATIONS + _FOR_EACH * tensors)
    except FileFormatError:
        raise
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        AttributeError,
        UnicodeError,
        EOFError,
    ) as error:
        raise FileFormatError(message(f"The pickle is damaged: {error}", owner=source)) from error


class _Reader:
    def __init__(self, source: str, fetch: Fetch) -> None:
        self._source = source
        self._fetch = fetch
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def _refused(self, what: str, fix: str = _FIX) -> FileFormatError:
        return FileFormatError(message(f"Not allowed: {what}. Only tensors are read.", owner=self._source, fix=fix))

    def run(self, data: Any, most: int) -> Any:
        for count, (code, argument, _) in enumerate(pickletools.genops(data)):
            if count > most:
                raise self._refused(f"a pickle of more than {most:,} operations")
            name = code.name
            if name == "STOP":
                return self._stack.pop()
            if name in _PLAIN:
                self._stack.append(argument)
            elif name in _MADE:
                self._stack.append(_MADE[name]())
            elif name in _TUPLES:
                size = _TUPLES[name]
                self._stack[-size:] = [tuple(self._stack[-size:])]
            else:
                rule = getattr(self, f"_{name.lower()}", None)
                if rule is None:
                    raise self._refused(f"the pickle operation {name}")
                rule(argument)
        raise ValueError("it has no end")

    def _since_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _proto(self, argument: Any) -> None:
        if argument > 5:
            raise self._refused(f"a pickle of protocol {argument}")

    def _frame(self, argument: Any) -> None:
        """Nothing to do: it says how long the next part is."""

    def _mark(self, argument: Any) -> None:
        self._stack.append(_MARK)

    def _pop(self, argument: Any) -> None:
        self._stack.pop()

    def _pop_mark(self, argument: Any) -> None:
        self._since_mark()

    def _dup(self, argument: Any) -> None:
        self._stack.append(self._stack[-1])

    def _tuple(self, argument: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _list(self, argument: Any) -> None:
        self._stack.append(self._since_mark())

    def _dict(self, argument: Any) -> None:
        self._stack.append(dict(_pairs(self._since_mark())))

    def _append(self, argument: Any) -> None:
        item = self._stack.pop()
        self._grown(list).append(item)

    def _appends(self, argument: Any) -> None:
        items = self._since_mark()
        self._grown(list).extend(items)

    def _setitem(self, argument: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._grown(dict)[_key(key)] = value

    def _setitems(self, argument: Any) -> None:
        items = self._since_mark()
        self._grown(dict).update(_pairs(items))

    def _grown(self, kind: type) -> Any:
        top = self._stack[-1]
        if type(top) is not kind:
            raise self._refused(f"items for a {type(top).__name__}")
        return top

    def _put(self, argument: Any) -> None:
        self._memo[int(argument)] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, argument: Any) -> None:
        self._stack.append(self._memo[int(argument)])

    _binget = _long_binget = _get

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._known(module, name))

    def _stack_global(self, argument: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._known(str(module), str(name)))

    def _known(self, module: str, name: str) -> Name:
        fine = (
            (module == "torch._utils" and name in {*_TENSORS, "_rebuild_parameter"})
            or (module == "torch" and (name in _STORAGES or name in {"Size", "device"}))
            or (module, name) == ("collections", "OrderedDict")
        )
        if fine:
            return Name(module, name)
        if module.startswith("torch.nn") or module.startswith("__torch__"):
            raise self._refused(f"the whole module `{module}.{name}`, which is code")
        raise self._refused(f"the name `{module}.{name}`")

    def _reduce(self, argument: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, Name) or type(arguments) is not tuple:
            raise self._refused(f"a call of {type(called).__name__}")
        if called.name == "OrderedDict":
            made: Any = dict(arguments[0]) if arguments and arguments[0] else {}
        elif called.name in _TENSORS:
            made = _tensor(*arguments[:4], source=self._source)
        elif called.name == "_rebuild_parameter":
            made = arguments[0]
        elif called.name == "Size":
            made = tuple(arguments[0])
        elif called.name == "device":
            made = str(arguments[0])
        else:
            raise self._refused(f"a call of `{called.module}.{called.name}`")
        self._stack.append(made)

    def _build(self, argument: Any) -> None:
        state = self._stack.pop()
        if type(self._stack[-1]) is not dict or type(state) is not dict:
            raise self._refused(f"a state for a {type(self._stack[-1]).__name__}")
        # What a state dict says of the versions of its modules: nothing that is needed here.

    def _binpersid(self, argument: Any) -> None:
        said = self._stack.pop()
        if type(said) is not tuple or len(said) < 5 or said[0] != "storage" or not isinstance(said[1], Name):
            raise self._refused("an object outside the pickle that is no storage")
        if len(said) > 5 and said[5] is not None:
            raise self._refused("a storage that is a view of another")
        if said[1].name not in _STORAGES or type(said[4]) is not int or said[4] < 0:
            raise self._refused("a storage without a type or size")
        self._stack.append(Storage(self._fetch(str(said[2]), _STORAGES[said[1].name], said[4])))


_PLAIN = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8",
})  # fmt: skip
_MADE: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "NONE": lambda: None, "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _key(key: Any) -> Any:
    if not isinstance(key, str | int | float | bool | None):
        raise ValueError(f"a {type(key).__name__} as a key")
    return key


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        yield _key(key), value


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *, source: str) -> Numpy:
    """Return a view of a storage, of which every number must be there; it may not repeat numbers."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Storage) or any(type(n) is not int or n < 0 for n in numbers) or len(size) > 32:
        raise ValueError("a tensor without storage, size or stride")
    count = 1
    for n in size:
        count *= n
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset
    if count > storage.data.size or (count and last >= storage.data.size):
        raise FileFormatError(
            message(
                f"A tensor declares the shape {tuple(size)}, and its storage holds {storage.data.size:,} numbers.",
                owner=source,
            )
        )
    item = storage.data.itemsize
    part = storage.data[offset:]
    return np.lib.stride_tricks.as_strided(part, tuple(size), [n * item for n in stride], writeable=False)
