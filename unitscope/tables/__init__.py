"""The tables that jobs produce: a versioned, documented schema, written as Parquet.

Every column has a type, a unit and a meaning; they stand in ``docs/tables.md``, which a test holds
against this package, and in the Parquet files themselves as field metadata. Tables are read by pandas,
polars and DuckDB from disk or S3.
"""

from unitscope.tables.counterfactual import CARRIERS, CHANGES, COUNTERFACTUALS, INVERSIONS, PAIRS
from unitscope.tables.link import LINKER_DIGEST, QUALITY
from unitscope.tables.quantify import EFFECTS, QUANTIFIED_STEPS, QUANTIFIED_UNITS
from unitscope.tables.schema import SCHEMA_VERSION, Column, Table, from_parquet, to_parquet
from unitscope.tables.traverse import STEPS, UNITS

__all__ = [
    "CARRIERS",
    "CHANGES",
    "COUNTERFACTUALS",
    "EFFECTS",
    "INVERSIONS",
    "LINKER_DIGEST",
    "PAIRS",
    "QUALITY",
    "QUANTIFIED_STEPS",
    "QUANTIFIED_UNITS",
    "SCHEMA_VERSION",
    "STEPS",
    "TABLES",
    "UNITS",
    "Column",
    "Table",
    "from_parquet",
    "to_parquet",
]

TABLES: tuple[Table, ...] = (
    *(QUALITY, STEPS, UNITS, EFFECTS, QUANTIFIED_UNITS, QUANTIFIED_STEPS),
    *(COUNTERFACTUALS, PAIRS, CARRIERS, CHANGES, INVERSIONS),
)
