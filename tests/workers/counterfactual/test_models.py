"""What searches ask of the models: in parts that a slow service answers in time, with a pulse between."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from tests.workers.counterfactual.fakes import CLASSES, UNITS, World, arguments, make_world
from workers.counterfactual import Models, PathSettings, Size, models, path


class Cancelled(Exception):  # noqa: N818 - as the context's
    """What a pulse raises once the job is cancelled."""


@pytest.fixture
def world() -> World:
    return make_world()


def beating(world: World, beats: list[int], end: int = 10**9) -> Models:
    """The models, which note at each beat how many pictures were rendered, and end at some beat."""

    def beat() -> None:
        beats.append(world.generator.renders)
        if len(beats) > end:
            raise Cancelled

    return replace(world.models, beat=beat)


def test_pictures_are_asked_for_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.repeat(world.features, 3, axis=0).astype(np.float64)
    residuals = np.linspace(-0.1, 0.1, features.shape[0])[:, None] * np.ones(world.latents.shape[1])
    whole = world.models.look(features, residuals)
    assert len(features) == 36
    monkeypatch.setattr(models, "LOOKS", 10)
    beats: list[int] = []
    world.generator.calls = world.generator.renders = 0
    parts = beating(world, beats).look(features, residuals)
    np.testing.assert_array_equal(parts.images, whole.images)
    np.testing.assert_array_equal(parts.logits, whole.logits)
    assert (world.generator.calls, world.generator.renders) == (4, 36)
    # Before each part is rendered, and before it is read.
    assert beats == [0, 10, 10, 20, 20, 30, 30, 36]


def test_gradients_are_asked_for_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    features = world.features.astype(np.float64)
    cotangent = np.random.default_rng(0).standard_normal((len(features), CLASSES))
    images = world.models.look(features).images
    whole = world.models.image_gradient(features, images, cotangent)
    monkeypatch.setattr(models, "PULLS", 5)
    beats: list[int] = []
    world.generator.calls = 0
    parts = beating(world, beats).image_gradient(features, images, cotangent)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    assert (len(features), world.generator.calls, len(beats)) == (12, 3, 6)


def test_a_cancelled_search_renders_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "LOOKS", 8)
    beats: list[int] = []
    path(beating(world, beats), **arguments(world), frames=5)
    whole = beats
    for end in (1, len(whole) // 4, len(whole) // 2):
        again: list[int] = []
        cut = make_world()
        with pytest.raises(Cancelled):
            path(beating(cut, again, end), **arguments(cut), frames=5)
        assert cut.generator.renders == again[-1] < whole[-1]
    # Never more than one part is rendered between two beats.
    assert np.diff(whole).max() == 8


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_gradients_that_are_no_numbers_lose_no_row(
    world: World, monkeypatch: pytest.MonkeyPatch, value: float, norm: Literal["l2", "l1"]
) -> None:
    """Of some pictures, as of a generator in half precision; of others they are right."""
    settings = PathSettings(Size(norm=norm, plausibility=1.0, highest=np.full(UNITS, 9.0)))
    plain = path(world.models, **arguments(world), settings=settings)
    right = type(world.generator).vjp

    def vjp(self: object, w: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        found = np.array(right(self, w, cotangent))  # type: ignore[arg-type]
        found[::2] = value
        return found

    monkeypatch.setattr(type(world.generator), "vjp", vjp)
    with np.errstate(all="ignore"):
        rows = path(world.models, **arguments(world), settings=settings)
    assert len(rows) == len(plain)
    for row, other in zip(rows, plain, strict=True):
        assert np.isfinite(row.shift).all()
        assert row.reached or row.outcome is other.outcome or other.refined


def test_where_no_tangent_can_be_crossed_rows_stay_as_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one of the rows that are refined, or pursued, side by side."""
    plain = path(world.models, **arguments(world), settings=PathSettings(pursuits=0, refinements=0))
    monkeypatch.setattr("workers.counterfactual.refine._RIVALS", 1)
    monkeypatch.setattr(type(world.generator), "vjp", lambda self, w, cotangent: np.zeros_like(w))
    rows = path(world.models, **arguments(world))
    assert [row.outcome for row in rows] == [row.outcome for row in plain]
    for row, other in zip(rows, plain, strict=True):
        np.testing.assert_array_equal(row.shift, other.shift)
