"""From the chunks of moves to the statistics of every target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from workers.analyses import trust
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.quantify.base import Base
from workers.measures import MEASURES
from workers.statistics import Summary, differences, selectivity, shares_by_part, summarise

PICTURE, LOGIT = "picture", "logit"
"""Names that stand for the whole picture and for the logits where a part is named."""

Array = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]
_MOVED = ("measures", "logits", "reencoded", "focus", "distance", "change", "commanded")


@dataclass(frozen=True)
class Columns:
    """The columns of effects: every measure of every part.

    Attributes:
        parts: Names of the parts, the whole picture last.
        part: int64 (columns,) index into `parts`.
        measure: int64 (columns,) index into `MEASURES`.
        periods: (columns,) of circular measures, else 0.
        signed: (columns,) whether the measure can go either way.
    """

    parts: tuple[str, ...]
    part: NDArray[np.int64]
    measure: NDArray[np.int64]
    periods: Array
    signed: NDArray[np.bool_]

    @classmethod
    def of(cls, parts: tuple[str, ...]) -> Columns:
        """The columns for a parts model."""
        names = (*parts, PICTURE)
        return cls(
            names,
            np.repeat(np.arange(len(names)), len(MEASURES)),
            np.tile(np.arange(len(MEASURES)), len(names)),
            np.tile([float(item.period) for item in MEASURES], len(names)),
            np.tile([item.signed for item in MEASURES], len(names)),
        )

    def __len__(self) -> int:
        """How many columns."""
        return len(self.part)


@dataclass(frozen=True)
class Behaviour:
    """How targets did apart from parts, (targets,) each; logits (targets, classes)."""

    logits: Array
    flips: Array
    change: Array
    follow: Array
    focus: Array
    plausible: Array
    trust: Array


@dataclass(frozen=True)
class Statistics:
    """What is known of some targets after one stage.

    Attributes:
        targets: int64 (targets,).
        parts: Summary of the effects on parts, (targets, columns).
        logits: Summary of the effects on logits, (targets, classes).
        behaviour: The rest.
    """

    targets: NDArray[np.int64]
    parts: Summary
    logits: Summary
    behaviour: Behaviour

    @property
    def selectivity(self) -> Array:
        """(targets, columns): shares of the sum of standardised effects on parts.

        The whole picture repeats what its parts do, and has no share.
        """
        standardised = np.array(self.parts.standardised)
        standardised[:, -len(MEASURES) :] = np.nan
        return selectivity(standardised)


def blocks(context: Job, stage: str) -> Iterator[tuple[NDArray[np.int64], Tensors]]:
    """The targets of a stage, block by block, with the tensors of all their images joined."""
    pending: list[ChunkResult] = []
    planned = context.plan.stage(stage).chunks
    for index, (params, chunk) in enumerate(context.result(stage)):
        pending.append(chunk)
        last = index + 1 == len(planned) or planned[index + 1]["first"] != params["first"]
        if last:
            if not pending[0].record.get("empty"):
                joined = {
                    name: np.concatenate([part.tensors[name] for part in pending], axis=1) for name in _MOVED
                }
                yield pending[0].tensors["targets"], joined
            pending = []


def statistics(context: Job, linked: Linked, stage: str, columns: Columns) -> Statistics:
    """The statistics of all targets of a finished stage.

    Blocks are read one after the other: memory holds one block and the statistics.
    """
    base = Base.of(context)
    scale, logit_scale = base.scale(), base.logits.astype(np.float64).std(0, ddof=1)
    found: list[Statistics] = []
    for targets, tensors in blocks(context, stage):
        effects = part_effects(tensors, columns)
        moved = tensors["logits"].astype(np.float64)
        directed = np.ones(moved.shape[-1], bool)
        found.append(
            Statistics(
                targets,
                summarise(effects, scale, signed=columns.signed),
                summarise(moved[:, :, -1] - moved[:, :, 0], logit_scale, signed=directed),
                behaviour(tensors, linked.solution.distance_limit),
            )
        )
        context.beat()
    return Statistics(
        np.concatenate([item.targets for item in found]),
        _joined([item.parts for item in found]),
        _joined([item.logits for item in found]),
        _joined([item.behaviour for item in found]),
    )


def part_effects(tensors: Tensors, columns: Columns) -> Array:
    """Effects (targets, images, columns) of measures (targets, images, steps, parts + 1, measures)."""
    values = tensors["measures"].astype(np.float64)
    return differences(values.reshape(*values.shape[:3], -1), columns.periods)


def behaviour(tensors: Tensors, distance_limit: float) -> Behaviour:
    """What is known of targets beside parts; means over images."""
    logits = tensors["logits"].astype(np.float64)
    predicted = logits.argmax(-1)
    follow = trust.follow(tensors["commanded"], tensors["reencoded"]).mean(1)
    focus = tensors["focus"][..., -1].astype(np.float64).mean(1)
    plausible = trust.plausible(tensors["distance"], distance_limit).mean(1)
    return Behaviour(
        logits=(logits[:, :, -1] - logits[:, :, 0]).mean(1),
        flips=(predicted != predicted[..., :1]).any(-1).mean(1),
        change=tensors["change"][..., -1].astype(np.float64).mean(1),
        follow=follow,
        focus=focus,
        plausible=plausible,
        trust=trust.trust(follow, focus, plausible),
    )


def part_shares(statistics: Statistics, columns: Columns) -> Array:
    """(targets, parts) the share of each part in the standardised effects of a target."""
    return shares_by_part(statistics.selectivity, columns.part)


def _joined(parts: list[Any]) -> Any:
    """Dataclasses of arrays, joined along the targets."""
    names = vars(parts[0])
    return type(parts[0])(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in names})
