"""Which targets are worth the many images: those that stand out for a part, an aspect of it, or a logit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import QuantifySpec
from workers.analyses.columns import Columns
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.quantify.summary import Statistics, statistics
from workers.measures import MEASURES

Array = NDArray[np.float64]


def shortlist(context: Job, spec: QuantifySpec, linked: Linked) -> ChunkResult:
    """The first `spec.shortlist` targets, taken in turn from the rankings of all concepts."""
    columns = Columns.of(context.card("parts").classes)
    found = statistics(context, linked, "screen", columns)
    rankings = [*part_strengths(found, columns).T, *logit_strengths(found).T]
    chosen = in_turn(np.stack(rankings), spec.shortlist)
    return ChunkResult({"targets": found.targets[chosen]})


def part_strengths(found: Statistics, columns: Columns) -> Array:
    """(targets, concepts) how strongly and how selectively a target changes an aspect of a part.

    A concept is a part and an aspect, e.g. the colour of the hair; its strength is the largest product of
    effect, in standard deviations, and selectivity over the measures of the aspect.
    """
    strength = np.nan_to_num(np.abs(found.parts.standardised) * found.selectivity)
    aspects = np.array([item.aspect for item in MEASURES])[columns.measure]
    concepts = []
    for part in range(len(columns.parts)):
        for aspect in dict.fromkeys(aspects):
            members = (columns.part == part) & (aspects == aspect)
            concepts.append(strength[:, members].max(1))
    return np.stack(concepts, axis=1)


def logit_strengths(found: Statistics) -> Array:
    """(targets, classes) likewise for the logits."""
    return np.nan_to_num(np.abs(found.logits.standardised) * found.logit_selectivity)


def in_turn(rankings: Array, count: int) -> NDArray[np.int64]:
    """Targets from several rankings: the best of each, then the second of each, until there are enough.

    Args:
        rankings: (rankings, targets) strengths, at least 0; a target of strength 0 is not in a ranking.
        count: How many are wanted; all are given where there are fewer.

    Returns:
        int64 indices, each once. Targets that are in no ranking come last, in their order.
    """
    orders = np.argsort(-rankings, axis=1, kind="stable")
    chosen: dict[int, None] = {}
    for place in range(rankings.shape[1]):
        for ranking, order in zip(rankings, orders, strict=True):
            target = int(order[place])
            if ranking[target] > 0 and len(chosen) < count:
                chosen.setdefault(target)
        if len(chosen) >= count:
            break
    for target in range(rankings.shape[1]):
        if len(chosen) < count:
            chosen.setdefault(target)
    return np.array(list(chosen), np.int64)
