"""From report data to what the template prints: cards, rows, tables, and what was left out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.charts import (
    IntervalPlot,
    Plot,
    follow_plot,
    interval_plots,
    logit_plot,
    mean_by_class,
    row_id,
)
from workers.report.counterfactual import rest
from workers.report.counterfactual.shapes import CounterfactualView
from workers.report.data import ReportData, Row, Traversal
from workers.report.quantify import opening
from workers.report.quantify.shapes import QuantifyView
from workers.report.words import (
    OVERALL,
    TRUST_PARTS,
    TrustLevel,
    caution,
    feature,
    finite,
    headline,
    label,
    metric_key,
    number,
    percent,
    summary,
    trust_level,
    whole,
)

MAX_CARDS = 120
MAX_STRIPS_PER_CARD = 64
MAX_TABLE_ROWS = 2_000
MAX_SURVIVORS = 96
ROWS_AT_FIRST = 4
CARDS_AT_FIRST = 12
SURVIVOR = "survivor"
"""How keys of pictures of what survives the link begin."""


@dataclass(frozen=True)
class Run:
    """Neighbouring steps with one predicted class."""

    text: str
    colour: int
    steps: int
    detail: str


@dataclass(frozen=True)
class FilmRow:
    """One traversal's film strip."""

    id: str
    class_name: str
    seed: int
    source: str
    base_text: str
    base_at: float | None
    runs: tuple[Run, ...]
    change: str
    flips: bool
    description: str
    visible: float


@dataclass(frozen=True)
class TrustPart:
    """One part of a unit's trust."""

    name: str
    title: str
    meaning: str
    value: str
    share: float


@dataclass(frozen=True)
class Card:
    """One unit."""

    unit: int
    rank: int
    text: str
    caution: str
    trust: str
    trust_share: float
    level: TrustLevel
    parts: tuple[TrustPart, ...]
    strongest: str
    change: str
    colour: int
    axis: tuple[str, ...]
    frame: int
    logits: Plot | None
    follow: Plot | None
    rows: tuple[FilmRow, ...]
    not_shown: int
    drawn: str


@dataclass(frozen=True)
class Figure:
    """A headline figure."""

    value: str
    text: str


@dataclass(frozen=True)
class Triple:
    """What survives the link, of one picture."""

    class_name: str
    source: str


@dataclass(frozen=True)
class View:
    """Everything that the template prints."""

    report: ReportData
    summary: str
    figures: tuple[Figure, ...]
    cards: tuple[Card, ...]
    hero: tuple[Card, FilmRow] | None
    gallery_classes: tuple[str, ...]
    plots: tuple[IntervalPlot, ...]
    single_figures: tuple[Row, ...]
    quality: tuple[Row, ...]
    units: tuple[Row, ...]
    triples: tuple[Triple, ...]
    acceptance: tuple[tuple[str, float], ...]
    spec: str
    notes: tuple[str, ...]
    shown: Mapping[int, bool]
    quantify: QuantifyView | None
    counterfactual: CounterfactualView | None


def wanted_pictures(
    report: ReportData,
) -> list[tuple[str, NDArray[np.uint8] | Sequence[NDArray[np.uint8]]]]:
    """Pictures by importance: what survives the link, then one strip a unit, two a unit, and so on."""
    wanted: list[tuple[str, NDArray[np.uint8] | Sequence[NDArray[np.uint8]]]] = [
        (f"{SURVIVOR}{k}", (s.own, s.linked, s.class_mean))
        for k, s in enumerate(report.survivors[:MAX_SURVIVORS])
    ]
    units = [strips for _, _, strips in _gallery(report)]
    for place in range(max((len(strips) for strips in units), default=0)):
        for strips in units:
            if place < len(strips):
                traversal = strips[place]
                assert traversal.frames is not None
                wanted.append((row_id(traversal), traversal.frames))
    return wanted


