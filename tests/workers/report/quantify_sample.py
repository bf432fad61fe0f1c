"""A quantify report as a job would give it, of drawn avatars whose parts are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.workers.report import sample
from unitscope.worlds import avatars
from unitscope.worlds.factors import CLASSES, Factors, sample_factors
from unitscope.worlds.parts import PARTS
from workers.report import ReportData
from workers.report.quantify import (
    Association,
    Column,
    EffectArrays,
    Example,
    QuantifyData,
    RealImage,
    Strip,
)

COLOURS = (
    *("#8a9099", "#2f7ed8", "#cf9434", "#d6336c", "#0c9f9f"),
    *("#9a5f34", "#e8590c", "#5c9a0d", "#7950f2"),
)

CHANGES: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
    ("glasses", {"glasses": "none"}, {"glasses": "sunglasses"}),
    ("hat", {"top": "short_hair"}, {"top": "hat", "hat_colour": "red"}),
    ("facial_hair", {"facial_hair": "none"}, {"facial_hair": "beard"}),
    ("clothes", {"clothes_colour": "blue"}, {"clothes_colour": "red"}),
    ("hair", {"top": "short_hair"}, {"top": "curly_hair"}),
    ("face", {"skin": "light"}, {"skin": "dark"}),
    ("background", {"background": "sky"}, {"background": "orange"}),
    ("mouth", {"mouth": "smile"}, {"mouth": "open"}),
)
"""What a unit is about, and what a picture is at its low and at its high end."""


@dataclass(frozen=True)
class Measure:
    """A measure, as `workers.measures` describes it."""

    name: str
    unit: str
    meaning: str
    aspect: str
    period: float = 0.0
    signed: bool = True


MEASURES = (
    Measure("area", "share of picture", "Share of the picture that the part covers.", "size"),
    Measure("luminance", "L*", "Mean CIELAB lightness.", "colour"),
    Measure("a", "a*", "Mean CIELAB a*, from green to red.", "colour"),
    Measure("b", "b*", "Mean CIELAB b*, from blue to yellow.", "colour"),
    Measure("chroma", "C*ab", "Mean CIELAB chroma.", "colour"),
    Measure("hue", "degree", "CIELAB hue angle of the mean colour.", "colour", 360.0),
    Measure("delta_e", "CIEDE2000", "Colour difference to step 0.", "colour", signed=False),
    Measure("entropy", "bit", "Entropy of the lightness.", "texture"),
    Measure("contrast", "L*", "Standard deviation of the lightness.", "texture"),
    Measure("eccentricity", "", "Of the ellipse of equal moments, 0 to 1.", "shape"),
    Measure("orientation", "degree", "Of that ellipse.", "shape", 180.0),
    Measure("centre_x", "share of width", "Centre of the part, from the left.", "position"),
    Measure("centre_y", "share of height", "Centre of the part, from above.", "position"),
    Measure("major_axis", "share of picture width", "Length of the ellipse.", "shape"),
    Measure("minor_axis", "share of picture width", "Width of the ellipse.", "shape"),
    Measure("instances", "count", "Connected pieces.", "count"),
    Measure("motion", "share of picture width", "Mean flow from step 0.", "motion", signed=False),
)

SIGMA = dict(zip(
    (m.name for m in MEASURES),
    (0.05, 12, 14, 15, 14, 50, 10, 0.6, 6, 0.15, 40, 0.03, 0.04, 0.09, 0.07, 0.8, 0.02),
    strict=True,
))  # fmt: skip
WHOLE = ("luminance", "a", "b", "chroma", "hue", "delta_e", "entropy", "contrast", "motion")

COLUMNS = (
    *(Column(part, m.name) for part in PARTS for m in MEASURES),
    *(Column("picture", name) for name in WHOLE),
    *(Column("logit", name) for name in CLASSES),
)


@cache
def _drawn(factors: Factors) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    avatar = avatars.draw(factors)
    assert avatar.labels is not None
    return avatar.image, avatar.labels


def _strip(unit: int, kind: int, seed: int, steps: int) -> Strip:
    _, low, high = CHANGES[kind]
    factors = sample_factors(np.random.default_rng([kind, seed]))
    before, after = factors.changed(**low), factors.changed(**high)
    (a, labels_a), (b, labels_b) = _drawn(before), _drawn(after)
    way = 1 / (1 + np.exp(-7 * (np.linspace(0, 1, steps) - 0.5)))
    way = (way - way[0]) / (way[-1] - way[0])
    frames = a + (b.astype(np.float32) - a) * way[:, None, None, None]
    return Strip(
        unit=unit,
        class_name=before.top.value,
        seed=seed,
        commanded=np.linspace(-1.8, 2.4 + 0.2 * (unit % 5), steps),
        frames=np.round(frames).astype(np.uint8),
        labels=np.stack([labels_b if w > 0.5 else labels_a for w in way]),
    )


def _effects(kinds: list[int], strengths: NDArray[np.float64], seeds: int) -> EffectArrays:
    """Noise everywhere, and in the columns of each unit's part an effect."""
    rng = np.random.default_rng(7)
    units = len(kinds)
    std = rng.normal(0, 0.05, (units, len(COLUMNS)))
    shape = {"area": 1.0, "luminance": -0.8, "contrast": 0.35, "centre_y": 0.3, "major_axis": 0.5, "a": 0.4}
    for column, entry in enumerate(COLUMNS):
        for k, kind in enumerate(kinds):
            if kind >= 0 and entry.part == CHANGES[kind][0]:
                std[k, column] += strengths[k] * shape.get(entry.measure, 0.12)
            if kind == 0 and entry == Column("logit", "bun"):
                std[k, column] += 0.9 * strengths[k]
            if kind in (1, 4) and entry.part == "logit" and entry.measure == ("hat", "curly_hair")[kind == 4]:
                std[k, column] += 0.7 * strengths[k]
    sigma = np.array([SIGMA.get(c.measure, 2.0) for c in COLUMNS])
    std[:, [c.part == "eyes" and c.measure == "orientation" for c in COLUMNS]] = np.nan
    directed = np.array([c.measure not in ("delta_e", "motion") for c in COLUMNS])
    std[:, ~directed] = np.abs(std[:, ~directed])
    effect = std * sigma
    error = 0.07 * sigma
    share = np.abs(std) / np.nansum(np.abs(std[:, :-8]), axis=1, keepdims=True)
    q = np.where(directed, np.minimum(1.0, np.exp(-((np.abs(std) / 0.09) ** 2)) * 3), np.nan)
    return EffectArrays(
        columns=COLUMNS,
        effect=effect,
        lower=effect - 1.96 * error,
        upper=effect + 1.96 * error,
        standardised=std,
        same_sign=np.clip(0.5 + np.abs(std), 0, 1),
        q=np.where(np.isfinite(std), q, np.nan),
        selectivity=share,
        seeds=np.full(std.shape, seeds, np.int32),
    )


