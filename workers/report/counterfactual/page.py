"""The page of one pair of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workers.report.charts import Tick, nice_ticks
from workers.report.counterfactual import plots
from workers.report.counterfactual.data import Row
from workers.report.counterfactual.phrases import (
    OUTCOMES,
    change_value,
    change_words,
    distance,
    headline,
    mean_shift,
    share_span,
    span,
)
from workers.report.counterfactual.results import Key, Results
from workers.report.counterfactual.shapes import Carrier, Change, ChangePlot, Example, PairPage
from workers.report.quantify.findings import PRESENT, SIGNIFICANT
from workers.report.quantify.phrases import MeasureWords, part_label
from workers.report.words import finite, label, number, percent, whole

MAX_CARRIERS = 10
MAX_CHANGES = 10
FEW = 6
"""Images from which a change can be certain; and changes that are shown where none is."""


class PageMaker:
    """Makes the pages; holds the words of the measures and the colours of the parts."""

    def __init__(self, results: Results, colours: Mapping[str, str]) -> None:
        self.results, self.colours = results, colours
        self.words = {m.name: MeasureWords.of(m) for m in results.data.measures}

    def page(self, key: Key, examples: Sequence[Example], *, opened: bool) -> PairPage:
        """The page of a pair.

        Args:
            key: The pair.
            examples: Counterfactuals with pictures.
            opened: Whether it is open at first.
        """
        results = self.results
        pair, rows = results.pairs[key], results.rows.get(key, [])
        changes = self._telling_changes(key)
        reached = [r for r in rows if r["outcome"] == "reached"]
        return PairPage(
            anchor=results.anchors[key],
            origin=key[0],
            target=key[1],
            opened=opened,
            badge=self._badge(pair),
            headline=headline(pair),
            evidence=self._evidence(key, changes),
            images="The one image" if pair["images"] == 1 else f"All {whole(pair['images'])} images",
            examples=tuple(examples),
            facts=tuple(facts(pair)),
            carriers=tuple(_carriers(results.carriers.get(key, []))),
            changes=self._plot(changes),
            # How often, and how far apart, takes more than one image.
            one=len(reached) == 1,
            dots=plots.distances(reached, pair) if len(reached) > 1 else None,
            mean=mean_shift(pair),
            failed=_failed(rows),
        )

    def _badge(self, pair: Row) -> str:
        if not int(pair["reached"]):
            return "not reached" if int(pair["images"]) else "not searched"
        text = f"distance {distance(pair['distance'])}"
        return text + (f", through {part_label(str(pair['part']))}" if pair["part"] else "")

    def _telling_changes(self, key: Key) -> tuple[list[Row], bool]:
        """Changes that are certain, the strongest first; the strongest of all where none is."""
        known = [
            r
            for r in self.results.changes.get(key, [])
            if finite(r["standardised"]) and finite(r["change"]) and r["measure"] in self.words
        ]
        known.sort(key=lambda r: (-abs(float(r["standardised"])), str(r["part"]), str(r["measure"])))
        sure = [r for r in known if finite(r["q"]) and float(r["q"]) < SIGNIFICANT]
        return (sure[:MAX_CHANGES], True) if sure else (known[:FEW], False)

    def _evidence(self, key: Key, changes: tuple[list[Row], bool]) -> str:
        rows, certain = changes
        if not rows:
            return ""
        said: list[str] = []
        parts: set[str] = set()
        for row in rows:
            if row["part"] in parts or not self.words[row["measure"]].signed:
                continue
            parts.add(str(row["part"]))
            appears = row["measure"] == "area" and self._appears(key, str(row["part"]))
            said.append(change_words(row, self.words, appears))
        if not said:
            return ""
        text = "The change " + _listed(said[:3])
        few = "with so few images " if max(int(r["images"]) for r in rows) < FEW else ""
        return text + ("." if certain else f", though {few}none of it is certain.")

    def _appears(self, key: Key, part: str) -> bool:
        """Whether the pictures show the part at one end only."""
        data = self.results.data
        shown = [data.shown[k] for k in self.results.shown.get(key, ())]
        if part not in data.parts or not shown:
            return False
        k = list(data.parts).index(part)
        ends = [((s.start_labels == k).mean(), (s.labels == k).mean()) for s in shown]
        return all((a < PRESENT) != (b < PRESENT) for a, b in ends)

    def _plot(self, changes: tuple[list[Row], bool]) -> ChangePlot | None:
        rows, certain = changes
        if not rows:
            return None
        spans = [_standardised(r) for r in rows]
        ends = [0.0, *(v for s in spans for v in s if finite(v))]
        low, high = min(ends), max(ends)
        room = 0.04 * (high - low) or 1.0
        low, high = low - room, high + room

        def to_x(value: float) -> float:
            return round(100 * (value - low) / (high - low), 2)

        def change(row: Row, bounds: tuple[float, float, float]) -> Change:
            words, part = self.words[row["measure"]], str(row["part"])
            value, interval = change_value(row, words)
            return Change(
                part=part_label(part),
                measure=words.title,
                colour=self.colours.get(part, ""),
                value=value,
                interval=interval,
                at=to_x(bounds[1]),
                low=to_x(bounds[0]) if finite(bounds[0]) else None,
                high=to_x(bounds[2]) if finite(bounds[2]) else None,
                certain=finite(row["q"]) and float(row["q"]) < SIGNIFICANT,
                title=f"{number(bounds[1])} of its scale, in {whole(row['images'])} images"
                + (f", q {float(row['q']):.2g}" if finite(row["q"]) else ""),
            )

        return ChangePlot(
            rows=tuple(change(r, s) for r, s in zip(rows, spans, strict=True)),
            zero=to_x(0.0),
            ticks=tuple(Tick(to_x(v), f"{v:g}".replace("-", "−")) for v in nice_ticks(low, high, 4)),
            note=""
            if certain
            else f"None is certain (q below 0.05), which takes {FEW} images or more; these are the largest.",
        )


def _standardised(row: Row) -> tuple[float, float, float]:
    """Lower end, value and upper end in units of the measure's scale."""
    change, value = float(row["change"]), float(row["standardised"])
    if not change or not finite(row["lower"]) or not finite(row["upper"]):
        return np.nan, value, np.nan
    scale = change / value if value else np.inf
    return float(row["lower"]) / scale, value, float(row["upper"]) / scale


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _carriers(rows: Sequence[Row]) -> Iterator[Carrier]:
    chosen = rows[:MAX_CARRIERS]
    largest = max((abs(float(r["deviations"])) for r in chosen if finite(r["deviations"])), default=0.0)
    for row in chosen:
        shift = float(row["deviations"]) if finite(row["deviations"]) else 0.0
        text = number(shift)
        yield Carrier(
            unit=int(row["unit"]),
            frequency=percent(row["frequency"]),
            interval=share_span(row["frequency_lower"], row["frequency_upper"]).strip(),
            at=_share(row["frequency"]),
            low=_share(row["frequency_lower"]),
            high=_share(row["frequency_upper"]),
            shift=text if text.startswith("−") or shift <= 0 else "+" + text,
            sign="minus" if shift < 0 else "plus",
            bar=round(50 * abs(shift) / largest, 1) if largest else 0.0,
        )


