"""The search for the smallest counterfactual: what is found, what it costs, and rows that have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.workers.counterfactual.fakes import CLASSES, UNITS, World, arguments, make_world
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from workers.counterfactual import (
    Counterfactual,
    CrossingSettings,
    Outcome,
    PathSettings,
    Size,
    path,
    probed,
)
from workers.counterfactual import models as asked
from workers.counterfactual.models import margins, one_hot_difference

PLAIN = PathSettings(Size(), pursuits=0, refinements=0)


def norms(rows: list[Counterfactual]) -> np.ndarray:
    return np.array([row.l2 for row in rows])


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def plain(world: World) -> list[Counterfactual]:
    return path(world.models, **arguments(world), settings=PLAIN)


def test_each_counterfactual_is_an_image_of_its_target(world: World, plain: list[Counterfactual]) -> None:
    features, origins, targets = world.pairs()
    reached = [k for k, row in enumerate(plain) if row.reached]
    assert len(reached) > 0.8 * len(plain)
    for k in reached:
        row = plain[k]
        assert (row.origin, row.target) == (origins[k], targets[k])
        moved = features[k] + row.shift
        assert moved.min() >= 0
        again = world.models.look(moved[None])
        assert row.image is not None
        assert row.start_image is not None
        np.testing.assert_array_equal(again.images[0], row.image)
        assert world.classifier.read(row.image[None])[1].argmax() == targets[k]
        assert world.classifier.read(row.start_image[None])[1].argmax() != targets[k]
        assert row.plausibility == pytest.approx(world.models.linker.distances(moved[None])[0])


def test_just_before_the_crossing_the_image_is_not_the_target() -> None:
    world = make_world()
    models = replace(world.models, nonnegative=False)
    settings = replace(PLAIN, second_try=False)
    rows = path(models, **arguments(world), settings=settings)
    features, _, targets = world.pairs()
    near = [k for k, row in enumerate(rows) if row.reached and row.alpha <= 2]
    assert len(near) > 4
    for k in near:
        # Below twice the head's shift intervals are 1 long, then a sixth, then 1/36.
        share = 1 - 1 / 36 / rows[k].alpha
        before = models.look((features[k] + share * rows[k].shift)[None]).logits
        assert margins(before, targets[k : k + 1])[0] < 1e-3
    assert max(rows[k].alpha for k in near) > 1


def test_calls_are_counted_and_few(monkeypatch: pytest.MonkeyPatch) -> None:
    # As many pictures at a time as there are: a row's calls are those of all.
    monkeypatch.setattr(asked, "LOOKS", 10_000)
    world = make_world(seed=2)
    rows = path(world.models, **arguments(world), settings=replace(PLAIN, second_try=False))
    assert world.generator.renders == sum(row.renders for row in rows)
    assert world.generator.calls == max(row.generator_calls for row in rows)
    # Start and head's boundary at once, perhaps further out, and two divisions.
    assert max(row.generator_calls for row in rows) <= 4
    bisection = replace(PLAIN, second_try=False, crossing=CrossingSettings(points=1, rounds=5))
    halved = path(world.models, **arguments(world), settings=bisection)
    assert sum(row.renders for row in halved) < sum(row.renders for row in rows)
    both = [k for k, row in enumerate(rows) if row.reached and halved[k].reached]
    assert len(both) > len(rows) // 2
    close = np.isclose(norms(rows)[both], norms(halved)[both], rtol=0.1)
    assert close.mean() > 0.8
    world.generator.calls = world.generator.renders = 0
    whole = path(world.models, **arguments(world))
    assert world.generator.renders == sum(row.renders for row in whole)
    # Two rays, four rounds of pursuit and one of refinement.
    assert max(row.generator_calls for row in whole) <= 4 + 4 + 8 + 2
    assert np.median([row.generator_calls for row in whole]) <= 6


def test_what_one_ray_misses_is_found_by_another_or_by_gradients() -> None:
    world = make_world(seed=1)
    settings = (
        replace(PLAIN, second_try=False),
        PLAIN,
        PathSettings(Size(), refinements=0),
    )
    counts = [
        sum(row.reached for row in path(world.models, **arguments(world), settings=s)) for s in settings
    ]
    assert counts[0] < counts[1] < counts[2]
    rows = path(world.models, **arguments(world), settings=settings[2])
    features, _, targets = world.pairs()
    pursued = [k for k, row in enumerate(rows) if row.refined]
    assert pursued
    for k in pursued:
        assert rows[k].reached
        look = world.models.look((features[k] + rows[k].shift)[None])
        assert look.logits.argmax() == targets[k]


def test_refinement_makes_shifts_smaller_and_never_larger(world: World, plain: list[Counterfactual]) -> None:
    refined = path(world.models, **arguments(world), settings=PathSettings(Size()))
    reached = [k for k, row in enumerate(plain) if row.reached]
    assert all(refined[k].reached for k in reached)
    better = [k for k in reached if refined[k].refined]
    assert len(better) > len(plain) // 2
    assert (norms(refined) <= norms(plain) + 1e-9)[reached].all()
    assert (norms(refined)[better] < norms(plain)[better]).all()

    def differences(rows: list[Counterfactual]) -> np.ndarray:
        pairs = [(row.image.astype(float), row.start_image) for row in rows]
        return np.array([np.abs(image - start).mean() for image, start in pairs])

    # What fools the classifier alone changes the picture for nothing.
    ours, before = [refined[k] for k in better], [plain[k] for k in better]
    assert (differences(ours) <= differences(before) + 1e-9).all()
    assert norms(refined)[reached].sum() < 0.9 * norms(plain)[reached].sum()
    features, _, targets = world.pairs()
    for k in better:
        look = world.models.look((features[k] + refined[k].shift)[None])
        assert look.logits.argmax() == targets[k]


def test_without_gradients_through_the_picture_rows_are_not_refined(plain: list[Counterfactual]) -> None:
    world = make_world()
    world.generator.gradients = False
    rows = path(world.models, **arguments(world), settings=PathSettings(Size()))
    assert not any(row.refined for row in rows)
    np.testing.assert_array_equal(norms(rows), norms(plain))


def test_the_gradient_through_the_picture_is_that_of_finite_differences(world: World) -> None:
    features = world.features[:3].astype(np.float64)
    cotangent = one_hot_difference(np.array([1, 2, 3]), np.array([0, 0, 1]), CLASSES)

    def loss(r: np.ndarray) -> np.ndarray:
        picture = world.generator.picture(world.models.linker.latents(r))
        logits = world.classifier.head(world.classifier.features(127.5 * (picture + 1)))
        return np.asarray((logits.astype(np.float64) * cotangent).sum(1))

    images = world.models.look(features).images
    gradient = world.models.image_gradient(features, images, cotangent)
    step = 1e-3 * np.random.default_rng(1).standard_normal(features.shape)
    change = (loss(features + step) - loss(features - step)) / 2
    np.testing.assert_allclose((gradient * step).sum(1), change, rtol=0.05, atol=2e-5)
    assert np.abs(change).max() > 1e-3


def test_rows_without_a_search_say_why_and_lose_no_other(world: World) -> None:
    features, origins, targets = (array.copy() for array in world.pairs())
    good = path(world.models, **arguments(world, 0, 1, 2), settings=PLAIN)
    rows = {"features": features[:9], "origins": origins[:9], "targets": targets[:9], "std": world.std}
    rows["targets"][3] = rows["origins"][3]
    rows["targets"][4] = CLASSES
    rows["origins"][5] = -1
    rows["features"][6, 2] = np.nan
    rows["features"][7, 2] = -1
    rows["origins"][8], rows["targets"][8] = rows["targets"][8], rows["origins"][8]
    found = path(world.models, **rows, settings=PLAIN, frames=3)
    expected = [
        Outcome.SAME_CLASS,
        Outcome.UNKNOWN_CLASS,
        Outcome.UNKNOWN_CLASS,
        Outcome.INVALID_FEATURES,
        Outcome.INVALID_FEATURES,
        Outcome.ALREADY_TARGET,
    ]
    assert [row.outcome for row in found[3:]] == expected
    for row in found[3:]:
        assert (row.generator_calls, row.l2, row.l0, row.strip) == (0, 0.0, 0, None)
        assert np.isnan(row.alpha)
    for before, after in zip(good, found[:3], strict=True):
        assert before.outcome is after.outcome
        np.testing.assert_allclose(before.shift, after.shift, atol=1e-9)
    nothing = path(world.models, **{name: rows[name][3:5] for name in rows if name != "std"}, std=world.std)
    assert [row.outcome for row in nothing] == expected[:2]
    empty = path(world.models, np.zeros((0, UNITS)), np.zeros(0, np.int64), np.zeros(0, np.int64), world.std)
    assert empty == []


def test_targets_out_of_reach_end_after_few_calls(world: World) -> None:
    dead = make_world()
    dead.classifier.weight[3] = dead.classifier.weight[0]
    dead.classifier.bias[3] = dead.classifier.bias[0] - 1
    rows = path(dead.models, **arguments(dead))
    assert {row.outcome for row in rows if row.target == 3} <= {Outcome.UNREACHABLE, Outcome.NOT_CROSSED}
    assert any(row.reached for row in rows)
    near = PathSettings(
        Size(), crossing=CrossingSettings(furthest=1.0), pursuits=0, refinements=0, second_try=False
    )
    short = path(world.models, **arguments(world), settings=near)
    lost = [row for row in short if row.outcome is Outcome.NOT_CROSSED]
    assert lost
    assert all(row.generator_calls == 1 and row.start_logits is not None for row in lost)


def test_an_image_that_the_linker_alone_turns_is_told_apart(world: World) -> None:
    """Features of one class whose image, without any shift, is read as the target."""
    models = world.models
    rng = np.random.default_rng(3)
    features = rng.uniform(0, 2, (400, UNITS)).astype(np.float32)
    said = models.classifier.head(features).argmax(1)
    seen = models.look(features).logits.argmax(1)
    chosen = np.flatnonzero(said != seen)[:4]
    rows = path(models, features[chosen], said[chosen], seen[chosen], world.std)
    assert [row.outcome for row in rows] == [Outcome.STARTS_AS_TARGET] * 4
    assert all(row.start_image is not None and row.image is None for row in rows)


def test_sparse_paths_move_fewer_units(world: World, plain: list[Counterfactual]) -> None:
    settings = PathSettings(
        Size("l1", highest=2 * world.features.max(0).astype(np.float64)), pursuits=0, refinements=0
    )
    sparse = path(world.models, **arguments(world), settings=settings)
    both = [k for k, row in enumerate(sparse) if row.reached and plain[k].reached]
    assert len(both) > len(plain) // 2
    assert np.mean([sparse[k].l0 for k in both]) < 0.5 * np.mean([plain[k].l0 for k in both])


def test_what_few_units_take_nowhere_is_tried_with_more() -> None:
    world = make_world(seed=1)
    settings = PathSettings(Size("l1", plausibility=0.1), pursuits=0, refinements=0)
    rows = path(world.models, **arguments(world), settings=settings)
    once = path(world.models, **arguments(world), settings=replace(settings, denser_tries=0))
    more = [k for k in range(len(rows)) if rows[k].reached and not once[k].reached]
    assert more
    features, _, targets = world.pairs()
    for k in more:
        assert world.models.look((features[k] + rows[k].shift)[None]).logits.argmax() == targets[k]
    # Rows that crossed at once stay as they were.
    assert all(np.array_equal(rows[k].shift, once[k].shift) for k in range(len(rows)) if once[k].reached)


def test_carriers_and_strips_tell_of_the_way(world: World) -> None:
    before = world.generator.renders
    rows = path(world.models, **arguments(world, 0, 4, 8, 12), top=3, frames=7)
    counted = sum(row.renders for row in rows)
    reached = [row for row in rows if row.reached]
    assert world.generator.renders - before == counted + 7 * len(reached)
    for row in reached:
        weights = np.abs(row.shift) * world.std
        assert [c.unit for c in row.carriers] == list(np.argsort(-weights)[:3])
        assert row.carriers[0].shift == row.shift[row.carriers[0].unit]
        strip = row.strip
        assert strip is not None
        np.testing.assert_allclose(strip.alphas, np.linspace(0, 1.5, 7))
        np.testing.assert_allclose(strip.probabilities.sum(1), 1)
        assert row.start_image is not None
        assert row.image is not None
        np.testing.assert_array_equal(strip.images[0], row.start_image)
        np.testing.assert_array_equal(strip.images[4], row.image)
        assert strip.probabilities[4].argmax() == row.target
        assert strip.probabilities[0, row.target] < strip.probabilities[4, row.target]


def test_an_affine_head_without_gradients_is_read_off(world: World, plain: list[Counterfactual]) -> None:
    blind = make_world()
    blind.classifier.differentiable = False
    with pytest.raises(FailedPreconditionError) as caught:
        path(blind.models, **arguments(blind), settings=PLAIN)
    assert caught.value.reason == "GRADIENT_NOT_AVAILABLE"
    models = replace(blind.models, classifier=probed(blind.classifier, blind.features))
    rows = path(models, **arguments(blind), settings=PLAIN)
    np.testing.assert_allclose(norms(rows), norms(plain), rtol=0.05)
    # PLAIN asks for no gradient through the picture, so none was missed.
    assert all(row.gradients for row in rows)
    blind.generator.gradients = False
    refining = path(models, **arguments(blind))
    assert {row.outcome for row in refining if not row.gradients} >= {Outcome.REACHED}
    assert all(row.gradients != (row.outcome in (Outcome.REACHED, Outcome.NOT_CROSSED)) for row in refining)


def test_arrays_that_do_not_fit_are_refused(world: World) -> None:
    features, origins, targets = world.pairs()
    with pytest.raises(InvalidArgumentError) as caught:
        path(world.models, features[:, 1:], origins, targets, world.std)
    assert caught.value.reason == "BAD_SHAPE"
    assert f"(rows, {UNITS})" in caught.value.message


def test_plausible_paths_stay_nearer_and_cross_more_often() -> None:
    """What the default is for: away from its own w, a generator answers less to a shift."""
    reached, distances = np.zeros(2), np.zeros(2)
    for seed in range(4):
        world = make_world(seed)
        plain, likely = (
            path(world.models, **arguments(world), settings=PathSettings(size, pursuits=0, refinements=0))
            for size in (Size(), PathSettings().size)
        )
        both = [k for k in range(len(plain)) if plain[k].reached and likely[k].reached]
        reached += [sum(row.reached for row in rows) for rows in (plain, likely)]
        distances += [sum(rows[k].plausibility for k in both) for rows in (plain, likely)]
        assert [row.head_distance for row in plain] == [row.head_distance for row in likely]
    assert reached[1] >= reached[0]
    assert distances[1] < 0.9 * distances[0]
