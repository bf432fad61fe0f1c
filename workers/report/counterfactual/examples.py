"""One counterfactual as the page shows it: three pictures, outlines of what differs, a film strip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from workers.report.counterfactual import pictures, plots
from workers.report.counterfactual.data import Row, Shown
from workers.report.counterfactual.phrases import chance, distance, usual
from workers.report.counterfactual.results import Results, by_part, difference, surroundings
from workers.report.counterfactual.shapes import Example, Film, Frame, Outline, Run
from workers.report.quantify.view import SMALL
from workers.report.words import finite, label, number, percent, whole

MAX_OUTLINES = 3
LEAST_SHARE = 0.08
"""Share of the difference from which a part is outlined."""


def example(
    results: Results, k: int, colours: Sequence[str], numbers: tuple[int | None, int | None]
) -> Example:
    """A counterfactual with what is in the page of its pictures.

    Args:
        results: The data.
        k: Its place in `CounterfactualData.shown`.
        colours: Of the parts.
        numbers: Numbers of the CSS rules of its trio and of its film; None for what was left out.
    """
    shown = results.data.shown[k]
    row = shown.row
    origin, target = label(str(row["origin"])), label(str(row["target"]))
    gap = difference(shown.start, shown.counterfactual)
    trio, film = numbers
    outlines = tuple(_outlines(results, shown, colours)) if trio is not None else ()
    height, width = shown.start.shape[:2]
    side = pictures.TRIO_SIDE
    return Example(
        title=_title(row),
        heading=_title(row) if row["image"] else _title(row).capitalize(),
        number=trio,
        style=f"--n:3;--w:{width};--h:{height}" + (";--smooth:auto" if min(width, side) > SMALL else ""),
        box=pictures.outline_box(shown.labels),
        start=_read(origin, row["origin_before"], target, row["target_before"]),
        found=_read(target, row["target_after"], origin, row["origin_after"]),
        differs=f"by {number(float(gap.mean()), 1)} grey levels in the mean",
        description=f"{_title(row)}: the start, the counterfactual, and where they differ"
        + (f", mostly in {', '.join(o.name for o in outlines)}" if outlines else ""),
        outlines=outlines,
        line=" · ".join(_line(row)),
        film=None if film is None else _film(results, shown, film),
    )


def _title(row: Row) -> str:
    if row["image"]:
        return str(row["image"])
    made = f", made for {label(str(row['class']))}" if row["class"] and row["class"] != row["origin"] else ""
    return f"seed {row['seed']}{made}"


def _read(first: str, share: object, second: str, other: object) -> str:
    return f"reads {first} {chance(share)}, {second} {chance(other)}"


def _line(row: Row) -> Iterator[str]:
    yield f"distance {distance(row['l2'])}"
    if finite(row["units_for_90"]):
        yield f"{whole(row['units_for_90'])} units carry 90\u202f% of it"
    if usual(row):
        yield usual(row)
    yield f"{whole(row['generator_calls'])} generator calls"


def _outlines(results: Results, shown: Shown, colours: Sequence[str]) -> Iterator[Outline]:
    parts = results.data.parts
    shares = by_part(shown, len(parts))
    # What surrounds the rest is outlined by the rest.
    around = surroundings(shown.start_labels)
    for k in np.argsort(-shares, kind="stable")[:MAX_OUTLINES].tolist():
        if shares[k] >= LEAST_SHARE:
            before, after = ("", "") if k == around else pictures.outlines(shown, k)
            yield Outline(label(parts[k]), colours[k], percent(float(shares[k])), before, after)


def _film(results: Results, shown: Shown, rule: int) -> Film:
    row, classes = shown.row, results.data.classes
    alphas, place, added = pictures.way(shown)
    origin, target = results.places((str(row["origin"]), str(row["target"])))
    chances = np.asarray(shown.probabilities, float)
    if added:
        # What the table says of the counterfactual itself; other classes share what is left.
        own = np.full((1, chances.shape[1]), np.nan)
        own[0, origin], own[0, target] = row["origin_after"], row["target_after"]
        chances = np.insert(chances, place, own, axis=0)
    first, second = chances[:, origin], chances[:, target]
    read = [target if k == place else int(np.nanargmax(c)) for k, c in enumerate(chances)]
    others = np.delete(chances, target, axis=1)
    margin = second - np.nanmax(others, axis=1)
    steps, (height, width) = len(alphas), shown.start.shape[:2]
    return Film(
        number=rule,
        style=f"--n:{steps};--w:{width};--h:{height}" + (";--smooth:auto" if width > SMALL else ""),
        frames=tuple(
            Frame(_place(float(a), k - place), chance(p), chance(q), _kind(k, place))
            for k, (a, p, q) in enumerate(zip(alphas, first, second, strict=True))
        ),
        runs=tuple(_runs(read, origin, target, classes)),
        plot=plots.probabilities(first, second, plots.crossing(margin), place),
        description=f"Film strip of {steps} pictures from the base image across the boundary: "
        + ", then ".join(run.text for run in _runs(read, origin, target, classes)),
    )


def _place(alpha: float, from_found: int) -> str:
    if from_found == 0:
        return "counterfactual"
    return "start" if alpha == 0 else number(alpha)


def _kind(k: int, place: int) -> str:
    return "start" if k == 0 else "found" if k == place else "beyond" if k > place else "way"


def _runs(read: Sequence[int], origin: int, target: int, classes: Sequence[str]) -> Iterator[Run]:
    start = 0
    for k in range(1, len(read) + 1):
        if k == len(read) or read[k] != read[start]:
            role = "origin" if read[start] == origin else "target" if read[start] == target else "other"
            yield Run(label(classes[read[start]]), role, k - start)
            start = k
