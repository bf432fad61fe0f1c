"""Every figure of the pack's cards, as functions of the models and of seeded drawings.

`cards` writes what these return and `check` computes them again, with the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from packs.avatars import readers
from packs.avatars.classifiers import accuracy, normalise, predict
from packs.avatars.dataset import SHORTCUT_CLASS, Drawings, counter_examples, pairs, unbiased
from packs.avatars.perceptual import LiteFeatures
from services.classifier.avatarnet import AvatarNet
from services.generator.network import StyleGanXl, to_uint8
from services.generator.training.distance import frechet_distance
from unitscope.worlds.factors import CLASSES

TRUNCATIONS = (1.0, 0.7)
COUNT = 2000
"""Drawings of every test set of a classifier."""

PAIRS = 2000
"""Drawings, and generated pictures, behind a figure of the generator."""


@dataclass(frozen=True)
class Seeds:
    """Seeds of the drawings that no model was fitted to."""

    test: int = 103
    counter_examples: int = 104
    pairs: int = 301
    others: int = 302
    reader_training: int = 303


SEEDS = Seeds()


def classifier_figures(network: AvatarNet) -> dict[str, Any]:
    """Measure a classifier on unbiased drawings and on counter-examples of the shortcut."""
    test = unbiased("test", SEEDS.test, COUNT)
    counter = counter_examples("counter-examples", SEEDS.counter_examples, COUNT)
    right = predict(network, counter.images) == counter.classes
    bare = counter.classes == CLASSES.index(SHORTCUT_CLASS.value)
    return {
        "accuracy_unbiased": _share(accuracy(network, test)),
        "accuracy_counter_examples": _share(right.mean()),
        f"accuracy_{SHORTCUT_CLASS.value}_without_sunglasses": _share(right[bare].mean()),
        "accuracy_other_classes_with_sunglasses": _share(right[~bare].mean()),
        "drawings_per_set": COUNT,
    }


def generator_figures(network: StyleGanXl, judge: AvatarNet) -> dict[str, Any]:
    """Measure the generator against drawings that it was not fitted to.

    Args:
        network: The generator.
        judge: The pack's clean classifier.
    """
    drawn = pairs("generator-test", SEEDS.pairs, PAIRS)
    others = unbiased("generator-others", SEEDS.others, PAIRS)
    features = LiteFeatures()
    reader = readers.fit(features, unbiased("reader-train", SEEDS.reader_training, PAIRS))
    reference = pooled(features, drawn.images)
    figures: dict[str, Any] = {
        "pictures": PAIRS,
        "drawings": {
            "frechet_distance": round(frechet_distance(pooled(features, others.images), reference), 2),
            "accuracy": _share(accuracy(judge, drawn)),
            "factors_read": _shares(readers.agreement(reader, drawn.images, drawn.classes, drawn.codes)),
        },
    }
    for psi in TRUNCATIONS:
        found = render(network, drawn, psi)
        error = np.abs(found.astype(np.float32) - drawn.images).mean() / 127.5
        figures[f"truncation_{psi:.1f}"] = {
            "l1": round(float(error), 4),
            "frechet_distance": round(frechet_distance(pooled(features, found), reference), 2),
            "accuracy": _share((predict(judge, found) == drawn.classes).mean()),
            "factors_read": _shares(readers.agreement(reader, found, drawn.classes, drawn.codes)),
        }
    return figures


@torch.inference_mode()
def render(network: StyleGanXl, drawn: Drawings, truncation: float) -> NDArray[np.uint8]:
    """Return the generator's pictures for the drawings' ``z`` and classes, ``uint8 (n, 64, 64, 3)``."""
    z, classes = torch.from_numpy(drawn.z), torch.from_numpy(drawn.classes)
    w = network.mapping(z, classes, truncation)
    return torch.cat([to_uint8(network.synthesis(part)) for part in w.split(64)]).numpy()


@torch.inference_mode()
def pooled(features: LiteFeatures, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the pooled last features of EfficientNet-Lite0, ``float64 (n, 1280)``."""
    parts = [features.pooled(normalise(images[start : start + 128])) for start in range(0, len(images), 128)]
    return torch.cat(parts).double().numpy()


def _share(value: float) -> float:
    return round(float(value), 4)


def _shares(values: dict[str, float]) -> dict[str, float]:
    return {name: _share(value) for name, value in values.items()}
