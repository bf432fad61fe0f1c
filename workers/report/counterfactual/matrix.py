"""The matrix, class by class: how far it is, through which part, and how often it works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from workers.report.counterfactual.data import Row
from workers.report.counterfactual.phrases import distance, share_span, span
from workers.report.counterfactual.results import Key, Results
from workers.report.counterfactual.shapes import Cell, Matrix
from workers.report.quantify.phrases import part_label
from workers.report.words import finite, label, percent, whole

MAX_SIDE = 60
"""Rows and columns that are shown; of more classes those with the most counterfactuals."""


def make(results: Results, colours: Mapping[str, str]) -> Matrix | None:
    """The matrix of a job, or None where there are not two pairs to compare.

    Args:
        results: The data.
        colours: Of the parts and of the whole picture, by name.
    """
    if len(results.pairs) < 2:
        return None
    rows, columns = _side(results, 0), _side(results, 1)
    far = [float(p["distance"]) for p in results.pairs.values() if finite(p["distance"])]
    ends = (min(far, default=0.0), max(far, default=0.0))
    cells = [[_cell(results, (o, t), ends, colours) for t in columns] for o in rows]
    used = Counter(cell.part for line in cells for cell in line if cell.part)
    return Matrix(
        columns=tuple(label(name) for name in columns),
        rows=tuple((label(name), tuple(line)) for name, line in zip(rows, cells, strict=True)),
        legend=tuple((part_label(name), colours.get(name, "")) for name, _ in used.most_common()),
        near=distance(ends[0]) if far else "",
        far=distance(ends[1]) if far else "",
        note=_note(results, len(rows), len(columns)),
    )


def _side(results: Results, place: int) -> list[str]:
    """Names along one side, in the order of the logits."""
    reached: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for key, pair in results.pairs.items():
        reached[key[place]] += int(pair["reached"])
        images[key[place]] += int(pair["images"])

    def stands(name: str) -> tuple[int, str]:
        return results.place.get(name, 1 << 30), name

    # Of a thousand targets most may be out of reach: a matrix of them would show nothing.
    chosen = sorted(images, key=lambda name: (-reached[name], -images[name], *stands(name)))
    return sorted(chosen[:MAX_SIDE], key=stands)


def _note(results: Results, rows: int, columns: int) -> str:
    sides = (("origins", rows), ("targets", columns))
    all_of = [len({key[place] for key in results.pairs}) for place in range(2)]
    cut = [(count, *side) for count, side in zip(all_of, sides, strict=True) if count > side[1]]
    if not cut:
        return ""
    many = " and ".join(f"{whole(count)} {what}" for count, what, _ in cut)
    few = " and ".join(str(shown) for *_, shown in cut)
    return (
        f"Of {many} the {few} with the most counterfactuals are shown here; the table below has more, and "
        "tables/pairs all."
    )


def _cell(results: Results, key: Key, ends: tuple[float, float], colours: Mapping[str, str]) -> Cell:
    pair = results.pairs.get(key)
    if pair is None:
        same = key[0] == key[1]
        return Cell("self" if same else "blank", title="one class" if same else "not searched")
    origin, target = label(key[0]), label(key[1])
    anchor = results.anchors[key] if key in results.paged else ""
    images, reached = int(pair["images"]), int(pair["reached"])
    counts = f"{origin} to {target}: {whole(reached)} of {whole(images)} reached"
    valid = float(pair["validity"]) if finite(pair["validity"]) else 0.0
    if not images:
        return Cell("blank", title=f"{origin} to {target}: no image could be searched from")
    validity = percent(pair["validity"])
    if not finite(pair["distance"]):
        return Cell("none", anchor, "none", validity=validity, valid=0.0, title=counts)
    low, high = ends
    heat = (float(pair["distance"]) - low) / (high - low) if high > low else 0.5
    part, share = _through(pair)
    return Cell(
        kind="found",
        anchor=anchor,
        text=distance(pair["distance"]),
        heat=round(12 + 76 * heat, 1),
        part=part,
        colour=colours.get(part, ""),
        share=percent(share),
        strength=round(14 + 70 * min(1.0, share), 1) if share is not None else 10.0,
        validity=validity,
        valid=round(100 * valid, 1),
        title=f"{counts}{share_span(pair['validity_lower'], pair['validity_upper'])}; distance "
        f"{distance(pair['distance'])}{span(pair['distance_lower'], pair['distance_upper'])}"
        + (f"; through {part_label(part)}" if part else ""),
    )


def _through(pair: Row) -> tuple[str, float | None]:
    share = float(pair["part_share"]) if finite(pair["part_share"]) else None
    return str(pair["part"] or ""), share


def order_of(names: Sequence[str], results: Results) -> list[str]:
    """Names in the order of the logits, each once."""
    return sorted(set(names), key=lambda name: (results.place.get(name, 1 << 30), name))
