"""Recomputes every figure on the cards and says which differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packs.avatars import measure, pack, parts_model, ruler, ruler_figures
from packs.avatars.paths import MODELS
from unitscope.models.lineage import with_lineage

_TOLERANCES = {"frechet_distance": 0.5, "l1": 0.0005}
_SHARE_TOLERANCE = 0.005
"""Shares are counts over thousands of pictures; another processor rounds a few of them to the other side."""

_FITTED = {"iou_by_labelled_pictures": 0.03, "iou_unsupervised": 0.05}
"""Shares below these names are of models that the check fits again, which another processor rounds into
other models."""


def figures_of(name: str) -> dict[str, Any]:
    """Compute the figures of one of the pack's models."""
    if name == "ruler":
        return ruler_figures.figures(ruler.load(), pack.read_generator())
    if name == "parts":
        return parts_model.figures()
    if name == "generator":
        figures = measure.generator_figures(pack.read_generator(), pack.read_classifier("clean"))
        recorded = with_lineage(pack.read_card(name), MODELS / name)
        return {**figures, "lineage": recorded.metrics["lineage"]}
    return measure.classifier_figures(pack.read_classifier(name))


def differences(
    stated: Mapping[str, Any],
    found: Mapping[str, Any],
    prefix: str = "",
    tolerance: float = _SHARE_TOLERANCE,
) -> list[str]:
    """List every figure that is missing, or differs by more than its tolerance, as stated and as found."""
    lines = []
    for key in sorted(stated.keys() | found.keys()):
        path, a, b = f"{prefix}{key}", stated.get(key), found.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, path + ".", _FITTED.get(key, tolerance))
        elif a != b and not (
            isinstance(a, int | float)
            and isinstance(b, int | float)
            and abs(a - b) <= _TOLERANCES.get(key, tolerance)
        ):
            lines.append(f"{path}: the card says {a}, computed {b}")
    return lines
