"""The part of a report that only ``quantify`` has: units by part, a page a unit, the map, the heat map."""

from workers.report.quantify.data import (
    Association,
    Column,
    EffectArrays,
    Example,
    MeasureLike,
    QuantifyData,
    RealImage,
    Strip,
)

__all__ = [
    "Association",
    "Column",
    "EffectArrays",
    "Example",
    "MeasureLike",
    "QuantifyData",
    "RealImage",
    "Strip",
]
