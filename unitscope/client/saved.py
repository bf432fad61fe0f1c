"""Tables of a result, whole or in shards; and results that lie in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from unitscope.errors import DataLossError, InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIX = ".parquet"


class SavedResult:
    """What ``unitscope download`` or `JobHandle.download` wrote; reads like a `Result`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Names the folder that holds ``tables/``.

        Raises:
            NotFoundError: It holds no tables (reason RESULT_NOT_FOUND).
        """
        self.folder = Path(folder)
        if not (self.folder / "tables").is_dir():
            raise NotFoundError(
                f"{self.folder} holds no folder 'tables'; name one that 'unitscope download' wrote",
                reason="RESULT_NOT_FOUND",
                field="folder",
            )

    def __repr__(self) -> str:
        return f"SavedResult({str(self.folder)!r})"

    @property
    def tables(self) -> tuple[str, ...]:
        """The short names of the tables."""
        return table_names(self._names())

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A table; see `JobHandle.table`."""
        return read_tables(map(self.read, table_files(self._names(), name)), columns)

    def read(self, name: str) -> bytes:
        """The bytes of a file by its artifact's name.

        Raises:
            NotFoundError: There is no such file (reason ARTIFACT_NOT_FOUND).
        """
        try:
            return self.folder.joinpath(*PurePosixPath(name).parts).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise NotFoundError(
                f"{self.folder} holds no {name!r}", reason="ARTIFACT_NOT_FOUND", field="artifact"
            ) from None

    def _names(self) -> list[str]:
        found = (self.folder / "tables").rglob(f"*{_SUFFIX}")
        return sorted(path.relative_to(self.folder).as_posix() for path in found)


def table_names(artifacts: Iterable[str]) -> tuple[str, ...]:
    """The short names of the tables among artifacts: ``tables/<name>.parquet`` or ``tables/<name>/*``."""
    names = dict.fromkeys(filter(None, map(_table_name, artifacts)))
    return tuple(names)


def table_files(artifacts: Iterable[str], name: str) -> list[str]:
    """The artifacts that make up a table, in their order.

    Args:
        artifacts: The names of all artifacts.
        name: A short name, e.g. ``steps``, or an artifact's name.

    Raises:
        NotFoundError: There is no such table (reason ARTIFACT_NOT_FOUND).
    """
    there = list(artifacts)
    short = name.removesuffix(_SUFFIX)
    found = [name] if name in there else sorted(item for item in there if _table_name(item) == short)
    if not found:
        known = ", ".join(item for item in there if _table_name(item)) or "none"
        raise NotFoundError(
            f"there is no table {name!r}; it has: {known[:600]}",
            reason="ARTIFACT_NOT_FOUND",
            field="table",
        )
    return found


def read_tables(shards: Iterable[bytes], columns: Sequence[str] | None = None) -> pa.Table:
    """Shards of one table, in order, as one; at most one of them is in memory as Parquet.

    This thread alone reads: see `unitscope.tables.from_parquet`.

    Raises:
        InvalidArgumentError: A column is missing (reason UNKNOWN_COLUMN).
        DataLossError: A shard is no Parquet file (reason NOT_PARQUET).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for data in shards:
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
        except pa.ArrowInvalid as error:
            raise DataLossError(f"the table is no Parquet file: {error}", reason="NOT_PARQUET") from error
        missing = set(columns or ()) - set(file.schema_arrow.names)
        if missing:
            raise InvalidArgumentError(
                f"the table has no column {', '.join(sorted(missing))}; it has: "
                f"{', '.join(file.schema_arrow.names)}",
                reason="UNKNOWN_COLUMN",
                field="columns",
            )
        table = file.read(columns, use_threads=False)
        tables.append(table if columns is None else table.select(columns))
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables)


def _table_name(artifact: str) -> str:
    """The table that an artifact is, or is a shard of; empty for what is none."""
    parts = PurePosixPath(artifact).parts
    if len(parts) not in (2, 3) or parts[0] != "tables" or not artifact.endswith(_SUFFIX):
        return ""
    return parts[1].removesuffix(_SUFFIX)
