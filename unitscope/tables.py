"""The tables that jobs produce: a versioned, documented schema, written as Parquet.

Every column has a type, a unit and a meaning; they stand in ``docs/tables.md``, which a test holds
against this module, and in the Parquet files themselves as field metadata. Tables are read by pandas,
polars and DuckDB from disk or S3.
"""

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
    kind="traverse",
    columns=(
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
    kind="traverse",
    columns=(
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

_UNIT = Column("unit", _INT, "", "The unit; -1 - index for a group of units.")
_GROUP = Column("group", _TEXT, "", "The group's name, where several units moved together.", nullable=True)
_STAGE = Column("stage", _TEXT, "", "'confirm' where it was measured on the many images, else 'screen'.")

EFFECTS = Table(
    "effects",
    "One row for each unit and part and measure, and for each unit and class logit.",
    kind="quantify",
    columns=(
        _UNIT,
        _GROUP,
        Column("part", _TEXT, "", "A part, 'picture' for the whole of it, or 'logit'."),
        Column("measure", _TEXT, "", "The measure; for part 'logit' the name of the class."),
        _STAGE,
        Column("seeds", _INT, "images", "Base images in which the effect could be measured."),
        Column(
            "effect",
            _DOUBLE,
            "of the measure",
            "Mean over images of the last step less the first step.",
            nullable=True,
        ),
        Column("standard_error", _DOUBLE, "of the measure", "Standard error of that mean.", nullable=True),
        Column(
            "lower", _DOUBLE, "of the measure", "Lower end of its bootstrap interval, 95 %.", nullable=True
        ),
        Column("upper", _DOUBLE, "of the measure", "Upper end of its bootstrap interval.", nullable=True),
        Column(
            "standardised",
            _DOUBLE,
            "scale",
            "The effect over the measure's scale: its standard deviation among base images, and no less than "
            "a change that one would call clear. Of logits their standard deviation.",
            nullable=True,
        ),
        Column(
            "same_sign",
            _FLOAT,
            "share",
            "Share of images whose effect has the sign of the mean.",
            nullable=True,
        ),
        Column("p", _DOUBLE, "", "Two-sided p of a sign-flip test over images.", nullable=True),
        Column(
            "q",
            _DOUBLE,
            "",
            "p adjusted (Benjamini, Hochberg) over all units and all parts and measures, or all logits; "
            "units that screening dropped count as p = 1.",
            nullable=True,
        ),
        Column(
            "selectivity",
            _DOUBLE,
            "share",
            "Share of what the unit does for certain (standardised, at the nearer end of the interval), over "
            "all parts and measures, or all logits.",
            nullable=True,
        ),
        Column(
            "status",
            _TEXT,
            "",
            "'measured'; 'too_small': the part is too small in too many images; 'unsigned': a change "
            "without direction, which has no p.",
        ),
    ),
)

QUANTIFIED_UNITS = Table(
    "units",
    "One row for each unit or group that was moved.",
    kind="quantify",
    columns=(
        _UNIT,
        _GROUP,
        Column("layer", _TEXT, "", "The layer that the unit belongs to."),
        _STAGE,
        Column("low", _FLOAT, "feature", "The lowest value that it was set to; mean over images."),
        Column("high", _FLOAT, "feature", "The highest value."),
        Column("mean", _FLOAT, "feature", "Its mean over the fit's samples."),
        Column("std", _FLOAT, "feature", "Its standard deviation over the fit's samples."),
        Column("span", _FLOAT, "w", "Length of the way in w between first and last step."),
        Column("part", _TEXT, "", "The part that the largest share of its effect falls on.", nullable=True),
        Column("part_share", _FLOAT, "share", "That share.", nullable=True),
        Column(
            "aspect",
            _TEXT,
            "",
            "What about that part: its 'look' (colour, texture) or its 'form' (all else).",
            nullable=True,
        ),
        Column("measure", _TEXT, "", "The measure of it that the unit changes most.", nullable=True),
        Column(
            "selectivity",
            _FLOAT,
            "",
            "How concentrated its effect is, 0 to 1: sum of squared shares over looks and forms of parts.",
        ),
        Column(
            "named",
            pa.bool_(),
            "",
            "Whether it may be named after that part: its selectivity reaches the naming threshold, and "
            "some measure of it has q < 0.05.",
        ),
        Column("strongest_class", _TEXT, "", "The class whose logit it moves most, in the mean."),
        Column("strongest_change", _FLOAT, "logit", "That mean change, from the first to the last step."),
        Column("flips", _FLOAT, "share", "Share of images whose predicted class changes on the way."),
        Column("change", _FLOAT, "grey level", "Mean absolute difference of first and last picture."),
        Column("follow", _FLOAT, "", "Did the re-encoded unit move as commanded, 0 to 1."),
        Column("focus", _FLOAT, "", "Own movement over the largest movement of any unit, 0 to 1."),
        Column("plausible", _FLOAT, "share", "Share of steps whose w is as near as the generator's own."),
        Column("trust", _FLOAT, "", "Geometric mean of follow, focus and plausible."),
        Column("trusted", pa.bool_(), "", "Whether trust reaches the job's min_trust."),
        Column("seeds", _INT, "images", "Base images behind the row."),
        Column("cluster", _INT, "", "Units with like effects have one number, 0 the largest.", nullable=True),
        Column("x", _FLOAT, "", "Place on the map of all units: like effects lie together.", nullable=True),
        Column("y", _FLOAT, "", "The other coordinate.", nullable=True),
    ),
)

QUANTIFIED_STEPS = Table(
    "steps",
    "One row for each rendered step, in shards `steps/00000.parquet`, ...; after these columns comes one "
    "for every part and measure, `<part>.<measure>`, missing where the part is too small.",
    kind="quantify",
    columns=(
        _UNIT,
        _GROUP,
        _STAGE,
        Column("class", _TEXT, "", "The class that the base image was made for."),
        Column("seed", _LONG, "", "The base image: its index in the class's stream of seeds."),
        Column("step", _INT, "", "The step, from 0."),
        Column("commanded", _FLOAT, "feature", "The value that the unit was set to; of a group the mean."),
        Column("base", _FLOAT, "feature", "The value in the base image; of a group the mean."),
        Column("reencoded", _FLOAT, "feature", "The value when the picture is read again."),
        Column("predicted", _TEXT, "", "The class that the classifier reads in the picture."),
        Column("logits", pa.list_(_FLOAT), "logit", "The logits, in the order of the classes."),
        Column("change", _FLOAT, "grey level", "Mean absolute difference from step 0, 0 to 255."),
        Column("focus", _FLOAT, "", "Own movement over the largest of any unit, from step 0."),
        Column("distance", _FLOAT, "", "Mahalanobis distance of w under the fit's latents."),
        Column("image_shard", _TEXT, "", "The zip that holds the picture, if kept.", nullable=True),
        Column("image_name", _TEXT, "", "The picture's name in the zip, if kept.", nullable=True),
    ),
)

TABLES: tuple[Table, ...] = (QUALITY, STEPS, UNITS, EFFECTS, QUANTIFIED_UNITS, QUANTIFIED_STEPS)
