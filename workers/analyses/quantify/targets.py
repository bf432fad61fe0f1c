"""What is moved, and to which values: single units, or groups of units that move together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError
from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import Perturbation, QuantifySpec
from workers.analyses.job import Job
from workers.analyses.linked import Linked, Solution, nonnegative
from workers.analyses.quantify.base import Base

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """What a job moves.

    Attributes:
        numbers: int64 (targets,) the unit; -1 - index for a group of the spec.
        offsets: int64 (targets + 1,) where the members of each target begin in `members`.
        members: int64 (members,) units, target after target.
        low: float32 (targets,) the lowest value set, mean over base images and members.
        high: float32 (targets,) the highest value.
        mean: float32 (targets,) over the fit's samples, mean over members.
        std: float32 (targets,) likewise.
        span: float32 (targets,) length of the way in w between first and last step, mean over images.
    """

    numbers: Integers
    offsets: Integers
    members: Integers
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    span: NDArray[np.float32]

    def __len__(self) -> int:
        """How many targets."""
        return len(self.numbers)

    def of(self, target: int) -> Integers:
        """The units of one target."""
        return self.members[self.offsets[target] : self.offsets[target + 1]]

    def to_chunk(self) -> ChunkResult:
        """The targets as a chunk's result."""
        return ChunkResult(vars(self))

    @classmethod
    def load(cls, context: Job) -> Targets:
        """The targets of a job whose stage ``select`` is complete."""
        _, result = next(iter(context.result("select")))
        return cls(**result.tensors)


def select(context: Job, spec: QuantifySpec, linked: Linked) -> Targets:
    """The targets of a job, in the order of the spec or of their indices.

    Raises:
        FailedPreconditionError: A named unit, or a whole group, never varies (reason DEAD_UNIT), or no
            unit of the layer does (TOO_FEW_LIVE_UNITS).
    """
    solution = linked.solution
    live = _live(solution, spec.perturbation)
    units = np.array(list(dict.fromkeys(spec.units)), np.int64)
    for unit in units[~live[units]] if len(units) else ():
        raise _dead(f"unit {unit} does", int(unit))
    for group in spec.groups:
        if not live[list(group.units)].any():
            raise _dead(f"no unit of the group {group.name!r} does", group.units[0])
    if not len(units) and not spec.groups:
        units = np.flatnonzero(live)
        if not len(units):
            raise FailedPreconditionError(
                "no unit of the layer varies over the fit's samples; link with more pairs or another layer",
                reason="TOO_FEW_LIVE_UNITS",
            )
    members = [np.array([unit]) for unit in units]
    members += [np.unique(np.array(group.units, np.int64)) for group in spec.groups]
    numbers = np.concatenate([units, -1 - np.arange(len(spec.groups))])
    features = Base.of(context).features
    floor = nonnegative(context, linked)
    columns = [_ends(solution, spec, features, unit, floor) for unit in members]
    low, high, span = (np.array(column, np.float32) for column in zip(*columns, strict=True))
    return Targets(
        numbers=numbers.astype(np.int64),
        offsets=np.cumsum([0, *map(len, members)]).astype(np.int64),
        members=np.concatenate(members),
        low=low,
        high=high,
        mean=np.array([solution.mean[unit].mean() for unit in members], np.float32),
        std=np.array([solution.std[unit].mean() for unit in members], np.float32),
        span=span,
    )


def commanded(
    solution: Solution,
    perturbation: Perturbation,
    steps: int,
    features: NDArray[np.float32],
    units: Integers,
    floor: bool,
) -> Array:
    """What the units are set to, (images, steps, units).

    Args:
        solution: The linker's numbers: range, quantiles and standard deviations of the units.
        perturbation: The way.
        steps: How many, at least 2.
        features: (images, all units) of the base images.
        units: (units,) those that are moved.
        floor: Whether nothing may be set below 0, because the layer's features never are.
    """
    images = len(features)
    if perturbation.by == "deviations":
        multiples = np.linspace(-perturbation.deviations, perturbation.deviations, steps)
        own = features[:, None, units].astype(np.float64)
        values = own + multiples[:, None] * solution.std[units]
        return np.maximum(values, 0) if floor else values
    if perturbation.by == "quantiles":
        levels = np.linspace(perturbation.low_quantile, perturbation.high_quantile, steps)
        path = np.stack([solution.quantile(level)[units] for level in levels])
    else:
        path = np.linspace(solution.quantile(0.0)[units], solution.quantile(1.0)[units], steps)
    return np.broadcast_to(path, (images, *path.shape))


def path(
    solution: Solution,
    values: Array,
    features: NDArray[np.float32],
    start: NDArray[np.float32],
    units: Integers,
) -> Array:
    """The w of every step, (images, steps, w_dim): ``start + A (r' - r)``.

    Only the moved units differ between r and r', so that no matrix product with all of A is needed.

    Args:
        solution: The linker's numbers.
        values: (images, steps, units) what the units are set to.
        features: (images, all units) of the base images: r.
        start: (images, w_dim).
        units: (units,) those that are moved.
    """
    moved = values - features[:, None, units]
    w: Array = start[:, None] + moved @ solution.weight[:, units].T
    return w


def _ends(
    solution: Solution, spec: QuantifySpec, features: NDArray[np.float32], units: Integers, floor: bool
) -> tuple[float, float, float]:
    values = commanded(solution, spec.perturbation, spec.steps, features, units, floor)
    way = (values[:, -1] - values[:, 0]) @ solution.weight[:, units].T
    return (
        float(values[:, 0].mean()),
        float(values[:, -1].mean()),
        float(np.linalg.norm(way, axis=1).mean()),
    )


def _live(solution: Solution, perturbation: Perturbation) -> NDArray[np.bool_]:
    """Which units vary: (units,)."""
    if perturbation.by == "deviations":
        return solution.std > 0
    ends = (0.0, 1.0)
    if perturbation.by == "quantiles":
        ends = (perturbation.low_quantile, perturbation.high_quantile)
    live: NDArray[np.bool_] = solution.quantile(ends[1]) > solution.quantile(ends[0])
    return live


def _dead(subject: str, unit: int) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{subject} not vary over the fit's samples within the perturbation asked for, so there is nothing "
        "to set it to; leave it out, or take a wider perturbation",
        reason="DEAD_UNIT",
        unit=unit,
    )
