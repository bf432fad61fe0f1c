"""A smooth generator and classifier in closed form, small enough to be searched in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unitscope.errors import FailedPreconditionError, NotFoundError
from workers.counterfactual.models import Linker, Models

UNITS, CLASSES, W_DIM, EDGE = 24, 4, 10, 6


@dataclass
class Gradient:
    pixels: np.ndarray


@dataclass
class FakeGenerator:
    """Pictures ``tanh(V w)``, rounded to bytes."""

    weight: np.ndarray
    renders: int = 0
    calls: int = 0
    gradients: bool = True

    def picture(self, w: np.ndarray) -> np.ndarray:
        return np.tanh(w.astype(np.float64) @ self.weight.T)

    def render(self, w: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.renders += len(w)
        pixels = np.rint(127.5 * (self.picture(w) + 1)).astype(np.uint8)
        return pixels.reshape(len(w), EDGE, EDGE, 3)

    def vjp(self, w: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        if not self.gradients:
            raise NotFoundError("no gradients here", reason="GRADIENT_NOT_SERVED")
        self.calls += 1
        slope = 1 - self.picture(w) ** 2
        return ((cotangent.reshape(len(w), -1) * slope) @ self.weight).astype(np.float32)


@dataclass
class FakeClassifier:
    """Features ``relu(F p + f)`` of pixels p in [0, 1]; logits ``H (r + bend r^2) + h``."""

    units: np.ndarray
    unit_bias: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    bend: float = 0.0
    differentiable: bool = True
    asked: list[int] = field(default_factory=list)

    def features(self, images: np.ndarray) -> np.ndarray:
        return np.maximum(images.reshape(len(images), -1) / 255 @ self.units.T + self.unit_bias, 0)

    def head(self, features: np.ndarray) -> np.ndarray:
        r = features.astype(np.float64)
        return ((r + self.bend * r**2) @ self.weight.T + self.bias).astype(np.float32)

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = self.features(images)
        return features.astype(np.float32), self.head(features)

    def head_gradient(self, features: np.ndarray, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.differentiable:
            raise FailedPreconditionError("no gradient", reason="GRADIENT_NOT_AVAILABLE")
        assert np.isfinite(features).all()
        self.asked.append(len(features))
        gradient = (cotangent @ self.weight) * (1 + 2 * self.bend * features)
        return self.head(features), gradient.astype(np.float32)

    def image_gradient(
        self,
        images: np.ndarray,
        logits_cotangent: np.ndarray | None = None,
        features_cotangent: np.ndarray | None = None,
    ) -> Gradient:
        features = self.features(images)
        by_feature = np.zeros_like(features) if features_cotangent is None else features_cotangent
        if logits_cotangent is not None:
            by_feature = by_feature + (logits_cotangent @ self.weight) * (1 + 2 * self.bend * features)
        by_pixel = ((by_feature * (features > 0)) @ self.units) / 255
        return Gradient(by_pixel.reshape(images.shape).astype(np.float32))


@dataclass
class World:
    """Models, with starting images of all classes."""

    models: Models
    generator: FakeGenerator
    classifier: FakeClassifier
    features: np.ndarray
    classes: np.ndarray
    latents: np.ndarray

    @property
    def std(self) -> np.ndarray:
        return np.asarray(self.features.std(0))

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, origins and targets: every image with every other class."""
        image, target = self.rows()
        return self.features[image], self.classes[image], target

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The image and the target of each pair."""
        rows = [(k, t) for k, c in enumerate(self.classes) for t in range(CLASSES) if t != c]
        image, target = (np.array(column) for column in zip(*rows, strict=True))
        return image, target


def make_world(seed: int = 0, bend: float = 0.0, images: int = 12) -> World:
    """A world whose linker is fitted to it, and images that are read as what their features say."""
    rng = np.random.default_rng(seed)
    generator = FakeGenerator(0.5 * rng.standard_normal((EDGE * EDGE * 3, W_DIM)))
    w = rng.standard_normal((2000, W_DIM))
    pixels = generator.render(w).reshape(len(w), -1) / 255
    units = rng.standard_normal((UNITS, EDGE * EDGE * 3)) / 3
    bias = 0.5 - units @ pixels.mean(0)
    features = np.maximum(pixels @ units.T + bias, 0)
    head = rng.standard_normal((CLASSES, UNITS))
    classifier = FakeClassifier(units, bias, head, -head @ features.mean(0), bend)
    centred = features - features.mean(0)
    weight = np.linalg.solve(centred.T @ centred + 10 * np.eye(UNITS), centred.T @ (w - w.mean(0))).T
    whitener = np.linalg.inv(np.linalg.cholesky(np.cov(w.T)))
    sample = features[:500].astype(np.float32)
    linker = Linker(weight, w.mean(0) - weight @ features.mean(0), w.mean(0), whitener, sample)
    models = Models(classifier, generator, linker)
    read = classifier.head(features).argmax(1)
    again = models.look(features).logits.argmax(1)
    chosen = np.flatnonzero(read == again)[:images]
    generator.calls = generator.renders = 0
    given = features[chosen].astype(np.float32), read[chosen], w[chosen].astype(np.float32)
    return World(models, generator, classifier, *given)


def arguments(world: World, *rows: int) -> dict[str, Any]:
    """The pairs of a world, or some of them, as keyword arguments of a search."""
    features, origins, targets = world.pairs()
    part = list(rows) or slice(None)
    return {
        "features": features[part],
        "origins": origins[part],
        "targets": targets[part],
        "std": world.std,
    }
