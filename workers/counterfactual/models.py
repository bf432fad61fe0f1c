"""What a search for counterfactuals asks of the models, and who is asked how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from workers.clients.batches import spans
from workers.counterfactual.metric import Metric

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Images = NDArray[np.uint8]
Rows = NDArray[np.int64]

PIXEL_STEP = 127.5
"""Pixels in [0, 255] for one unit of the generator's picture in [-1, 1]."""

LOOKS, PULLS = 128, 48
"""Pictures that are rendered and read, and gradients that are taken through pictures, at a time.

However many rows are searched side by side, a slow generator is to answer within the deadline of a call, and
the job is to feel its pulse. Services work in batches no larger than these anyway.
"""

NO_GRADIENT = frozenset({"GRADIENT_NOT_AVAILABLE", "GRADIENT_NOT_SERVED"})
"""Reasons of services that have no gradients through the picture."""


class Pixels(Protocol):
    """A derivative by pixels in [0, 255]; `workers.clients.classifier.ImageGradient` is one."""

    @property
    def pixels(self) -> Floats:
        """(batch, height, width, 3)."""
        ...


class Classifier(Protocol):
    """A classifier as `workers.clients.ClassifierClient` offers it."""

    def read(self, images: Images) -> tuple[Floats, Floats]:
        """Features (batch, units) and logits (batch, classes) of images (batch, height, width, 3)."""
        ...

    def head(self, features: Floats) -> Floats:
        """Logits (batch, classes) of features (batch, units)."""
        ...

    def head_gradient(self, features: Floats, cotangent: Floats) -> tuple[Floats, Floats]:
        """Logits, and the derivative by features of losses whose derivative by logits is given."""
        ...

    def image_gradient(
        self,
        images: Images,
        logits_cotangent: Floats | None = None,
        features_cotangent: Floats | None = None,
    ) -> Pixels:
        """The derivative by pixels of losses whose derivative by logits, features or both is given."""
        ...


class Generator(Protocol):
    """A generator as `workers.clients.GeneratorClient` offers it."""

    def render(self, w: Floats) -> Images:
        """Images uint8 (batch, height, width, 3) of w (batch, w_dim)."""
        ...

    def vjp(self, w: Floats, cotangent: Floats) -> Floats:
        """The derivative by w of losses whose derivative by the picture in [-1, 1] is given."""
        ...


@dataclass(frozen=True)
class Linker:
    """The map from features to latents, ``w = A r + b``, with what tells whether a w is plausible.

    A row may start from a latent of its own, w0: then ``w = w0 + A (r' - r)``, which is the map with the
    row's residual, ``w0 - (A r + b)``, added.

    Attributes:
        weight: (w_dim, units), A.
        bias: (w_dim,), b.
        latent_mean: (w_dim,) of the fit's w.
        whitener: (w_dim, w_dim): the distance of w is the length of ``whitener @ (w - latent_mean)``.
        sample: (images, units) features of images of the fit, which tell how features vary together; None
            where they are not known.
    """

    weight: Doubles
    bias: Doubles
    latent_mean: Doubles
    whitener: Doubles
    sample: NDArray[np.floating] | None = None

    @classmethod
    def of(cls, solution: Any) -> Self:
        """The map of a stored solution, `workers.analyses.linked.Solution`."""
        bias = solution.latent_mean - solution.weight @ solution.mean
        given = solution.weight, bias, solution.latent_mean, solution.whitener, solution.neighbours
        return cls(*given)

    @cached_property
    def metric(self) -> Metric:
        """How unusual shifts of features are: by the sample, else by how far they take w, whitened."""
        if self.sample is not None and len(self.sample) > 1:
            return Metric.of_sample(self.sample)
        return Metric.of(self.whitener @ self.weight)

    def latents(self, features: NDArray[np.floating], residuals: Doubles | None = None) -> Doubles:
        """Latents (..., w_dim) of features (..., units); residuals (..., w_dim) are added."""
        mapped: Doubles = features.astype(np.float64) @ self.weight.T + self.bias
        return mapped if residuals is None else mapped + residuals

    def distances(self, features: NDArray[np.floating], residuals: Doubles | None = None) -> Doubles:
        """How unlikely (...) the latents of features are; as `unlikeliness`."""
        return self.unlikeliness(self.latents(features, residuals))

    def unlikeliness(self, w: NDArray[np.floating]) -> Doubles:
        """Mahalanobis distances (...) of w (..., w_dim) from the fit's mean, per root dimension."""
        white = (w.astype(np.float64) - self.latent_mean) @ self.whitener.T
        lengths: Doubles = np.linalg.norm(white, axis=-1) / np.sqrt(len(self.latent_mean))
        return lengths


