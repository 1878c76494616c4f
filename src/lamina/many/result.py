"""What training many networks returns: a table, the models, the best of them."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from lamina.callbacks import History
from lamina.errors import invalid
from lamina.many.fitting import Fitting
from lamina.many.grid import shown
from lamina.training import many
from lamina.training.crew import Network

_STATUS = {
    many.TRAINING: "interrupted", many.DONE: "done", many.STOPPED: "stopped early", many.NOT_FINITE: "not finite",
}  # fmt: skip


class Models(Sequence[Any]):
    """The trained models, made when they are asked for: by configuration; with folds, a list of one for each."""

    def __init__(self, result: "Many") -> None:
        self._result = result
        self._made: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._result.configs)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        if index not in self._made:
            self._made[index] = self._result._make(index)
        return self._made[index]


class Many:
    """What `fit_many` returns.

    Attributes:
        configs: The configurations, in the order of the grid.
        models: The trained models, each made when it is first asked for. With folds: a list of models for each.
        histories: For each configuration the values by epoch, as `History.history`. With folds: a list of them.
        scores: What each has reached in `monitor`; the mean over the folds. NaN where there is nothing.
        monitor: Name of the loss or metric that is compared.
        best_index: Number of the best configuration.
        programs: Number of compiled programs; `apart` names the keys that made more than one necessary.
        steps: Steps trained, in sum; `seconds`: the time that took, with compiling.
        interrupted: Whether Ctrl-C or the time limit ended it.
        rounds: In how many rounds of `tune` each was; None after `fit_many`.
    """

    def __init__(self, fitting: Fitting, rounds: Any = None) -> None:
        self._fitting, self.rounds = fitting, rounds
        self.configs: list[dict[str, Any]] = fitting.maker.configs
        self.monitor = fitting.request.watching.monitor
        self.models = Models(self)
        self.programs = len(fitting.groups)
        self.apart = fitting.why()
        self.steps, self.seconds = fitting.steps, fitting.seconds
        self.interrupted = fitting.interrupted or fitting.late
        self._members: list[list[int]] = [[] for _ in self.configs]
        for number, seat in enumerate(fitting.seats):
            self._members[seat.owner].append(number)
        self._folded = fitting.seats[0].fold is not None
        own = [[fitting.score(n) for n in self._networks(i)] for i in range(len(self.configs))]
        self._by_fold = own
        self.scores = np.array([np.mean(values) for values in own])

    def _networks(self, index: int) -> list[Network]:
        return [self._fitting.networks[n] for n in self._members[index]]

    def _make(self, index: int) -> Any:
        found = []
        for network in self._networks(index):
            model = self._fitting.maker.trained(index, network, self._fitting.request.watching.keeps)
            history = History()
            history.history = {name: list(values) for name, values in network.logs.items()}
            history.epoch = list(range(int(network.watch.epoch)))
            history.set_model(model)
            model.history = history
            found.append(model)
        return found if self._folded else found[0]

    @property
    def histories(self) -> list[Any]:
        """The values by epoch, for each configuration."""
        logs = [[n.logs for n in self._networks(i)] for i in range(len(self.configs))]
        return logs if self._folded else [one[0] for one in logs]

    @property
    def best_index(self) -> int:
        """Number of the configuration with the best score.

        Raises:
            InvalidArgumentError: If none has one: all were interrupted before an epoch, or their loss is not finite.
        """
        if np.isnan(self.scores).all():
            raise invalid(
                "No network has a score: each was interrupted before its first epoch, or its loss is not finite.",
                fix="look at `table`; try smaller learning rates.",
            )
        return self.order()[0]

    @property
    def best(self) -> Any:
        """The best model; with folds, a list of the best configuration's."""
        return self.models[self.best_index]

    @property
    def best_config(self) -> dict[str, Any]:
        """The best configuration."""
        return self.configs[self.best_index]

    @property
    def best_score(self) -> float:
        """What the best configuration has reached."""
        return float(self.scores[self.best_index])

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each configuration: its entries, its score, and the logs of the epoch that counts.

        `epochs` are the epochs trained, `epoch` the best one, from 1, `status` is "done", "stopped early", "not finite"
        or "interrupted". With folds: means, and the standard deviation of the score as `<monitor>_std`.
        """
        return [self._row(i) for i in range(len(self.configs))]

    def _row(self, index: int) -> dict[str, Any]:
        networks = self._networks(index)
        row: dict[str, Any] = dict(self.configs[index])
        row[self.monitor] = float(self.scores[index])
        if self._folded:
            row[f"{self.monitor}_std"] = float(np.std(self._by_fold[index]))
        keeps = self._fitting.request.watching.keeps
        for name in networks[0].logs:
            values = [_counting(network, name, keeps) for network in networks if network.logs.get(name)]
            if name != self.monitor and all(isinstance(v, float) for v in values):
                row[name] = float(np.mean(values))
        row["epochs"] = _mean([int(n.watch.epoch) for n in networks])
        if any(int(n.watch.best_epoch) >= 0 for n in networks):
            row["epoch"] = _mean([int(n.watch.best_epoch) + 1 for n in networks])
        states = list(dict.fromkeys(_STATUS[int(n.watch.status)] for n in networks))
        row["status"] = ", ".join(states)
        if self.rounds is not None:
            row["rounds"] = int(self.rounds[index])
        return row

    def to_pandas(self) -> Any:
        """Return the table as a data frame, the best first."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`to_pandas` needs pandas.\nTo fix it: pip install pandas") from error
        return pd.DataFrame([self.table[i] for i in self.order()], index=self.order())

    def order(self) -> list[int]:
        """Return the numbers of the configurations, the best first, those without a score last.

        In a search one that got further is better.
        """
        further = -self.rounds if self.rounds is not None else np.zeros(len(self.scores))
        keys = (self.scores * self._fitting.sign, further, np.isnan(self.scores))
        return [int(i) for i in np.lexsort(keys)]

    def __len__(self) -> int:
        return len(self.configs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.models)

    def __repr__(self) -> str:
        text = f"<{len(self.configs)} configurations"
        if not np.isnan(self.scores).all():
            text += f", best {self.monitor} {self.best_score:.4g} with {shown(self.best_config)}"
        return text + ">"

    def __rich__(self) -> Any:
        return self.as_table()

    def as_table(self, rows: int = 20) -> Any:
        """Return a `rich` table of the best configurations, at most so many."""
        from rich.table import Table

        order = self.order()
        found = [self._row(i) for i in order[:rows]]
        names = [name for name in dict.fromkeys(name for row in found for name in row) if self._shown(name, found)]
        more = len(order) - len(found)
        table = Table(
            title=f"{len(self.configs)} configurations by {self.monitor}", caption=f"and {more} more" if more else None
        )
        table.add_column("#", justify="right", style="dim")
        for name in names:
            numbers = all(isinstance(row.get(name, 0), int | float) for row in found)
            table.add_column(name, justify="right" if numbers else "left", no_wrap=numbers)
        for place, (index, row) in enumerate(zip(order, found, strict=False)):
            table.add_row(
                str(index), *(_cell(row.get(name, "")) for name in names), style="bold" if place == 0 else None
            )
        return table

    def _shown(self, name: str, found: list[dict[str, Any]]) -> bool:
        """Return whether a column tells something that the others don't: what was trained on, and how, does not."""
        logs = {key for network in self._networks(0) for key in network.logs}
        if name in logs and name != self.monitor:
            return name.startswith("val_") if self.monitor.startswith("val_") else True
        return name != "status" or any(row["status"] != "done" for row in found)

    def print(self, rows: int = 20) -> None:
        """Print the table of the best configurations."""
        from rich.console import Console

        Console().print(self.as_table(rows))


def _counting(network: Network, name: str, keeps: bool) -> Any:
    """Return the value of a log in the epoch that counts: the best if it is kept, else the last."""
    best = int(network.watch.best_epoch)
    return network.logs[name][best if keeps and best >= 0 else -1]


def _mean(values: list[int]) -> Any:
    mean = float(np.mean(values))
    return int(mean) if mean == int(mean) else round(mean, 1)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if hasattr(value, "shape") and value.shape:
        return f"shape {tuple(value.shape)}"
    return str(value)
