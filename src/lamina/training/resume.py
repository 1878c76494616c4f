"""Going on with a training that was cut off, as if it had not been: the same numbers to the last bit.

A snapshot holds all that decides how a training goes on: weights, statistics, the optimizer's and the metrics' state,
the streams of random numbers, what callbacks remember, the epoch and the place in it, the order of the data.
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lamina import random as lamina_random
from lamina._types import Config, Numpy
from lamina.callbacks import kept
from lamina.errors import InUseError, InvalidArgumentError, message, warn
from lamina.saving import snapshots
from lamina.saving.snapshots import Snapshot
from lamina.training.steps import Variables
from lamina.variables import store, values

FILE = "training.safetensors"
LEAST_SECONDS = 1.0  # between two snapshots
SHARE = 1 / 50  # of the time that may go into snapshots


class Place(NamedTuple):
    """How far a training came.

    Attributes:
        epoch: Number of the epoch that goes on, from 0.
        step: Batches of it that are done.
        stopped: Whether a callback had ended the training.
    """

    epoch: int
    step: int
    stopped: bool


class Keeping:
    """One fit as it can be taken down and put back.

    Args:
        names: The variables.
        feed: The data.
        callbacks: All callbacks of the fit.
        first: Number of its first epoch.
        validation: The data of its validation, if it has one, and whether an epoch ends with one.
    """

    def __init__(
        self,
        names: Variables,
        feed: Any,
        callbacks: Sequence[Any],
        first: int,
        validation: tuple[Any, Callable[[int], bool]] | None = None,
    ) -> None:
        self.names, self.feed, self.callbacks, self.first, self.validation = names, feed, callbacks, first, validation
        self._start = _streams_now()
        self._found: Snapshot | None = None

    def adopt(self, found: Snapshot) -> Place:
        """Check a snapshot, keep it for `begin`, and return how far its training came.

        Raises:
            InvalidArgumentError: If it is one of another model, or stopped inside an epoch of other data.
        """
        said = found.values
        for group, variables in zip(Variables._fields, self.names, strict=True):
            have = [[list(v.shape), str(v.dtype)] for v in variables]
            if have != said["shapes"][group]:
                raise _another(found.path, f"its {group} are {_few(said['shapes'][group])}, the model's {_few(have)}")
        about = self.feed.mark(0)["about"]
        if about != said["about"] and (said["step"] or "drawn" in said["feed"]):
            raise _another(found.path, f"it stopped in the data {said['about']}, and the data now are {about}")
        self._found = found
        return _place(said)

    @property
    def place(self) -> Place | None:
        """How far the adopted training came."""
        return None if self._found is None else _place(self._found.values)

    def begin(self) -> tuple[Place, dict[str, Any]] | None:
        """Put back what was adopted, and return where training goes on and the logs of the epoch so far."""
        found, self._found = self._found, None
        if found is None:
            return None
        arrays, said = found.arrays, found.values
        place = _place(said)
        if "drawn" in said["feed"] or "next" in said["feed"]:
            self.feed.goto({**said["feed"], **_under(arrays, "feed/")})
        else:
            _set_streams(arrays, "start", said["start"])
            self._start = _streams_now()
            self._read_again(place)
        for group, variables in zip(Variables._fields, self.names, strict=True):
            store(variables, [jnp.array(arrays[f"{group}/{i}"]) for i in range(len(variables))])
        if "global_generator" in arrays:
            lamina_random.global_generator().state.assign(arrays["global_generator"])
        strangers = kept.restore(_told(self.callbacks), said["callbacks"], arrays)
        if strangers and strangers != ["History"]:
            warn(f"The snapshot {found.path!r} holds nothing of {', '.join(strangers)}, which begin anew.")
        _set_streams(arrays, "now", said["now"])
        return place, {key: float.fromhex(value) for key, value in said["logs"].items()}

    def _read_again(self, place: Place) -> None:
        """Read what a stream had given by then: no stream can be set to a place."""
        for epoch in range(self.first, place.epoch + (place.step > 0)):
            self.feed.start_epoch()
            left = place.step if epoch == place.epoch else 1 << 30
            while left > 0 and (block := self.feed.block(min(left, 64))) is not None:
                left -= block.count
            if epoch < place.epoch and self.validation is not None and self.validation[1](epoch):
                feed = self.validation[0]
                feed.start_epoch()
                while feed.block(64) is not None:
                    pass

    def take(self, place: Place, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Numpy], Config]:
        """Return the arrays of the device, those of the host, and the plain values of a snapshot."""
        held = {
            f"{group}/{i}": array
            for group, variables in zip(Variables._fields, self.names, strict=True)
            for i, array in enumerate(values(variables))  # read, hence copied before their memory is taken over
        }
        if lamina_random._global:
            held["global_generator"] = lamina_random.global_generator().state.value
        arrays: dict[str, Numpy] = {}
        mark = self.feed.mark(place.step)
        arrays.update({f"feed/{name}": a for name, a in mark.items() if isinstance(a, np.ndarray)})
        said: Config = {
            "epoch": place.epoch,
            "step": place.step,
            "stopped": place.stopped,
            "logs": {key: float(value).hex() for key, value in logs.items() if np.ndim(value) == 0},
            "shapes": {
                group: [[list(v.shape), str(v.dtype)] for v in variables]
                for group, variables in zip(Variables._fields, self.names, strict=True)
            },
            "about": mark.pop("about"),
            "feed": {name: value for name, value in mark.items() if not isinstance(value, np.ndarray)},
            "start": _plain_streams(self._start, arrays, "start"),
            "now": _plain_streams(_streams_now(), arrays, "now"),
            "callbacks": kept.states(_told(self.callbacks), arrays),
        }
        return held, arrays, said

    def epoch_from(self, epoch: int) -> tuple[dict[str, Numpy], Config]:
        """Return a snapshot, now, of a training that goes on with the start of an epoch; its history begins anew."""
        held, arrays, said = self.take(Place(epoch, 0, False), {})
        if "next" in said["feed"] and self.feed.inside:
            said["feed"]["next"] = self.feed.batches
        said["callbacks"] = [one for one in said["callbacks"] if one["class"] != "History"]
        return {**{name: np.asarray(array) for name, array in held.items()}, **arrays}, said


class Keeper:
    """Keeps a training in a folder, now and then, and takes it up again from there.

    Args:
        folder: Folder of this one training. It is made if need be.

    Raises:
        InUseError: If another process trains into the folder.
        FileFormatError: If the snapshot is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = os.path.join(os.fspath(folder), FILE)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._lock = _locked(os.path.dirname(self.path))
        self._saved, self._cost = 0.0, 0.0
        self._writer = snapshots.Writer()

    def find(self, keeping: Keeping) -> Place | None:
        """Hand what the folder holds to `keeping`, and return how far that training came; None for a new one."""
        try:
            fix = f"remove the folder {os.path.dirname(self.path)!r} to begin anew."
            found = snapshots.read(self.path, kind="snapshot of a training", fix=fix)
        except FileNotFoundError:
            return None
        return keeping.adopt(found)

    def close(self) -> None:
        """Wait for what is being written and give the folder free."""
        try:
            self._writer.wait()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def due(self) -> bool:
        """Return whether it is time for another snapshot."""
        return time.monotonic() - self._saved > max(LEAST_SECONDS, self._cost / SHARE)

    def save(self, keeping: Keeping, place: Place, logs: dict[str, Any], *, wait: bool = False) -> None:
        """Take a snapshot. Its file is written while training goes on, unless `wait`.

        Raises:
            OSError: If this one or the one before could not be written.
        """
        self._writer.wait()
        self._saved = begun = time.monotonic()
        held, arrays, said = keeping.take(place, logs)

        def put() -> None:
            try:
                snapshots.write(self.path, {**{name: np.asarray(a) for name, a in held.items()}, **arrays}, said)
            finally:
                self._cost = time.monotonic() - begun

        self._writer.begin(put)
        if wait:
            self._writer.wait()


