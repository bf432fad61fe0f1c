"""What commands on the tables of a job share: finding them, and answering as a table, JSON or CSV."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitscope.cli.options import LONG_SECONDS, connect, ended
from unitscope.cli.output import print_json
from unitscope.cli.specs import REPORT
from unitscope.errors import NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from unitscope.client import Client, Result, SavedResult


class Form(StrEnum):
    """How the command answers."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True)
class Opened:
    """The results of a job, with the client that reads them, or of a folder."""

    source: str
    result: Result | SavedResult
    client: Client | None = None

    @property
    def report(self) -> str:
        """Where its report is, or how one gets there."""
        page = REPORT
        if self.client is None:
            return str(Path(self.source) / page)
        return f"unitscope download {self.source}, then {self.source}/{page}"


@contextmanager
def opened(source: str, address: str, home: Path) -> Iterator[Opened]:
    """The results that a job's id, or a folder, means.

    Raises:
        NotFoundError: There is no such job or folder.
        FailedPreconditionError: The job has not ended (reason JOB_NOT_ENDED).
        JobFailedError: It failed or was cancelled.
    """
    from unitscope.client import SavedResult

    if Path(source).is_dir():
        yield Opened(source, SavedResult(source))
        return
    if any(mark in source for mark in "/\\.~"):
        raise NotFoundError(
            f"there is no folder {source}, and it is no job id either", reason="RESULT_NOT_FOUND"
        )
    with connect(address, home, LONG_SECONDS) as client:
        yield Opened(source, ended(client, source).result(), client)


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The table's rows, NaN as None."""
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]


def print_plain(table: pa.Table, rows: list[dict[str, Any]], output: Form) -> None:
    """The rows with all columns, as JSON or CSV."""
    if output is Form.JSON:
        print_json(rows)
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in rows:
        cells = (" ".join(map(str, v)) if isinstance(v, list) else v for v in row.values())
        writer.writerow("" if cell is None else cell for cell in cells)


def percent(value: float | None) -> str:
    """A share; empty where there is none."""
    return "" if value is None else f"{value:.0%}"
