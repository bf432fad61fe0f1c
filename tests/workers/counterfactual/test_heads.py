"""Heads without gradients: read off where they are affine, else asked on either side of each point."""

from dataclasses import replace

import numpy as np
import pytest

from tests.workers.counterfactual.fakes import CLASSES, UNITS, arguments, make_world
from workers.counterfactual import DescentSettings, Outcome, PathSettings, Size, descent, path, probed
from workers.counterfactual.heads import AffineHead, DifferencedHead

PLAIN = PathSettings(Size(), pursuits=0, refinements=0)


def blind(**given):
    """A world whose classifier gives no gradients."""
    world = make_world(**given)
    world.classifier.differentiable = False
    return world


@pytest.fixture
def bent():
    return blind(bend=0.4)


class Watched:
    """A classifier of which is seen what its head was asked about."""

    def __init__(self, classifier):
        self.classifier, self.asked = classifier, []
        self.read, self.image_gradient = classifier.read, classifier.image_gradient

    def head(self, features):
        assert features.dtype == np.float32
        self.asked.append(features)
        return self.classifier.head(features)


def test_an_affine_head_is_read_off_once(monkeypatch):
    monkeypatch.setattr("workers.counterfactual.heads._BLOCK_BYTES", 4 * UNITS * 7)
    world = blind()
    watched = Watched(world.classifier)
    found = probed(watched, world.features)
    assert isinstance(found, AffineHead)
    calls = len(watched.asked)
    assert max(map(len, watched.asked)) == max(7, 8)
    cotangent = np.random.default_rng(0).standard_normal((len(world.features), CLASSES)).astype(np.float32)
    logits, gradient = found.head_gradient(world.features, cotangent)
    np.testing.assert_allclose(logits, world.classifier.head(world.features), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, cotangent @ world.classifier.weight, rtol=1e-3, atol=1e-3)
    assert len(watched.asked) == calls


@pytest.mark.parametrize("rows", [UNITS, 5])
def test_any_other_head_is_differentiated_at_each_point_once(bent, monkeypatch, rows):
    monkeypatch.setattr("workers.counterfactual.heads._BLOCK_BYTES", 8 * UNITS * rows)
    beats, watched = [], Watched(bent.classifier)
    found = probed(watched, bent.features, beat=lambda: beats.append(1))
    assert isinstance(found, DifferencedHead)
    watched.asked.clear()
    features = np.repeat(bent.features[:3], 2, axis=0)
    features[:, 4] = 0
    cotangent = np.random.default_rng(0).standard_normal((6, CLASSES)).astype(np.float32)
    logits, gradient = found.head_gradient(features, cotangent)
    bent.classifier.differentiable = True
    expected_logits, expected = bent.classifier.head_gradient(features, cotangent)
    np.testing.assert_array_equal(logits, expected_logits)
    np.testing.assert_allclose(gradient, expected, atol=2e-3 * np.abs(expected).max())
    blocks = -(-UNITS // rows)
    assert len(watched.asked) == len(beats) == 3 * blocks + 1
    assert sum(map(len, watched.asked)) == 3 * 2 * UNITS + 3


@pytest.mark.parametrize(("nonnegative", "least"), [(True, 0.0), (False, -1e-6)])
def test_a_head_is_not_asked_about_features_that_no_image_has(bent, nonnegative, least):
    watched = Watched(bent.classifier)
    found = probed(watched, bent.features, nonnegative)
    found.head_gradient(np.zeros((1, UNITS), np.float32), np.ones((1, CLASSES), np.float32))
    lowest = min(asked.min() for asked in watched.asked)
    assert lowest == 0 if nonnegative else lowest < least


def test_searches_end_where_they_do_with_gradients(bent):
    seeing = make_world(bend=0.4)
    models = replace(bent.models, classifier=probed(bent.classifier, bent.features))
    rows, expected = (path(given, **arguments(bent), settings=PLAIN) for given in (models, seeing.models))
    assert [row.outcome for row in rows] == [row.outcome for row in expected]
    lengths = [np.array([row.l2 for row in found]) for found in (rows, expected)]
    assert (lengths[0] > 0).mean() > 0.8
    np.testing.assert_allclose(*lengths, rtol=0.02)


def test_so_does_descent(bent):
    models = replace(bent.models, classifier=probed(bent.classifier, bent.features))
    settings = DescentSettings(max_steps=200)
    rows, expected = (
        descent(given, **arguments(bent), settings=settings)
        for given in (models, make_world(bend=0.4).models)
    )
    assert {row.outcome for row in rows} >= {Outcome.REACHED}
    same = sum(row.outcome is other.outcome for row, other in zip(rows, expected, strict=True))
    assert same >= len(rows) - 1
