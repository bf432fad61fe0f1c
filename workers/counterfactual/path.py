"""``path``: the smallest shift to the boundary of the head, the image's crossing beyond it, and refinement.

1. `boundary`: the smallest shift of the features, in a chosen norm, that takes the head to the target; and
   where plausibility counts, the cheapest with it, which gives the ray.
2. `crossing`: how many times that shift the image needs; where none is enough, a second direction.
3. `refine`: rows that crossed nowhere, and smaller shifts, by gradients through the picture, where generator
   and classifier serve them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError, NotFoundError
from workers.counterfactual.boundary import Boundary, Size, head_boundary
from workers.counterfactual.crossing import CrossingSettings, cross
from workers.counterfactual.models import NO_GRADIENT, Doubles, Models, Rows, margins
from workers.counterfactual.refine import pursue, refine
from workers.counterfactual.result import Counterfactual, Outcome
from workers.counterfactual.search import Search

_MORE = 10.0
"""How much more plausibility counts each time that fewer units would not do."""


@dataclass(frozen=True)
class PathSettings:
    """How ``path`` searches.

    Attributes:
        size: What is minimised. Plausibility makes more images cross, and changes less of them: a shift as
            no image has it changes the generator's picture little, and many things in it at once.
        crossing: Limits of the search on images.
        boundary_steps: The most steps to the boundary of the head.
        pursuits: The most rounds of gradients through the picture for rows that cross on no ray; 0 for none.
        refinements: The most rounds of refinement; 0 for none.
        second_try: Whether rows whose first ray does not cross get another one.
        denser_tries: Further tries of ``l1`` with plausibility, for rows that few units take nowhere.
    """

    size: Size = field(default_factory=lambda: Size(plausibility=1.0))
    crossing: CrossingSettings = field(default_factory=CrossingSettings)
    boundary_steps: int = 50
    pursuits: int = 4
    refinements: int = 1
    second_try: bool = True
    denser_tries: int = 3


def path(
    models: Models,
    features: NDArray[np.floating],
    origins: NDArray[np.integer],
    targets: NDArray[np.integer],
    std: NDArray[np.floating],
    settings: PathSettings | None = None,
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
        settings: None for L2 with plausibility.
        latents: (rows, w_dim) of the starting images, w0: the picture of shifted features r' is that of
            ``w0 + A (r' - r)``. None for ``A r' + b``, as published.
        top: How many carriers.
        frames: Pictures of each film strip; 0 for none.

    Returns:
        One result a row, in their order, whatever became of it. Where gradients through the picture are not
        served, rows are not refined, and say so.

    Raises:
        InvalidArgumentError: The arrays do not fit each other.
        FailedPreconditionError: No gradient goes through the classifier's head
            (GRADIENT_NOT_AVAILABLE); `workers.counterfactual.heads.probed` makes one of calls.
        UnitScopeError: What a service raised.
    """
    settings = settings or PathSettings()
    search = Search.begin(models, "path", features, origins, targets, latents)
    if len(search.running):
        _cross_at_boundary(search, settings)
        if settings.second_try:
            _cross_with_lead(search, settings)
        if settings.size.norm == "l1" and settings.size.plausibility > 0:
            _cross_less_sparse(search, settings)
        try:
            pursue(search, _rows(search, Outcome.NOT_CROSSED), settings.size, settings.pursuits)
            refine(search, _rows(search, Outcome.REACHED), settings.size, settings.refinements)
        except (FailedPreconditionError, NotFoundError) as error:
            if error.reason not in NO_GRADIENT:
                raise
            for k in (*_rows(search, Outcome.NOT_CROSSED), *_rows(search, Outcome.REACHED)):
                search.rows[k] = replace(search.rows[k], gradients=False)
    return search.results(std, top, frames)


def _rows(search: Search, outcome: Outcome) -> Rows:
    return np.array([k for k, row in enumerate(search.rows) if row.outcome is outcome], np.int64)


def _boundary(search: Search, rows: Rows, settings: PathSettings, lead: Doubles | None = None) -> Boundary:
    found = head_boundary(
        search.models,
        search.features[rows],
        search.origins[rows],
        search.targets[rows],
        search.classes,
        settings.size,
        settings.boundary_steps,
        lead,
        search.weight[rows],
    )
    search.steps[rows] += found.steps
    return found


def _cross_at_boundary(search: Search, settings: PathSettings) -> None:
    """The ray through the nearest point where the head gives the target."""
    rows = search.running
    found = _boundary(search, rows, settings)
    for k, row in enumerate(rows):
        if found.reached[k]:
            distance = float(np.linalg.norm(found.shifts[k]))
            search.rows[row] = replace(search.rows[row], head_distance=distance)
    search.end(rows[found.unreachable], Outcome.UNREACHABLE)
    rows, shifts = rows[~found.unreachable], found.shifts[~found.unreachable]
    if not len(rows):
        return
    if settings.size.plausibility > 0:
        search.weight[rows] = settings.size.weight(search.models, shifts)
        likely = _boundary(search, rows, settings)
        shifts = np.where(likely.unreachable[:, None], shifts, likely.shifts)
    cross(search, rows, shifts, settings.crossing)


def _cross_with_lead(search: Search, settings: PathSettings) -> None:
    """Another ray for rows that did not cross: where the target leads all classes, not only the origin.

    Beyond the boundary the first ray may run into a third class, which was not in the way until there.
    """
    rows = _rows(search, Outcome.NOT_CROSSED)
    if not len(rows):
        return
    lead = -margins(search.models.head(search.features[rows]), search.targets[rows])
    found = _boundary(search, rows, settings, lead)
    rows, shifts = rows[~found.unreachable], found.shifts[~found.unreachable]
    search.over[rows] = False
    if len(rows):
        cross(search, rows, shifts, settings.crossing, again=True)


def _cross_less_sparse(search: Search, settings: PathSettings) -> None:
    """Further rays for rows that few units take nowhere: plausibility counts more, so that more units move.

    A shift of few units is as no image has it, and the picture need not answer to it.
    """
    for _ in range(settings.denser_tries):
        rows = _rows(search, Outcome.NOT_CROSSED)
        if not len(rows):
            return
        search.weight[rows] *= _MORE
        found = _boundary(search, rows, settings)
        rows, shifts = rows[~found.unreachable], found.shifts[~found.unreachable]
        search.over[rows] = False
        if len(rows):
            cross(search, rows, shifts, settings.crossing, again=True)
