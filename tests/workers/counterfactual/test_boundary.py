"""The boundary of the head, reached by calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from tests.workers.counterfactual.fakes import CLASSES, UNITS, World, make_world
from workers.counterfactual.boundary import Boundary, Size, head_boundary
from workers.counterfactual.models import margins
from workers.counterfactual.solvers.closest import Bounds
from workers.counterfactual.solvers.nearest import Norm, smallest_shift


def search(world: World, size: Size) -> tuple[Boundary, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    features, origins, targets = world.pairs()
    pairs = features.astype(np.float64), origins, targets
    found = head_boundary(world.models, *pairs, CLASSES, size)
    if size.plausibility > 0:
        found = head_boundary(
            world.models, *pairs, CLASSES, size, weight=size.weight(world.models, found.shifts)
        )
    return found, pairs


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def test_an_affine_head_is_solved_exactly_in_l1(world: World) -> None:
    """Against the linear programme with all classes, whose weights the search never sees."""
    found, (features, _, targets) = search(world, Size("l1"))
    assert found.reached.all()
    head, bias = world.classifier.weight, world.classifier.bias
    for row, target in enumerate(targets):
        others = [c for c in range(CLASSES) if c != target]
        normals = head[target] - head[others]
        missing = -(normals @ features[row] + bias[target] - bias[others])
        limits = [(0, None)] * UNITS + [(0, r) for r in features[row]]
        exact = linprog(np.ones(2 * UNITS), A_ub=np.hstack([-normals, normals]), b_ub=-missing, bounds=limits)
        assert np.abs(found.shifts[row]).sum() == pytest.approx(exact.fun, rel=1e-3)
    # A point and, where another class is met there, that class: twice for each class at most.
    assert (found.steps <= 2 * (CLASSES - 1)).all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_targets_behind_many_classes_are_reached_exactly_and_in_few_steps(world: World, norm: Norm) -> None:
    """Against the problem with all classes."""
    rng = np.random.default_rng(7)
    classes, units = 60, 40
    head = rng.standard_normal((classes, units))
    features = rng.gamma(0.5, 1.0, (6, units))
    bias = -head @ features.mean(0)
    classifier = replace(world.classifier, weight=head, bias=bias)
    linker = replace(world.models.linker, weight=np.zeros((10, units)))
    logits = classifier.head(features)
    origins, targets = logits.argmax(1), logits.argmin(1)
    models = replace(world.models, classifier=classifier, linker=linker)
    found = head_boundary(models, features, origins, targets, classes, Size(norm))
    assert found.reached.all()
    assert 8 <= found.steps.max() <= 20
    for row, target in enumerate(targets):
        others = np.flatnonzero(np.arange(classes) != target)
        normals = head[target] - head[others]
        missing = -(normals @ features[row] + bias[target] - bias[others])
        bounds = Bounds(-features[row], np.full(units, np.inf))
        exact = smallest_shift(normals, missing, bounds, norm)
        assert exact is not None
        assert Size(norm).of(found.shifts[row]) == pytest.approx(Size(norm).of(exact), rel=1e-3)


def test_the_pulse_is_felt_while_rows_are_solved(world: World) -> None:
    """More often than the head is asked; a beat that raises ends the search."""
    features, origins, targets = world.pairs()
    pairs = features.astype(np.float64), origins, targets
    before, beats = len(world.classifier.asked), 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == last:
            raise TimeoutError

    last, models = 0, replace(world.models, beat=beat)
    for size in (Size(), Size("l1", plausibility=1.0)):
        weight = np.full(len(targets), size.plausibility)
        beats = 0
        head_boundary(models, *pairs, CLASSES, size, weight=weight)
        assert beats > len(world.classifier.asked) - before + len(targets)
        last, beats = beats // 2, 0
        with pytest.raises(TimeoutError):
            head_boundary(models, *pairs, CLASSES, size, weight=weight)
        last, before = 0, len(world.classifier.asked)


def test_where_two_classes_meet_the_distance_is_that_of_a_plane() -> None:
    world = make_world(seed=4)
    world.models = replace(world.models, nonnegative=False)
    found, (features, origins, targets) = search(world, Size())
    head, bias = world.classifier.weight, world.classifier.bias
    normals = head[targets] - head[origins]
    lack = -((normals * features).sum(1) + bias[targets] - bias[origins])
    plane = lack / np.linalg.norm(normals, axis=1)
    sizes = np.linalg.norm(found.shifts, axis=1)
    assert (sizes >= plane * (1 - 1e-3)).all()
    two = found.steps == 2
    assert two.sum() > len(plane) // 3
    np.testing.assert_allclose(sizes[two], plane[two], rtol=1e-3)


@pytest.mark.parametrize("size", [Size(), Size("l1"), Size(plausibility=0.5)], ids=["l2", "l1", "plausible"])
@pytest.mark.parametrize("bend", [0.0, 0.4])
def test_the_head_gives_the_target_just_beyond(size: Size, bend: float) -> None:
    world = make_world(seed=1, bend=bend)
    found, (features, _, targets) = search(world, size)
    assert found.reached.all()
    moved = features + found.shifts
    assert moved.min() >= -1e-9
    margin = margins(world.classifier.head(moved), targets)
    assert margin.min() > -5e-3
    # A plausible w may lie further in.
    assert size.plausibility > 0 or margin.max() < 5e-3


def test_a_bent_head_is_solved_no_worse_than_nearby_shifts() -> None:
    world = make_world(seed=1, bend=0.4)
    found, (features, _, targets) = search(world, Size())
    rng = np.random.default_rng(0)
    for row in range(0, len(targets), 5):
        ways = found.shifts[row] + 0.1 * rng.standard_normal((4000, UNITS)) * np.abs(found.shifts[row]).max()
        moved = np.maximum(features[row] + ways, 0)
        there = margins(world.classifier.head(moved), np.full(4000, targets[row])) > 0
        assert there.any()
        nearest = np.linalg.norm(moved[there] - features[row], axis=1).min()
        assert nearest > 0.98 * np.linalg.norm(found.shifts[row])


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_plausible_shifts_move_units_as_images_do(world: World, norm: Norm) -> None:
    plain, _ = search(world, Size(norm))
    kept, _ = search(world, Size(norm, plausibility=5.0))
    metric = world.models.linker.metric
    assert metric.lengths(kept.shifts).mean() < 0.8 * metric.lengths(plain.shifts).mean()
    for k in range(len(kept.shifts)):
        sizes = [Size(norm).of(found.shifts[k]) for found in (kept, plain)]
        assert sizes[0] >= sizes[1] * (1 - 1e-3)


def test_the_cost_is_size_and_unusualness(world: World) -> None:
    rng = np.random.default_rng(0)
    shifts, weights = rng.standard_normal((3, 5, UNITS)), np.array([0.0, 1.0, 2.0])
    sample = world.models.linker.sample
    assert sample is not None
    covariance = 0.99 * np.cov(sample.T.astype(np.float64))
    covariance += 0.01 * np.trace(covariance) / 0.99 / UNITS * np.eye(UNITS)
    unusual = np.einsum("rku,uv,rkv->rk", shifts, np.linalg.inv(covariance), shifts)
    for norm, sizes in (("l2", (shifts**2).sum(2) / 2), ("l1", np.abs(shifts).sum(2))):
        cost = Size(norm).cost(world.models, shifts, weights)  # type: ignore[arg-type]
        np.testing.assert_allclose(cost, sizes + weights[:, None] / 2 * unusual)
    # What a weight of 1 is: one deviation, or with L1 what the smallest shift is unusual by, costs as much.
    smallest = shifts[:, 0]
    np.testing.assert_allclose(
        Size(plausibility=1.0).weight(world.models, smallest), (smallest**2).sum(1), rtol=1e-9
    )
    sparse = Size("l1", plausibility=1.0)
    weight = sparse.weight(world.models, smallest)
    doubled = sparse.cost(world.models, smallest, weight)
    np.testing.assert_allclose(doubled, 2 * np.abs(smallest).sum(1))


def test_without_a_sample_shifts_are_judged_by_where_they_take_w(world: World) -> None:
    linker = replace(world.models.linker, sample=None)
    shifts = np.random.default_rng(0).standard_normal((4, UNITS))
    moved = np.linalg.norm(shifts @ linker.weight.T @ linker.whitener.T, axis=1)
    np.testing.assert_allclose(linker.metric.lengths(shifts), moved, rtol=1e-6)


def test_few_units_carry_l1_and_limits_are_kept(world: World) -> None:
    sparse, (features, _, _) = search(world, Size("l1"))
    dense, _ = search(world, Size())
    assert (np.abs(sparse.shifts) > 1e-6).sum(1).max() <= 10
    assert (np.abs(dense.shifts) > 1e-6).sum(1).min() >= 15
    highest = world.features.max(0).astype(np.float64)
    capped, _ = search(world, Size("l1", highest=highest))
    moved = (features + capped.shifts)[capped.reached]
    assert (moved <= highest + 1e-6).all()
    assert (features + sparse.shifts > highest + 0.1).any()


def test_units_that_never_vary_do_not_move(world: World) -> None:
    scale = np.where(np.arange(UNITS) % 3 == 0, 0.0, world.std)
    found, _ = search(world, Size(scale=scale))
    assert found.reached.any()
    assert not found.shifts[:, ::3].any()


def test_a_target_that_no_shift_reaches_is_unreachable(world: World) -> None:
    dead = make_world()
    dead.classifier.weight[3] = dead.classifier.weight[0]
    dead.classifier.bias[3] = dead.classifier.bias[0] - 1
    found, (_, _, targets) = search(dead, Size())
    assert found.unreachable[targets == 3].all()
    assert found.reached[targets != 3].all()
    assert not found.reached[targets == 3].any()