def data(units: int = 40, confirmed: int = 24, strips: int = 4, steps: int = 5) -> QuantifyData:
    """A job of `units` units, of which the first `confirmed` were confirmed, with `strips` strips each."""
    rng = np.random.default_rng(3)
    kinds = [k % len(CHANGES) if k < confirmed or k % 7 == 0 else -1 for k in range(units)]
    strengths = np.where(np.arange(units) < confirmed, 1.9 - np.arange(units) * 0.6 / max(1, confirmed), 0.5)
    strengths *= np.where(np.arange(units) // len(CHANGES) % 3 == 2, -1, 1)
    effects = _effects(kinds, strengths, 32)
    effects.q[confirmed:] = np.nan
    angle = rng.uniform(0, 6.28, units)
    spread = rng.gamma(2, 0.35, units)
    rows = [
        _row(k, kind, effects, float(np.cos(a) * s), float(np.sin(a) * s), k < confirmed)
        for k, (kind, a, s) in enumerate(zip(kinds, angle, spread, strict=True))
    ]
    profile = np.nan_to_num(effects.standardised)
    profile /= np.linalg.norm(profile, axis=1, keepdims=True)
    similar, similarity = _similar(profile)
    example = _drawn(
        sample_factors(np.random.default_rng(5), glasses="sunglasses", facial_hair="beard", top="curly_hair")
    )
    return QuantifyData(
        parts=PARTS,
        measures=MEASURES,
        classes=CLASSES,
        units=rows,
        effects=effects,
        strips=[
            _strip(int(rows[k]["unit"]), kinds[k], s, steps)  # type: ignore[call-overload]
            for k in range(confirmed)
            for s in range(strips)
        ],
        naming_threshold=0.35,
        min_trust=0.3,
        screening_images=8,
        confirm_images=32,
        steps=steps,
        perturbation="from the 1st to the 99th percentile of what it takes",
        renders=units * 8 * 2 + confirmed * 32 * steps,
        seconds=312.0,
        part_colours=COLOURS,
        example=Example(*example),
        association=_association(),
        similar=similar,
        similarity=similarity,
        real={
            int(rows[k]["unit"]): [  # type: ignore[call-overload]
                RealImage(f"photo-{k}-{n}.jpg", 3.1 - 0.2 * n, _drawn(_random(40 + k + n))[0])
                for n in range(6)
            ]
            for k in range(min(3, confirmed))
        },
    )


def _random(seed: int) -> Factors:
    return sample_factors(np.random.default_rng(seed))


def _similar(profile: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    order, cosine = [], []
    for row in range(len(profile)):
        alike = profile @ profile[row]
        alike[row] = -2
        best = np.argsort(-alike, kind="stable")[:5]
        order.append(best)
        cosine.append(alike[best])
    return np.asarray(order), np.asarray(cosine)


def _association() -> Association:
    matrix = np.random.default_rng(2).normal(0, 0.09, (len(CLASSES), len(PARTS)))
    matrix[CLASSES.index("bun"), PARTS.index("glasses")] = 0.86
    matrix[CLASSES.index("hat"), PARTS.index("hat")] = 0.74
    matrix[CLASSES.index("hat"), PARTS.index("hair")] = -0.62
    matrix[CLASSES.index("curly_hair"), PARTS.index("hair")] = 0.66
    return Association(
        matrix,
        [["area"] * matrix.shape[1]] * matrix.shape[0],
        512,
        np.where(np.abs(matrix) > 0.3, 0.001, 0.6),
    )


def _row(k: int, kind: int, effects: EffectArrays, x: float, y: float, confirmed: bool) -> dict[str, object]:
    part = CHANGES[kind][0] if kind >= 0 else PARTS[k % len(PARTS)]
    share = float(sum(
        s for s, c in zip(effects.selectivity[k], COLUMNS, strict=True) if c.part == part and np.isfinite(s)
    ))  # fmt: skip
    follow, focus = 0.9 - 0.07 * (k % 9), 0.85 - 0.09 * (k % 7)
    trust = float((follow * focus * 0.95) ** (1 / 3))
    logits = effects.effect[k, -len(CLASSES) :]
    strongest = int(np.abs(logits).argmax())
    return {
        "unit": (37 * (k + 1)) % 4099, "group": None, "layer": "penultimate",
        "stage": "confirm" if confirmed else "screen",
        "low": -1.8, "high": 2.4, "mean": 0.2, "std": 0.9, "span": 2.2,
        "part": part, "part_share": share, "measure": "area",
        "named": kind >= 0 and share > 0.35, "strongest_class": CLASSES[strongest],
        "strongest_change": float(logits[strongest]), "flips": 0.1 + 0.05 * (k % 6), "change": 9.5,
        "follow": follow, "focus": focus, "plausible": 0.95, "trust": trust, "trusted": trust >= 0.6,
        "seeds": 32 if confirmed else 8, "cluster": kind if kind >= 0 else None, "x": x, "y": y,
    }  # fmt: skip


def report(units: int = 40, confirmed: int = 24, strips: int = 4) -> ReportData:
    """A whole report of kind ``quantify``."""
    return replace(
        sample.link_report(),
        kind="quantify",
        title="What the units of avatars/shortcut do to each part",
        quantify=data(units, confirmed, strips),
        tables=("effects", "units", "steps", "quality"),
    )
