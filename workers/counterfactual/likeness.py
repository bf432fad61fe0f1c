"""How like a user's image the picture of a w is: the loss that `inversion` minimises, and its gradient.

::

    pixels(w) / pixels(w0) + f * features(w) / features(w0) + p * max(0, distance(w) / furthest - 1)^2

with w0 the linker's w and mean squares of differences from the image, features divided by their standard
deviations. It is a function of whitened w, in which all directions of the generator's own w are equally long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workers.counterfactual.models import PIXEL_STEP, Doubles, Floats, Images, Models, Rows

_FINEST = 1.0
"""Mean squares of pixels are taken relative to this at least, a grey level: what rounding leaves."""
_NEAREST = 1e-4
"""Likewise of features, as a share of the image's own."""
_RAREST = 0.05
"""Units that vary by less than this share of what units do on average count as if they varied so much."""


def read(models: Models, images: Images) -> tuple[Floats, Floats]:
    """Features (rows, units) and logits (rows, classes) of images."""
    models.beat()
    return models.classifier.read(images)


@dataclass(frozen=True)
class Seen:
    """What w look like: w (rows, w_dim), images, and features and logits read in them."""

    w: Doubles
    images: Images
    features: Floats
    logits: Floats

    def at(self, chosen: NDArray[np.bool_]) -> Seen:
        """See `quasi_newton.Seen`."""
        return Seen(self.w[chosen], self.images[chosen], self.features[chosen], self.logits[chosen])


def look_at(models: Models, w: Doubles) -> Seen:
    """Renders w (rows, w_dim) and reads the pictures."""
    models.beat()
    images = models.generator.render(w.astype(np.float32))
    return Seen(w, images, *read(models, images))


@dataclass(frozen=True)
class Photos:
    """What is to be found: pixels (rows, height, width, 3) and the features (rows, units) read in them."""

    pixels: Doubles
    features: Doubles

    def error(self, images: Images) -> Doubles:
        """Root mean squared differences (rows,) of pixels."""
        error: Doubles = np.sqrt(((images - self.pixels) ** 2).mean((1, 2, 3)))
        return error

    def feature_error(self, features: Floats) -> Doubles:
        """Relative L2 distances (rows,) of features."""
        lengths = np.maximum(np.linalg.norm(self.features, axis=1), 1e-12)
        error: Doubles = np.linalg.norm(features - self.features, axis=1) / lengths
        return error


@dataclass(frozen=True)
class Likeness:
    """The loss of the module, as a function of whitened w.

    Attributes:
        models: Who is asked.
        photos: What is to be found.
        feature_weight: f.
        plausibility_weight: p.
        furthest: Within which no w is pulled.
        inverse: (units,) one over the standard deviations.
        pixel_scale: (rows,) by which mean squares of pixels are divided.
        feature_scale: (rows,) likewise of features.
        unwhitener: (w_dim, w_dim), the inverse of the linker's whitener.
    """

    models: Models
    photos: Photos
    feature_weight: float
    plausibility_weight: float
    furthest: float
    inverse: Doubles
    pixel_scale: Doubles
    feature_scale: Doubles
    unwhitener: Doubles

    @classmethod
    def of(
        cls,
        models: Models,
        photos: Photos,
        start: Seen,
        weights: tuple[float, float],
        furthest: float,
        std: NDArray[np.floating] | None,
    ) -> Likeness:
        """The loss that is 1 + f at the linker's w, where that is plausible.

        Args:
            models: Who is asked.
            photos: What is to be found.
            start: What the linker's w look like.
            weights: f and p.
            furthest: Within which no w is pulled; infinite for no pull at all.
            std: (units,) standard deviations of features; None to take features as they are.
        """
        inverse = np.ones(photos.features.shape[1])
        if std is not None and std.any():
            inverse = 1 / np.maximum(std.astype(np.float64), _RAREST * std.mean())
        ones = np.ones(len(photos.pixels))
        unwhitener: Doubles = np.linalg.inv(models.linker.whitener).astype(np.float64)
        plain = cls(models, photos, *weights, furthest, inverse, ones, ones, unwhitener)
        everything = np.arange(len(ones))
        own = ((inverse * photos.features) ** 2).mean(1)
        return replace(
            plain,
            pixel_scale=np.maximum(plain._pixels(everything, start), _FINEST),
            feature_scale=np.maximum(plain._features(everything, start), _NEAREST * np.maximum(own, 1e-12)),
        )

    def whitened(self, w: Doubles) -> Doubles:
        """Coordinates (rows, w_dim) of w."""
        points: Doubles = (w - self.models.linker.latent_mean) @ self.models.linker.whitener.T
        return points

    def latents(self, points: Doubles) -> Doubles:
        """The w (rows, w_dim) of coordinates."""
        w: Doubles = self.models.linker.latent_mean + points @ self.unwhitener.T
        return w

    def _pixels(self, rows: Rows, seen: Seen) -> Doubles:
        """Mean squares (rows,) of pixels, relative."""
        squares: Doubles = ((seen.images - self.photos.pixels[rows]) ** 2).mean((1, 2, 3))
        return squares / self.pixel_scale[rows]

    def _features(self, rows: Rows, seen: Seen) -> Doubles:
        """Mean squares (rows,) of features, relative."""
        scaled = self.inverse * (seen.features - self.photos.features[rows])
        squares: Doubles = (scaled**2).mean(1)
        return squares / self.feature_scale[rows]

    def _beyond(self, points: Doubles) -> tuple[Doubles, Doubles]:
        """How far (rows,) points lie beyond the furthest, as a share of it, and their distances."""
        distances: Doubles = np.linalg.norm(points, axis=1) / np.sqrt(points.shape[1])
        return np.maximum(distances / self.furthest - 1, 0), distances

    def value(self, rows: Rows, points: Doubles) -> tuple[Doubles, Seen]:
        """See `quasi_newton.Objective`."""
        seen = look_at(self.models, self.latents(points))
        pull = self.plausibility_weight * self._beyond(points)[0] ** 2
        features = self.feature_weight * self._features(rows, seen)
        return self._pixels(rows, seen) + features + pull, seen

    def gradient(self, rows: Rows, points: Doubles, seen: Seen) -> Doubles:
        """See `quasi_newton.Objective`."""
        difference = seen.images - self.photos.pixels[rows]
        scale = 2 / difference[0].size / self.pixel_scale[rows]
        by_pixel = difference * scale[:, None, None, None]
        if self.feature_weight > 0:
            share = 2 * self.feature_weight / seen.features.shape[1] / self.feature_scale[rows]
            by_feature = share[:, None] * self.inverse**2 * (seen.features - self.photos.features[rows])
            self.models.beat()
            pulled = self.models.classifier.image_gradient(
                seen.images, features_cotangent=by_feature.astype(np.float32)
            )
            by_pixel = by_pixel + pulled.pixels
        self.models.beat()
        w, cotangent = seen.w.astype(np.float32), (PIXEL_STEP * by_pixel).astype(np.float32)
        by_point: Doubles = self.models.generator.vjp(w, cotangent).astype(np.float64) @ self.unwhitener
        beyond, distances = self._beyond(points)
        outward = points / np.maximum(distances, 1e-12)[:, None] / points.shape[1]
        pull = 2 * self.plausibility_weight * beyond / self.furthest
        total: Doubles = by_point + pull[:, None] * outward
        return total
