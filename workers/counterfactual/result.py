"""What comes out of a search, row by row: plain values and arrays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workers.counterfactual.models import Doubles, Floats, Images

CHANGED = 1e-6
"""A unit has changed where it moved by more than this; smaller moves are rounding."""


class Outcome(StrEnum):
    """How a row ended. All but ``reached`` come without a counterfactual."""

    REACHED = "reached"
    """The classifier reads the image as the target."""
    SAME_CLASS = "same_class"
    """Target and origin are one class."""
    UNKNOWN_CLASS = "unknown_class"
    """Target or origin is no class of the classifier."""
    INVALID_FEATURES = "invalid_features"
    """The features or the latent hold NaN or infinity, or features negative values where there are none."""
    ALREADY_TARGET = "already_target"
    """The features are those of the target before anything is changed."""
    STARTS_AS_TARGET = "starts_as_target"
    """The starting image, rendered without any shift, is read as the target; the linker may turn it."""
    UNREACHABLE = "unreachable"
    """No allowed shift of the features leads to the target, not even before rendering."""
    NOT_CROSSED = "not_crossed"
    """The features are moved to the target, but no image within the limits is read as it."""
    NOT_ACCEPTED = "not_accepted"
    """There is no image to start from: too few of those made for the origin are read as it."""


OUTCOMES = list(Outcome)
"""Outcomes in the order by which chunks number them."""
REACHED = OUTCOMES.index(Outcome.REACHED)
SEARCHED = tuple(OUTCOMES.index(kind) for kind in (Outcome.REACHED, Outcome.UNREACHABLE, Outcome.NOT_CROSSED))
"""Outcomes of rows that could have had a counterfactual; for the others nothing was searched."""


@dataclass(frozen=True)
class Carrier:
    """A unit that carries some of the change.

    Attributes:
        unit: Its index.
        shift: By how much it moved, r' - r.
        weight: ``|shift| x std``, by which carriers are ordered.
    """

    unit: int
    shift: float
    weight: float


@dataclass(frozen=True)
class Strip:
    """Pictures on the way from the start across the boundary.

    Attributes:
        alphas: (frames,) 0 is the start and 1 the counterfactual.
        images: uint8 (frames, height, width, 3).
        logits: float32 (frames, classes) as read in the images.
    """

    alphas: Doubles
    images: Images
    logits: Floats

    @property
    def probabilities(self) -> Doubles:
        """(frames, classes), the softmax of the logits."""
        return softmax(self.logits)


@dataclass(frozen=True)
class Counterfactual:
    """One row: a starting image, a pair of classes, and what was found.

    Attributes:
        method: ``descent`` or ``path``.
        origin: The class that the image is taken for.
        target: The class wanted.
        outcome: How it ended.
        shift: (units,) r' - r of the counterfactual, after clipping; zeros without one. The published
            shift s has the other sign.
        head_distance: L2 length of the shift to the boundary of the head; NaN where none was searched.
        refined: Whether gradients through the picture found the shift, or made it smaller.
        gradients: False where gradients through the picture were wanted and none are served.
        steps: Steps of the search in features.
        generator_calls: Calls of the generator that this row took part in, those for gradients included.
        renders: Images rendered for the row, those of the strip left out.
        plausibility: Mahalanobis distance of w' per root dimension; NaN without a counterfactual.
        start_plausibility: Likewise of the w that the row starts from; NaN where it has none.
        start_latent: (w_dim,) that w, as rendered, or None.
        latent: (w_dim,) w' of the counterfactual, as rendered; None without one.
        start_logits: (classes,) of the image without any shift; None where none was rendered.
        logits: (classes,) of the counterfactual image; None without one.
        start_image: uint8 (height, width, 3) of the start, or None.
        image: uint8 (height, width, 3) of the counterfactual, or None.
        carriers: The units that carry most of the change, largest first.
        strip: Pictures across the boundary, where asked for and there is a counterfactual.
    """

    method: str
    origin: int
    target: int
    outcome: Outcome
    shift: Doubles
    head_distance: float = np.nan
    refined: bool = False
    gradients: bool = True
    steps: int = 0
    generator_calls: int = 0
    renders: int = 0
    plausibility: float = np.nan
    start_plausibility: float = np.nan
    start_latent: Floats | None = None
    latent: Floats | None = None
    start_logits: Floats | None = None
    logits: Floats | None = None
    start_image: Images | None = None
    image: Images | None = None
    carriers: tuple[Carrier, ...] = ()
    strip: Strip | None = None

    @property
    def reached(self) -> bool:
        """Whether there is a counterfactual."""
        return self.outcome is Outcome.REACHED

    @property
    def alpha(self) -> float:
        """How many times as far as the boundary of the head the counterfactual lies, by L2.

        The published alpha*, which is taken on the ray of one shift: NaN without a counterfactual, and where
        the head's boundary was not searched, as by ``descent``.
        """
        return self.l2 / self.head_distance if self.reached and self.head_distance > 0 else np.nan

    @property
    def l0(self) -> int:
        """How many units moved."""
        return int((np.abs(self.shift) > CHANGED).sum())

    @property
    def l1(self) -> float:
        """The sum of all moves."""
        return float(np.abs(self.shift).sum())

    @property
    def l2(self) -> float:
        """The length of the shift."""
        return float(np.linalg.norm(self.shift))


def carriers(shift: Doubles, std: NDArray[np.floating], count: int) -> tuple[Carrier, ...]:
    """The units with the largest ``|shift| x std``, at most `count`, largest first.

    Args:
        shift: (units,).
        std: (units,) standard deviation of each unit.
        count: How many.
    """
    weights = np.abs(shift) * std
    order = np.argsort(-weights, kind="stable")[:count]
    return tuple(Carrier(int(k), float(shift[k]), float(weights[k])) for k in order if weights[k] > 0)


def softmax(logits: NDArray[np.floating]) -> Doubles:
    """Probabilities (..., classes) of logits."""
    raised = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shares: Doubles = raised / raised.sum(-1, keepdims=True)
    return shares
