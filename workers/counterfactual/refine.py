"""Makes counterfactuals smaller, and finds some that no ray does, by gradients through the picture.

A crossing lies on a ray whose direction is right for the head. What the image answers to differs, since
linker and generator stand between. So the margins that are read in the image are replaced by their tangents,
whose gradients come from classifier, generator and linker in turn, and the smallest shift that satisfies them
is tried, with some on the way to it and a little before and beyond it. A round costs two calls of the
generator, one of the gradients and one of the images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.counterfactual.boundary import Size
from workers.counterfactual.models import Doubles, Images, Look, Rows, margins
from workers.counterfactual.search import Search

_RIVALS = 2
"""Classes whose boundaries are replaced by tangents at a time: those that are nearest to the target."""
_BEYOND = (0.85, 1.0, 1.15, 1.4)
"""Multiples of the tangents' shift that are tried."""
_TOWARDS = (0.25, 0.5, 0.75)
"""Shares of the way from the present shift to the tangents' that are tried."""
_WORTH = 0.999
"""A shift must become cheaper than this share of what it was."""


def refine(search: Search, rows: Rows, size: Size, rounds: int) -> None:
    """Makes the shifts of reached rows cheaper; none becomes dearer, nor its picture more different.

    Gradients through a classifier also find what only fools it, such as a background that drifts. A cheaper
    shift is taken only where the picture differs from the start by no more than before.

    Args:
        search: Holds the rows and takes the better ones.
        rows: Reached rows.
        size: What is minimised.
        rounds: At most so many; a row that gains nothing is done.

    Raises:
        UnitScopeError: What a service raised, also that gradients are not served (reasons
            GRADIENT_NOT_AVAILABLE, GRADIENT_NOT_SERVED): rows stay as they were.
    """
    for _ in range(rounds):
        if not len(rows):
            return
        shifts = np.stack([search.rows[k].shift for k in rows])
        rows, shifts, proposals = _proposals(search, rows, shifts, _looks(search, rows), size)
        if not len(rows):
            return
        moved, look = _attempts(search, rows, shifts, proposals)
        costs = _costs(search, rows, moved, look, size)
        changed = _changes(search, rows, _looks(search, rows).images[:, None])
        costs[_changes(search, rows, look.images) > changed] = np.inf
        cheapest: Doubles = np.asarray(costs.min(1))
        now = size.cost(search.models, shifts, search.weight[rows])
        rows = _keep(search, rows, moved, look, costs, cheapest < _WORTH * now)


def pursue(search: Search, rows: Rows, size: Size, rounds: int) -> None:
    """Follows the tangents from the start, for rows that crossed on no ray.

    Args:
        search: Takes those that are reached; the others stay ``not_crossed``.
        rows: Which rows; their starts were looked at.
        size: What is minimised.
        rounds: At most so many; a row that comes no nearer to the target is done.

    Raises:
        UnitScopeError: As `refine`.
    """
    shifts = np.zeros((len(rows), search.features.shape[1]))
    look = _looks(search, rows, starts=True) if len(rows) else None
    for _ in range(rounds):
        if not len(rows) or look is None:
            return
        before = dict(zip(rows.tolist(), margins(look.logits, search.targets[rows]), strict=True))
        rows, shifts, proposals = _proposals(search, rows, shifts, look, size)
        if not len(rows):
            return
        moved, seen = _attempts(search, rows, shifts, proposals)
        costs = _costs(search, rows, moved, seen, size)
        found = np.isfinite(np.asarray(costs.min(1)))
        _keep(search, rows, moved, seen, costs, found)
        count = moved.shape[1]
        ahead = margins(
            seen.logits.reshape(len(rows) * count, -1), np.repeat(search.targets[rows], count)
        ).reshape(len(rows), count)
        nearer = ahead.max(1) > np.array([before[int(k)] for k in rows])
        going = np.flatnonzero(~found & nearer)
        best = ahead[going].argmax(1)
        rows = rows[going]
        shifts = moved[going, best] - search.features[rows]
        look = Look(seen.images[going, best], seen.logits[going, best])


