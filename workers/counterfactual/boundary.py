"""The smallest shift of features that takes the classifier's *head* to the target.

The head is reached by calls alone, which give logits and gradients. The constraints are that the target's
logit is at least every other one; only those classes enter that were found above the target on the way, a few
at a time (cutting planes). Around the point reached they are replaced by their tangents, and the smallest
shift that satisfies these, from the start, is the next point: sequential programming as in DeepFool
(Moosavi-Dezfooli et al. 2016), with all classes and bounds. Of an affine head the tangents are the
constraints, and the result is the exact minimum. One call a step serves all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workers.counterfactual.metric import Metric, aside
from workers.counterfactual.models import Doubles, Models, Rows, one_hot_difference
from workers.counterfactual.solvers.closest import Bounds
from workers.counterfactual.solvers.nearest import Norm, smallest_shift
from workers.counterfactual.solvers.usual import Held

_ACCURACY = 1e-4
"""How near, relative to the logits, margins must be to zero and to what the tangents say; float32 is."""
_STILL = 1e-6
"""A row that moves by less than this share of its largest shift is done."""
_FREE_MISSES = 8
"""Points other than the tangents foretold after which the next must be near the one before, within half as
much each time, so that none is visited in turns: linear programmes jump from corner to corner."""
_HALVINGS = 16
_AT_ONCE = 4
"""Classes above the target that become constraints at a time while points are as foretold, which saves steps
where the target is far away."""


@dataclass(frozen=True)
class Size:
    """What is minimised.

    Attributes:
        norm: ``l2``, or ``l1`` for few units.
        plausibility: Weight of the squared Mahalanobis length D of the shift (`models.Linker.metric`); 0 for
            none. A shift that moves features as they move together in images changes what it must and leaves
            the rest. It is relative to the smallest shift of the row: with 1, ``D = 1`` costs as much as that
            shift does. With ``l1``, whose few units never move so in images, the D of that shift does, so
            that units stay few.
        scale: (units,) features are divided by it before sizes are taken, e.g. standard deviations, and
            units where it is 0 do not move; None takes them as they are.
        highest: (units,) no unit is moved above it; None for no limit.
    """

    norm: Norm = "l2"
    plausibility: float = 0.0
    scale: Doubles | None = None
    highest: Doubles | None = None

    def of(self, shifts: Doubles) -> Doubles:
        """Sizes (...) of shifts (..., units), without plausibility."""
        scaled = shifts if self.scale is None else shifts / np.where(self.scale > 0, self.scale, 1)
        sizes: Doubles = np.linalg.norm(scaled, ord=1 if self.norm == "l1" else 2, axis=-1)
        return sizes

    def weight(self, models: Models, smallest: Doubles) -> Doubles:
        """The factors (rows,) of ``D^2 / 2`` for rows whose smallest shifts are (rows, units)."""
        lengths = self.of(smallest)
        if self.norm == "l2":
            return self.plausibility * lengths**2
        unusual = _metric(models).lengths(smallest) ** 2
        return self.plausibility * 2 * lengths / np.where(unusual > 0, unusual, 1)

    def cost(self, models: Models, shifts: Doubles, weight: Doubles) -> Doubles:
        """What is minimised (rows, ...), of shifts (rows, ..., units) with weights (rows,) of ``D^2 / 2``."""
        lengths = self.of(shifts)
        cost: Doubles = lengths if self.norm == "l1" else lengths**2 / 2
        if not weight.any():
            return cost
        weights = weight.reshape(-1, *(1,) * (shifts.ndim - 2))
        return cost + weights / 2 * models.linker.metric.lengths(shifts) ** 2

    def smallest(
        self,
        models: Models,
        features: Doubles,
        normals: Doubles,
        offsets: Doubles,
        weight: float = 0.0,
        near: tuple[Doubles, float] | None = None,
        held: Held | None = None,
    ) -> Doubles | None:
        """The smallest allowed shift d with ``normals @ d >= offsets``.

        Args:
            models: Whether features are at least 0, and which shifts are plausible.
            features: (units,) before the shift.
            normals: (constraints, units).
            offsets: (constraints,).
            weight: Of ``D^2 / 2``, 0 for none.
            near: A shift, and how far each unit of d may be from it; None for no such limit.
            held: What the problem before this one of the same weight left behind; None for nothing.

        Returns:
            d (units,), or None where there is none.
        """
        infinite = np.full_like(features, np.inf)
        lower = -features if models.nonnegative else -infinite
        upper = infinite if self.highest is None else np.maximum(self.highest - features, 0)
        if near is not None:
            lower, upper = np.maximum(lower, near[0] - near[1]), np.minimum(upper, near[0] + near[1])
        metric = models.linker.metric if weight > 0 else None
        if self.scale is None:
            bounds = Bounds(lower, upper)
            return smallest_shift(
                normals, offsets, bounds, self.norm, metric, weight, held=held, beat=models.beat
            )
        moves, scale = self.scale > 0, np.where(self.scale > 0, self.scale, 1)
        bounds = Bounds(np.where(moves, lower / scale, 0), np.where(moves, upper / scale, 0))
        if metric is not None:
            metric = metric.scaled(scale)
        found = smallest_shift(
            normals * scale, offsets, bounds, self.norm, metric, weight, held=held, beat=models.beat
        )
        return None if found is None else found * scale


def _metric(models: Models) -> Metric:
    """The linker's metric, which takes a while the first time."""
    return aside(lambda: models.linker.metric, models.beat)


