"""The words of a report: numbers as text, sentences made from numbers, names and definitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workers.report.data import ReportData, Row, Traversal

METRICS: dict[str, tuple[str, str]] = {
    "r2_within_class": (
        "R² of w, within class",
        "Share of the variance of w around its class mean that the link explains. Guessing the class "
        "mean scores 0.",
    ),
    "cosine_within_class": (
        "Cosine in w, within class",
        "Cosine of predicted and true w, both seen from the class mean.",
    ),
    "agreement": (
        "Agreement",
        "Share of pictures that the classifier reads alike before and after the way through the features. "
        "A neighbour is itself a picture that was accepted, so it scores high by construction.",
    ),
    "cycle_cosine": (
        "Cosine of features, full circle",
        "Features of the linked picture against the features that it was made from.",
    ),
    "r2": ("R² of w", "Share of the variance of w that the link explains, classes included."),
    "cosine": ("Cosine in w", "Cosine of predicted and true w."),
    "linear_cka": (
        "Linear CKA of r and w",
        "Similarity of the two spaces up to rotation and scale, 0 to 1.",
    ),
    "distance_rank_correlation": (
        "Rank correlation of distances",
        "Do pictures that are close in r lie close in w? 1 is the same order.",
    ),
}
"""Title and meaning of each metric of the table ``quality``, in the order of the report."""

METHODS = {
    "linker": "Linker",
    "class_mean": "Class mean",
    "nearest_neighbour": "Nearest neighbour",
    "principal_components": "Principal components",
    "pairs": "Pairs",
}

OVERALL = ("overall", "all")
"""Names of the scope of figures over all classes."""

TRUST_PARTS = (
    ("follow", "Follows", "read again, the unit moves as it was told"),
    ("focus", "Focused", "it moves more than the other units do"),
    ("plausible", "Plausible", "w stays where the generator’s own w are"),
)


@dataclass(frozen=True)
class TrustLevel:
    """A trust between 0 and 1, as a word: ``high``, ``medium``, ``low`` or ``unknown``."""

    word: str
    meaning: str


def trust_level(trust: float | None) -> TrustLevel:
    """The word for a trust; 0.6 and 0.3 are the borders."""
    if trust is None or not finite(trust):
        return TrustLevel("unknown", "Too little was measured to say.")
    if trust >= 0.6:
        return TrustLevel("high", "What you see is this unit at work.")
    if trust >= 0.3:
        return TrustLevel("medium", "Mostly this unit, but read the parts below.")
    return TrustLevel("low", "Do not draw conclusions from these pictures alone.")


def number(value: Any, digits: int = 2) -> str:
    """A number with a fixed count of decimals; a dash for None and for what is not finite."""
    if not finite(value):
        return "–"
    text = f"{float(value):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def feature(value: float) -> str:
    """A value of a feature: two decimals below 1, one above."""
    return number(value, 2 if abs(value) < 1 and value != 0 else 1)


def percent(value: float | None) -> str:
    """A share as a whole percentage."""
    if value is None or not finite(value):
        return "–"
    return f"{100 * value:.0f}\u202f%"


def whole(value: Any) -> str:
    """A count, with thousands separated."""
    return f"{int(value):,}"


def label(name: str) -> str:
    """A class name as one reads it."""
    return name.replace("_", " ")


def metric_key(name: str) -> str:
    """The key in `METRICS` of a metric's name; w is what is meant by default."""
    return name.removeprefix("latent_")


def method_label(name: str) -> str:
    """A method of the table ``quality`` as one reads it; differences as ``Linker − Class mean``."""
    return " − ".join(METHODS.get(part, label(part)) for part in name.split(" - "))


def headline(row: Row, traversals: Iterable[Traversal]) -> str:
    """What a unit does, in a sentence or two, from its row and its traversals."""
    change = float(row["strongest_change"])
    verb = "raises" if change >= 0 else "lowers"
    count = int(row["traversals"])
    text = (
        f"Raising unit {row['unit']} from {feature(row['low'])} to {feature(row['high'])} {verb} "
        f"“{label(row['strongest_class'])}” by {number(abs(change), 1)} logits and "
    )
    flips = float(row["flips"])
    if flips == 0:
        return text + f"never changes the predicted class ({count} traversals)."
    text += f"changes the predicted class in {percent(flips)} of {count} traversals."
    routes = Counter(
        (t.predicted[0], t.predicted[-1]) for t in traversals if t.predicted[0] != t.predicted[-1]
    )
    if routes:
        (first, last), times = min(routes.items(), key=lambda item: (-item[1], item[0]))
        route = f"from “{label(first)}” to “{label(last)}”"
        how_often = "twice" if times == 2 else f"{times} times"
        text += f" For instance {route}." if times == 1 else f" Most often {route}, {how_often}."
    return text


def caution(row: Row) -> str:
    """The weakest part of a unit's trust, as a warning; empty where trust is high."""
    if trust_level(row["trust"]).word == "high":
        return ""
    known = [(float(row[key]), key) for key, _, _ in TRUST_PARTS if finite(row[key])]
    if not known:
        return ""
    value, weakest = min(known)
    problem = {
        "follow": "When the pictures are read again, the unit does not move as far, or as steadily, as "
        "it was told.",
        "focus": "Other units move further than this one does.",
        "plausible": "Part of the way leads to w that the generator was hardly trained on.",
    }[weakest]
    return f"{problem} ({weakest} {number(value)})"


def moment(text: str) -> str:
    """A time in ISO 8601 to the minute; other text as it is."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    if when.tzinfo is None:
        return f"{when:%Y-%m-%d %H:%M}"
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def summary(report: ReportData) -> str:
    """What the job did, in a sentence or two."""
    linker, names = report.linker, {m.kind: m.name for m in report.models}
    text = ""
    if report.units:
        seeds = {(t.class_name, t.seed) for t in report.traversals}
        bases = f" in {len(seeds)} base {_plural('picture', len(seeds))}" if seeds else ""
        verb, whose = ("was moved", "its") if len(report.units) == 1 else ("were moved", "their")
        text = (
            f"{whole(len(report.units))} {_plural('unit', len(report.units))} of "
            f"{names.get('classifier', 'the classifier')} {verb} over {whose} range{bases}; every step "
            f"was rendered by {names.get('generator', 'the generator')} and read again. "
        )
    if linker is not None:
        text += (
            f"The link from {whole(linker.features)} features to {whole(linker.latents)} latents "
            f"was fitted to {whole(linker.pairs)} generated pictures"
        )
        text += f" and judged on {whole(linker.heldout)} others." if linker.heldout else "."
    return text


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def finite(value: Any) -> bool:
    """Whether there is a value: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(float(value))