def make(
    report: ReportData,
    pictures: Mapping[str, str],
    left_out: int,
    quantify: QuantifyView | None = None,
    counterfactual: CounterfactualView | None = None,
) -> View:
    """The view of a report.

    Args:
        report: The data.
        pictures: Data URIs by the keys of `wanted_pictures`.
        left_out: How many of the wanted pictures did not fit into the file.
        quantify: The view of what a ``quantify`` job alone has.
        counterfactual: Likewise of a ``counterfactual`` job.
    """
    cards = tuple(
        _card(report, row, traversals, strips, pictures) for row, traversals, strips in _gallery(report)
    )
    classes = {row.class_name for card in cards for row in card.rows}
    quality = sorted(report.quality, key=lambda r: r["scope"] not in OVERALL)
    units = sorted(report.units, key=lambda r: r["rank"])
    acceptance = sorted(report.linker.acceptance.items()) if report.linker else []
    return View(
        report=report,
        summary=_summary(report),
        figures=tuple(_figures(report)),
        cards=cards,
        hero=max(
            ((card, card.rows[0]) for card in cards if card.rows),
            key=lambda pair: pair[1].visible,
            default=None,
        ),
        gallery_classes=tuple(name for name in report.classes if name in classes),
        plots=tuple(interval_plots(report.quality)),
        single_figures=tuple(_single(quality)),
        quality=tuple(quality[:MAX_TABLE_ROWS]),
        units=tuple(units[:MAX_TABLE_ROWS]),
        triples=tuple(
            Triple(s.class_name, pictures[f"{SURVIVOR}{k}"])
            for k, s in enumerate(report.survivors[:MAX_SURVIVORS])
            if f"{SURVIVOR}{k}" in pictures
        ),
        acceptance=tuple(sorted(acceptance, key=lambda item: item[1])[:MAX_TABLE_ROWS]),
        spec=json.dumps(report.spec, indent=2, ensure_ascii=False, default=str),
        notes=(
            *report.notes,
            *_limits(report, left_out, len(quality)),
            *(quantify.notes if quantify else ()),
            *(counterfactual.notes if counterfactual else ()),
        ),
        shown={card.unit: True for card in cards},
        quantify=quantify,
        counterfactual=counterfactual,
    )


def _summary(report: ReportData) -> str:
    names = {m.kind: m.name for m in report.models}
    if report.counterfactual is not None:
        return rest.summary(report.counterfactual, names.get("classifier", "the classifier"))
    if report.quantify is None:
        return summary(report)
    return opening.summary(
        report.quantify, names.get("classifier", "the classifier"), names.get("generator", "the generator")
    )


def _gallery(report: ReportData) -> Iterator[tuple[Row, list[Traversal], list[Traversal]]]:
    """Units in their order, with all of their traversals, and with those whose strips are shown.

    The strips of a unit come by how far they move its strongest class; that is said on the page.
    """
    by_unit: dict[int, list[Traversal]] = defaultdict(list)
    for traversal in report.traversals:
        by_unit[traversal.unit].append(traversal)
    for row in sorted(report.units, key=lambda r: r["rank"])[:MAX_CARDS]:
        moved = sorted(by_unit[row["unit"]], key=lambda t: (-_movement(t, report, row), t.class_name, t.seed))
        kept = [t for t in moved if t.frames is not None]
        yield row, moved, kept[:MAX_STRIPS_PER_CARD]


def _movement(traversal: Traversal, report: ReportData, row: Row) -> float:
    name = row["strongest_class"]
    column = list(report.classes).index(name) if name in report.classes else 0
    return abs(float(traversal.logits[-1][column]) - float(traversal.logits[0][column]))


def _card(
    report: ReportData,
    row: Row,
    traversals: Sequence[Traversal],
    strips: Sequence[Traversal],
    pictures: Mapping[str, str],
) -> Card:
    classes = list(report.classes)
    shown = [t for t in strips if row_id(t) in pictures]
    steps = len(traversals[0].commanded) if traversals else 0
    strongest = row["strongest_class"]
    trust = row["trust"]
    return Card(
        unit=int(row["unit"]),
        rank=int(row["rank"]),
        text=headline(row, traversals),
        caution=caution(row),
        trust=number(trust),
        trust_share=_share(trust),
        level=trust_level(trust),
        parts=tuple(
            TrustPart(name, title, meaning, number(row[name]), _share(row[name]))
            for name, title, meaning in TRUST_PARTS
        ),
        strongest=strongest,
        change=_change(float(row["strongest_change"])),
        colour=classes.index(strongest) % 8 if strongest in classes else 0,
        axis=tuple(feature(float(v)) for v in traversals[0].commanded) if traversals else (),
        frame=128 if steps <= 7 else 96 if steps <= 9 else 64,
        logits=logit_plot(traversals, classes, strongest) if traversals else None,
        follow=follow_plot(traversals) if traversals else None,
        rows=tuple(_film(t, row, classes, pictures[row_id(t)]) for t in shown),
        not_shown=int(row["traversals"]) - len(shown),
        drawn="" if len(traversals) == row["traversals"] else f"{len(traversals)} of {row['traversals']}",
    )


