"""Mean shifts of pairs of classes, and what they do to images that they were not taken from.

A pair is the class that the classifier reads in a base image, and the class wanted. To each of its images the
mean shift of the *others* is applied, once and more than once, so that no image answers to its own shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.planning.counterfactual import MEAN_MULTIPLES
from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses.counterfactual.looking import BATCH, Base, Floats, models_of
from workers.analyses.counterfactual.search import Wanted
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.clients import render_and_read
from workers.counterfactual.result import REACHED, SEARCHED

ENOUGH = 2
"""Counterfactuals of a pair, without which there is no mean of others."""

Doubles = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass
class _Rows:
    """The searched rows of a pair, each list with one entry a row."""

    shifts: list[Floats] = field(default_factory=list)
    features: list[Floats] = field(default_factory=list)
    latents: list[Floats] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)


def mean_shifts(
    context: Job, spec: CounterfactualSpec, linked: Linked, params: dict[str, Any]
) -> ChunkResult:
    """The mean shifts of a share of all pairs, in the order of (origin, target), and what they flip.

    Args:
        context: The job; its stages ``base`` and ``search`` are complete.
        spec: Its spec.
        linked: Its linker.
        params: ``part``, the number of the share, ``of`` so many.

    Returns:
        ``origin``, ``target``, ``images``, ``reached`` int64 (pairs,), ``shift`` (pairs, units), ``alike``
        (pairs,), ``multiples`` (m,), and ``flips`` int64 (pairs, m). Pairs with fewer than `ENOUGH`
        counterfactuals are left out.

    Raises:
        UnitScopeError: A service refused or does not answer.
    """
    pairs = _gathered(context, spec, params)
    names = ("origin", "target", "images", "reached", "shift", "alike", "flips")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for (origin, target), rows in pairs.items():
        if sum(rows.reached) < ENOUGH:
            continue
        shifts = np.stack(rows.shifts).astype(np.float64)
        others = _means_of_others(shifts, np.array(rows.reached))
        flips = _flips(context, spec, linked, rows, others, target)
        shift = shifts[rows.reached].mean(0)
        alike = _cosines(shifts[rows.reached], others[rows.reached]).mean()
        found = (origin, target, len(shifts), sum(rows.reached), shift, alike, flips)
        for name, value in zip(names, found, strict=True):
            columns[name].append(value)
    units, count = linked.solution.weight.shape[1], len(columns["origin"])
    whole = {name: np.array(columns[name], np.int64) for name in names[:4]}
    return ChunkResult(
        {
            **whole,
            "shift": np.array(columns["shift"], np.float32).reshape(count, units),
            "alike": np.array(columns["alike"], np.float32),
            "multiples": np.array(MEAN_MULTIPLES, np.float64),
            "flips": np.array(columns["flips"], np.int64).reshape(count, len(MEAN_MULTIPLES)),
        }
    )


def _gathered(context: Job, spec: CounterfactualSpec, params: dict[str, Any]) -> dict[Pair, _Rows]:
    """The searched rows of the share's pairs; only chunks that have some are read."""
    there = _asked_for(context, spec)
    pairs = sorted({pair for found in there for pair in found if 0 <= pair[1] != pair[0]})
    bounds = [k * len(pairs) // params["of"] for k in (params["part"], params["part"] + 1)]
    mine = {pair: _Rows() for pair in pairs[bounds[0] : bounds[1]]}
    number = iter(there)
    wanted = context.result("search", lambda _: not mine.keys().isdisjoint(next(number)))
    for chunk_params, chunk in wanted:
        tensors = chunk.tensors
        base = Base.at(context, chunk_params["class"], chunk_params["first"], chunk_params["count"])
        searched = np.isin(tensors["outcome"], SEARCHED)
        for row in np.flatnonzero(searched).tolist():
            pair = int(tensors["origin"][row]), int(tensors["target"][row])
            if pair not in mine:
                continue
            image = int(tensors["image"][row]) - chunk_params["first"]
            mine[pair].shifts.append(tensors["shift"][row].copy())
            mine[pair].features.append(base.features[image])
            mine[pair].latents.append(base.latents[image])
            mine[pair].reached.append(bool(tensors["outcome"][row] == REACHED))
    return mine


def _asked_for(context: Job, spec: CounterfactualSpec) -> list[set[Pair]]:
    """The pairs of each chunk of searches, as the logits of the base images tell."""
    classes = context.card("classifier").classes
    logits: dict[int, list[Floats]] = {}
    for params, chunk in context.result("base"):
        logits.setdefault(params["class"], []).append(chunk.tensors["logits"])
    of_class = {index: np.concatenate(parts) for index, parts in logits.items()}

    def pairs() -> Iterator[set[Pair]]:
        for params in context.plan.stage("search").chunks:
            mine = of_class[params["class"]][params["first"] : params["first"] + params["count"]]
            rows = Wanted.of(spec, classes, mine, params["targets"])
            yield set(zip(rows.origins.tolist(), rows.targets.tolist(), strict=True))

    return list(pairs())


def _means_of_others(shifts: Doubles, reached: NDArray[np.bool_]) -> Doubles:
    """For each row the mean shift (rows, units) of the reached rows but itself."""
    total = np.where(reached[:, None], shifts, 0).sum(0)
    count = reached.sum() - reached
    means: Doubles = (total - np.where(reached[:, None], shifts, 0)) / count[:, None]
    return means


def _cosines(left: Doubles, right: Doubles) -> Doubles:
    """Cosines (rows,) of vectors (rows, units); 0 where one is 0."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines: Doubles = (left * right).sum(1) / np.maximum(lengths, 1e-30)
    return cosines


def _flips(
    context: Job, spec: CounterfactualSpec, linked: Linked, rows: _Rows, shifts: Doubles, target: int
) -> list[int]:
    """Images that are read as the target once a multiple of the shifts (rows, units) is applied."""
    models, features = models_of(context, linked), np.stack(rows.features).astype(np.float64)
    linker = models.linker
    residuals = np.zeros(len(rows.latents[0]))
    if spec.start == "own":
        residuals = (np.stack(rows.latents) - linker.latents(features))[:, None]
    moved = models.allowed(features[:, None] + np.array(MEAN_MULTIPLES)[:, None] * shifts[:, None])
    w = linker.latents(moved, residuals).astype(np.float32).reshape(-1, len(linker.bias))
    batches = [w[first : first + BATCH] for first in range(0, len(w), BATCH)]
    readings = render_and_read(context.generator, context.classifier, batches, context.beat)
    read = np.concatenate([reading.logits.argmax(1) for reading in readings])
    counts: list[int] = (read.reshape(-1, len(MEAN_MULTIPLES)) == target).sum(0).tolist()
    return counts
