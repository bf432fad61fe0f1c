"""A counterfactual report as a job would give it, of drawn avatars: from every top to every other."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.workers.report import sample
from tests.workers.report.quantify_sample import MEASURES
from unitscope.worlds import avatars
from unitscope.worlds.factors import CLASSES, HEADWEAR, Factors, sample_factors
from unitscope.worlds.parts import PARTS
from workers.report import ReportData
from workers.report.counterfactual import CounterfactualData, Inverted, Shown

IMAGES = 20
FRAMES = 9
HARD = {("turban", "bun"), ("long_hair", "beanie")}
"""Pairs of which only some images reach the target."""

NEVER = ("winter_hat", "short_hair")
"""A pair that nothing reaches."""

PAIRS = [(o, t) for o in CLASSES for t in CLASSES if o != t]

BAD: tuple[tuple[str, str | None, str, int], ...] = (
    ("same_class", "bun", "bun", 3),
    ("unknown_class", "bun", "bunn", 2),
    ("already_target", "hat", "turban", 1),
    ("starts_as_target", "hat", "beanie", 2),
    ("invalid_features", "curly_hair", "hat", 1),
    ("not_accepted", "curly_hair", "bun", 2),
)
"""Outcome, origin, target and count of rows that ended before a search."""


def report(pairs: list[tuple[str, str]] | None = None, own: int = 1, shown: int = 1) -> ReportData:
    """A whole report of kind ``counterfactual``."""
    return replace(
        sample.link_report(),
        kind="counterfactual",
        title="What would make avatars/shortcut say something else",
        counterfactual=data(PAIRS if pairs is None else pairs, own, shown),
        tables=("counterfactuals", "pairs", "carriers", "changes", "inversions", "quality"),
    )


def data(pairs: list[tuple[str, str]], own: int = 1, shown: int = 1) -> CounterfactualData:
    """Searches of `pairs`, with `shown` film strips a pair and `own` images of the user's."""
    rows = [row for pair in pairs for row in _rows(pair)]
    rows += [_row(o, t, k, outcome) for outcome, o, t, n in BAD for k in range(n)]
    found = [row for row in rows if row["outcome"] == "reached"]
    first: list[Shown] = []
    for pair in pairs:
        mine = [row for row in found if (row["origin"], row["target"]) == pair]
        first += [_shown(row) for row in mine[:shown]]
    return CounterfactualData(
        method="path",
        norm="l2",
        plausibility=1.0,
        start="own",
        parts=PARTS,
        measures=MEASURES,
        classes=CLASSES,
        rows=rows,
        pairs=[_pair(pair, [r for r in rows if (r["origin"], r["target"]) == pair]) for pair in pairs],
        carriers=[row for pair in pairs if pair != NEVER for row in _carriers(pair)],
        changes=[row for pair in pairs if pair != NEVER for row in _changes(pair)],
        shown=first,
        inverted=[_inverted(k) for k in range(own)],
        unknown={"bunn": ["bun"]},
        renders=len(rows) * 12,
    )


def _seed(pair: tuple[str, str]) -> int:
    return 8 * CLASSES.index(pair[0]) + CLASSES.index(pair[1])


def moved_part(pair: tuple[str, str]) -> str:
    """The part that a pair is made to change most: the headwear that comes or goes, else hair or hat."""
    hats = [name in HEADWEAR for name in pair]
    return "hat" if any(hats) else "hair"


