"""A dict whose keys are also attributes, and which can be frozen."""

import copy
import json
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

from lamina import registry
from lamina.errors import did_you_mean, invalid


@registry.export("utils")
class Config:
    """Named values, set and read as attributes or as keys.

    Args:
        **kwargs: The first values.

    Raises:
        InvalidArgumentError: If a value is set after `freeze`.
        AttributeError: For a name that has no value, with the nearest.
    """

    _values: dict[str, Any]
    _frozen: bool

    def __init__(self, **kwargs: Any) -> None:
        object.__setattr__(self, "_values", kwargs)
        object.__setattr__(self, "_frozen", False)

    @property
    def frozen(self) -> bool:
        """Whether values can no longer be changed."""
        return self._frozen

    def freeze(self) -> None:
        """Let nothing be changed from now on."""
        object.__setattr__(self, "_frozen", True)

    def unfreeze(self) -> None:
        """Let values be changed again."""
        object.__setattr__(self, "_frozen", False)

    def _changeable(self) -> dict[str, Any]:
        if self._frozen:
            raise invalid("Cannot mutate attribute(s) because the config is frozen.", fix="call `unfreeze()` first.")
        return self._values

    def as_dict(self) -> dict[str, Any]:
        """Return the values as a dict of their own."""
        return copy.copy(self._values)

    def to_json(self) -> str:
        """Return the values as JSON."""
        return json.dumps(self._values)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._values.keys()

    def values(self) -> ValuesView[Any]:
        """Return the values."""
        return self._values.values()

    def items(self) -> ItemsView[str, Any]:
        """Return names with values."""
        return self._values.items()

    def get(self, keyname: str, value: Any = None) -> Any:
        """Return a value, or `value` if the name has none."""
        return self._values.get(keyname, value)

    def pop(self, *args: Any) -> Any:
        """Take a value out and return it."""
        return self._changeable().pop(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several values."""
        self._changeable().update(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in dir(type(self)):
            object.__setattr__(self, name, value)
        else:
            self._changeable()[name] = value

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"Unknown attribute: '{name}'. {did_you_mean(name, list(values))}")

    def __setitem__(self, key: str, item: Any) -> None:
        self._changeable()[key] = item

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __delitem__(self, key: str) -> None:
        del self._changeable()[key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._values]

    def __repr__(self) -> str:
        return f"<Config {self._values}>"