@dataclass
class _Row:
    """One row on its way.

    Attributes:
        start: (units,) its features.
        target: The class wanted.
        lead: By how much its logit is to be above every other.
        weight: Of ``D^2 / 2``.
        shift: (units,) of the point that it has reached.
        rivals: Classes that were found above the target.
        tangents: For each class that was asked for at this point: the margin's gradient.
        values: Likewise the margin, less the lead.
        predicted: The margins that the tangents at the last point foretold for this one.
        misses: How many points were not as foretold; none where the head is affine.
        held: What the last problem left behind.
        best: The smallest shift so far that reaches the target.
        over: Whether it is done.
        unreachable: Whether no shift satisfies the tangents.
    """

    start: Doubles
    target: int
    lead: float
    weight: float
    shift: Doubles
    rivals: list[int]
    tangents: dict[int, Doubles] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    predicted: dict[int, float] = field(default_factory=dict)
    misses: int = 0
    held: Held = field(default_factory=Held)
    best: Doubles | None = None
    over: bool = False
    unreachable: bool = False

    def missing(self) -> list[int]:
        """The classes to be asked for at this point."""
        return [] if self.over else [rival for rival in self.rivals if rival not in self.tangents]


@dataclass(frozen=True)
class Boundary:
    """Where the boundaries of the head are.

    Attributes:
        shifts: (rows, units) smallest shifts found; zeros where the target cannot be reached.
        reached: (rows,) whether the head gives the target there.
        unreachable: (rows,) whether no allowed shift can reach it.
        steps: (rows,) calls that each row took part in.
    """

    shifts: Doubles
    reached: Rows
    unreachable: Rows
    steps: Rows


def head_boundary(
    models: Models,
    features: Doubles,
    origins: Rows,
    targets: Rows,
    classes: int,
    size: Size,
    max_steps: int = 50,
    lead: Doubles | None = None,
    weight: Doubles | None = None,
) -> Boundary:
    """Finds the smallest shifts that bring the head to the target.

    Args:
        models: Whose head is asked.
        features: (rows, units).
        origins: (rows,), other than the targets.
        targets: (rows,).
        classes: How many the classifier has.
        size: What is minimised.
        max_steps: After which the best shift so far is taken, or the last one.
        lead: (rows,) by how much the target's logit is to be above all others; None for not at all.
        weight: (rows,) of ``D^2 / 2``, as `Size.weight` gives it; None for none.

    Raises:
        UnitScopeError: What the classifier raised.
    """
    zeros = np.zeros(len(features))
    leads, weights = (zeros if given is None else given for given in (lead, weight))
    if weights.any():
        _metric(models)
    rows = [
        _Row(start, int(target), float(ahead), float(heavy), np.zeros_like(start), [int(origin)])
        for start, origin, target, ahead, heavy in zip(
            features, origins, targets, leads, weights, strict=True
        )
    ]
    steps = np.zeros(len(rows), np.int64)
    for _ in range(max_steps):
        asked = [(k, rival) for k, row in enumerate(rows) for rival in row.missing()]
        if not asked:
            break
        owners, rivals = (np.array(column, np.int64) for column in zip(*asked, strict=True))
        logits = _ask(models, rows, owners, rivals, targets, classes)
        for k in np.unique(owners):
            steps[k] += 1
            own = logits[np.flatnonzero(owners == k)[0]]
            _advance(models, size, rows[k], own)
    return Boundary(
        shifts=np.stack([row.shift if row.best is None else row.best for row in rows]),
        reached=np.array([row.best is not None for row in rows]),
        unreachable=np.array([row.unreachable and row.best is None for row in rows]),
        steps=steps,
    )


