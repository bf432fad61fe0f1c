"""What the searches found, row by row; the shifts and the pictures themselves stay in the chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from workers.analyses.columns import Columns
from workers.analyses.job import Job
from workers.analyses.linked import Solution
from workers.counterfactual.result import CHANGED, REACHED, SEARCHED, carriers, softmax
from workers.statistics import differences, spaced

MOST = 0.9
"""Share of the squared shift that `Rows.units_for_90` hold."""
SCALE_IMAGES = 10_000
"""Base images, evenly spaced, by which the scales of measures are taken."""

_WHOLE = ("origin", "target", "steps", "calls", "renders")
_EXACT = ("head_distance", "alpha", "plausibility", "start_plausibility", "change")
_CHANCES = (
    ("start_logits", "origin"),
    ("start_logits", "target"),
    ("logits", "origin"),
    ("logits", "target"),
)

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows in the order of the chunks, (rows, ...).

    Distances and moves are NaN, counts of units -1, of rows without a counterfactual.

    Attributes:
        chunk: int64, which chunk of the stage the row stands in.
        row: int64, where in it.
        made_for: int64, class of the generator; negative for one's own images.
        seed: int64.
        origin: int64, index of the class that the classifier reads.
        target: int64, likewise; -1 for an unknown name.
        place: int64, which of the targets asked for.
        outcome: int64, index into `OUTCOMES`.
        l2: Length of the shift.
        l1: Sum of all moves.
        l0: int64, units that moved.
        units_for_90: int64.
        deviations: Root mean square of the moves, each over its unit's standard deviation.
        head_distance: As found.
        alpha: As found.
        plausibility: As found.
        start_plausibility: As found.
        change: Mean difference of the pictures in grey levels.
        chances: (rows, 4) probabilities of origin and target before, of origin and target after.
        refined: bool.
        gradients: bool, False where none through the picture were served to a search that wanted them.
        steps: int64.
        calls: int64, of the generator.
        renders: int64.
        units: int64 (rows, top) carriers, the largest first; -1 where there are fewer.
        moves: (rows, top) by how much each moved.
        effects: float32 (rows, columns) counterfactual less base image, in the order of `Columns`.
        kept: bool, whether its pictures were kept.
    """

    chunk: Integers
    row: Integers
    made_for: Integers
    seed: Integers
    origin: Integers
    target: Integers
    place: Integers
    outcome: Integers
    l2: Array
    l1: Array
    l0: Integers
    units_for_90: Integers
    deviations: Array
    head_distance: Array
    alpha: Array
    plausibility: Array
    start_plausibility: Array
    change: Array
    chances: Array
    refined: NDArray[np.bool_]
    gradients: NDArray[np.bool_]
    steps: Integers
    calls: Integers
    renders: Integers
    units: Integers
    moves: Array
    effects: Floats
    kept: NDArray[np.bool_]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.outcome)

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(rows,) which have a counterfactual."""
        found: NDArray[np.bool_] = self.outcome == REACHED
        return found

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """All rows of some, one or more."""
        return cls(
            **{item.name: np.concatenate([vars(part)[item.name] for part in parts]) for item in fields(cls)}
        )


@dataclass(frozen=True, eq=False)
class Pair:
    """Two classes and the rows that ask for the way from one to the other.

    Attributes:
        origin: Index of the class that the classifier reads.
        target: Index of the class that was wanted, another one.
        searched: int64, rows from which a counterfactual was searched for. Those that were of the target
            before anything was changed, or that could not be read, are none.
        reached: int64, those that have one.
    """

    origin: int
    target: int
    searched: Integers
    reached: Integers


@dataclass(frozen=True, eq=False)
class OfBase:
    """What the base images say together.

    Attributes:
        scale: (columns,) what changes of parts are divided by to be compared, of `SCALE_IMAGES` images.
        missing: Images that were wanted and not accepted, by class of the generator.
    """

    scale: Array
    missing: Mapping[int, int]


def searches(
    context: Job, only: Collection[int] | None = None
) -> Iterator[tuple[int, dict[str, Any], ChunkResult]]:
    """Number, parameters and results of the chunks of searches that have rows, in order.

    Args:
        context: The job; its pulse is felt at each chunk, which may take seconds to be read.
        only: Numbers of the chunks that are read; None for all.
    """
    chunks = context.plan.stage("search").chunks
    numbers = [k for k in range(len(chunks)) if only is None or k in only]
    found = context.result("search", lambda number, _: only is None or number in only)
    for index, (params, chunk) in zip(numbers, found, strict=True):
        context.beat()
        if len(chunk.tensors.get("outcome", ())):
            yield index, params, chunk


def rows_of(
    index: int, params: dict[str, Any], chunk: ChunkResult, solution: Solution, columns: Columns, top: int
) -> Rows:
    """The rows of one chunk.

    Args:
        index: Its number in the stage.
        params: Its parameters.
        chunk: Its results.
        solution: Of the linker, for the standard deviations of units.
        columns: What is measured.
        top: Carriers of each row.
    """
    tensors = chunk.tensors
    count = len(tensors["outcome"])
    plain: Tensors = {name: tensors[name].astype(np.int64) for name in _WHOLE}
    plain |= {name: tensors[name].astype(np.float64) for name in _EXACT}
    outcome = tensors["outcome"].astype(np.int64)
    reached = outcome == REACHED
    units, moves = _carriers(tensors["shift"], reached, solution.std, top)
    values = tensors["measures"].reshape(1, count, 2, len(columns))
    effects = differences(values, columns.periods)[0]
    effects[~reached] = np.nan
    places = np.asarray(params["targets"], np.int64)
    return Rows(
        chunk=np.full(count, index, np.int64),
        row=np.arange(count, dtype=np.int64),
        made_for=np.full(count, params["class"], np.int64),
        seed=tensors["seeds"].astype(np.int64),
        place=np.resize(places, count),
        outcome=outcome,
        chances=_chances(tensors),
        refined=tensors["refined"].astype(bool),
        gradients=tensors.get("gradients", np.ones(count)).astype(bool),
        units=units,
        moves=moves,
        effects=effects.astype(np.float32),
        kept=np.isin(np.arange(count), chunk.record.get("kept", [])),
        **_sizes(tensors["shift"].astype(np.float64), reached, solution.std),
        **plain,
    )


def no_rows(solution: Solution, columns: Columns, top: int) -> Rows:
    """What a job without any base image has."""
    narrow = ("seeds", "origin", "target", "outcome", "steps", "calls", "renders", "refined", *_EXACT)
    tensors = {name: np.empty(0) for name in narrow}
    tensors["shift"] = np.empty((0, len(solution.std)))
    tensors["measures"] = np.empty((0, 2, len(columns)))
    tensors["start_logits"] = tensors["logits"] = np.empty((0, 1))
    return rows_of(0, {"class": 0, "targets": [0]}, ChunkResult(tensors), solution, columns, top)


def pairs_of(found: Rows) -> list[Pair]:
    """The pairs of two known classes, sorted."""
    asked = np.flatnonzero((found.target >= 0) & (found.origin >= 0) & (found.origin != found.target))
    keys = np.stack([found.origin[asked], found.target[asked]], axis=1)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    asked, keys = asked[order], keys[order]
    cuts = np.flatnonzero((np.diff(keys, axis=0) != 0).any(1)) + 1
    searched, reached = np.isin(found.outcome, SEARCHED), found.reached
    found_pairs = []
    for rows, key in zip(np.split(asked, cuts), np.split(keys, cuts), strict=True):
        if len(rows):
            origin, target = key[0].tolist()
            found_pairs.append(Pair(origin, target, rows[searched[rows]], rows[reached[rows]]))
    return found_pairs


def of_base(context: Job, columns: Columns) -> OfBase:
    """What is to be known of all base images, each chunk read once."""
    share = max(2, SCALE_IMAGES // len(context.plan.stage("base").chunks))
    found, missing = [np.empty((0, len(columns)))], Counter[int]()
    for params, chunk in context.result("base"):
        context.beat()
        measures = chunk.tensors.get("measures")
        if measures is not None and len(measures):
            found.append(measures.reshape(len(measures), -1)[spaced(len(measures), share)])
        missing[params["class"]] += chunk.record.get("missing", 0)
    return OfBase(columns.scale(np.concatenate(found)), +missing)


def _sizes(shift: Array, reached: NDArray[np.bool_], std: Array) -> Tensors:
    """How large each shift (rows, units) is, by the names of `Rows`."""
    moved = np.abs(shift)
    squares = np.sort(shift**2, axis=1)[:, ::-1]
    total = squares.sum(1)
    held = np.cumsum(squares, axis=1)
    # Shifts are stored as float32: rounding must not ask for one unit more.
    short = held < MOST * total[:, None] * (1 - 1e-6)
    alive = std > 0
    relative = shift[:, alive] / std[alive]
    spread = np.sqrt((relative**2).mean(1)) if alive.any() else np.full(len(shift), np.nan)
    return {
        "l2": np.where(reached, np.sqrt(total), np.nan),
        "l1": np.where(reached, moved.sum(1), np.nan),
        "l0": np.where(reached, (moved > CHANGED).sum(1), -1),
        "units_for_90": np.where(reached, np.where(total > 0, short.sum(1) + 1, 0), -1),
        "deviations": np.where(reached, spread, np.nan),
    }


def _carriers(
    shift: NDArray[Any], reached: NDArray[np.bool_], std: Array, top: int
) -> tuple[Integers, Array]:
    units = np.full((len(shift), top), -1, np.int64)
    moves = np.full((len(shift), top), np.nan)
    for row in np.flatnonzero(reached).tolist():
        for rank, carrier in enumerate(carriers(shift[row].astype(np.float64), std, top)):
            units[row, rank], moves[row, rank] = carrier.unit, carrier.shift
    return units, moves


def _chances(tensors: Mapping[str, NDArray[Any]]) -> Array:
    """Probabilities of origin and target before and after, (rows, 4); NaN of unknown classes."""
    count = len(tensors["outcome"])
    found = np.full((count, 4), np.nan)
    for column, (when, which) in enumerate(_CHANCES):
        wanted = tensors[which].astype(np.int64)
        known = (wanted >= 0) & np.isfinite(tensors[when]).all(1)
        chances = softmax(tensors[when][known])
        found[known, column] = chances[np.arange(len(chances)), wanted[known]]
    return found
