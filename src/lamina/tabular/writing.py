"""Tables written batch by batch, as Parquet or CSV; the file appears under its name when it is whole."""

import os
from types import TracebackType
from typing import Any, Self

from lamina.errors import invalid
from lamina.tabular.sources import arrow


class Writer:
    """Writes record batches to a file, while a `with` block lasts.

    Args:
        path: Its ending, `.parquet` or `.csv`, says which kind.

    Raises:
        InvalidArgumentError: If it has another ending.
    """

    def __init__(self, path: str) -> None:
        self.path, self._part = path, f"{path}.part"
        self.kind = os.path.splitext(path)[1].lower()
        if self.kind not in (".parquet", ".csv"):
            raise invalid(
                "Predictions go to a file that ends in .parquet or .csv.", received=path, fix="-o predictions.parquet"
            )
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise invalid("The folder of the output does not exist.", received=path, fix="make it before.")
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, batch: Any) -> None:
        """Append rows."""
        if self._writer is None:
            self._writer = self._opened(batch.schema)
        self._writer.write_batch(batch)

    def _opened(self, schema: Any) -> Any:
        arrow()
        from pyarrow import csv
        from pyarrow import parquet as pq

        return pq.ParquetWriter(self._part, schema) if self.kind == ".parquet" else csv.CSVWriter(self._part, schema)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        self._writer.close()
        if error is None:
            os.replace(self._part, self.path)
        else:
            os.unlink(self._part)