def _looks(search: Search, rows: Rows, starts: bool = False) -> Look:
    """What rows look like at their starts, or as counterfactuals."""
    images: list[Images] = []
    logits = []
    for row in (search.rows[k] for k in rows):
        image, read = (row.start_image, row.start_logits) if starts else (row.image, row.logits)
        if image is None or read is None:
            raise ValueError(f"a row that is {row.outcome} was not looked at")
        images.append(image)
        logits.append(read)
    return Look(np.stack(images), np.stack(logits))


def _proposals(
    search: Search, rows: Rows, shifts: Doubles, look: Look, size: Size
) -> tuple[Rows, Doubles, Doubles]:
    """For each row the smallest shift by the tangents at the present one.

    Returns:
        The rows that have one, their present shifts, and the proposed ones.
    """
    targets, count = search.targets[rows], min(_RIVALS, search.classes - 1)
    ahead = look.logits.astype(np.float64)
    numbers = np.arange(len(rows))
    lead = ahead[numbers, targets, None] - ahead
    lead[numbers, targets] = np.inf
    nearest = np.argsort(lead, axis=1, kind="stable")[:, :count]
    cotangent = np.zeros((len(rows), count, search.classes))
    cotangent[numbers[:, None], np.arange(count), nearest] = -1
    cotangent[numbers, :, targets] += 1
    gradients = search.models.image_gradient(
        np.repeat(search.models.allowed(search.features[rows] + shifts), count, axis=0),
        np.repeat(look.images, count, axis=0),
        cotangent.reshape(-1, search.classes),
        np.repeat(search.residuals[rows], count, axis=0),
    ).reshape(len(rows), count, -1)
    search.calls[rows] += 1
    # margin + gradient @ (d - shift) >= 0
    offsets = (gradients * shifts[:, None]).sum(2) - np.take_along_axis(lead, nearest, axis=1)
    found = [
        size.smallest(
            search.models, search.features[row], gradients[k], offsets[k], float(search.weight[row])
        )
        for k, row in enumerate(rows)
    ]
    kept = [k for k, shift in enumerate(found) if shift is not None]
    proposals = np.array([shift for shift in found if shift is not None])
    proposals = proposals.reshape(len(kept), shifts.shape[1])
    return rows[kept], shifts[kept], proposals


def _attempts(search: Search, rows: Rows, shifts: Doubles, proposals: Doubles) -> tuple[Doubles, Look]:
    """Features (rows, attempts, units) around what was proposed, as rendered, and what they look like."""
    ways = [factor * proposals for factor in _BEYOND]
    ways += [shifts + share * (proposals - shifts) for share in _TOWARDS]
    moved = search.models.allowed(search.features[rows][:, None] + np.stack(ways, axis=1))
    return moved, search.look(rows, moved)


def _costs(search: Search, rows: Rows, moved: Doubles, look: Look, size: Size) -> Doubles:
    """Costs (rows, attempts) of the shifts; infinite where the image is not read as the target."""
    there = look.logits.argmax(2) == search.targets[rows, None]
    cost = size.cost(search.models, moved - search.features[rows][:, None], search.weight[rows])
    costs: Doubles = np.where(there, cost, np.inf)
    return costs


def _changes(search: Search, rows: Rows, images: Images) -> Doubles:
    """Mean absolute differences (rows, ...) to the starts of images (rows, ..., height, width, 3), 0..255."""
    starts = _looks(search, rows, starts=True).images.astype(np.float32)
    between = (len(starts),) + (1,) * (images.ndim - starts.ndim)
    difference = np.abs(images - starts.reshape(*between, *starts.shape[1:]))
    changes: Doubles = difference.mean((-3, -2, -1), dtype=np.float64)
    return changes


def _keep(
    search: Search,
    rows: Rows,
    moved: Doubles,
    look: Look,
    costs: Doubles,
    wanted: NDArray[np.bool_],
) -> Rows:
    """Takes the cheapest attempt of each wanted row, and returns these rows."""
    gained = np.flatnonzero(wanted)
    if len(gained):
        picked = (gained, costs[gained].argmin(1))
        better = Look(look.images[picked], look.logits[picked])
        search.reach(rows[gained], moved[picked], better)
        for k in rows[gained]:
            search.rows[k] = replace(search.rows[k], refined=True)
    return rows[gained]