def _share(value: Any) -> float:
    return round(100 * min(1.0, max(0.0, float(value))), 1) if finite(value) else 0.0


def facts(pair: Row) -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of the figures of a pair."""
    images, reached, one = int(pair["images"]), int(pair["reached"]), int(pair["reached"]) == 1
    median, mean = ("", "") if one else (", in the median", "in the mean of an image")
    bounds = share_span(pair["validity_lower"], pair["validity_upper"])
    said = f"{whole(reached)} of {whole(images)} images end up read as the target"
    if not images:
        said = "no image could be searched from"
    elif images == 1:
        said = "the image ends up read as the target" if reached else ""
    yield "Validity", f"{percent(pair['validity'])}{bounds}", said
    if reached:
        yield (
            "Distance",
            f"{distance(pair['distance'])}{span(pair['distance_lower'], pair['distance_upper'])}",
            "length of the shift (proximity)"
            if one
            else f"mean length of the shift (proximity); the median is {distance(pair['distance_median'])}",
        )
        if finite(pair["alpha"]):
            yield "Alpha", number(pair["alpha"]), f"times as far as the boundary of the head{median}"
        if finite(pair["units_for_90"]):
            units = number(pair["units_for_90"], 0)
            yield "Sparsity", f"{units} units", f"carry 90\u202f% of the squared shift{median}"
        usual = "as usual as 99\u202f% of the generator’s own"
        known = finite(pair["plausible"])
        verdict = "yes" if known and float(pair["plausible"]) else "no" if known else "–"
        yield "Plausibility", verdict if one else percent(pair["plausible"]), usual if one else f"are {usual}"
        yield "Picture changes", f"{number(pair['change'], 1)} grey levels", "in the mean of its pixels"
    yield "Generator calls", number(pair["generator_calls"], 0), mean


def _failed(rows: Sequence[Row]) -> str:
    """Which reasons left images of the pair without a counterfactual."""
    counts = Counter(str(r["outcome"]) for r in rows if r["outcome"] != "reached")
    known = [name for name in OUTCOMES if counts[name]]
    texts = [f"{OUTCOMES[name][0].lower()} ({whole(counts[name])})" for name in known]
    return "Without a counterfactual: " + ", ".join(texts) + "." if texts else ""


def pair_title(key: Key) -> str:
    """A pair as text."""
    return f"{label(key[0])} → {label(key[1])}"
