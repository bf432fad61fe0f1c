"""What goes into a step, checked, and the figures that come out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from services.generator.specs import NetworkSpec
from unitscope.errors import FailedPreconditionError, InvalidArgumentError


class Figures:
    """Figures of a batch that is taken in parts: means, each part by its share."""

    def __init__(self, batch: int) -> None:
        """Starts without any, for a batch of so many pictures."""
        self._batch = batch
        self._values: dict[str, Tensor] = {}

    def add(self, rows: slice, **values: Tensor) -> None:
        """Adds scalars that were measured on these rows of the batch."""
        share = (rows.stop - rows.start) / self._batch
        for name, value in values.items():
            mine = value.detach().float() * share
            self._values[name] = self._values[name] + mine if name in self._values else mine

    def finite(self, pictures: int) -> dict[str, float]:
        """The figures, after so many pictures of the stage.

        Raises:
            FailedPreconditionError: One is no finite number (reason TRAINING_DIVERGED).
        """
        figures = {name: float(value) for name, value in self._values.items()}
        if not all(map(math.isfinite, figures.values())):
            raise FailedPreconditionError(
                f"the training diverged after {pictures} pictures of this stage: {figures}; go on from an "
                "earlier checkpoint with lower rates",
                reason="TRAINING_DIVERGED",
                pictures=pictures,
            )
        return figures


def mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """The mean over scales of the mean over places."""
    return torch.stack([x.detach().float().mean() for x in logits]).mean()


def check_batch(images: Tensor, labels: Tensor, spec: NetworkSpec, batch: int) -> None:
    """Checks what a step is given.

    Args:
        images: Wanted as uint8 `(batch, resolution, resolution, 3)`.
        labels: Wanted as integers `(batch,)`, classes of the network.
        spec: The network.
        batch: Pictures a step.

    Raises:
        InvalidArgumentError: Another type or shape (reason BAD_SHAPE), or a class that does not exist
            (CLASS_OUT_OF_RANGE).
    """
    wanted = (batch, spec.resolution, spec.resolution, 3)
    if tuple(images.shape) != wanted or images.dtype != torch.uint8 or labels.shape != (batch,):
        raise InvalidArgumentError(
            f"a step got images {images.dtype} {tuple(images.shape)} and labels {tuple(labels.shape)}; "
            f"it takes uint8 {wanted} and ({batch},)",
            reason="BAD_SHAPE",
            field="images",
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < spec.num_classes:
        raise InvalidArgumentError(
            f"labels run from {int(labels.min())} to {int(labels.max())}; the network has classes 0 to "
            f"{spec.num_classes - 1}",
            reason="CLASS_OUT_OF_RANGE",
            field="labels",
        )
