"""Strings and whole numbers put into a fixed number of bins by a hash that never changes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina import config, registry
from lamina._types import Config, Numpy, Shape
from lamina.errors import invalid
from lamina.graph import KerasTensor
from lamina.layers import encoding, fingerprints
from lamina.layers.host import HostLayer, as_array, as_bytes, strings, whole

_MODES = ("int", "one_hot", "multi_hot", "count")


def salt_of(salt: Any, owner: str, problem: str) -> list[int] | None:
    """Return a salt as two numbers, or None without one.

    Raises:
        InvalidArgumentError: If it is neither a whole number nor two of them.
    """
    if salt is None:
        return None
    if isinstance(salt, tuple | list) and len(salt) == 2 and all(isinstance(s, int | np.integer) for s in salt):
        return [int(s) for s in salt]
    if isinstance(salt, int | np.integer) and not isinstance(salt, bool):
        return [int(salt), int(salt)]
    raise invalid(problem, owner=owner, received=f"salt={salt}.")


def bins_of(texts: list[bytes], bins: int, salt: Sequence[int] | None) -> Numpy:
    """Return the bin of each string: FarmHash64, or SipHash with a salt. Each string is hashed once."""
    places: dict[bytes, int] = {}
    order = [places.setdefault(text, len(places)) for text in texts]
    found = fingerprints.farmhash64(list(places)) if salt is None else fingerprints.siphash64(list(places), salt)
    numbers: Numpy = (found % np.uint64(bins)).astype(np.int64)
    return numbers[np.asarray(order, np.int64)]


def as_text(array: Numpy, owner: str) -> list[bytes]:
    """Return strings, or numbers written out, as they are hashed. Fractions are cut off, as Keras does."""
    if array.dtype.kind == "b":
        return [b"true" if value else b"false" for value in array.flat]
    if array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind in "iu":
        return [b"%d" % value for value in array.ravel().tolist()]
    return as_bytes(strings(array, owner))


@registry.export("layers")
class Hashing(HostLayer):
    """For each string or whole number a bin from 0 to `num_bins - 1`: always the same, on every machine.

    The bins are those of Keras: FarmHash64 of the string, or of the number written out; SipHash-2-4 with a salt.
    Strings are hashed outside of compiled steps; numbers also inside a model.

    Args:
        num_bins: Number of bins.
        mask_value: An input that goes to bin 0, which it then has for itself.
        salt: A whole number, or two, that makes other bins.
        output_mode: "int", "one_hot", "multi_hot" or "count": see `CategoryEncoding`.
        sparse: Kept for Keras scripts; the result is an array.
        **kwargs: `name`, `dtype`: see `Layer`.

    Shapes:
        inputs: `(batch, ...)`
        result: as inputs for "int"; `(..., num_bins)` for the others

    Raises:
        InvalidArgumentError: If an argument is not allowed, or an input is neither a string nor a number.
    """

    rowwise = True
    _config_order = ("num_bins", "salt", "mask_value", "output_mode", "sparse")

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else config.floatx()
        super().__init__(**kwargs)
        owner = f"Hashing layer `{self.name}`"
        if num_bins is None or num_bins <= 0:
            raise invalid(
                "The `num_bins` for `Hashing` cannot be `None` or non-positive values.",
                owner=owner,
                received=f"num_bins={num_bins}.",
            )
        if output_mode == "int" and self.dtype_policy.name not in ("int32", "int64"):
            raise invalid(
                "When `output_mode=\"int\"`, `dtype` should be an integer type, 'int32' or 'int64'.",
                owner=owner,
                received=f"dtype={kwargs['dtype']}",
            )
        if output_mode not in _MODES:
            raise invalid(
                f"Invalid value for argument `output_mode`. Expected one of {_MODES}.",
                owner=owner,
                received=f"output_mode={output_mode}",
            )
        encoding.refuse_sparse(sparse, output_mode, owner, ("multi_hot", "count"))
        self.num_bins, self.mask_value = int(num_bins), mask_value
        self.output_mode, self.sparse = output_mode, False
        self.salt = salt_of(
            salt,
            owner,
            "The `salt` argument for `Hashing` can only be a tuple of size 2 integers, or a single integer.",
        )
        self.strong_hash = salt is not None

    def compute(self, inputs: Any) -> Numpy:
        owner = f"Hashing layer `{self.name}`"
        texts = as_text(inputs, owner)
        masked = self.mask_value is not None and self.num_bins > 1
        numbers = bins_of(texts, self.num_bins - masked, self.salt).reshape(inputs.shape)
        if masked:
            mask = np.array([text == self._mask() for text in texts], bool).reshape(inputs.shape)
            numbers = np.where(mask, 0, numbers + 1)
        return encoding.encode(numbers, self.output_mode, self.num_bins, self.compute_dtype)  # type: ignore[no-any-return]

    def _mask(self) -> bytes:
        return self.mask_value if isinstance(self.mask_value, bytes) else str(self.mask_value).encode()

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return encoding.shape_of(input_shape, self.output_mode, self.num_bins)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        self.rowwise = self.output_mode in ("int", "one_hot") or len(inputs.shape) > 1
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.dtype)


@registry.export("layers")
class HashedCrossing(HostLayer):
    """For each row of several features one bin, by a hash of all of them together: what goes with what.

    The bins are those of Keras. Features are strings or whole numbers.

    Args:
        num_bins: Number of bins.
        output_mode: "int" or "one_hot".
        sparse: Kept for Keras scripts; the result is an array.
        name: Its name.
        dtype: Type of the result.
        **kwargs: Kept for Keras scripts.

    Shapes:
        inputs: a list of two or more features, each `(batch,)` or `(batch, 1)`
        result: as one of them for "int"; `(batch, num_bins)` for "one_hot"

    Raises:
        InvalidArgumentError: If there are not at least two features of one such shape.
    """

    rowwise = True

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype="int64" if output_mode == "int" and dtype is None else dtype, **kwargs)
        owner = f"HashedCrossing layer `{self.name}`"
        encoding.one_of(output_mode, ("int", "one_hot"), "output_mode", owner)
        encoding.refuse_sparse(sparse, "one_hot", owner)
        if not isinstance(num_bins, int | np.integer) or num_bins < 1:
            raise invalid("`num_bins` must be a positive integer.", owner=owner, received=f"num_bins={num_bins}")
        self.num_bins, self.output_mode, self.sparse = int(num_bins), output_mode, False

    def _to_host(self, value: Any) -> Any:
        owner = f"HashedCrossing layer `{self.name}`"
        if not isinstance(value, list | tuple):
            raise invalid(
                "`HashedCrossing` should be called on a list or tuple of inputs.", owner=owner, received=f"{value!r}"
            )
        if len(value) < 2:
            raise invalid(
                "`HashedCrossing` should be called on at least two inputs.", owner=owner, received=f"inputs={value}"
            )
        found = [as_array(one, owner) for one in value]
        shapes = [tuple(one.shape) for one in found]
        if any(len(shape) > 2 or (len(shape) == 2 and shape[-1] != 1) for shape in shapes):
            raise invalid(
                "All `HashedCrossing` inputs should have shape `()`, `(batch_size)` or `(batch_size, 1)`.",
                owner=owner,
                received=f"shapes {shapes}",
                fix="flatten each feature, or pass its columns one by one.",
            )
        if len(set(shapes)) > 1:
            raise invalid("All `HashedCrossing` inputs should have equal shape.", owner=owner, received=str(shapes))
        for one in found:
            kind = one.dtype if isinstance(one.dtype, str) else one.dtype.name
            if "float" in kind or "complex" in kind:
                raise invalid(
                    "All `HashedCrossing` inputs should have an integer or string dtype.",
                    owner=owner,
                    received=f"an input of dtype {kind}",
                    fix="put numbers into ranges first: `Discretization`.",
                )
        return found

    def compute(self, inputs: Any) -> Numpy:
        owner = f"HashedCrossing layer `{self.name}`"
        columns = []
        for one in inputs:
            flat = one.ravel()
            if flat.dtype.kind in "iub":
                columns.append(whole(flat, owner))
            else:
                columns.append(fingerprints.farmhash64(as_bytes(strings(flat, owner))))
        numbers = fingerprints.crossed(columns, self.num_bins).reshape(inputs[0].shape)
        return encoding.encode(numbers, self.output_mode, self.num_bins, self.compute_dtype)  # type: ignore[no-any-return]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = list(input_shape)
        if len(shapes) < 2 or not all(isinstance(shape, tuple | list) for shape in shapes):
            raise invalid(
                "Expected as input a list/tuple of at least 2 tensors.", received=f"input_shape={input_shape}"
            )
        if len({tuple(shape)[-1:] for shape in shapes}) > 1:
            raise invalid(
                "Expected the two input tensors to have identical shapes.", received=f"input_shape={input_shape}"
            )
        return encoding.shape_of(shapes[0], self.output_mode, self.num_bins)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        return KerasTensor(self.compute_output_shape([x.shape for x in inputs]), dtype=self.dtype)

    def get_config(self) -> Config:
        return {
            "num_bins": self.num_bins,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
            "name": self.name,
            "dtype": self.dtype,
        }
