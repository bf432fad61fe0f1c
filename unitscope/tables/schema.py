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

IMAGE_SHARD = Column("image_shard", TEXT, "", "The zip that holds the picture, if kept.", nullable=True)
IMAGE_NAME = Column("image_name", TEXT, "", "The picture's name in the zip, if kept.", nullable=True)
IMAGES_SHARD = Column("image_shard", TEXT, "", "The zip that holds the pictures, if kept.", nullable=True)
IMAGE_FOLDER = Column("image_folder", TEXT, "", "Their folder in the zip, if kept.", nullable=True)


def tested_mean(name: str, meaning: str, more: str, over: str) -> tuple[Column, ...]:
    """The columns of a mean over images with its interval and its test.

    Args:
        name: Of the column of the mean.
        meaning: Of that column.
        more: What is to be said of the scale beyond the measures' own.
        over: What p is adjusted over.
    """
    of = "of the measure"
    return (
        Column(name, DOUBLE, of, meaning, nullable=True),
        Column("standard_error", DOUBLE, of, "Standard error of that mean.", nullable=True),
        Column("lower", DOUBLE, of, "Lower end of its bootstrap interval, 95 %.", nullable=True),
        Column("upper", DOUBLE, of, "Upper end of its bootstrap interval.", nullable=True),
        Column(
            "standardised",
            DOUBLE,
            "scale",
            f"The {name} over the measure's scale: its standard deviation among base images, and no less "
            f"than a change that one would call clear.{more}",
            nullable=True,
        ),
        Column(
            "same_sign",
            FLOAT,
            "share",
            f"Share of images whose {name} has the sign of the mean.",
            nullable=True,
        ),
        Column("p", DOUBLE, "", "Two-sided p of a sign-flip test over images.", nullable=True),
        Column("q", DOUBLE, "", f"p adjusted (Benjamini, Hochberg) over {over}.", nullable=True),
    )
