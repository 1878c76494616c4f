"""Damage that keeps a file's form: lengths and checksums fit, so that it reaches what lies behind the first check.

Each form is taken apart, changed at one place, and put together: JSON, zip archives, HDF5, messages of protocol
buffers, tables of offsets, pickles, headers of safetensors, `.prototxt`.
"""

import copy
import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

Damage = Callable[[bytes, random.Random], bytes]
_COUNTS = [0, 1, -1, 2, 3, 7, 255, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64]
_VALUES: list[Any] = [
    None, True, False, "", "os.system", "\x00", "relu", "../../x", "a" * 5000, [], {}, [[]], [None], 1e308, 0.5, -1.5,
    {"class_name": "Lambda", "config": {"function": ["4wAA", None, None]}},
    {"class_name": "Dense", "module": "os", "config": {"units": 2**40}, "registered_name": "system"},
    {"class_name": "__lambda__", "config": {"code": "4wAA"}},
    [2**31, 2**31], [None, 2**40], [-1], *_COUNTS,
]  # fmt: skip


def _deep(rng: random.Random, text: str) -> str:
    depth = rng.choice([50, 299, 301, 5000, 200_000])
    opened, closed = rng.choice([("[", "]"), ('{"config":', "}"), ('{"class_name":"Dense","config":', "}")])
    return opened * depth + text + closed * depth


# ---- JSON


def json_text(data: bytes, rng: random.Random) -> bytes:
    """Change, drop, repeat or nest a value of a JSON document."""
    tree = json.loads(data)
    holders: list[Any] = []
    stack = [tree]
    while stack:
        one = stack.pop()
        if isinstance(one, dict | list) and one:
            holders.append(one)
            stack += one.values() if isinstance(one, dict) else one
    if not holders:
        return b"[]"
    marker = None
    for _ in range(rng.choice([1, 1, 2, 4])):
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder))) if holder else None
        if key is None:
            continue
        way = rng.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, list):
            holder[key:key] = [holder[key]] * rng.choice([1, 2, 3000])
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice(["name", "units", "class_name", "layers", "\ud800", "x" * 70_000])] = holder[key]
        elif way == 2:
            holder[key] = copy.deepcopy(rng.choice(holders[:200]))
        elif way == 3 and marker is None:
            marker = "\u2603deep"
            holder[key] = marker
        else:
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
    text = json.dumps(tree)
    if marker is not None:
        text = text.replace(json.dumps(marker), _deep(rng, "1"))
    return text.encode("utf-8", "surrogatepass")


def safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file, half of the time without the digest that would notice it."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if rng.random() < 0.7:
        header.get("__metadata__", {}).pop("lamina.sha256", None)
    text = json_text(json.dumps(header).encode(), rng)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


# ---- zip


