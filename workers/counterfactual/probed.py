"""A head without gradients, such as an ONNX model's, that is affine: its weights are read off by calls."""

from __future__ import annotations

import numpy as np

from unitscope.errors import FailedPreconditionError
from workers.counterfactual.models import Classifier, Doubles, Floats, Images, Pixels

_CHECKS = 8
_AGREEMENT = 1e-3
"""What an affine head's logits may differ by from what was read off, beside their spread."""


class ProbedClassifier:
    """A classifier whose head is computed from weights that were read off."""

    def __init__(self, classifier: Classifier, weight: Doubles, bias: Doubles) -> None:
        """Takes the weight (classes, units) and bias (classes,) of the head."""
        self._classifier = classifier
        self._weight = weight
        self._bias = bias

    def read(self, images: Images) -> tuple[Floats, Floats]:
        """See `Classifier`."""
        return self._classifier.read(images)

    def head(self, features: Floats) -> Floats:
        """See `Classifier`."""
        logits: Floats = (features @ self._weight.T + self._bias).astype(np.float32)
        return logits

    def head_gradient(self, features: Floats, cotangent: Floats) -> tuple[Floats, Floats]:
        """See `Classifier`."""
        gradient: Floats = (cotangent @ self._weight).astype(np.float32)
        return self.head(features), gradient

    def image_gradient(
        self,
        images: Images,
        logits_cotangent: Floats | None = None,
        features_cotangent: Floats | None = None,
    ) -> Pixels:
        """See `Classifier`; the service refuses where it has none."""
        return self._classifier.image_gradient(images, logits_cotangent, features_cotangent)


def probed(classifier: Classifier, features: Floats) -> ProbedClassifier:
    """Reads an affine head off, one row of features a unit, and checks that it is one.

    Args:
        classifier: Whose `head` is called.
        features: (rows, units), at least one row, as images have them; probes are as long as their spread.

    Raises:
        FailedPreconditionError: The head is not affine (reason GRADIENT_NOT_AVAILABLE).
        UnitScopeError: What the service raised.
    """
    units = features.shape[1]
    length = max(float(features.std()), 1e-3)
    steps = length * np.eye(units, dtype=np.float32)
    logits = classifier.head(np.concatenate([np.zeros((1, units), np.float32), steps])).astype(np.float64)
    weight, bias = (logits[1:] - logits[0]).T / length, logits[0]
    noise = np.random.default_rng(0).standard_normal((_CHECKS, units)).astype(np.float32)
    points = features[np.arange(_CHECKS) % len(features)] + length * noise
    expected = points @ weight.T + bias
    error = float(np.abs(classifier.head(points) - expected).max())
    if error > _AGREEMENT * max(1.0, float(np.abs(expected).max())):
        raise FailedPreconditionError(
            f"the head is not affine (its logits are off by {error:.3g}) and the classifier gives no "
            "gradients; import it from torch.export or torchvision, or use a linker of the layer that its "
            "last linear layer reads (`unitscope models layers` lists layers)",
            reason="GRADIENT_NOT_AVAILABLE",
            field="model",
        )
    return ProbedClassifier(classifier, weight, bias)
