"""Reads factors off pictures: one ridge regression per factor on fixed features, fitted to drawings.

The features are outputs of two blocks of EfficientNet-Lite0, pooled; the regression has a closed
form, so that anyone who checks the card fits the same readers. Half of the drawings are degraded
first, because the readers are for generated pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from packs.avatars.classifiers import degrade, normalise
from packs.avatars.dataset import Drawings
from packs.avatars.perceptual import LiteFeatures
from unitscope.worlds.factors import CLASSES, HEADWEAR, NAMES, VALUES, FacialHair, Glasses, Top

_PENALTY = 30.0


@dataclass(frozen=True, eq=False)
class Readers:
    """Fitted readers.

    Attributes:
        mean: Mean of the features, ``(f,)``.
        weights: One ``(f + 1, values)`` matrix a factor; the last row is the constant.
    """

    features: LiteFeatures
    mean: NDArray[np.float64]
    weights: tuple[NDArray[np.float64], ...]

    def read(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the codes ``int64 (n, 10)`` read off ``uint8 (n, 64, 64, 3)``."""
        centred = _with_constant(describe(self.features, images) - self.mean)
        return np.stack([(centred @ w).argmax(1) for w in self.weights], axis=1)


def fit(features: LiteFeatures, data: Drawings, seed: int = 11) -> Readers:
    """Fit one reader a factor to the drawings that show it."""
    generator = torch.Generator().manual_seed(seed)
    half = len(data) // 2
    degraded = degrade(normalise(data.images[half:]), generator)
    noisy = ((degraded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    x = np.concatenate([describe(features, data.images[:half]), describe(features, noisy.numpy())])
    mean = x.mean(0)
    centred = _with_constant(x - mean)
    # The dual form: there are fewer drawings than features.
    kernel = centred @ centred.T
    kernel[np.diag_indices_from(kernel)] += _PENALTY
    seen = visible(data.classes, data.codes)
    weights = []
    for i, name in enumerate(NAMES):
        # A drawing that hides a factor teaches nothing about it.
        rows = seen[:, i]
        targets = np.eye(len(VALUES[name]))[data.codes[rows, i]]
        dual = np.linalg.solve(kernel[np.ix_(rows, rows)], targets)
        weights.append(centred[rows].T @ dual)
    return Readers(features, mean, tuple(weights))


@torch.inference_mode()
def describe(features: LiteFeatures, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return pooled block outputs, ``float64 (n, 24 * 12 * 12 + 40 * 12 * 12)``."""
    found = []
    for start in range(0, len(images), 128):
        fine, coarse = features.blocks(normalise(images[start : start + 128]))
        pooled = functional.avg_pool2d(fine, 2)
        found.append(torch.cat([pooled.flatten(1), coarse.flatten(1)], dim=1).numpy())
    return np.concatenate(found).astype(np.float64)


def visible(classes: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say for each row which factors can be seen, ``bool (n, 10)``.

    The eyes hide behind sunglasses, a hat's colour needs a hat, the hair's colour needs hair or
    facial hair.
    """
    seen = np.ones(codes.shape, dtype=bool)
    covered = np.isin(classes, [CLASSES.index(Top(top).value) for top in HEADWEAR])
    column = {name: index for index, name in enumerate(NAMES)}
    shaven = codes[:, column["facial_hair"]] == VALUES["facial_hair"].index(FacialHair.NONE)
    shaded = codes[:, column["glasses"]] == VALUES["glasses"].index(Glasses.SUNGLASSES)
    seen[:, column["hat_colour"]] = covered
    seen[:, column["hair_colour"]] = ~(covered & shaven)
    seen[:, column["eyes"]] = ~shaded
    return seen


def agreement(
    readers: Readers, images: NDArray[np.uint8], classes: NDArray[np.int64], codes: NDArray[np.int64]
) -> dict[str, float]:
    """Return for each factor the share of pictures, among those that show it, that are read as meant."""
    right = readers.read(images) == codes
    seen = visible(classes, codes)
    return {name: float(right[seen[:, i], i].mean()) for i, name in enumerate(NAMES)}


def _with_constant(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)
