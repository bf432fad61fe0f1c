"""Geometry of the charts of a counterfactual report; the templates draw it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.charts import Tick, nice_ticks
from workers.report.counterfactual.data import Row
from workers.report.counterfactual.phrases import distance
from workers.report.counterfactual.shapes import DotPlot, ProbabilityPlot
from workers.report.words import finite
from workers.statistics import spaced

FRAME = 100
"""Pixels of a frame in the view box of the chart below a strip."""

MAX_DOTS = 240
DOT = 7.0
"""Width of a dot and of its place in the view box."""

Doubles = NDArray[np.float64]


def probabilities(
    origin: Doubles, target: Doubles, boundary: float | None, place: int | None
) -> ProbabilityPlot:
    """The chart below a film strip.

    Args:
        origin: ``(frames,)`` probability of the origin.
        target: ``(frames,)`` likewise of the target.
        boundary: Where between the frames, by number, the target overtakes; None where it does not.
        place: The frame of the counterfactual, or None.
    """
    height, top, bottom = 96, 8, 8
    at = (np.arange(len(origin)) + 0.5) * FRAME

    def line(values: Doubles) -> str:
        y = height - bottom - np.clip(values, 0, 1) * (height - top - bottom)
        return " ".join(f"{a:g},{b:.1f}" for a, b in zip(at, y, strict=True))

    return ProbabilityPlot(
        width=FRAME * len(origin),
        height=height,
        origin=line(origin),
        target=line(target),
        boundary=None if boundary is None else round((boundary + 0.5) * FRAME, 1),
        beyond=None if place is None else (place + 1.0) * FRAME,
    )


def crossing(margin: Doubles) -> float | None:
    """Where a margin first becomes positive, as a fractional number of a frame."""
    above = np.flatnonzero(margin > 0)
    if not len(above) or above[0] == 0:
        return None
    k = int(above[0])
    before, after = float(margin[k - 1]), float(margin[k])
    return k - 1 + (-before / (after - before) if after > before else 1.0)


def distances(rows: Sequence[Row], pair: Row) -> DotPlot | None:
    """How far each image of a pair had to go, and how far the head's boundary is.

    Args:
        rows: Rows of the pair that reached the target.
        pair: The pair's row.
    """
    far = np.sort([float(r["l2"]) for r in rows if finite(r["l2"])])
    if not len(far):
        return None
    heads = np.sort([float(r["head_distance"]) for r in rows if finite(r["head_distance"])])
    drawn, drawn_heads = (values[spaced(len(values), MAX_DOTS)] for values in (far, heads))
    width, left, right = 580, 8, 14
    ends = [float(far[-1]), *(float(pair[k]) for k in ("distance_upper", "head_distance") if finite(pair[k]))]
    high = 1.06 * max(ends) or 1.0

    def to_x(value: float) -> float:
        return round(left + (width - left - right) * value / high, 1)

    stacks: dict[int, int] = {}
    dots = []
    for value in drawn:
        slot = round(to_x(float(value)) / DOT)
        stacks[slot] = stacks.get(slot, 0) + 1
        dots.append((to_x(float(value)), stacks[slot]))
    deepest = max(stacks.values())
    # Tall stacks overlap rather than grow without end.
    step = min(DOT + 0.5, 66 / deepest)
    base = round(24 + step * deepest, 1)
    head = pair["head_distance"] if finite(pair["head_distance"]) else None
    return DotPlot(
        width=width,
        height=int(base + 56),
        base=base,
        dots="".join(f"M{x:g} {base - step * level + DOT / 2 - 3:.1f}h0" for x, level in dots),
        heads="".join(f"M{to_x(float(v)):g} {base + 9:g}v9" for v in drawn_heads),
        head=None if head is None else to_x(float(head)),
        head_text="" if head is None else distance(head),
        mean=_placed(pair["distance"], to_x),
        low=_placed(pair["distance_lower"], to_x),
        high=_placed(pair["distance_upper"], to_x),
        ticks=tuple(Tick(to_x(v), f"{v:g}") for v in nice_ticks(0.0, high, 5)),
        title=f"Distances of {len(far)} images from {distance(far[0])} to {distance(far[-1])}, "
        f"mean {distance(pair['distance'])}"
        + ("" if head is None else f"; the head’s boundary is {distance(head)} away in the mean"),
    )


def _placed(value: Any, to_x: Any) -> float | None:
    return float(to_x(float(value))) if finite(value) else None
