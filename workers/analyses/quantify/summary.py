"""From the chunks of moves to the statistics of every target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from workers.analyses import trust
from workers.analyses.columns import Columns
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.quantify.base import Base
from workers.measures import MEASURES
from workers.statistics import Summary, certain, differences, selectivity, shares_by_part, summarise

Array = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]
_MOVED = ("measures", "logits", "reencoded", "focus", "distance", "change", "commanded")


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
        """(targets, columns): shares of the sum of effects on parts, as far as they are certain.

        The whole picture repeats what its parts do, and has no share.
        """
        sizes = certain(self.parts)
        sizes[:, -len(MEASURES) :] = 0.0
        return selectivity(sizes)

    @property
    def logit_selectivity(self) -> Array:
        """(targets, classes): shares of the sum of effects on logits, as far as they are certain."""
        return selectivity(certain(self.logits))


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
    scale, logit_scale = columns.scale(base.measures), base.logits.astype(np.float64).std(0, ddof=1)
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