def zip_headers(data: bytes, rng: random.Random) -> bytes:
    """Change a field in the list of members or in a member's own header: sizes, flags, method, names."""
    content = bytearray(data)
    magic, fields = rng.choice(
        [
            (b"PK\x01\x02", [(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4)]),
            (b"PK\x03\x04", [(6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)]),
            (b"PK\x05\x06", [(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)]),
        ]
    )
    places = [at for at in range(len(data) - 3) if data.startswith(magic, at)] if len(data) < 1 << 20 else [0]
    if not places:
        return data
    place = rng.choice(places)
    offset, width = rng.choice(fields)
    old = int.from_bytes(content[place + offset : place + offset + width], "little")
    new = rng.choice([*_COUNTS, old + 1, old - 1, old * 2, old ^ 1, 8, 12, 14, 99, len(data)])
    content[place + offset : place + offset + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(content)


def zip_members(data: bytes, rng: random.Random) -> bytes:
    """Repeat, leave out, rename or pack a member, or add one: a bomb, a path that leads out, a thousand empty ones."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen, way = rng.choice(names), rng.randrange(7)
        for name in names:
            member = old.read(name)
            if name != chosen:
                new.writestr(zipfile.ZipInfo(name), member)
                continue
            if way == 0:
                continue
            renamed = {1: f"../../{name}", 2: f"/tmp/{name}", 3: name.upper()}.get(way, name)
            method = rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
            packed = member + bytes(rng.choice([0, 1 << 16, 30 << 20])) if way == 4 else member
            new.writestr(zipfile.ZipInfo(renamed), packed, method if way in (4, 5) else zipfile.ZIP_STORED)
            if way == 6:
                new.writestr(zipfile.ZipInfo(f"{name}x"), member)
        for i in range(rng.choice([0, 0, 0, 1, 1000])):
            new.writestr(zipfile.ZipInfo(f"assets/{i}/../../x"), b"x")
    made = out.getvalue()
    return made.replace(f"{chosen}x".encode(), chosen.encode().ljust(len(chosen) + 1, b"/")) if way == 6 else made


# ---- HDF5


def hdf5(data: bytes, rng: random.Random) -> bytes:
    """Replace a group, an array or an attribute by another kind: links, storage elsewhere, bombs, other types."""
    place = io.BytesIO(data)
    try:
        with h5py.File(place, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            if names:
                _hdf5_at(file, rng.choice(names), rng)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError):
        return data[: rng.randrange(len(data))]
    return place.getvalue()


def _hdf5_at(file: Any, name: str, rng: random.Random) -> None:
    item = file[name]
    way = rng.randrange(12)
    if way < 3 and len(file.attrs) + len(item.attrs) > 0:  # the attributes: JSON, lists of names
        home = item if len(item.attrs) else file
        key = rng.choice(list(home.attrs))
        value = home.attrs[key]
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and text.startswith("{"):
            home.attrs[key] = json_text(text.encode(), rng)[:60_000]
        else:
            home.attrs[key] = rng.choice(
                ["x", b"\xff\xfe", 1, 2.5, np.zeros((3, 2)), ["a", "b"], "../" * 30, "a" * 60_000]
            )
        return
    shape, dtype = getattr(item, "shape", (2, 3)), getattr(item, "dtype", np.dtype("float32"))
    del file[name]
    many = tuple(rng.choice([n, n + 1, 0, 1, 2**20, 2**40]) for n in shape or (3,))
    if way == 3:
        file[name] = rng.choice([h5py.SoftLink("/"), h5py.SoftLink("/gone"), h5py.ExternalLink("/etc/passwd", "/x")])
    elif way == 4:
        file[name] = file[name.rpartition("/")[0] or "/"]  # a group inside itself
    elif way == 5:
        file[name] = dtype if isinstance(dtype, np.dtype) else np.dtype("f4")  # a named type
    elif way == 6:
        file.create_dataset(name, many, "float32", chunks=tuple(min(n, 8) or 1 for n in many), **_packed(rng))
    elif way == 7:
        file.create_dataset(name, shape or (3,), "float32", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    elif way == 8:
        layout = h5py.VirtualLayout(shape=shape or (3,), dtype="float32")
        layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape=shape or (3,))
        file.create_virtual_dataset(name, layout)
    elif way == 9:
        kinds = [
            "S5",
            "float64",
            "int8",
            "complex64",
            "u8",
            np.dtype([("a", "f4"), ("b", "i4")]),
            "V2",
            "bool",
            "float16",
        ]
        file.create_dataset(name, shape or (3,), rng.choice(kinds))
    elif way == 10:
        file.create_dataset(name, data=rng.choice(["text", [b"a", b"bc"], 1.0, h5py.Empty("f4"), np.zeros(9)]))
    else:
        file.create_group(
            name if rng.random() < 0.5 else f"{name}/" + "/".join("vars" for _ in range(rng.choice([1, 40, 900])))
        )


def _packed(rng: random.Random) -> dict[str, Any]:
    return rng.choice([{}, {"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True}, {"fillvalue": np.nan}])


# ---- messages of protocol buffers


def _read(data: bytes) -> list[tuple[int, int, Any]] | None:
    """Return the fields of a message, or None if the bytes are none."""
    found: list[tuple[int, int, Any]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0 or at < 0:
            return None
        if kind == 0:
            value, at = _varint(data, at)
            found.append((number, kind, value))
        else:
            size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), at)
            if size < 0 or at < 0 or at + size > len(data):
                return None
            found.append((number, kind, data[at : at + size]))
            at += size
        if at < 0:
            return None
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    return 0, -1


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _bytes(fields: list[tuple[int, int, Any]]) -> bytes:
    out = bytearray()
    for number, kind, value in fields:
        out += _number(number << 3 | kind)
        out += _number(value) if kind == 0 else (_number(len(value)) if kind == 2 else b"") + value
    return bytes(out)


def message(data: bytes, rng: random.Random, depth: int = 0) -> bytes:
    """Change one field of a message, at any depth; the lengths around it fit again."""
    fields = _read(data)
    if not fields:
        return rng.choice([b"", data[::-1], rng.randbytes(5), data + data])
    at = rng.randrange(len(fields))
    number, kind, value = fields[at]
    if kind == 2 and len(value) > 1 and depth < 12 and rng.random() < 0.85 and _read(value) is not None:
        fields[at] = (number, kind, message(value, rng, depth + 1))
        return _bytes(fields)
    way = rng.randrange(8)
    if way == 0:
        del fields[at]
    elif way == 1:
        fields[at:at] = [fields[at]] * rng.choice([1, 2, 5000 if kind == 0 or len(value) < 200 else 3])
    elif way == 2:
        other = rng.choice(fields)
        fields[at] = (number, other[1], other[2])
    elif way == 3:
        fields[at] = (rng.choice([number + 1, number - 1 or 1, 15, 2**28]), kind, value)
    elif way == 4:
        inner: bytes = b""
        for _ in range(rng.choice([3, 60, 4000])):
            inner = _bytes([(number, 2, inner)])
        fields[at] = (number, 2, inner)
    elif kind == 0:
        fields[at] = (number, 0, rng.choice([*_COUNTS[:-1], value + 1, value * 2]) % 2**64)
    elif kind == 2:
        fields[at] = (number, 2, _blob(value, rng))
    else:
        fields[at] = (number, kind, rng.choice([bytes(len(value)), b"\xff" * len(value), rng.randbytes(len(value))]))
    return _bytes(fields)


def _blob(value: bytes, rng: random.Random) -> bytes:
    if value[:1] in (b"{", b"[") and rng.random() < 0.7:
        try:
            return json_text(value, rng)
        except ValueError:
            pass
    piece = [value[:-1], value + b"\0", value * 2, b"", b"\xff" * 9, _number(rng.choice(_COUNTS[:-1]) % 2**64)]
    return rng.choice([*piece, bytes(len(value)), rng.randbytes(len(value)), value[: len(value) // 2], b"x" * 5000])


# ---- others


def table(data: bytes, rng: random.Random) -> bytes:
    """Change a name or an entry of TensorFlow's table of arrays, which is put together anew without its CRCs."""
    at = len(data) - 48
    for _ in range(2):
        _, at = _varint(data, at)
    entries: list[tuple[bytes, bytes]] = []
    for _, handle in _entries(data, *_handle(data, at)):
        entries += _entries(data, *_handle(handle, 0))
    chosen, way = rng.randrange(len(entries)), rng.randrange(8)
    key, value = entries[chosen]
    if way == 0:
        entries[chosen] = (rng.choice([b"", key[:-3], key + b"x", b"\xff" * 9, b"a" * 9000, b"../" * 9]), value)
    elif way == 1:
        entries[chosen : chosen + 1] = [entries[chosen]] * rng.choice([0, 2, 3000])
    elif way == 2:
        entries[chosen] = (key, rng.choice(entries)[1])
    else:
        entries[chosen] = (key, message(value, rng))
    block = b"".join(_number(0) + _number(len(k)) + _number(len(v)) + k + v for k, v in entries) + bytes(4)
    block += (1).to_bytes(4, "little")
    where = _number(0) + _number(len(block))
    index = _number(0) + _number(1) + _number(len(where)) + b"~" + where + bytes(4) + (1).to_bytes(4, "little")
    foot = _number(0) + _number(8) + _number(len(block) + 5) + _number(len(index))
    return block + bytes(5) + index + bytes(5) + foot.ljust(40, b"\0") + data[-8:]


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = _varint(data, at)
    return offset, _varint(data, at)[0]


def _entries(data: bytes, offset: int, size: int) -> list[tuple[bytes, bytes]]:
    block = data[offset : offset + size]
    end = size - 4 * (int.from_bytes(block[-4:], "little") + 1)
    at, key, found = 0, b"", []
    while at < end:
        same, at = _varint(block, at)
        more, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:same] + block[at : at + more]
        found.append((key, block[at + more : at + more + length]))
        at += more + length
    return found


