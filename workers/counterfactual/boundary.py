"""The smallest shift of features that takes the classifier's *head* to the target.

The head is reached by calls alone, which give logits and gradients. The constraints are that the target's
logit is at least every other one; only those classes enter that were found above the target on the way
(cutting planes). Around the point reached they are replaced by their tangents, and the smallest shift that
satisfies these, from the start, is the next point: sequential programming as in DeepFool (Moosavi-Dezfooli et
al. 2016), with all classes and bounds. Of an affine head the tangents are the constraints, and the result is
the exact minimum. One call a step serves all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workers.counterfactual.models import Doubles, Models, Rows, one_hot_difference
from workers.counterfactual.nearest import Bounds, Norm, smallest_shift

_ACCURACY = 1e-4
"""How near, relative to the logits, margins must be to zero and to what the tangents say; float32 is."""
_STILL = 1e-6
"""A row that moves by less than this share of its largest shift is done."""
_FREE_STEPS = 8
"""Steps after which a point must be near the one before, within half as much each time, so that none is
visited in turns: linear programmes jump from corner to corner."""
_HALVINGS = 16


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
        unusual = models.linker.metric.lengths(smallest) ** 2
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
    ) -> Doubles | None:
        """The smallest allowed shift d with ``normals @ d >= offsets``.

        Args:
            models: Whether features are at least 0, and which shifts are plausible.
            features: (units,) before the shift.
            normals: (constraints, units).
            offsets: (constraints,).
            weight: Of ``D^2 / 2``, 0 for none.
            near: A shift, and how far each unit of d may be from it; None for no such limit.

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
            return smallest_shift(normals, offsets, bounds, self.norm, metric, weight)
        moves, scale = self.scale > 0, np.where(self.scale > 0, self.scale, 1)
        bounds = Bounds(np.where(moves, lower / scale, 0), np.where(moves, upper / scale, 0))
        if metric is not None:
            metric = metric.scaled(scale)
        found = smallest_shift(normals * scale, offsets, bounds, self.norm, metric, weight)
        return None if found is None else found * scale


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
    rows = [
        _Row(start, int(target), float(ahead), float(heavy), np.zeros_like(start), [int(origin)])
        for start, origin, target, ahead, heavy in zip(
            features, origins, targets, leads, weights, strict=True
        )
    ]
    steps = np.zeros(len(rows), np.int64)
    for step in range(max_steps):
        asked = [(k, rival) for k, row in enumerate(rows) for rival in row.missing()]
        if not asked:
            break
        owners, rivals = (np.array(column, np.int64) for column in zip(*asked, strict=True))
        logits = _ask(models, rows, owners, rivals, targets, classes)
        for k in np.unique(owners):
            steps[k] += 1
            own = logits[np.flatnonzero(owners == k)[0]]
            _advance(models, size, rows[k], own, step)
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


def _advance(models: Models, size: Size, row: _Row, logits: Doubles, step: int) -> None:
    """Judges the point of a row and moves on to the next one."""
    others = logits.copy()
    others[row.target] = -np.inf
    rival = int(others.argmax())
    near = _ACCURACY * max(1.0, float(np.abs(logits).max()))
    margin = float(logits[row.target] - logits[rival]) - row.lead
    if margin >= -near:

        def cost(shift: Doubles) -> float:
            return float(size.cost(models, shift[None], np.array([row.weight]))[0])

        if row.best is None or cost(row.shift) < cost(row.best):
            row.best = row.shift
        # Where the tangents told the margin, they are the constraints, and this is their minimum.
        told = all(abs(row.values[j] - row.predicted.get(j, np.inf)) <= near for j in row.rivals)
        if told:
            row.over = True
            return
    elif rival not in row.rivals:
        row.rivals.append(rival)
        return
    normals = np.stack([row.tangents[j] for j in row.rivals])
    constants = np.array([row.values[j] for j in row.rivals]) - normals @ row.shift
    moved = _next(models, size, row, normals, -constants, step)
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


def _next(
    models: Models, size: Size, row: _Row, normals: Doubles, offsets: Doubles, step: int
) -> Doubles | None:
    """The next shift; None where the tangents exclude each other."""
    largest = float(np.abs(row.shift).max())
    if step >= _FREE_STEPS and largest > 0:
        reach = largest / 2 ** min(step - _FREE_STEPS, _HALVINGS)
        found = size.smallest(models, row.start, normals, offsets, row.weight, (row.shift, reach))
        if found is not None:
            return found
    return size.smallest(models, row.start, normals, offsets, row.weight)
