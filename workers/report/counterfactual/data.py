"""What the report of a ``counterfactual`` job is made of: plain, frozen data of its finalise step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.quantify.data import MeasureLike

Row = Mapping[str, Any]
"""One row of a table of :mod:`unitscope.tables`, by column name."""

Floats = NDArray[np.floating[Any]]
Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Shown:
    """One counterfactual with its pictures.

    Attributes:
        row: Its row of the table ``counterfactuals``.
        start: ``uint8 (height, width, 3)``, the base image.
        counterfactual: Of the same shape.
        start_labels: ``uint8 (height, width)``, indices into the parts, 255 = none.
        labels: Likewise, of the counterfactual.
        alphas: ``(frames,)`` of the film strip: 0 is the base image, 1 the counterfactual, more is beyond.
        frames: ``uint8 (frames, height, width, 3)``.
        probabilities: ``(frames, classes)``, read in the frames.
    """

    row: Row
    start: Images
    counterfactual: Images
    start_labels: Images
    labels: Images
    alphas: Floats
    frames: Images
    probabilities: Floats


@dataclass(frozen=True, eq=False)
class Inverted:
    """One of the user's own images, and what the generator makes of it.

    Attributes:
        row: Its row of the table ``inversions``.
        photo: ``uint8 (height, width, 3)`` the image itself, cut to the generator's size.
        linked: The picture of the linker's w, of the same shape.
        inverted: The picture after gradient refinement, from which searches start.
    """

    row: Row
    photo: Images
    linked: Images
    inverted: Images


@dataclass(frozen=True, eq=False)
class CounterfactualData:
    """Everything that a report of a ``counterfactual`` job shows beside what every report does.

    Attributes:
        method: ``path`` or ``descent``.
        norm: ``l2`` or ``l1``.
        plausibility: Weight of how unusual a shift is, 0 for none; of ``path``.
        start: ``own`` or ``linked``.
        parts: Names of the parts, in the order of the labels.
        measures: The measures, in their order.
        classes: Names of the classifier's classes, in the order of the logits.
        rows: The table ``counterfactuals`` (its fixed columns), every row, whatever its outcome.
        pairs: The table ``pairs``.
        carriers: The table ``carriers``.
        changes: The table ``changes``.
        shown: Counterfactuals with pictures, the most telling of each pair first.
        inverted: The user's own images; empty for generated ones.
        unknown: Names that were asked for as origin or target and that are no class, with what is near them.
        more_unknown: How many such names there are beside these.
        renders: Pictures that the plan counted on.
    """

    method: str
    norm: str
    plausibility: float
    start: str
    parts: Sequence[str]
    measures: Sequence[MeasureLike]
    classes: Sequence[str]
    rows: Sequence[Row]
    pairs: Sequence[Row]
    carriers: Sequence[Row]
    changes: Sequence[Row]
    shown: Sequence[Shown]
    inverted: Sequence[Inverted] = ()
    unknown: Mapping[str, Sequence[str]] = field(default_factory=dict)
    more_unknown: int = 0
    renders: int = 0
