"""The table of `link`, which every kind has."""

from __future__ import annotations

from unitscope.tables.schema import DOUBLE, LONG, TEXT, Column, Table

LINKER_DIGEST = "unitscope.linker"
"""Metadata of the Parquet file of `quality`: the digest of the linker, which later jobs may name."""

QUALITY = Table(
    "quality",
    "How well a linker does on held-out pairs, beside its baselines.",
    (
        Column("metric", TEXT, "", "What is measured, e.g. r2_within_class, agreement."),
        Column("scope", TEXT, "", "'overall', or the name of a class."),
        Column("method", TEXT, "", "'linker', a baseline, or 'linker - <baseline>' (paired)."),
        Column("value", DOUBLE, "", "The figure."),
        Column("lower", DOUBLE, "", "Lower end of the 95 % bootstrap interval.", nullable=True),
        Column("upper", DOUBLE, "", "Upper end of the 95 % bootstrap interval.", nullable=True),
        Column("pairs", LONG, "pairs", "Held-out pairs behind the figure."),
    ),
)
