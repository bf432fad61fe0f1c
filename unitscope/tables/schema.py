"""What a table is: columns with type, unit and meaning."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    kind: str = ""
    """The kind of job that alone writes this form of the table; empty for all that write it."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with unit and meaning of each column as metadata."""
        fields = [
            pa.field(c.name, c.type, c.nullable, {"unit": c.unit, "meaning": c.meaning}) for c in self.columns
        ]
        metadata = {"unitscope.table": self.name, "unitscope.schema_version": str(SCHEMA_VERSION)}
        return pa.schema(fields, metadata)

    def extended(self, columns: Sequence[Column]) -> Table:
        """This table with more columns at its end."""
        return replace(self, columns=(*self.columns, *columns))

    def build(self, columns: Mapping[str, Sequence[Any] | Any]) -> pa.Table:
        """An Arrow table of columns by name. Raises ValueError where one is missing or unknown."""
        names = {c.name for c in self.columns}
        if set(columns) != names:
            raise ValueError(f"{self.name}: columns differ: {sorted(set(columns) ^ names)}")
        arrays = [pa.array(columns[c.name], c.type) for c in self.columns]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def to_parquet(table: pa.Table) -> bytes:
    """The table as Parquet (zstd); equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=True)
    return sink.getvalue()


def from_parquet(data: bytes) -> pa.Table:
    """The table of Parquet bytes, read by this thread alone.

    Threads that Arrow reads with may outlive their work: now and then a process aborts, or hangs, at its end
    (apache/arrow issues 34314 and 50482).
    """
    return pq.read_table(pa.BufferReader(data), use_threads=False)


TEXT, INT, LONG, FLOAT, DOUBLE = (
    pa.string(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
)
