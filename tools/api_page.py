"""Write `docs/api.md`: every public name of Keras against the one here, read from both packages.

python -m tools.api_page
"""

import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")
PAGE = Path(__file__).parent.parent / "docs" / "api.md"
REASONS = Path(__file__).with_name("absent.txt")
_NOT_PUBLIC = ("keras.src", "keras._tf_keras", "keras.protos")
_CLASSES = ("Layer", "Model", "Sequential", "Optimizer", "Metric", "Loss", "Callback", "Variable", "KerasTensor")


class Name(NamedTuple):
    """A public name of Keras.

    Attributes:
        module: Its module, e.g. "keras.layers".
        name: The name.
        kind: "present", "different" or "absent".
        why: What is different, or why it is absent.
    """

    module: str
    name: str
    kind: str
    why: str = ""


def modules() -> list[str]:
    """Return Keras's public modules."""
    import keras

    return ["keras", *sorted(_inside(keras))]


def _inside(package: Any) -> Iterator[str]:
    """Yield the public modules in a package. What is not public is not imported: that would change Keras's backend."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.startswith(_NOT_PUBLIC):
            yield module.name
            if module.ispkg:
                yield from _inside(importlib.import_module(module.name))


def rules() -> list[tuple[re.Pattern[str], str]]:
    """Return the reasons for absence: patterns of names, the first that fits counts."""
    found, reason = [], ""
    for line in REASONS.read_text().splitlines():
        if line.startswith("# "):
            continue
        if line.startswith("## "):
            reason = line[3:]
        else:
            found += [(re.compile(pattern), reason) for pattern in line.split()]
    return found


def why_absent(full: str, known: list[tuple[re.Pattern[str], str]]) -> str:
    """Return why a name is absent, or raise `LookupError` if `absent.txt` does not say."""
    for pattern, reason in known:
        if pattern.fullmatch(full):
            return reason
    raise LookupError(f"{full} is absent, and {REASONS.name} does not say why")


def names() -> Iterator[Name]:
    """Yield every public name of Keras, compared."""
    known = rules()
    for module in modules():
        theirs = importlib.import_module(module)
        try:
            ours: Any = importlib.import_module(f"lamina.{module}")
        except ModuleNotFoundError:
            ours = None
        for name in sorted(vars(theirs)):
            value = getattr(theirs, name)
            if name.startswith("_") or inspect.ismodule(value):
                continue
            if ours is None or getattr(ours, name, None) is None:
                yield Name(module, name, "absent", why_absent(f"{module}.{name}", known))
                continue
            difference = compared(value, getattr(ours, name))
            yield Name(module, name, "different" if difference else "present", difference)


def compared(theirs: Any, ours: Any) -> str:
    """Return how the arguments differ in a way that a call can meet, or an empty text."""
    if callable(theirs) != callable(ours):
        return f"a {type(ours).__name__}"
    if not callable(theirs):
        return ""
    one, other = parameters(theirs), parameters(ours)
    if one is None or other is None:
        return ""
    keywords = any(p.kind is p.VAR_KEYWORD for p in other.values())
    found = [f"no `{name}`" for name, p in one.items() if name not in other and not _open(p) and not keywords]
    found += [f"needs `{n}`" for n, p in other.items() if n not in one and p.default is p.empty and not _open(p)]
    for name in one.keys() & other.keys():
        first, second = one[name], other[name]
        if second.default is not first.default and not _alike(first.default, second.default):
            found.append(f"`{name}` is {_shown(second)}, not {_shown(first)}")
    positional = [[n for n, p in side.items() if p.kind is p.POSITIONAL_OR_KEYWORD] for side in (one, other)]
    common = [[n for n in side if n in positional[0] and n in positional[1]] for side in positional]
    if common[0] != common[1]:
        found.append(f"order {', '.join(common[1])}")
    return "; ".join(sorted(found))


def _open(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _alike(one: Any, other: Any) -> bool:
    if one is inspect.Parameter.empty or other is inspect.Parameter.empty:
        return other is not inspect.Parameter.empty  # what Keras demands may be left out here
    return type(one) is type(other) and repr(one) == repr(other)


def _shown(parameter: inspect.Parameter) -> str:
    return "required" if parameter.default is parameter.empty else f"{parameter.default!r}"


def parameters(thing: Any) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a function, or of a class's constructor, or None if they are not known."""
    try:
        found = dict(inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters)
    except (TypeError, ValueError):
        return None
    found.pop("self", None)
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return {}
    return found


def methods() -> Iterator[tuple[str, list[str]]]:
    """Yield the classes that a user writes against, with Keras's public methods and properties that they lack."""
    import keras

    from lamina import keras as here

    for name in _CLASSES:
        holder = (keras.callbacks, here.callbacks) if name == "Callback" else (keras, here)
        theirs, ours = (getattr(module, name) for module in holder)
        if issubclass(ours, here.Layer):
            ours = ours()  # what `__init__` sets counts too
        wanted = {member for cls in theirs.__mro__ if cls.__module__.startswith("keras.") for member in vars(cls)}
        yield name, sorted(m for m in wanted if not m.startswith("_") and not hasattr(ours, m))


def page() -> str:
    """Return the text of the page."""
    import keras

    found = list(names())
    counts = Counter(entry.kind for entry in found)
    reasons = Counter(entry.why for entry in found if entry.kind == "absent")
    lines = [
        "# Keras's names",
        "",
        f"Every public name of Keras {keras.__version__} and whether it is here, under `lamina.keras` (and, without"
        " `keras`, under `lamina`). `make pages` writes this page from both packages.",
        "",
        f"Of {len(found)} names, **{counts['present']} are present** with Keras's arguments and defaults, "
        f"**{counts['different']} differ** and **{counts['absent']} are absent**. How what is present behaves "
        "differently is on the page [differences](differences.md).",
        "",
        "| Absent because | Names |",
        "|---|---|",
        *(f"| {reason} | {count} |" for reason, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0]))),
        "",
    ]
    for module in dict.fromkeys(entry.module for entry in found):
        lines += _section(module, [entry for entry in found if entry.module == module])
    lines += ["## Methods and properties", "", "| Class | Keras has, lamina has not |", "|---|---|"]
    lines += [f"| `{name}` | {_listed(lacking) or 'nothing'} |" for name, lacking in methods()]
    return "\n".join(lines) + "\n"


def _section(module: str, entries: list[Name]) -> list[str]:
    here = [entry.name for entry in entries if entry.kind == "present"]
    other = [entry for entry in entries if entry.kind == "different"]
    lines = [f"## `{module}`", ""]
    if here:
        lines += [f"Present: {_listed(here)}.", ""]
    if other:
        lines += ["| Different | How |", "|---|---|", *(f"| `{e.name}` | {e.why} |" for e in other), ""]
    for reason in dict.fromkeys(entry.why for entry in entries if entry.kind == "absent"):
        gone = [entry.name for entry in entries if entry.kind == "absent" and entry.why == reason]
        lines += [f"Absent ({reason}): {_listed(gone)}.", ""]
    return lines


def _listed(found: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in found)


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    print(PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
