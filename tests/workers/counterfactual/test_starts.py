"""Searches that start from the images' own latents, ``w0 + A (r' - r)``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.workers.counterfactual.fakes import CLASSES, W_DIM, World, arguments, make_world
from unitscope.errors import InvalidArgumentError
from workers.counterfactual import Counterfactual, DescentSettings, Outcome, PathSettings, descent, path
from workers.counterfactual.models import Models, one_hot_difference


def own(world: World) -> dict[str, Any]:
    """The pairs of a world as arguments, with the latents of their images."""
    image, _ = world.rows()
    return {**arguments(world), "latents": world.latents[image]}


def search(method: str, models: Models, given: dict[str, Any]) -> list[Counterfactual]:
    if method == "descent":
        return descent(models, **given, settings=DescentSettings(max_steps=300), frames=4)
    return path(models, **given, frames=4)


@pytest.mark.parametrize("method", ["path", "descent"])
def test_the_way_leads_from_the_own_picture_to_the_target(method: str) -> None:
    world = make_world()
    given = own(world)
    rows = search(method, world.models, given)
    linker, reached = world.models.linker, [row for row in rows if row.reached]
    assert len(reached) > 0.8 * len(rows)
    for k, row in enumerate(rows):
        w0 = given["latents"][k]
        assert row.start_image is not None
        np.testing.assert_array_equal(row.start_image, world.generator.render(w0[None])[0])
        np.testing.assert_array_equal(row.start_latent, w0)
        distance = np.linalg.norm(linker.whitener @ (w0 - linker.latent_mean)) / np.sqrt(W_DIM)
        assert row.start_plausibility == pytest.approx(distance)
        if not row.reached:
            assert row.latent is None
            continue
        expected = w0 + linker.weight @ row.shift
        assert row.latent is not None
        assert row.image is not None
        assert row.strip is not None
        np.testing.assert_allclose(row.latent, expected, atol=1e-5)
        np.testing.assert_array_equal(row.image, world.generator.render(row.latent[None])[0])
        assert world.classifier.read(row.image[None])[1].argmax() == row.target
        distance = np.linalg.norm(linker.whitener @ (expected - linker.latent_mean)) / np.sqrt(W_DIM)
        assert row.plausibility == pytest.approx(distance)
        np.testing.assert_array_equal(row.strip.images[0], row.start_image)


@pytest.mark.parametrize("method", ["path", "descent"])
def test_the_linkers_latents_give_the_published_start(method: str) -> None:
    world = make_world()
    given = arguments(world)
    published = search(method, world.models, given)
    latents = world.models.linker.latents(given["features"])
    same = search(method, world.models, {**given, "latents": latents})
    for before, after in zip(published, same, strict=True):
        assert before.outcome is after.outcome
        np.testing.assert_allclose(after.shift, before.shift, atol=1e-6)
        assert after.start_plausibility == pytest.approx(before.start_plausibility)


def test_no_picture_starts_as_another_class() -> None:
    """What the linker alone turns into another class is searched from its own latent all the same."""
    world = make_world()
    rng = np.random.default_rng(8)
    w = rng.standard_normal((400, W_DIM)).astype(np.float32)
    features, logits = world.classifier.read(world.generator.render(w))
    linked = world.models.look(features).logits.argmax(1)
    turned = np.flatnonzero(logits.argmax(1) != linked)[:8]
    given = features[turned], logits.argmax(1)[turned], linked[turned], world.std
    assert {row.outcome for row in path(world.models, *given)} == {Outcome.STARTS_AS_TARGET}
    rows = path(world.models, *given, latents=w[turned])
    assert Outcome.STARTS_AS_TARGET not in {row.outcome for row in rows}
    assert sum(row.reached for row in rows) >= 6


def test_the_boundary_of_the_head_is_the_same_from_both_starts() -> None:
    world = make_world()
    linked, started = path(world.models, **arguments(world)), path(world.models, **own(world))
    assert [row.head_distance for row in linked] == [row.head_distance for row in started]
    assert any(a.l2 != b.l2 for a, b in zip(linked, started, strict=True))


def test_the_gradient_is_taken_where_the_picture_is() -> None:
    world = make_world()
    # Images whose units stay on their side of 0 when pixels are rounded.
    features, w = world.features[2:5].astype(np.float64), world.latents[2:5].astype(np.float64)
    residuals = w - world.models.linker.latents(features)
    cotangent = one_hot_difference(np.array([1, 2, 3]), np.array([0, 0, 1]), CLASSES)

    def loss(r: np.ndarray) -> np.ndarray:
        picture = world.generator.picture(world.models.linker.latents(r, residuals))
        logits = world.classifier.head(world.classifier.features(127.5 * (picture + 1)))
        return np.asarray((logits.astype(np.float64) * cotangent).sum(1))

    images = world.generator.render(world.latents[2:5])
    gradient = world.models.image_gradient(features, images, cotangent, residuals)
    step = 1e-3 * np.random.default_rng(1).standard_normal(features.shape)
    change = (loss(features + step) - loss(features - step)) / 2
    np.testing.assert_allclose((gradient * step).sum(1), change, rtol=0.05, atol=2e-5)
    assert np.abs(change).max() > 1e-3


def test_latents_that_are_no_start_lose_no_other_row() -> None:
    world = make_world()
    given = {name: value[:4] if name != "std" else value for name, value in own(world).items()}
    expected = path(world.models, **given)
    latents = given["latents"].copy()
    latents[2, 0] = np.nan
    rows = path(world.models, **{**given, "latents": latents})
    assert rows[2].outcome is Outcome.INVALID_FEATURES
    assert rows[2].start_latent is None
    assert np.isnan(rows[2].start_plausibility)
    for k in (0, 1, 3):
        assert rows[k].outcome is expected[k].outcome
        np.testing.assert_allclose(rows[k].shift, expected[k].shift, atol=1e-6)
    with pytest.raises(InvalidArgumentError) as caught:
        path(world.models, **{**given, "latents": latents[:, 1:]})
    assert caught.value.reason == "BAD_SHAPE"
    assert caught.value.violations[0][0] == "latents"


def test_refined_and_pursued_rows_keep_their_own_way() -> None:
    """Rows that gradients found or made smaller lie on ``w0 + A (r' - r)`` as well."""
    world = make_world(seed=1)
    given = own(world)
    rows = path(world.models, **given, settings=replace(PathSettings(), second_try=False))
    refined = [k for k, row in enumerate(rows) if row.refined]
    assert len(refined) > len(rows) // 3
    for k in refined:
        w = given["latents"][k] + world.models.linker.weight @ rows[k].shift
        image = world.generator.render(w[None].astype(np.float32))
        assert world.classifier.read(image)[1].argmax() == rows[k].target
