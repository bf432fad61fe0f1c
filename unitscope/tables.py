"""The tables that jobs produce: a versioned, documented schema, written as Parquet.

Every column has a type, a unit and a meaning; they stand in ``docs/tables.md``, which a test holds
against this module, and in the Parquet files themselves as field metadata. Tables are read by pandas,
polars and DuckDB from disk or S3.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 1


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

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with unit and meaning of each column as metadata."""
        fields = [
            pa.field(c.name, c.type, c.nullable, {"unit": c.unit, "meaning": c.meaning}) for c in self.columns
        ]
        metadata = {"unitscope.table": self.name, "unitscope.schema_version": str(SCHEMA_VERSION)}
        return pa.schema(fields, metadata)

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
    """The table of Parquet bytes."""
    return pq.read_table(io.BytesIO(data))


_TEXT, _INT, _LONG, _FLOAT, _DOUBLE = (
    pa.string(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
)

QUALITY = Table(
    "quality",
    "How well a linker does on held-out pairs, beside its baselines.",
    (
        Column("metric", _TEXT, "", "What is measured, e.g. r2_within_class, agreement."),
        Column("scope", _TEXT, "", "'overall', or the name of a class."),
        Column("method", _TEXT, "", "'linker', a baseline, or 'linker - <baseline>' (paired)."),
        Column("value", _DOUBLE, "", "The figure."),
        Column("lower", _DOUBLE, "", "Lower end of the 95 % bootstrap interval.", nullable=True),
        Column("upper", _DOUBLE, "", "Upper end of the 95 % bootstrap interval.", nullable=True),
        Column("pairs", _LONG, "pairs", "Held-out pairs behind the figure."),
    ),
)

STEPS = Table(
    "steps",
    "One row for each rendered step of each traversal.",
    (
        Column("unit", _INT, "", "The unit that was moved."),
        Column("class", _TEXT, "", "The class that the base image was made for."),
        Column("seed", _LONG, "", "The base image: its index in the class's stream of seeds."),
        Column("step", _INT, "", "The step, from 0."),
        Column("commanded", _FLOAT, "feature", "The value that the unit was set to."),
        Column("base", _FLOAT, "feature", "The value of the unit in the base image."),
        Column("reencoded", _FLOAT, "feature", "The unit's value when the picture is read again."),
        Column("predicted", _TEXT, "", "The class that the classifier reads in the picture."),
        Column("logits", pa.list_(_FLOAT), "logit", "The logits, in the order of the classes."),
        Column("luminance", _FLOAT, "L*", "Mean CIELAB lightness of the picture, 0 to 100."),
        Column("contrast", _FLOAT, "L*", "Standard deviation of the lightness."),
        Column("entropy", _FLOAT, "bit", "Entropy of the histogram of lightness, 64 bins."),
        Column("chroma", _FLOAT, "C*ab", "Mean CIELAB chroma of the picture."),
        Column("change", _FLOAT, "grey level", "Mean absolute difference from step 0, 0 to 255."),
        Column(
            "focus",
            _FLOAT,
            "",
            "Own movement over the largest movement of any unit, in standard deviations, from step 0.",
        ),
        Column(
            "distance",
            _FLOAT,
            "",
            "Mahalanobis distance of w under the fit's latents, per root dimension.",
        ),
        Column("image_shard", _TEXT, "", "The zip that holds the picture, if kept.", nullable=True),
        Column("image_name", _TEXT, "", "The picture's name in the zip, if kept.", nullable=True),
    ),
)

UNITS = Table(
    "units",
    "One row for each unit that was moved.",
    (
        Column("unit", _INT, "", "The unit."),
        Column("rank", _INT, "", "Its place in the selection, from 0."),
        Column(
            "score",
            _FLOAT,
            "",
            "What it was ranked by; for named units the weight rank.",
            nullable=True,
        ),
        Column("low", _FLOAT, "feature", "Lower end of the range it was moved over."),
        Column("high", _FLOAT, "feature", "Upper end of the range."),
        Column("mean", _FLOAT, "feature", "Its mean over the fit's samples."),
        Column("std", _FLOAT, "feature", "Its standard deviation over the fit's samples."),
        Column("span", _FLOAT, "w", "Length of the way in w between the ends of the range."),
        Column(
            "strongest_class",
            _TEXT,
            "",
            "The class whose logit changed most, in the mean over traversals.",
        ),
        Column(
            "strongest_change",
            _FLOAT,
            "logit",
            "That mean change, from the first to the last step.",
        ),
        Column("flips", _FLOAT, "share", "Share of traversals over which the predicted class changes."),
        Column(
            "change",
            _FLOAT,
            "grey level",
            "Mean absolute difference between first and last picture.",
        ),
        Column(
            "follow",
            _FLOAT,
            "",
            "Did the re-encoded feature move as commanded: correlation times slope, each clipped to 0..1.",
        ),
        Column(
            "focus",
            _FLOAT,
            "",
            "Own movement over the largest movement of any unit, mean at the last step.",
        ),
        Column(
            "plausible",
            _FLOAT,
            "share",
            "Share of steps whose w is as near as 99 % of the generator's own.",
        ),
        Column("trust", _FLOAT, "", "Geometric mean of follow, focus and plausible, 0 to 1."),
        Column("traversals", _INT, "", "Number of traversals behind the row."),
    ),
)

TABLES: tuple[Table, ...] = (QUALITY, STEPS, UNITS)
