"""Both searches on real services: classifier and generator of the tiny pack, reached by their clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from services.classifier.__main__ import make_server
from tests.support.generator import in_process_generator
from tests.support.tiny_pack import CLASSES, CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.models.registry import Registry
from unitscope.settings import ModelSettings, ServerSettings
from workers.clients import ClassifierClient, GeneratorClient
from workers.counterfactual import (
    DescentSettings,
    Effort,
    InversionSettings,
    Linker,
    Models,
    descent,
    invert,
    path,
)
from workers.counterfactual.models import margins, one_hot_difference

pytestmark = pytest.mark.timeout(300)


@dataclass
class Stack:
    models: Models
    features: np.ndarray
    classes: np.ndarray
    std: np.ndarray
    latents: np.ndarray


def fitted(features: np.ndarray, w: np.ndarray) -> Linker:
    centred = (features - features.mean(0)).astype(np.float64)
    penalty = 1e-3 * len(features) * np.eye(features.shape[1])
    weight = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (w - w.mean(0))).T
    covariance = np.cov(w.T) + 1e-3 * np.eye(w.shape[1])
    return Linker(
        weight,
        w.mean(0) - weight @ features.mean(0),
        w.mean(0),
        np.linalg.inv(np.linalg.cholesky(covariance)),
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = write_tiny_pack(tmp_path_factory.mktemp("models"))
    registry = Registry(root)
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    server = make_server(ModelSettings(root=root), settings)
    classifier = ClassifierClient(server.start(), CLASSIFIER, "penultimate")
    with in_process_generator(root) as running:
        generator = GeneratorClient(running.address, registry.resolve(GENERATOR))
        z = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
        wanted = np.arange(400) % len(CLASSES)
        w = generator.map(z, wanted, 0.8)
        features, logits = classifier.read(generator.render(w))
        linker = replace(fitted(features, w.astype(np.float64)), sample=features)
        models = Models(classifier, generator, linker)
        # Images that linker and generator give back as what they are.
        same = (logits.argmax(1) == wanted) & (models.look(features).logits.argmax(1) == wanted)
        chosen = np.flatnonzero(same)[:6]
        yield Stack(models, features[chosen], wanted[chosen], features.std(0), w[chosen])
        generator.close()
    classifier.close()
    server.stop()


def test_both_searches_run_on_the_services(stack: Stack) -> None:
    targets = (stack.classes + 1) % len(CLASSES)
    given = (stack.features, stack.classes, targets, stack.std)
    ours = path(stack.models, *given, frames=4)
    theirs = descent(stack.models, *given, DescentSettings(max_steps=30))
    assert sum(row.reached for row in ours) >= max(4, sum(row.reached for row in theirs))
    for k, row in enumerate(ours):
        if row.reached:
            look = stack.models.look((stack.features[k] + row.shift)[None])
            assert look.logits.argmax() == targets[k]
            assert row.strip is not None
            assert row.strip.images.shape == (4, 16, 16, 3)
    assert any(row.refined for row in ours)
    both = [k for k in range(len(ours)) if ours[k].reached and theirs[k].reached]
    assert both
    assert all(ours[k].l2 < theirs[k].l2 for k in both)


def test_the_gradient_through_the_services_foretells_what_they_read(stack: Stack) -> None:
    """Margins read in rendered images, moved along the gradient as far as rounding needs."""
    targets = (stack.classes + 1) % len(CLASSES)
    features = stack.features.astype(np.float64)
    look = stack.models.look(features)
    cotangent = one_hot_difference(targets, stack.classes, len(CLASSES))
    gradient = stack.models.image_gradient(features, look.images, cotangent)
    step = 0.1 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)

    def difference(features: np.ndarray) -> np.ndarray:
        logits = stack.models.look(features).logits.astype(np.float64)
        return np.asarray((logits * cotangent).sum(1))

    change = difference(features + step) - difference(features)
    told = (gradient * step).sum(1)
    # Rounding, clipping at 0 and curvature all take part.
    assert (change > 0).all()
    assert 0.5 < np.median(change / told) < 1.5
    assert margins(look.logits, targets).max() < 0


def test_searches_start_from_the_own_picture(stack: Stack) -> None:
    targets = (stack.classes + 1) % len(CLASSES)
    rows = path(stack.models, stack.features, stack.classes, targets, stack.std, latents=stack.latents)
    pictures = stack.models.generator.render(stack.latents)
    assert sum(row.reached for row in rows) >= 4
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(row.start_image, pictures[k])
        if row.reached:
            assert row.latent is not None
            np.testing.assert_array_equal(stack.models.generator.render(row.latent[None])[0], row.image)


def test_pictures_of_ones_own_are_inverted_through_the_services(stack: Stack) -> None:
    pictures = stack.models.generator.render(stack.latents)
    given = stack.models, pictures, InversionSettings(Effort(steps=25))
    inversion = invert(*given, std=stack.std, furthest=1.5)
    assert inversion.refined.all()
    assert (inversion.error < inversion.linked_error).all()
    assert np.median(inversion.error) < 0.5 * np.median(inversion.linked_error)
    assert np.median(inversion.feature_error) < np.median(inversion.linked_feature_error)
    np.testing.assert_array_equal(inversion.images, stack.models.generator.render(inversion.latents))
    np.testing.assert_array_equal(inversion.photo_logits.argmax(1), stack.classes)
