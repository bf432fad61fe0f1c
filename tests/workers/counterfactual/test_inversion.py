"""A user's own image is brought to w: nearer than the linker brings it, and never further away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.workers.counterfactual.fakes import EDGE, UNITS, W_DIM, World, make_world
from unitscope.errors import InvalidArgumentError, NotFoundError, UnavailableError
from workers.counterfactual import Effort, Inversion, InversionSettings, invert
from workers.counterfactual.likeness import Likeness, Photos, look_at


def photos(world: World, count: int = 6, seed: int = 5, far: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and their w, unknown to the fit."""
    w = far * np.random.default_rng(seed).standard_normal((count, W_DIM)).astype(np.float32)
    return world.generator.render(w), w


@pytest.fixture(scope="module")
def found() -> tuple[World, np.ndarray, Inversion]:
    world = make_world()
    images, w = photos(world)
    world.generator.calls = 0
    return world, w, invert(world.models, images, std=world.std)


def test_a_known_w_is_recovered(found: tuple[World, np.ndarray, Inversion]) -> None:
    _, w, inversion = found
    missed = np.linalg.norm(inversion.latents - w, axis=1)
    assert (missed < 0.1 * np.linalg.norm(inversion.linked_latents - w, axis=1)).all()
    assert (inversion.error < 2).all()
    assert (inversion.linked_error > 10).all()
    assert (inversion.feature_error < 0.1 * inversion.linked_feature_error).all()
    assert inversion.refined.all()
    np.testing.assert_array_equal(inversion.logits.argmax(1), inversion.photo_logits.argmax(1))


def test_everything_that_is_said_of_an_image_is_so(found: tuple[World, np.ndarray, Inversion]) -> None:
    world, w, inversion = found
    images = world.generator.render(w)
    features, logits = world.classifier.read(images)
    np.testing.assert_array_equal(inversion.photo_logits, logits)
    linker = world.models.linker
    np.testing.assert_allclose(inversion.linked_latents, linker.latents(features), atol=1e-5)
    for pictures, latents, error, feature_error, distance in (
        (
            inversion.images,
            inversion.latents,
            inversion.error,
            inversion.feature_error,
            inversion.plausibility,
        ),
        (
            inversion.linked_images,
            inversion.linked_latents,
            inversion.linked_error,
            inversion.linked_feature_error,
            inversion.linked_plausibility,
        ),
    ):
        np.testing.assert_array_equal(pictures, world.generator.render(latents))
        difference = pictures.astype(float) - images
        np.testing.assert_allclose(error, np.sqrt((difference**2).mean((1, 2, 3))))
        missed = np.linalg.norm(world.classifier.read(pictures)[0] - features, axis=1)
        np.testing.assert_allclose(feature_error, missed / np.linalg.norm(features, axis=1), rtol=1e-5)
        white = np.linalg.norm((latents - linker.latent_mean) @ linker.whitener.T, axis=1) / np.sqrt(W_DIM)
        np.testing.assert_allclose(distance, white, rtol=1e-5)
    np.testing.assert_array_equal(inversion.features, world.classifier.read(inversion.images)[0])
    np.testing.assert_array_equal(inversion.logits, world.classifier.read(inversion.images)[1])


def test_calls_are_counted_and_shared_by_all_images() -> None:
    world = make_world()
    images, _ = photos(world)
    beats: list[int] = []
    models = replace(world.models, beat=lambda: beats.append(1))
    world.generator.calls = 0
    inversion = invert(models, images, InversionSettings(Effort(steps=15)))
    assert (inversion.steps <= 15).all()
    assert (inversion.generator_calls <= 2 * inversion.steps + 4).all()
    assert world.generator.calls <= 2 * 15 + 4
    # Every call of the generator, each read and each gradient of the classifier comes with a beat.
    assert len(beats) > world.generator.calls


def test_without_gradients_it_is_the_linkers() -> None:
    world = make_world()
    images, _ = photos(world)
    for served, settings in ((False, None), (True, InversionSettings(Effort(steps=0)))):
        world.generator.gradients = served
        inversion = invert(world.models, images, settings)
        assert not inversion.refined.any()
        assert not inversion.steps.any()
        np.testing.assert_array_equal(inversion.latents, inversion.linked_latents)
        np.testing.assert_array_equal(inversion.images, inversion.linked_images)
        np.testing.assert_array_equal(inversion.error, inversion.linked_error)
        assert (inversion.generator_calls == 1).all()