def _film(traversal: Traversal, row: Row, classes: list[str], source: str) -> FilmRow:
    values = [float(v) for v in traversal.commanded]
    predicted = list(traversal.predicted)
    runs = []
    start = 0
    for step in range(1, len(predicted) + 1):
        if step == len(predicted) or predicted[step] != predicted[start]:
            name = predicted[start]
            reads = ", ".join(
                f"{feature(values[k])} reads {feature(float(traversal.reencoded[k]))}"
                for k in range(start, step)
            )
            colour = classes.index(name) % 8 if name in classes else 0
            runs.append(Run(label(name), colour, step - start, f"{label(name)}: {reads}"))
            start = step
    column = classes.index(row["strongest_class"]) if row["strongest_class"] in classes else 0
    change = float(traversal.logits[-1][column]) - float(traversal.logits[0][column])
    span = values[-1] - values[0]
    place = (traversal.base - values[0]) / span if span else 0.0
    # The first picture stands for the first value: its middle, not its edge, is where the axis begins.
    edge = 0.5 / len(values)
    path = " then ".join(run.text for run in runs)
    return FilmRow(
        id=row_id(traversal),
        class_name=traversal.class_name,
        seed=traversal.seed,
        source=source,
        base_text=feature(traversal.base),
        base_at=round(100 * (edge + place * (1 - 2 * edge)), 2) if 0 <= place <= 1 else None,
        runs=tuple(runs),
        change=_change(change),
        flips=len(runs) > 1,
        description=f"Unit {traversal.unit} from {feature(values[0])} to {feature(values[-1])} in a "
        f"picture made for {label(traversal.class_name)}, seed {traversal.seed}; read as {path}",
        visible=_visible(traversal),
    )


def _visible(traversal: Traversal) -> float:
    """Mean absolute difference between the first and the last picture, in grey levels."""
    if traversal.frames is None:
        return 0.0
    first, last = (traversal.frames[k].astype(np.float32) for k in (0, -1))
    return float(np.abs(last - first).mean())


def _figures(report: ReportData) -> Iterator[Figure]:
    if report.quantify is not None:
        yield from (Figure(value, text) for value, text in opening.figures(report.quantify))
        return
    if report.counterfactual is not None:
        yield from (Figure(value, text) for value, text in rest.figures(report.counterfactual))
        return
    if report.units:
        flips = [float(r["flips"]) for r in report.units]
        trust = [float(r["trust"]) for r in report.units if finite(r["trust"])]
        counts = [int(r["traversals"]) for r in report.units]
        yield Figure(whole(len(report.units)), "units moved")
        yield Figure(whole(sum(counts)), "traversals")
        if sum(counts):
            share = float(np.average(flips, weights=counts))
            yield Figure(percent(share), "of them change the predicted class")
        if trust:
            yield Figure(number(float(np.median(trust))), "median trust of a unit")
    for key, digits, text in (
        ("agreement", 0, "of linked pictures are read alike"),
        ("r2_within_class", 2, "R² of w within class, held out"),
    ):
        row = _overall(report.quality, key)
        if row is not None:
            value = percent(row["value"]) if digits == 0 else number(row["value"], digits)
            yield Figure(value, text)
    if not report.units and report.linker is not None:
        yield Figure(whole(report.linker.pairs), "pairs in the fit")
        yield Figure(percent(mean_by_class(report.linker.acceptance)), "of pictures read as their class")


def _single(quality: Sequence[Row]) -> Iterator[Row]:
    """Overall figures that stand alone, with nothing to be compared to."""
    overall = [r for r in quality if r["scope"] in OVERALL]
    methods = Counter(r["metric"] for r in overall if " - " not in r["method"])
    return (r for r in overall if methods[r["metric"]] == 1 and " - " not in r["method"])


def _overall(rows: Sequence[Row], key: str) -> Row | None:
    for row in rows:
        overall = row["scope"] in OVERALL
        if overall and row["method"] == "linker" and metric_key(row["metric"]) == key:
            return row
    return None


def _limits(report: ReportData, left_out: int, quality_rows: int) -> Iterator[str]:
    """What the page does not show, so that no one takes it for everything."""
    if left_out:
        yield f"{whole(left_out)} film strips were left out to keep this file small."
    if len(report.units) > MAX_CARDS:
        yield f"The gallery shows the first {MAX_CARDS} of {whole(len(report.units))} units."
    if len(report.units) > MAX_TABLE_ROWS:
        yield f"The table of units shows the first {whole(MAX_TABLE_ROWS)}; tables/units has all."
    if quality_rows > MAX_TABLE_ROWS:
        yield f"The table of figures shows the first {whole(MAX_TABLE_ROWS)}; tables/quality has all."
    if len(report.survivors) > MAX_SURVIVORS:
        yield f"Of {whole(len(report.survivors))} linked pictures the first {MAX_SURVIVORS} are shown."


def _share(value: Any) -> float:
    if not finite(value):
        return 0.0
    return round(min(1.0, max(0.0, float(value))), 3)


def _change(value: float) -> str:
    text = number(value, 1)
    return text if text.startswith("−") else "+" + text