def _place(said: Config) -> Place:
    return Place(said["epoch"], said["step"], said["stopped"])


def _another(path: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        message(
            f"The training kept in {path!r} is another one: {why}.",
            fix="go on with the same script, or, to begin anew, name another folder "
            f"or remove {os.path.dirname(path)!r}.",
        )
    )


def _streams_now() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()  # noqa: NPY002 - Keras's stream


def _told(callbacks: Sequence[Any]) -> list[Any]:
    """Return those callbacks whose memory decides anything: not the line on the screen."""
    return [c for c in callbacks if not getattr(c, "forgets", False)]


def _plain_streams(streams: tuple[Any, Any], arrays: dict[str, Numpy], name: str) -> Config:
    (kind, keys, position, has_gauss, gauss), (version, words, python_gauss) = streams
    arrays[f"{name}/numpy"] = np.asarray(keys)
    arrays[f"{name}/python"] = np.asarray(words, np.uint32)
    numpy_rest = [kind, int(position), int(has_gauss), float(gauss).hex()]
    return {"numpy": numpy_rest, "python": [version, None if python_gauss is None else python_gauss.hex()]}


def _set_streams(arrays: dict[str, Numpy], name: str, said: Config) -> None:
    kind, position, has_gauss, gauss = said["numpy"]
    np.random.set_state((kind, arrays[f"{name}/numpy"], position, has_gauss, float.fromhex(gauss)))  # noqa: NPY002
    version, python_gauss = said["python"]
    words = tuple(int(word) for word in arrays[f"{name}/python"])
    random.setstate((version, words, None if python_gauss is None else float.fromhex(python_gauss)))


def _under(arrays: dict[str, Numpy], start: str) -> dict[str, Numpy]:
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _few(shapes: list[Any]) -> str:
    shown = ", ".join(str(tuple(shape)) for shape, _ in shapes[:6])
    return f"{len(shapes)} of shapes {shown}{', ...' if len(shapes) > 6 else ''}"


def _locked(folder: str) -> Any:
    """Return an open file that holds the folder for this process, until it is closed or the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows has none
        return None
    descriptor = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InUseError(
            message(
                f"Another process trains into {folder!r}.",
                owner="resume",
                fix="wait until it has ended, or give this training a folder of its own.",
            )
        ) from None
    return descriptor