def _ask(
    models: Models, rows: list[_Row], owners: Rows, rivals: Rows, targets: Rows, classes: int
) -> Doubles:
    """Fills in the missing tangents by one call; logits (asked, classes) of the points."""
    points = np.stack([rows[k].start + rows[k].shift for k in owners])
    cotangent = one_hot_difference(targets[owners], rivals, classes)
    logits, gradients = models.head_gradient(points, cotangent)
    for i, (k, rival) in enumerate(zip(owners, rivals, strict=True)):
        rows[k].tangents[int(rival)] = gradients[i]
        rows[k].values[int(rival)] = float(logits[i, targets[k]] - logits[i, rival]) - rows[k].lead
    return logits


def _advance(models: Models, size: Size, row: _Row, logits: Doubles) -> None:
    """Judges the point of a row and moves on to the next one."""
    others = logits.copy()
    others[row.target] = -np.inf
    rival = int(others.argmax())
    near = _ACCURACY * max(1.0, float(np.abs(logits).max()))
    margin = float(logits[row.target] - logits[rival]) - row.lead
    foretold = all(abs(row.values[j] - value) <= near for j, value in row.predicted.items())
    if margin >= -near:

        def cost(shift: Doubles) -> float:
            return float(size.cost(models, shift[None], np.array([row.weight]))[0])

        if row.best is None or cost(row.shift) < cost(row.best):
            row.best = row.shift
        # Where the tangents told the margin, they are the constraints, and this is their minimum.
        if foretold and all(j in row.predicted for j in row.rivals):
            row.over = True
            return
    elif rival not in row.rivals:
        above = np.flatnonzero(others + row.lead > logits[row.target])
        new = [int(j) for j in above[np.argsort(-others[above], kind="stable")] if j not in row.rivals]
        row.rivals += new[: _AT_ONCE if row.predicted and foretold and not row.misses else 1]
        return
    row.misses += not foretold
    normals = np.stack([row.tangents[j] for j in row.rivals])
    constants = np.array([row.values[j] for j in row.rivals]) - normals @ row.shift
    moved = _next(models, size, row, normals, -constants)
    if moved is None:
        row.unreachable, row.over = True, True
        return
    if row.best is not None and np.abs(moved - row.shift).max() <= _STILL * np.abs(moved).max():
        row.over = True
        return
    told_now = normals @ moved + constants
    row.predicted = {j: float(value) for j, value in zip(row.rivals, told_now, strict=True)}
    row.shift = moved
    row.tangents, row.values = {}, {}


def _next(models: Models, size: Size, row: _Row, normals: Doubles, offsets: Doubles) -> Doubles | None:
    """The next shift; None where the tangents exclude each other."""
    largest = float(np.abs(row.shift).max())
    if row.misses >= _FREE_MISSES and largest > 0:
        reach = largest / 2 ** min(row.misses - _FREE_MISSES, _HALVINGS)
        near = row.shift, reach
        found = size.smallest(models, row.start, normals, offsets, row.weight, near, row.held)
        if found is not None:
            return found
    return size.smallest(models, row.start, normals, offsets, row.weight, held=row.held)