def words(data: bytes, rng: random.Random) -> bytes:
    """Change an aligned number of a flatbuffer: an offset, a length, an index, the place of a field in its table."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 2])):
        width = rng.choice([4, 4, 4, 2, 1])
        at = rng.randrange(max(1, len(data) // width)) * width
        code = {4: "<i", 2: "<h", 1: "<b"}[width]
        if at + width > len(data):
            continue
        old = struct.unpack_from(code, data, at)[0]
        low, high = -(1 << 8 * width - 1), (1 << 8 * width - 1) - 1
        new = rng.choice([*_COUNTS, old + 4, old - 4, old + 1, old - 1, old * 2, -old, len(data) - at, len(data), -at])
        struct.pack_into(code, content, at, min(max(new, low), high))
    return bytes(content)


_OPCODES = [
    b"cos\nsystem\n", b"ctorch\nload\n", b"cbuiltins\neval\n", b"(", b"R", b"b", b"Q", b"0", b"1", b"2", b"}", b"]",
    b")", b"s", b"u", b"e", b"t", b"\x85", b"\x86", b"\x87", b"\x81", b"\x92", b"\x93", b"N", b"\x88", b"h\x00", b"h\xff",
    b"j\xff\xff\xff\xff", b"r\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"\x8a\xff" + b"\x7f" * 255, b"I99999999999\n",
    b"X\x02\x00\x00\x00os", b"X\xff\xff\xff\x7f", b"\x8d" + b"\xff" * 8, b"\x82\x01", b"\x95" + b"\xff" * 8,
    b"(" * 3000, b"]" * 3000 + b"a" * 2999, b"J\xff\xff\xff\x7f", b"M\xff\xff", b"P1\n", b"i__main__\nX\n",
]  # fmt: skip


def _rearranged(items: list[Any], at: int, way: int, rng: random.Random, most: int) -> bool:
    """Drop, repeat or swap an item if that is the way, 0 to 2; return whether it was."""
    if way == 0 and len(items) > 1:
        del items[at]
    elif way == 1:
        items[at:at] = [items[at]] * rng.choice([1, 2, most])
    elif way == 2:
        other = rng.randrange(len(items))
        items[at], items[other] = items[other], items[at]
    else:
        return False
    return True


def pickled(data: bytes, rng: random.Random) -> bytes:
    """Drop, repeat, swap or add an instruction of a pickle, or change what one is about."""
    try:
        starts = [place for _, _, place in pickletools.genops(data)]
    except (ValueError, IndexError):
        return data
    pieces = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        at, way = rng.randrange(len(pieces)), rng.randrange(6)
        if _rearranged(pieces, at, way, rng, most=500):
            continue
        if way == 3 and len(pieces[at]) > 1:
            piece = bytearray(pieces[at])
            piece[rng.randrange(1, len(piece))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            pieces[at] = bytes(piece)
        else:
            pieces[at:at] = [rng.choice(_OPCODES)]
    return b"".join(pieces)


def blocks(data: bytes, rng: random.Random) -> bytes:
    """Change a number, drop, repeat or nest a line of a `.prototxt`."""
    lines = data.decode().split("\n")
    at, way = rng.randrange(len(lines)), rng.randrange(6)
    if _rearranged(lines, at, way, rng, most=3000):
        return "\n".join(lines).encode()
    if way == 3:
        depth = rng.choice([3, 200, 100_000])
        lines[at] += " layer { " * depth + "} " * rng.choice([depth, 0])
    else:
        name, colon, _ = lines[at].partition(":")
        lines[at] = (
            f"{name}{colon} {rng.choice([*map(str, _COUNTS), '1e999', 'nan', 'TRUE', 'os', chr(34) * 3, 'x' * 9999])}"
        )
    return "\n".join(lines).encode()


def of(name: str, data: bytes) -> list[Damage]:
    """Return the ways to damage a file of this name that keep its form."""
    if data[:4] == b"PK\x03\x04":
        return [zip_headers, zip_members]
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        return [hdf5]
    if name.endswith(".json") or (data[:1] == b"{" and data[-1:] == b"}"):
        return [json_text]
    if name.endswith(".safetensors"):
        return [safetensors]
    if name.endswith((".pb", ".onnx", ".caffemodel")):
        return [message]
    if name.endswith(".index"):
        return [table]
    if name.endswith(".tflite"):
        return [words]
    if name.endswith(".prototxt"):
        return [blocks]
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return [pickled]
    return []
