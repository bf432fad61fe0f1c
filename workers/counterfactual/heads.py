"""A head without gradients, such as an ONNX model's: calls of it stand in for them.

An affine head is read off once, one call a unit. Any other head is differentiated by central differences at
each point, two rows a unit: slower, but the same search.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workers.clients.batches import spans
from workers.counterfactual.models import Classifier, Doubles, Floats

_CHECKS = 8
_AGREEMENT = 1e-3
"""What an affine head's logits may differ by from what was read off, beside their spread."""
_STEP = 0.01
"""Of a difference, as a share of the features' spread: float32 leaves it five digits of the logits."""
_BLOCK_BYTES = 64 << 20
"""Rows of features that are made at a time."""


class _Answering:
    """A classifier of which all but the head is the service's."""

    def __init__(self, classifier: Classifier) -> None:
        self.read = classifier.read
        self.image_gradient = classifier.image_gradient


class AffineHead(_Answering):
    """A classifier whose head is computed from weights that were read off."""

    def __init__(self, classifier: Classifier, weight: Doubles, bias: Doubles) -> None:
        """Takes the weight (classes, units) and bias (classes,) of the head."""
        super().__init__(classifier)
        self._weight = weight
        self._bias = bias

    def head(self, features: Floats) -> Floats:
        """See `Classifier`."""
        logits: Floats = (features @ self._weight.T + self._bias).astype(np.float32)
        return logits

    def head_gradient(self, features: Floats, cotangent: Floats) -> tuple[Floats, Floats]:
        """See `Classifier`."""
        gradient: Floats = (cotangent @ self._weight).astype(np.float32)
        return self.head(features), gradient


class DifferencedHead(_Answering):
    """A classifier whose head is differentiated by what it says on either side of a point."""

    def __init__(
        self, classifier: Classifier, step: float, nonnegative: bool, beat: Callable[[], None]
    ) -> None:
        """Takes how far to step in each unit, whether below 0 too, and what is called before every call."""
        super().__init__(classifier)
        self.head = classifier.head
        self._step = step
        self._floor = 0.0 if nonnegative else -np.inf
        self._beat = beat

    def head_gradient(self, features: Floats, cotangent: Floats) -> tuple[Floats, Floats]:
        """See `Classifier`; each point is differentiated once, whatever its cotangents."""
        points, inverse = np.unique(features, axis=0, return_inverse=True)
        places, gradient = inverse.reshape(-1), np.empty(features.shape, np.float32)
        for number, point in enumerate(points):
            asking = places == number
            gradient[asking] = cotangent[asking].astype(np.float64) @ self._jacobian(point).T
        self._beat()
        return self.head(points)[places], gradient

    def _jacobian(self, point: Floats) -> Doubles:
        """The derivative (units, classes) of the logits at a point (units,)."""
        found = []
        for part in spans(len(point), 2 * point.nbytes, len(point), _BLOCK_BYTES):
            numbers = np.arange(part.start, part.stop)
            lower, upper = (np.tile(point, (len(numbers), 1)) for _ in range(2))
            rows = np.arange(len(numbers))
            lower[rows, numbers] = np.maximum(point[part] - self._step, self._floor)
            upper[rows, numbers] = point[part] + self._step
            # As float32 has them: the step itself is rounded.
            lengths = upper[rows, numbers].astype(np.float64) - lower[rows, numbers]
            self._beat()
            logits = self.head(np.concatenate([lower, upper])).astype(np.float64)
            found.append((logits[len(rows) :] - logits[: len(rows)]) / lengths[:, None])
        return np.concatenate(found)


def probed(
    classifier: Classifier,
    features: Floats,
    nonnegative: bool = True,
    beat: Callable[[], None] = lambda: None,
) -> Classifier:
    """A classifier with a head gradient that comes of calls of its head.

    Args:
        classifier: Whose `head` is called.
        features: (rows, units), at least one row, as images have them; probes are as long as their spread.
        nonnegative: Whether features are at least 0: a head is not asked about others.
        beat: Called before every call of a head that is not affine.

    Raises:
        UnitScopeError: What the service raised.
    """
    length = max(float(features.std()), 1e-3)
    weight, bias = _read_off(classifier, features.shape[1], length)
    noise = np.random.default_rng(0).standard_normal((_CHECKS, features.shape[1])).astype(np.float32)
    points = features[np.arange(_CHECKS) % len(features)] + np.float32(length) * noise
    points = np.maximum(points, 0) if nonnegative else points
    expected = points @ weight.T + bias
    error = float(np.abs(classifier.head(points) - expected).max())
    if error <= _AGREEMENT * max(1.0, float(np.abs(expected).max())):
        return AffineHead(classifier, weight, bias)
    return DifferencedHead(classifier, _STEP * length, nonnegative, beat)


def _read_off(classifier: Classifier, units: int, length: float) -> tuple[Doubles, Doubles]:
    """Weight (classes, units) and bias (classes,) that an affine head has."""
    nothing = np.zeros((1, units), np.float32)
    bias = classifier.head(nothing)[0].astype(np.float64)
    found = []
    for part in spans(units, nothing.nbytes, units, _BLOCK_BYTES):
        steps = length * np.eye(part.stop - part.start, units, part.start, dtype=np.float32)
        found.append((classifier.head(steps).astype(np.float64) - bias) / np.float64(np.float32(length)))
    return np.concatenate(found).T, bias