@dataclass(frozen=True)
class Look:
    """What features look like once rendered.

    Attributes:
        images: uint8 (batch, height, width, 3).
        logits: float32 (batch, classes) that the classifier reads in the images.
    """

    images: Images
    logits: Floats


@dataclass(frozen=True)
class Models:
    """The models of a search.

    Attributes:
        classifier: Reads, and carries features on to logits.
        generator: Renders.
        linker: From features to latents.
        nonnegative: Whether features are at least 0, so that shifted ones are kept so.
        beat: Called before every call; whatever it raises ends the search.
    """

    classifier: Classifier
    generator: Generator
    linker: Linker
    nonnegative: bool = True
    beat: Callable[[], None] = lambda: None

    def allowed(self, features: NDArray[np.floating]) -> Doubles:
        """Features (batch, units) as a picture may have them."""
        allowed: Doubles = features.astype(np.float64)
        return np.maximum(allowed, 0) if self.nonnegative else allowed

    def look(self, features: NDArray[np.floating], residuals: Doubles | None = None) -> Look:
        """Renders features (batch, units), clipped to what is allowed, and reads the images.

        Args:
            features: (batch, units).
            residuals: (batch, w_dim) of the linker, as `Linker` words it; None for none.
        """
        w = self.linker.latents(self.allowed(features), residuals).astype(np.float32)
        images, logits = [], []
        for part in spans(len(w), 1, LOOKS):
            self.beat()
            images.append(self.generator.render(w[part]))
            self.beat()
            logits.append(self.classifier.read(images[-1])[1])
        return Look(np.concatenate(images), np.concatenate(logits))

    def head(self, features: Doubles) -> Doubles:
        """Logits (batch, classes) of features."""
        self.beat()
        return self.classifier.head(features.astype(np.float32)).astype(np.float64)

    def head_gradient(self, features: Doubles, cotangent: Doubles) -> tuple[Doubles, Doubles]:
        """Logits (batch, classes), and the derivative (batch, units) by features, through the head alone."""
        self.beat()
        logits, gradient = self.classifier.head_gradient(
            features.astype(np.float32), cotangent.astype(np.float32)
        )
        return logits.astype(np.float64), gradient.astype(np.float64)

    def image_gradient(
        self, features: Doubles, images: Images, cotangent: Doubles, residuals: Doubles | None = None
    ) -> Doubles:
        """The derivative (batch, units) by features through linker, generator and the whole classifier.

        Args:
            features: (batch, units), allowed.
            images: What they look like.
            cotangent: (batch, classes), of the logits that are read in the images.
            residuals: (batch, w_dim) of the linker; None for none.
        """
        w = self.linker.latents(features, residuals).astype(np.float32)
        found = []
        for part in spans(len(w), 1, PULLS):
            self.beat()
            pixels = self.classifier.image_gradient(images[part], cotangent[part].astype(np.float32)).pixels
            self.beat()
            pulled = self.generator.vjp(w[part], (PIXEL_STEP * pixels).astype(np.float32))
            found.append(pulled.astype(np.float64) @ self.linker.weight)
        return np.concatenate(found)


def one_hot_difference(targets: Rows, others: Rows, classes: int) -> Doubles:
    """Cotangents (batch, classes) of ``z_target - z_other``."""
    cotangent = np.zeros((len(targets), classes))
    rows = np.arange(len(targets))
    cotangent[rows, targets] += 1
    cotangent[rows, others] -= 1
    return cotangent


def rivals(logits: NDArray[np.floating], targets: Rows) -> Rows:
    """For each row the class (batch,) with the largest logit apart from the target."""
    others = logits.astype(np.float64)
    others[np.arange(len(targets)), targets] = -np.inf
    found: Rows = others.argmax(1).astype(np.int64)
    return found


def margins(logits: NDArray[np.floating], targets: Rows) -> Doubles:
    """By how much (batch,) the target's logit is above the largest other one; negative where it is below."""
    rows = np.arange(len(targets))
    others = rivals(logits, targets)
    difference: Doubles = logits[rows, targets].astype(np.float64) - logits[rows, others]
    return difference
