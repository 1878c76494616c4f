"""A file as one table in memory: whole if it fits, else rows drawn at random while it streams past once."""

from typing import Any, NamedTuple

import numpy as np

from lamina.errors import did_you_mean, invalid
from lamina.tabular.sources import Source, arrow

_SHARE = (
    4  # of the free memory a quarter is for the rows as they are read: encoded they take about as much again, twice
)


class Gathered(NamedTuple):
    """Rows of a file.

    Attributes:
        rows: A table of PyArrow.
        total: How many rows the file has.
    """

    rows: Any
    total: int


def gather(source: Source, *, seed: int = 0, limit: int | None = None) -> Gathered:
    """The rows of a file, or as many drawn at random as `limit` bytes hold; each is as likely as another.

    Args:
        source: The file.
        seed: Of what is drawn.
        limit: Bytes. Default: a quarter of the memory that is free.
    """
    pa = arrow()
    limit = _free() // _SHARE if limit is None else limit
    random = np.random.Generator(np.random.PCG64(seed))
    kept: list[tuple[Any, Any]] = []
    share, size, total = 1.0, 0, 0
    for batch in source.batches():
        total += batch.num_rows
        draws = random.random(batch.num_rows)
        kept.append(_below(batch, draws, share))
        size += kept[-1][0].nbytes
        while size > limit and share > 1e-6:
            share /= 2
            kept = [_below(rows, numbers, share) for rows, numbers in kept]
            size = sum(rows.nbytes for rows, _ in kept)
    if not total:
        raise invalid("The file has no rows.", owner=source.path)
    tables = [pa.Table.from_batches([rows]) for rows, _ in kept]
    return Gathered(pa.concat_tables(tables, promote_options="permissive"), total)


def _below(rows: Any, draws: Any, share: float) -> tuple[Any, Any]:
    if share == 1.0:
        return rows, draws
    chosen = draws < share
    return rows.filter(arrow().array(chosen)), draws[chosen]


def _free() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 8 << 30


def select(rows: Any, names: list[str], path: str) -> Any:
    """The columns that a model knows, in its order, whatever else there is.

    Raises:
        InvalidArgumentError: If one is missing.
    """
    gone = [name for name in names if name not in rows.schema.names]
    if gone:
        more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
        raise invalid(
            f"The file lacks columns that the model was trained on: {', '.join(map(repr, gone[:5]))}{more}.",
            owner=path,
            fix=did_you_mean(gone[0], rows.schema.names)
            + " Columns may stand in any order; further ones do not matter.",
        )
    return rows.select(names)
