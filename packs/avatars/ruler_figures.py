"""The figures on the ruler's card: how far it can be trusted, on drawings and on generated pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from packs.avatars.dataset import Drawings, label_maps, pairs, unbiased
from packs.avatars.measure import PAIRS, SEEDS, TRUNCATIONS, render
from packs.avatars.readers import visible
from packs.avatars.ruler import READINGS, Ruler
from packs.avatars.ruler_sheet import hand_check
from services.generator.network import StyleGanXl
from services.generator.parts.evaluation import iou
from unitscope.worlds.parts import PARTS

DRAWN_SEED = 502
DRAWN = 2000
GENERATED = 1000
"""Pictures behind a figure, at each truncation."""


def figures(ruler: Ruler, generator: StyleGanXl) -> dict[str, Any]:
    """Measure the ruler on drawings that it was not trained on, and on generated pictures.

    For a generated picture the truth is what its ``z`` names. Where the picture itself departs from
    that, the ruler is counted as wrong all the same: these figures are a lower bound of its own.
    """
    drawn = unbiased("ruler-test", DRAWN_SEED, DRAWN)
    meant = first(pairs("generator-test", SEEDS.pairs, PAIRS), GENERATED)
    found: dict[str, Any] = {"drawn": {"pictures": DRAWN, **against(ruler, drawn.images, drawn)}}
    for psi in TRUNCATIONS:
        key = f"generated_truncation_{psi:.1f}"
        found[key] = {"pictures": GENERATED, **against(ruler, render(generator, meant, psi), meant)}
    return {**found, "hand_checked": hand_check()}


def first(data: Drawings, count: int) -> Drawings:
    """Return the first drawings of a set."""
    return Drawings(data.images[:count], data.classes[:count], data.codes[:count], data.z[:count])


def against(ruler: Ruler, images: NDArray[np.uint8], truth: Drawings) -> dict[str, Any]:
    """Compare the ruler's readings of pictures with the drawings that they should show.

    Returns:
        IoU by part, their mean, the share of pixels and, by factor, of pictures that show it, that are
        read as drawn.
    """
    labels, wanted = ruler.labels(images), label_maps(truth)
    overlap = iou(labels, wanted, PARTS)
    return {
        "iou": {part: _share(value) for part, value in overlap.by_part.items()},
        "mean_iou": _share(overlap.mean),
        "pixel_accuracy": _share((labels == wanted).mean()),
        "accuracy": {name: _share(value) for name, value in agreement(ruler.codes(images), truth).items()},
    }


def agreement(codes: NDArray[np.int64], truth: Drawings) -> dict[str, float]:
    """Return for the class and each factor the share, among drawings that show it, that is read right."""
    right = codes == np.column_stack([truth.classes, truth.codes])
    seen = np.column_stack([np.ones(len(truth), dtype=bool), visible(truth.classes, truth.codes)])
    return {name: float(right[seen[:, i], i].mean()) for i, name in enumerate(READINGS)}


def _share(value: float) -> float:
    return round(float(value), 4)
