"""Geometry of the report's charts, in pixels of their view boxes; the templates draw it as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.report.data import Row, Traversal
from workers.report.words import METRICS, OVERALL, feature, label, method_label, metric_key, number

NAMED_CURVES = 5
MAX_THIN_LINES = 40

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tick:
    """A tick: its place and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A line: the points of an SVG polyline, what it is, and how it looks."""

    points: str
    colour: int = -1
    text: str = ""
    text_y: float = 0.0
    strong: bool = False
    row: str = ""


@dataclass(frozen=True)
class Plot:
    """A chart of lines over the commanded value."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float | None
    thin: tuple[Line, ...]
    lines: tuple[Line, ...]
    reference: str = ""


@dataclass(frozen=True)
class IntervalRow:
    """A dot with its interval."""

    text: str
    y: float
    dot: float
    low: float | None
    high: float | None
    value: str
    strong: bool


@dataclass(frozen=True)
class IntervalPlot:
    """One metric: methods, and below them what the linker gains over each baseline."""

    title: str
    meaning: str
    width: int
    height: int
    left: int
    right: int
    rows: tuple[IntervalRow, ...]
    ticks: tuple[Tick, ...]
    axis_y: float
    zero: float | None
    gains: tuple[IntervalRow, ...]
    gain_ticks: tuple[Tick, ...]
    gain_axis_y: float
    gain_zero: float
    gain_title_y: float


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that lie in [low, high], about as many as asked for."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def logit_plot(traversals: Sequence[Traversal], classes: Sequence[str], strongest: str) -> Plot:
    """Mean change of each class's logit from the first step; thin, the strongest in each traversal.

    Args:
        traversals: Of one unit, all over the same commanded values.
        classes: Names, in the order of the logits.
        strongest: The class that is drawn strong.
    """
    width, height, left, right, top, bottom = 372, 230, 34, 116, 14, 36
    x = np.asarray(traversals[0].commanded, float)
    changes = np.stack([np.asarray(t.logits, float) - np.asarray(t.logits[0]) for t in traversals])
    mean = changes.mean(axis=0)
    order = np.argsort(-np.abs(mean[-1]), kind="stable").tolist()
    if strongest in classes:
        first = list(classes).index(strongest)
        order = [first, *(c for c in order if c != first)]
    thin = changes[:MAX_THIN_LINES, :, order[0]]
    # One wild traversal must not flatten all curves: the middle of the thin lines sets the frame.
    inner = np.quantile(thin, (0.04, 0.96))
    y_low, y_high = _padded(float(min(inner[0], mean.min())), float(max(inner[1], mean.max())))
    to_x = _scale(float(x[0]), float(x[-1]), left, width - right)
    to_y = _scale(y_low, y_high, height - bottom, top)
    named = order[:NAMED_CURVES]
    places = _spread([to_y(mean[-1, c]) for c in named], 14.0, top, height - bottom)
    lines = [Line(_points(x, mean[:, c], to_x, to_y)) for c in order[NAMED_CURVES:]]
    lines += [
        Line(
            points=_points(x, mean[:, c], to_x, to_y),
            colour=c % 8,
            text=f"{label(classes[c])} {_signed(mean[-1, c])}",
            text_y=round(place + 4, 1),
            strong=c == order[0],
        )
        for c, place in reversed(list(zip(named, places, strict=True)))
    ]
    return Plot(
        *(width, height, left, right, top, bottom),
        x_ticks=_value_ticks(x, to_x),
        y_ticks=tuple(Tick(to_y(v), _plain(v)) for v in nice_ticks(y_low, y_high)),
        zero=to_y(0.0),
        thin=tuple(
            Line(_points(x, line, to_x, to_y), colour=order[0] % 8, row=row_id(t))
            for t, line in zip(traversals, thin, strict=False)
        ),
        lines=tuple(lines),
    )


def follow_plot(traversals: Sequence[Traversal]) -> Plot:
    """The unit's value when the pictures are read again, over the commanded one; and the diagonal."""
    width, height, left, right, top, bottom = 182, 230, 30, 10, 14, 36
    x = np.asarray(traversals[0].commanded, float)
    read = np.stack([np.asarray(t.reencoded, float) for t in traversals])
    low, high = _padded(float(min(read.min(), x.min())), float(max(read.max(), x.max())))
    to_x = _scale(float(x[0]), float(x[-1]), left, width - right)
    to_y = _scale(low, high, height - bottom, top)
    return Plot(
        *(width, height, left, right, top, bottom),
        x_ticks=_value_ticks(x, to_x),
        y_ticks=tuple(Tick(to_y(v), _plain(v)) for v in nice_ticks(low, high)),
        zero=None,
        thin=tuple(
            Line(_points(x, line, to_x, to_y), row=row_id(t))
            for t, line in zip(traversals, read[:MAX_THIN_LINES], strict=False)
        ),
        lines=(Line(_points(x, read.mean(axis=0), to_x, to_y), strong=True),),
        reference=_points(x, x, to_x, to_y),
    )


