"""``descent``: the published search, for comparison.

Source: "Linking in Style" (arXiv 2409.16865), counterfactuals. A shift s of the features r, drawn from
U[0, 1), follows the gradient of ``-z_target + 0.6 z_origin - 10 cos(A r + b, A r' + b)`` with r' = r - s,
at rate 0.5, for at most 2000 steps, until the classifier reads the *image* of relu(r') as the target. The
numbers of U[0, 1) are NumPy's, not torch's; every row starts with the same, as every run does there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.counterfactual.models import Doubles, Linker, Look, Models, Rows
from workers.counterfactual.result import Counterfactual, Outcome
from workers.counterfactual.search import Search

RUNAWAY = 1e6
"""A row whose features reach this is given up."""


@dataclass(frozen=True)
class DescentSettings:
    """The published numbers.

    Attributes:
        rate: Of the gradient descent.
        max_steps: After which a row is given up.
        origin_weight: Of the origin's logit in the loss.
        similarity_weight: Of the cosine of old and new w.
        check_every: Steps between looks at the image; 1 as published.
        seed: Of the first shift.
    """

    rate: float = 0.5
    max_steps: int = 2_000
    origin_weight: float = 0.6
    similarity_weight: float = 10.0
    check_every: int = 1
    seed: int = 0


def descent(
    models: Models,
    features: NDArray[np.floating],
    origins: NDArray[np.integer],
    targets: NDArray[np.integer],
    std: NDArray[np.floating],
    settings: DescentSettings | None = None,
    *,
    latents: NDArray[np.floating] | None = None,
    top: int = 10,
    frames: int = 0,
) -> list[Counterfactual]:
    """Searches all rows side by side: one call of each model a step for all that still run.

    Args:
        models: Classifier, generator and linker.
        features: (rows, units), read in the starting images.
        origins: (rows,) classes of the starting images.
        targets: (rows,) classes wanted.
        std: (units,) standard deviation of each unit, for the carriers.
        settings: None for the published ones.
        latents: (rows, w_dim) of the starting images, w0: the picture of shifted features r' is that of
            ``w0 + A (r' - r)``. None for ``A r' + b``, as published.
        top: How many carriers.
        frames: Pictures of each film strip; 0 for none.

    Returns:
        One result a row, in their order, whatever became of it.

    Raises:
        InvalidArgumentError: The arrays do not fit each other.
        UnitScopeError: What a service raised.
    """
    settings = settings or DescentSettings()
    search = Search.begin(models, "descent", features, origins, targets, latents)
    if len(search.running):
        search.started(search.running, search.look(search.running, search.features[search.running]))
    start = np.random.default_rng(settings.seed).random(search.features.shape[1])
    shifted = search.features - start
    for step in range(1, settings.max_steps + 1):
        rows = search.running
        if not len(rows):
            break
        shifted[rows] -= settings.rate * _gradient(search, settings, rows, shifted[rows])
        search.steps[rows] = step
        # One row that runs away must not spoil the call of all.
        lost = ~(np.abs(shifted[rows]).max(1) < RUNAWAY)
        search.end(rows[lost], Outcome.NOT_CROSSED)
        rows = rows[~lost]
        if not len(rows):
            break
        if step % settings.check_every == 0 or step == settings.max_steps:
            look = search.look(rows, shifted[rows])
            there = look.logits.argmax(1) == search.targets[rows]
            found = Look(look.images[there], look.logits[there])
            search.reach(rows[there], shifted[rows[there]], found)
    return search.results(std, top, frames)


def _gradient(search: Search, settings: DescentSettings, rows: Rows, shifted: Doubles) -> Doubles:
    """The derivative (rows, units) of the loss by r'; that by s is its negative, and s moves against it."""
    cotangent = np.zeros((len(rows), search.classes))
    numbers = np.arange(len(rows))
    cotangent[numbers, search.targets[rows]] = -1
    cotangent[numbers, search.origins[rows]] = settings.origin_weight
    gradient = search.models.head_gradient(shifted, cotangent)[1]
    similar = cosine_gradient(search.models.linker, search.features[rows], shifted, search.residuals[rows])
    return gradient - settings.similarity_weight * similar


def cosine_gradient(
    linker: Linker, features: Doubles, shifted: Doubles, residuals: Doubles | None = None
) -> Doubles:
    """The derivative (rows, units) by r' of ``cos(A r + b, A r' + b)``; 0 where one of them is 0.

    Args:
        linker: The map, to which residuals (rows, w_dim) are added in both places; None for none.
        features: (rows, units), r.
        shifted: (rows, units), r'.
        residuals: See above.
    """
    old, new = linker.latents(features, residuals), linker.latents(shifted, residuals)
    lengths = np.linalg.norm(old, axis=1), np.linalg.norm(new, axis=1)
    scale = np.maximum(lengths[0] * lengths[1], 1e-30)[:, None]
    cosine = (old * new).sum(1, keepdims=True) / scale
    by_latent = old / scale - cosine * new / np.maximum(lengths[1] ** 2, 1e-30)[:, None]
    by_features: Doubles = by_latent @ linker.weight
    return by_features
