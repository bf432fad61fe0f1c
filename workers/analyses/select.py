"""Which units to move, and over which range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError
from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import TraverseSpec, UnitSelection
from workers.analyses.job import Job
from workers.analyses.linked import Linked, Solution

HEAD_UNITS = 512
"""Units whose effect on the logits is asked for at once."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """The units of a job in the order of their ranks.

    Attributes:
        units: int64 (count,).
        low: float32 (count,) ends of the ranges.
        high: float32 (count,).
        score: float32 (count,) what they were ranked by; NaN where it is not known.
        mean: float32 (count,) over the fit's samples.
        std: float32 (count,).
        span: float32 (count,) length of the way in w between the ends.
    """

    units: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    score: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    span: NDArray[np.float32]

    def to_chunk(self) -> ChunkResult:
        """The selection as a chunk's result."""
        return ChunkResult(vars(self))

    @classmethod
    def of(cls, context: Job) -> Selection:
        """The selection of a job whose stage ``select`` is complete."""
        _, result = next(iter(context.result("select")))
        return cls(**result.tensors)


def select(context: Job, spec: TraverseSpec, linked: Linked) -> Selection:
    """Selects and ranks the units.

    Raises:
        FailedPreconditionError: A named unit never varies (reason DEAD_UNIT), fewer units vary than
            are asked for (TOO_FEW_LIVE_UNITS), or the layer has no head to rank by (LAYER_HAS_NO_HEAD).
    """
    solution = linked.solution
    low, high = solution.quantile(spec.low_quantile), solution.quantile(spec.high_quantile)
    if spec.units.indices:
        units = np.array(list(dict.fromkeys(spec.units.indices)), np.int64)
        _refuse_dead(spec, units, low, high)
        score = np.full(len(units), np.nan)
        if _has_head(context, linked):
            score = weight_score(context, spec.units, solution, units, low, high)
    else:
        units, score = _top(context, spec, linked, low, high)
    lengths = solution.lengths * (high - low)
    columns = (low, high, solution.mean, solution.std, lengths)
    low_, high_, mean, std, span = (column[units].astype(np.float32) for column in columns)
    return Selection(units, low_, high_, score.astype(np.float32), mean, std, span)


def weight_score(
    context: Job,
    selection: UnitSelection,
    solution: Solution,
    units: NDArray[np.int64],
    low: Array,
    high: Array,
) -> Array:
    """How much each unit's range is worth in logits, all other units at their means.

    ``|head(mean, unit at high) - head(mean, unit at low)|`` for the logit of `for_class`, or the largest
    over the classes.

    Args:
        context: The job.
        selection: Says `for_class`.
        solution: The linker's numbers.
        units: (count,) those to score.
        low: (all units,) ends of the ranges.
        high: (all units,).

    Returns:
        (count,), at least 0.
    """
    scores = []
    for start in range(0, len(units), HEAD_UNITS):
        part = units[start : start + HEAD_UNITS]
        rows = np.tile(solution.mean.astype(np.float32), (2 * len(part), 1))
        rows[np.arange(len(part)), part] = low[part]
        rows[len(part) + np.arange(len(part)), part] = high[part]
        logits = context.classifier.head(rows).astype(np.float64)
        effect = np.abs(logits[len(part) :] - logits[: len(part)])
        if selection.for_class:
            index = context.card("classifier").classes.index(selection.for_class)
            scores.append(effect[:, index])
        else:
            scores.append(effect.max(1))
        context.beat()
    return np.concatenate(scores)


def _top(
    context: Job, spec: TraverseSpec, linked: Linked, low: Array, high: Array
) -> tuple[NDArray[np.int64], Array]:
    """The first units by rank, of those that vary; equal scores in the order of the indices."""
    live = np.flatnonzero(high > low)
    if len(live) < spec.units.top:
        raise FailedPreconditionError(
            f"the top {spec.units.top} units are asked for, but only {len(live)} of {len(low)} vary "
            f"between their quantiles {spec.low_quantile:g} and {spec.high_quantile:g}; ask for fewer "
            "units or for a wider range",
            reason="TOO_FEW_LIVE_UNITS",
            live=len(live),
            top=spec.units.top,
        )
    if spec.units.by == "range":
        scores = (linked.solution.lengths * (high - low))[live]
    elif _has_head(context, linked):
        scores = weight_score(context, spec.units, linked.solution, live, low, high)
    else:
        raise FailedPreconditionError(
            f"the layer {_layer(linked)!r} has no head to rank units by; use by: range, or name units",
            reason="LAYER_HAS_NO_HEAD",
            layer=_layer(linked),
        )
    order = np.argsort(-scores, kind="stable")[: spec.units.top]
    return live[order], scores[order]


def _refuse_dead(spec: TraverseSpec, units: NDArray[np.int64], low: Array, high: Array) -> None:
    dead = [int(unit) for unit in units if not high[unit] > low[unit]]
    if dead:
        raise FailedPreconditionError(
            f"unit {dead[0]} does not vary between its quantiles {spec.low_quantile:g} and "
            f"{spec.high_quantile:g} over the fit's samples: it stays at {low[dead[0]]:g}, so there is no "
            "range to move it over; leave it out, or take a wider range",
            reason="DEAD_UNIT",
            unit=dead[0],
            units=dead[:20],
        )


def _has_head(context: Job, linked: Linked) -> bool:
    return context.card("classifier").layer(_layer(linked)).has_head


def _layer(linked: Linked) -> str:
    return str(linked.card.architecture["layer"])
