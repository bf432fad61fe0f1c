"""How well label maps agree: intersection over union."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.generator.parts.training import UNLABELLED
from unitscope.errors import InvalidArgumentError


@dataclasses.dataclass(frozen=True)
class Iou:
    """Intersection over union, over all pixels of all pictures together.

    Attributes:
        by_part: From 0 to 1 by part; NaN for a part that neither side has.
        mean: Over the parts that the truth or the labels have.
        pixels: Pixels of the truth by part.
    """

    by_part: dict[str, float]
    mean: float
    pixels: dict[str, int]

    def to_dict(self) -> dict[str, float | dict[str, float | None] | dict[str, int]]:
        """As plain JSON values for a card, rounded to 4 digits; null for NaN."""
        by_part = {name: None if math.isnan(x) else round(x, 4) for name, x in self.by_part.items()}
        return {"mean": round(self.mean, 4), "by_part": by_part, "pixels": self.pixels}


def iou(
    found: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8],
    parts: Sequence[str],
    ignore: int = UNLABELLED,
) -> Iou:
    """Compares label maps.

    Args:
        found: What a model says, uint8 ``(n, height, width)``, indices into `parts`.
        truth: What is so, of the same shape; pixels of the value `ignore` do not count.
        parts: Names of the parts.
        ignore: The label of pixels of unknown truth.

    Raises:
        InvalidArgumentError: Shapes differ (WRONG_TENSOR_SHAPE), a label names no part
            (LABEL_OUT_OF_RANGE), or no pixel counts (NOTHING_LABELLED).
    """
    if found.shape != truth.shape:
        raise InvalidArgumentError(
            f"labels of the shapes {found.shape} and {truth.shape} cannot be compared; they must be alike",
            reason="WRONG_TENSOR_SHAPE",
            field="found",
        )
    known = truth != ignore
    a, b, count = found[known].astype(np.int64), truth[known].astype(np.int64), len(parts)
    if not len(a):
        raise InvalidArgumentError(
            "no pixel is labelled; there is nothing to compare with", reason="NOTHING_LABELLED", field="truth"
        )
    highest = int(max(a.max(), b.max()))
    if highest >= count:
        raise InvalidArgumentError(
            f"a label is {highest}; the {count} parts have the labels 0 to {count - 1}",
            reason="LABEL_OUT_OF_RANGE",
            field="truth",
        )
    table = np.bincount(count * b + a, minlength=count**2).reshape(count, count)
    both, real = np.diag(table), table.sum(axis=1)
    union = real + table.sum(axis=0) - both
    shares = np.divide(both, union, out=np.full(count, np.nan), where=union > 0)
    return Iou(
        dict(zip(parts, shares.tolist(), strict=True)),
        float(np.nanmean(shares)),
        dict(zip(parts, real.tolist(), strict=True)),
    )