def test_other_failures_are_not_taken_for_missing_gradients() -> None:
    world = make_world()
    images, _ = photos(world)

    def fail(error: Exception) -> None:
        def vjp(w: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
            raise error

        world.generator.vjp = vjp  # type: ignore[method-assign]
        with pytest.raises(type(error)):
            invert(world.models, images)

    fail(UnavailableError("gone"))
    fail(NotFoundError("no such model", reason="MODEL_NOT_FOUND"))


@pytest.mark.parametrize("seed", range(3))
def test_no_image_ends_worse_than_it_began(seed: int) -> None:
    """Pictures that no w renders: noise, and colours that the generator hardly has."""
    world = make_world(seed)
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (5, EDGE, EDGE, 3)).astype(np.uint8)
    flat = np.full((1, EDGE, EDGE, 3), 255 * (seed % 2), np.uint8)
    images = np.concatenate([noise, flat])
    settings = InversionSettings(feature_weight=0.0)
    inversion = invert(world.models, images, settings)
    assert (inversion.error <= inversion.linked_error).all()
    assert (inversion.error < inversion.linked_error)[inversion.refined].all()
    both = invert(world.models, images)
    gain = (both.error / inversion.linked_error) ** 2 + 0.3 * (
        both.feature_error / both.linked_feature_error
    ) ** 2
    assert (gain <= 1.3 + 1e-6).all()


def test_other_images_change_nothing() -> None:
    world = make_world()
    images, _ = photos(world)
    together, alone = invert(world.models, images), invert(world.models, images[2:3])
    np.testing.assert_allclose(alone.latents[0], together.latents[2], atol=1e-4)


def test_implausible_latents_are_pulled_back() -> None:
    world = make_world()
    images, _ = photos(world, far=3.0)
    free = invert(world.models, images, std=world.std)
    heavy = InversionSettings(plausibility_weight=100.0)
    held = invert(world.models, images, heavy, std=world.std, furthest=1.5)
    beyond = free.plausibility > 1.7
    assert beyond.sum() >= 3
    assert (held.plausibility < free.plausibility)[beyond].all()
    assert held.plausibility.max() < 1.7


def test_the_gradient_is_that_of_the_loss() -> None:
    world = make_world()
    images, w = photos(world, far=2.0)
    features, _ = world.classifier.read(images)
    exact = _Exact(world)
    models = replace(world.models, generator=exact, classifier=exact)
    start = look_at(models, world.models.linker.latents(features))
    known = Photos(images.astype(np.float64), features.astype(np.float64))
    loss = Likeness.of(models, known, start, (0.3, 2.0), 0.8, world.std)
    points = loss.whitened(0.9 * w)
    rows = np.arange(len(w))
    np.testing.assert_allclose(loss.latents(points), 0.9 * w, atol=1e-9)
    value, seen = loss.value(rows, points)
    slope = loss.gradient(rows, points, seen)
    step = 1e-5 * np.random.default_rng(0).standard_normal(points.shape)
    change = (loss.value(rows, points + step)[0] - loss.value(rows, points - step)[0]) / 2
    np.testing.assert_allclose((slope * step).sum(1), change, rtol=2e-3, atol=2e-8)
    assert np.abs(change).max() > 1e-5
    assert (value > 0).all()


class _Exact:
    """The fake's generator and classifier without rounding, whose differences are those of the formula."""

    def __init__(self, world: World) -> None:
        self.world = world

    def render(self, w: np.ndarray) -> np.ndarray:
        pixels = 127.5 * (self.world.generator.picture(w) + 1)
        return pixels.reshape(len(w), EDGE, EDGE, 3)

    def vjp(self, w: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        return self.world.generator.vjp(w, cotangent)

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = self.world.classifier.features(images)
        return features, self.world.classifier.head(features)

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self.world.classifier, name)


def test_what_is_no_batch_of_the_generators_size_is_refused() -> None:
    world = make_world()
    images, _ = photos(world)
    for bad in (images[0], images.astype(np.float32), images[:0], images[..., :2]):
        with pytest.raises(InvalidArgumentError) as caught:
            invert(world.models, bad)
        assert caught.value.reason == "BAD_SHAPE"
    with pytest.raises(InvalidArgumentError) as caught:
        invert(world.models, images, std=np.ones(UNITS + 1))
    assert caught.value.violations[0][0] == "std"

    def larger(w: np.ndarray) -> np.ndarray:
        return np.zeros((len(w), 2 * EDGE, 2 * EDGE, 3), np.uint8)

    world.generator.render = larger  # type: ignore[method-assign]
    world.classifier.features = lambda images: np.zeros((len(images), UNITS))  # type: ignore[method-assign]
    with pytest.raises(InvalidArgumentError, match="bring them to its size"):
        invert(world.models, images)
