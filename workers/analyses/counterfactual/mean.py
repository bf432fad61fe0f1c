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
from workers.analyses.counterfactual.looking import BATCH, Bases, Floats, models_of
from workers.analyses.counterfactual.search import Wanted
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.clients import render_and_read
from workers.clients.batches import spans
from workers.counterfactual.result import REACHED, SEARCHED
from workers.statistics import spaced

ENOUGH = 2
"""Counterfactuals of a pair, without which there is no mean of others."""
MAX_IMAGES = 1_000
"""Images of a pair, evenly spaced, to which mean shifts are applied; the means are of all."""
_BLOCK = 256
"""Shifts that are compared with the mean of the others at a time."""

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Pair = tuple[int, int]


@dataclass
class _Rows:
    """The searched rows of a pair, each list with one entry a row."""

    shifts: list[Floats] = field(default_factory=list)
    features: list[Floats] = field(default_factory=list)
    latents: list[Floats] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Shifts:
    """The shifts of a pair's rows, and what their mean is without one of them.

    Attributes:
        rows: The rows.
        total: (units,), the sum over those that were reached.
    """

    rows: _Rows
    total: Doubles

    @classmethod
    def of(cls, rows: _Rows) -> _Shifts:
        """Those of rows of which at least `ENOUGH` were reached."""
        total = np.zeros(len(rows.shifts[0]))
        for shift, reached in zip(rows.shifts, rows.reached, strict=True):
            if reached:
                total += shift
        return cls(rows, total)

    @property
    def mean(self) -> Doubles:
        """(units,)."""
        mean: Doubles = self.total / sum(self.rows.reached)
        return mean

    def others(self, places: Integers) -> Doubles:
        """For each of some rows the mean shift (places, units) of the reached rows but itself."""
        reached = np.array([self.rows.reached[k] for k in places])
        own = np.stack([self.rows.shifts[k] for k in places]).astype(np.float64)
        left = self.total - np.where(reached[:, None], own, 0)
        means: Doubles = left / (sum(self.rows.reached) - reached)[:, None]
        return means

    def alike(self) -> float:
        """The mean cosine of each shift with the mean of the others."""
        found, places = [], np.flatnonzero(self.rows.reached)
        for part in spans(len(places), 1, _BLOCK):
            own = np.stack([self.rows.shifts[k] for k in places[part]]).astype(np.float64)
            found.append(_cosines(own, self.others(places[part])))
        return float(np.concatenate(found).mean())


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
        ``origin``, ``target``, ``images`` (to which mean shifts were applied), ``reached`` int64 (pairs,),
        ``shift`` (pairs, units), ``alike`` (pairs,), ``multiples`` (m,), and ``flips`` int64 (pairs, m).
        Pairs with fewer than `ENOUGH` counterfactuals are left out.

    Raises:
        UnitScopeError: A service refused or does not answer.
    """
    pairs = _gathered(context, spec, params)
    names = ("origin", "target", "images", "reached", "shift", "alike", "flips")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for (origin, target), rows in pairs.items():
        if sum(rows.reached) < ENOUGH:
            continue
        shifts = _Shifts.of(rows)
        tried = spaced(len(rows.shifts), MAX_IMAGES)
        flips = _flips(context, spec, linked, rows, shifts, tried, target)
        found = (origin, target, len(tried), sum(rows.reached), shifts.mean, shifts.alike(), flips)
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
    wanted = context.result("search", lambda number, _: not mine.keys().isdisjoint(there[number]))
    bases = Bases(context)
    for chunk_params, chunk in wanted:
        context.beat()
        tensors = chunk.tensors
        base = bases.at(chunk_params["class"], chunk_params["first"], chunk_params["count"])
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
        context.beat()
        logits.setdefault(params["class"], []).append(chunk.tensors["logits"])
    of_class = {index: np.concatenate(parts) for index, parts in logits.items()}

    def pairs() -> Iterator[set[Pair]]:
        for params in context.plan.stage("search").chunks:
            mine = of_class[params["class"]][params["first"] : params["first"] + params["count"]]
            rows = Wanted.of(spec, classes, mine, params["targets"])
            yield set(zip(rows.origins.tolist(), rows.targets.tolist(), strict=True))

    return list(pairs())


def _cosines(left: Doubles, right: Doubles) -> Doubles:
    """Cosines (rows,) of vectors (rows, units); 0 where one is 0."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines: Doubles = (left * right).sum(1) / np.maximum(lengths, 1e-30)
    return cosines


def _flips(
    context: Job,
    spec: CounterfactualSpec,
    linked: Linked,
    rows: _Rows,
    shifts: _Shifts,
    tried: Integers,
    target: int,
) -> list[int]:
    """How many of some rows' images are read as the target once a multiple of the others' mean is applied."""
    models = models_of(context, linked)
    times = np.array(MEAN_MULTIPLES)

    def moved(places: Integers) -> Floats:
        features = np.stack([rows.features[k] for k in places]).astype(np.float64)
        residuals = np.zeros(len(rows.latents[0]))
        if spec.start == "own":
            latents = np.stack([rows.latents[k] for k in places])
            residuals = (latents - models.linker.latents(features))[:, None]
        ways = features[:, None] + times[:, None] * shifts.others(places)[:, None]
        w = models.linker.latents(models.allowed(ways), residuals).astype(np.float32)
        return w.reshape(-1, w.shape[-1])

    batches = (moved(tried[part]) for part in spans(len(tried), 1, BATCH // len(times)))
    readings = render_and_read(context.generator, context.classifier, batches, context.beat)
    read = np.concatenate([reading.logits.argmax(1) for reading in readings])
    counts: list[int] = (read.reshape(-1, len(times)) == target).sum(0).tolist()
    return counts