def _rows(pair: tuple[str, str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_seed(pair))
    base = 2.4 + 0.35 * (_seed(pair) % 9)
    rows = []
    for k in range(IMAGES):
        outcome = "reached"
        if pair == NEVER:
            outcome = "unreachable" if k % 2 else "not_crossed"
        elif pair in HARD and k % 3 == 2:
            outcome = "not_crossed"
        rows.append(_row(*pair, k, outcome, float(base + rng.gamma(4, 0.22)), rng))
    return rows


def _row(
    origin: str,
    target: str,
    seed: int,
    outcome: str,
    far: float = 3.0,
    rng: np.random.Generator | None = None,
) -> dict[str, Any]:
    rng = rng or np.random.default_rng(seed)
    reached = outcome == "reached"
    head = far / rng.uniform(1.1, 1.9)
    values = {
        "l2": far, "l1": 5.1 * far, "l0": 402, "units_for_90": int(rng.integers(9, 22)),
        "deviations": 0.21 * far, "head_distance": head, "alpha": far / head,
        "plausibility": 0.92 + 0.05 * far, "plausible": bool(far < 5.6), "change": 6.0 + 2.2 * far,
        "origin_after": 0.41, "target_after": 0.52, "part": moved_part((origin, target)), "measure": "area",
    }  # fmt: skip
    return {
        "origin": origin, "target": target, "class": origin, "seed": seed, "image": None, "method": "path",
        "outcome": outcome, "valid": reached, "start_plausibility": 0.97,
        "origin_before": 0.981, "target_before": 0.004,
        **(values if reached else dict.fromkeys(values)),
        "units": [231, 17, 402], "shifts": [1.2, -0.8, 0.5], "refined": reached, "steps": 12,
        "generator_calls": 9 + seed % 4, "renders": 14, "image_shard": None, "image_folder": None,
    }  # fmt: skip


def _pair(pair: tuple[str, str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    searched = [r for r in rows if r["outcome"] in ("reached", "unreachable", "not_crossed")]
    found = [r for r in searched if r["outcome"] == "reached"]
    share = len(found) / len(searched)
    far = np.array([r["l2"] for r in found])
    half = 1.96 * far.std() / np.sqrt(len(far)) if len(far) else np.nan
    known = {
        "distance": far.mean() if len(far) else None, "distance_lower": far.mean() - half if len(far) else None,
        "distance_upper": far.mean() + half if len(far) else None,
        "distance_median": np.median(far) if len(far) else None,
        "head_distance": np.mean([r["head_distance"] for r in found]) if found else None,
        "alpha": 1.42, "units_for_90": 14.0, "plausibility": 1.08, "plausible": 0.95, "change": 14.2,
        "part": moved_part(pair), "part_share": 0.38 + 0.05 * (_seed(pair) % 8), "measure": "area",
        "unit": 231, "unit_frequency": 0.85, "mean_l2": 2.9, "alike": 0.3 + 0.07 * (_seed(pair) % 9),
        "mean_flips": 0.7, "mean_flips_lower": 0.48, "mean_flips_upper": 0.85, "mean_flips_doubled": 0.95,
    }  # fmt: skip
    return {
        "origin": pair[0], "target": pair[1], "method": "path", "images": len(searched), "reached": len(found),
        "validity": share, "validity_lower": max(0.0, share - 0.17), "validity_upper": min(1.0, share + 0.05),
        **(known if found else dict.fromkeys(known)),
        "generator_calls": 10.5, "renders": 14.0,
    }  # fmt: skip


def _carriers(pair: tuple[str, str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_seed(pair) + 100)
    rows = []
    for rank, unit in enumerate(rng.choice(512, 12, replace=False).tolist()):
        share = max(0.1, 0.95 - 0.07 * rank)
        rows.append(
            {
                "origin": pair[0], "target": pair[1], "unit": unit, "rank": rank, "counterfactuals": IMAGES,
                "count": round(share * IMAGES), "frequency": share,
                "frequency_lower": max(0.0, share - 0.2), "frequency_upper": min(1.0, share + 0.08),
                "shift": float((-1) ** rank * (1.6 - 0.1 * rank)),
                "deviations": float((-1) ** rank * (2.2 - 0.14 * rank)),
            }
        )  # fmt: skip
    return rows


def _changes(pair: tuple[str, str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_seed(pair) + 300)
    hat_after = pair[1] in HEADWEAR
    rows = []
    for part in (*PARTS, "picture"):
        for m in MEASURES[:9]:
            strong = part in ("hat", "hair")
            z = float(rng.normal(0, 1.1 if strong else 0.08))
            if m.name == "area" and strong:
                z = 3.2 if (part == "hat") == hat_after else -2.6
            scale = {"area": 0.05, "luminance": 12.0}.get(m.name, 8.0)
            if not m.signed:
                z = abs(z)
            rows.append(
                {
                    "origin": pair[0], "target": pair[1], "part": part, "measure": m.name, "images": IMAGES,
                    "change": z * scale, "standard_error": 0.1 * scale,
                    "lower": (z - 0.25) * scale, "upper": (z + 0.25) * scale, "standardised": z,
                    "same_sign": 0.9, "p": 0.001 if strong else 0.6,
                    "q": None if not m.signed else 0.004 if strong else 0.8,
                    "share": 0.1, "status": "measured",
                }
            )  # fmt: skip
    return rows


@cache
def _drawn(factors: Factors) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    avatar = avatars.draw(factors)
    assert avatar.labels is not None
    return avatar.image, avatar.labels


def _factors(name: str, seed: int) -> Factors:
    return sample_factors(np.random.default_rng([CLASSES.index(name), seed, 5]), top=name)


def _shown(row: dict[str, Any]) -> Shown:
    before = _factors(row["origin"], row["seed"])
    (a, labels_a), (b, labels_b) = _drawn(before), _drawn(before.changed(top=row["target"]))
    alphas = np.linspace(0, 1.5, FRAMES)
    way = np.clip(alphas, 0, 1.2)[:, None, None, None] / 1.2
    # At 1 the picture is nearly there, as a counterfactual that has just been read as the target is.
    frames = np.rint(a + (b.astype(np.float32) - a) * way).astype(np.uint8)
    found = np.rint(a + (b.astype(np.float32) - a) / 1.2).astype(np.uint8)
    logits = np.full((FRAMES, len(CLASSES)), -2.0)
    logits[:, CLASSES.index(row["origin"])] = 3.5 - 3.4 * alphas
    logits[:, CLASSES.index(row["target"])] = -2.0 + 2.4 * alphas
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Shown(row, a, found, labels_a, labels_b, alphas, frames, chances)


def _inverted(k: int) -> Inverted:
    photo, _ = _drawn(_factors(CLASSES[k % 8], 40 + k))
    other, _ = _drawn(_factors(CLASSES[k % 8], 60 + k))

    def between(way: float) -> NDArray[np.uint8]:
        return np.rint(photo + (other.astype(np.float32) - photo) * way).astype(np.uint8)

    far = k % 2 == 0
    return Inverted(
        row={
            "image": f"me-{k}.jpg", "seed": k, "read_as": CLASSES[k % 8],
            "inverted_as": CLASSES[(k + (2 if far else 0)) % 8], "linked_error": 41.7,
            "error": 22.4 if far else 6.1, "feature_error": 0.31, "refined": True, "plausibility": 1.2,
            "image_shard": None, "image_folder": None,
        },
        photo=photo,
        linked=between(0.8),
        inverted=between(0.45 if far else 0.1),
    )  # fmt: skip