def row_id(traversal: Traversal) -> str:
    """The id of a traversal's row in the page; holds no name that came from outside."""
    key = f"{traversal.unit}|{traversal.class_name}|{traversal.seed}".encode()
    return "t" + key.hex()


def interval_plots(rows: Sequence[Row]) -> list[IntervalPlot]:
    """One plot for each metric that has methods to compare, over all classes.

    Args:
        rows: Rows of the table ``quality``.
    """
    plots = []
    overall = [r for r in rows if r["scope"] in OVERALL]
    for key, (title, meaning) in METRICS.items():
        mine = [r for r in overall if metric_key(r["metric"]) == key]
        methods = [r for r in mine if " - " not in r["method"]]
        if len(methods) > 1:
            gains = [r for r in mine if " - " in r["method"]]
            plots.append(_interval_plot(title, meaning, methods, gains))
    return plots


def _interval_plot(title: str, meaning: str, methods: Sequence[Row], gains: Sequence[Row]) -> IntervalPlot:
    width, left, right, step, top = 360, 164, 76, 25, 12
    low, high = _domain(methods)
    to_x = _scale(low, high, left, width - right)
    axis_y = top + step * len(methods) + 2
    gain_title_y = axis_y + 44
    gain_top = gain_title_y + 10
    gain_axis_y = gain_top + step * len(gains) + 2
    gain_low, gain_high = _domain(gains) if gains else (0.0, 1.0)
    gain_x = _scale(gain_low, gain_high, left, width - right)
    return IntervalPlot(
        *(title, meaning, width),
        height=int(gain_axis_y + 22 if gains else axis_y + 22),
        left=left,
        right=right,
        rows=tuple(
            _interval_row(r, method_label(r["method"]), top + step * (k + 0.5), to_x)
            for k, r in enumerate(methods)
        ),
        ticks=_number_ticks(low, high, to_x),
        axis_y=axis_y,
        zero=to_x(0.0) if low < 0 else None,
        gains=tuple(
            _interval_row(
                r,
                method_label(r["method"].split(" - ")[-1]),
                gain_top + step * (k + 0.5),
                gain_x,
                gain=True,
            )
            for k, r in enumerate(gains)
        ),
        gain_ticks=_number_ticks(gain_low, gain_high, gain_x),
        gain_axis_y=gain_axis_y,
        gain_zero=gain_x(0.0),
        gain_title_y=gain_title_y,
    )


def _interval_row(row: Row, text: str, y: float, to_x: _Scale, *, gain: bool = False) -> IntervalRow:
    low, high = row["lower"], row["upper"]
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    strong = bool(known and low > 0) if gain else row["method"] == "linker"
    value = float(row["value"])
    return IntervalRow(
        text=text,
        y=y,
        dot=to_x(value if math.isfinite(value) else 0.0),
        low=to_x(low) if known else None,
        high=to_x(high) if known else None,
        value=_signed(value, 3) if gain else number(value, 3),
        strong=strong,
    )


class _Scale:
    """A linear map from values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._slope = (end - start) / (high - low) if high != low else 0.0

    def __call__(self, value: float) -> float:
        return round(self._start + (float(value) - self._low) * self._slope, 1)


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high, start, end)


def _points(x: Floats, y: Floats, to_x: _Scale, to_y: _Scale) -> str:
    return " ".join(f"{to_x(a):g},{to_y(b):g}" for a, b in zip(x, y, strict=True))


def _padded(low: float, high: float) -> tuple[float, float]:
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low) or 1.0
    return low - (room if low < 0 else 0), high + (room if high > 0 else 0)


def _domain(rows: Sequence[Row]) -> tuple[float, float]:
    ends = [r[k] for r in rows for k in ("value", "lower", "upper") if r[k] is not None]
    known = [float(v) for v in ends if math.isfinite(v)]
    low, high = min([0.0, *known]), max([0.0, *known])
    room = 0.05 * (high - low) or 0.5
    return low - (room if low < 0 else 0), high + room


def _value_ticks(x: Floats, to_x: _Scale) -> tuple[Tick, ...]:
    middle = (float(x[0]) + float(x[-1])) / 2
    return tuple(Tick(to_x(v), feature(v)) for v in (float(x[0]), middle, float(x[-1])))


def _number_ticks(low: float, high: float, to_x: _Scale) -> tuple[Tick, ...]:
    return tuple(Tick(to_x(v), _plain(v)) for v in nice_ticks(low, high, 3))


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _signed(value: float, digits: int = 1) -> str:
    text = number(value, digits)
    return text if text.startswith("−") or not value > 0 else "+" + text


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least a gap apart, between low and high."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed = [0.0] * len(wanted)
    edge = low - gap
    for k in order:
        placed[k] = edge = max(wanted[k], edge + gap)
    edge = high + gap
    for k in reversed(order):
        placed[k] = edge = min(placed[k], edge - gap)
    return placed


def mean_by_class(values: Mapping[str, float]) -> float:
    """The plain mean of a mapping's values; NaN of an empty one."""
    return float(np.mean(list(values.values()))) if values else math.nan
