"""Report data as a job would give them, of drawn avatars: units that move one factor of a picture."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from unitscope.worlds import avatars
from unitscope.worlds.factors import CLASSES, Factors, sample_factors
from workers.report import LinkerSummary, Model, ReportData, Survivor, Traversal

EFFECTS = (
    {"glasses": "sunglasses"},
    {"top": "hat"},
    {"facial_hair": "beard"},
    {"clothes_colour": "red"},
    {"skin": "dark"},
    {"background": "lime"},
)
"""What a unit does when it is high: factor and value."""


BEFORE = (
    {"glasses": "none"},
    {"top": "short_hair"},
    {"facial_hair": "none"},
    {"clothes_colour": "blue"},
    {"skin": "light"},
    {"background": "pink"},
)
"""What the same factor is when the unit is low."""


def report(units: int = 6, seeds: int = 2, steps: int = 7, classes: int = 8) -> ReportData:
    """A report of `units` units in `seeds` base pictures of each class."""
    traversals = [
        _traversal(k, c, s, steps) for k in range(units) for c in range(classes) for s in range(seeds)
    ]
    return ReportData(
        kind="traverse",
        title=f"What {units} units of avatars/shortcut do",
        job_id="20261121-0412-traverse-7c1f09",
        created="2026-11-21T04:12:51.123456+00:00",
        spec={"kind": "traverse", "steps": steps, "seeds_per_class": seeds, "seed": 1},
        plan_digest="5d" * 32,
        models=(
            Model("classifier", "avatars/shortcut", "a6" * 32, "A classifier with a shortcut."),
            Model("generator", "avatars/generator", "0b" * 32, "Draws avatars at 64 pixels."),
            Model("linker", "linkers/9f31c2aa70de", "9f" * 32, "Fitted by this job."),
        ),
        renderer="triton 2.60.0",
        versions={"unitscope": "0.1.0", "torch": "2.13.0"},
        classes=CLASSES,
        linker=LinkerSummary(
            digest="9f" * 32,
            layer="penultimate",
            features=512,
            latents=256,
            truncation=0.7,
            penalty=0.01,
            pairs=6_400,
            heldout=800,
            acceptance={name: 0.98 - 0.03 * k for k, name in enumerate(CLASSES)},
        ),
        quality=quality(),
        survivors=[_survivor(k) for k in range(8)],
        units=[_unit_row(k, [t for t in traversals if t.unit == unit_number(k)]) for k in range(units)],
        traversals=traversals,
        notes=("Pictures of 2 of 4 seeds were kept (keep: sample).",),
        tables=("units", "steps", "quality"),
    )


def link_report() -> ReportData:
    """A report of a job that only fits a linker."""
    full = report(units=1, seeds=1, classes=1)
    return replace(
        full, kind="link", title="The link of avatars/clean", units=(), traversals=(), notes=(),
        tables=("quality",),
    )  # fmt: skip


def unit_number(k: int) -> int:
    """The unit at a place of the selection."""
    return (137 * (k + 1)) % 512


def quality() -> list[dict[str, object]]:
    """Rows of the table `quality`, with intervals and paired differences."""
    base = {
        "latent_r2_within_class": (0.41, 0.0, 0.12, 0.33),
        "latent_cosine_within_class": (0.66, 0.0, 0.43, 0.58),
        "agreement": (0.94, 0.99, 0.81, 0.91),
        "cycle_cosine": (0.95, 0.71, 0.86, 0.92),
    }
    methods = ("linker", "class_mean", "nearest_neighbour", "principal_components")
    rows: list[dict[str, object]] = []
    for scope in ("overall", *CLASSES):
        for metric, values in base.items():
            for method, value in zip(methods, values, strict=True):
                rows.append(_quality(metric, scope, method, value, 0.02))
                if method != "linker":
                    rows.append(_quality(metric, scope, f"linker - {method}", values[0] - value, 0.015))
    rows.append(_quality("linear_cka", "overall", "pairs", 0.62, 0.03))
    rows.append(_quality("distance_rank_correlation", "overall", "pairs", 0.48, 0.03))
    return rows


def _quality(metric: str, scope: str, method: str, value: float, half: float) -> dict[str, object]:
    return {
        "metric": metric, "scope": scope, "method": method, "value": value,
        "lower": value - half, "upper": value + half, "pairs": 800 if scope == "overall" else 100,
    }  # fmt: skip


def _factors(class_index: int, seed: int) -> Factors:
    drawn = sample_factors(np.random.default_rng([class_index, seed]))
    return replace(drawn, top=type(drawn.top)(CLASSES[class_index]))


def _with(factors: Factors, values: dict[str, str]) -> Factors:
    """The factors with some set; of every factor the value is an enum of its own."""
    return replace(factors, **{n: type(getattr(factors, n))(v) for n, v in values.items()})


@cache
def _draw(factors: Factors) -> np.ndarray:
    return avatars.draw(factors, masks=False).image


def _blend(first: Factors, last: Factors, steps: int) -> np.ndarray:
    a, b = (_draw(f).astype(np.float32) for f in (first, last))
    way = 1 / (1 + np.exp(-8 * (np.linspace(0, 1, steps) - 0.5)))
    return np.round(a + (b - a) * way[:, None, None, None]).astype(np.uint8)


def _traversal(k: int, class_index: int, seed: int, steps: int) -> Traversal:
    rng = np.random.default_rng([k, class_index, seed])
    factors = _factors(class_index, seed)
    effect, opposite = EFFECTS[k % len(EFFECTS)], BEFORE[k % len(EFFECTS)]
    factors = _with(factors, opposite)
    after = _with(factors, effect)
    commanded = np.linspace(0, 4.2 - 0.3 * (k % 5), steps)
    logits = np.tile(rng.normal(0, 0.6, len(CLASSES)), (steps, 1))
    logits[:, class_index] += 3.5
    target = (3 + k) % len(CLASSES)
    logits[:, target] += rng.uniform(2.5, 5.5) * commanded / commanded[-1]
    logits += np.outer(commanded / commanded[-1], rng.normal(0, 0.7, len(CLASSES)))
    follow = 0.9 - 0.1 * (k % 7)
    return Traversal(
        unit=unit_number(k),
        class_name=CLASSES[class_index],
        seed=seed,
        base=float(rng.uniform(0, 2)),
        commanded=commanded,
        reencoded=0.2 + follow * commanded + rng.normal(0, 0.08, steps),
        logits=logits,
        predicted=[CLASSES[c] for c in logits.argmax(axis=1)],
        frames=_blend(factors, after, steps),
        follow=follow,
        focus=0.8 - 0.07 * (k % 6),
        plausible=1.0 - 0.05 * (k % 4),
    )


def _unit_row(k: int, traversals: list[Traversal]) -> dict[str, object]:
    change = np.mean([t.logits[-1] - t.logits[0] for t in traversals], axis=0)
    strongest = int(np.abs(change).argmax())
    first = traversals[0]
    trust = float((first.follow * first.focus * first.plausible) ** (1 / 3)) - 0.08 * (k % 6)
    return {
        "unit": first.unit, "rank": k, "score": float(change[strongest]),
        "low": float(first.commanded[0]), "high": float(first.commanded[-1]),
        "mean": 0.8, "std": 0.7, "span": 2.1 + 0.1 * k,
        "strongest_class": CLASSES[strongest], "strongest_change": float(change[strongest]),
        "flips": float(np.mean([t.predicted[0] != t.predicted[-1] for t in traversals])),
        "change": float(np.mean([
            np.abs(t.frames[-1].astype(float) - t.frames[0]).mean()
            for t in traversals if t.frames is not None
        ])),
        "follow": first.follow, "focus": first.focus, "plausible": first.plausible,
        "trust": trust, "traversals": len(traversals),
    }  # fmt: skip


def _survivor(k: int) -> Survivor:
    own = _factors(k % len(CLASSES), 40 + k)
    mean = _factors(k % len(CLASSES), 90)
    return Survivor(
        class_name=CLASSES[k % len(CLASSES)],
        own=_draw(own),
        linked=_blend(own, mean, 5)[1],
        class_mean=_blend(own, mean, 3)[1],
    )
