"""The published search, against a plain loop of the formula, and against ``path``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workers.counterfactual.fakes import UNITS, World, arguments, make_world
from workers.counterfactual import DescentSettings, Outcome, descent, path
from workers.counterfactual.descent import cosine_gradient


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def published(world: World, features: np.ndarray, origin: int, target: int) -> tuple[np.ndarray, int]:
    """One row as the publication words it: the shift s, and the steps; gradients by finite differences."""
    head, bias, linker = world.classifier.weight, world.classifier.bias, world.models.linker

    def loss(s: np.ndarray) -> float:
        changed = features - s
        z = head @ changed + bias
        old, new = linker.weight @ features + linker.bias, linker.weight @ changed + linker.bias
        cosine = old @ new / np.linalg.norm(old) / np.linalg.norm(new)
        return float(-z[target] + 0.6 * z[origin] - 10 * cosine)

    s = np.random.default_rng(0).random(UNITS)
    for step in range(1, 2001):
        ways = 1e-5 * np.eye(UNITS)
        s = s - 0.5 * np.array([(loss(s + way) - loss(s - way)) / 2e-5 for way in ways])
        w = linker.weight @ np.maximum(features - s, 0) + linker.bias
        if world.classifier.read(world.generator.render(w[None]))[1].argmax() == target:
            return s, step
    return s, 2000


def test_it_is_the_published_loop(world: World) -> None:
    rows = descent(world.models, **arguments(world))
    features, origins, targets = world.pairs()
    reached = [k for k, row in enumerate(rows) if row.reached]
    assert len(reached) > len(rows) // 2
    for k in reached[:6]:
        start = features[k].astype(np.float64)
        s, steps = published(world, start, int(origins[k]), int(targets[k]))
        assert rows[k].steps == steps
        np.testing.assert_allclose(rows[k].shift, np.maximum(start - s, 0) - start, atol=1e-3)
        # The start, and one image a step.
        assert rows[k].generator_calls == rows[k].renders == steps + 1
        assert np.isnan(rows[k].alpha)


def test_the_gradient_of_the_cosine(world: World) -> None:
    linker, rng = world.models.linker, np.random.default_rng(1)
    features = world.features[:3].astype(np.float64)
    shifted, way = features + rng.standard_normal(features.shape), rng.standard_normal(features.shape)

    def cosine(r: np.ndarray) -> np.ndarray:
        old, new = linker.latents(features), linker.latents(r)
        lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
        return np.asarray((old * new).sum(1) / lengths)

    change = (cosine(shifted + 1e-6 * way) - cosine(shifted - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose((cosine_gradient(linker, features, shifted) * way).sum(1), change, atol=1e-8)


def test_it_ends_at_its_limit_and_with_one_call_a_step() -> None:
    dead = make_world()
    dead.classifier.weight[3] = dead.classifier.weight[0]
    dead.classifier.bias[3] = dead.classifier.bias[0] - 1
    rows = descent(dead.models, **arguments(dead), settings=DescentSettings(max_steps=15))
    assert not any(row.reached for row in rows if row.target == 3)
    lost = [row for row in rows if row.outcome is Outcome.NOT_CROSSED]
    assert lost
    assert all(row.steps == 15 for row in lost)
    assert dead.generator.calls == 16
    assert len(dead.classifier.asked) == 15


def test_rows_that_run_away_are_given_up_alone() -> None:
    world = make_world(bend=0.4)
    rows = descent(world.models, **arguments(world), settings=DescentSettings(max_steps=400, rate=2.0))
    assert {row.outcome for row in rows} >= {Outcome.REACHED}
    assert all(np.isfinite(row.shift).all() for row in rows)


def test_path_reaches_as_much_with_less(world: World) -> None:
    theirs = descent(world.models, **arguments(world))
    ours = path(world.models, **arguments(world))
    assert sum(row.reached for row in ours) >= sum(row.reached for row in theirs)
    both = [k for k in range(len(ours)) if ours[k].reached and theirs[k].reached]
    assert np.mean([ours[k].l2 for k in both]) < np.mean([theirs[k].l2 for k in both])
