"""Trains the pack's parts model from its 20 labelled pictures, and measures it against the ruler.

The ruler judges; it takes no part in the training. Its own errors, on its card, bound what these
figures can say.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packs.avatars import pack
from packs.avatars.dataset import label_maps
from packs.avatars.labels import SEEDS, TRUNCATION, examples, write_labels
from packs.avatars.paths import MODELS
from packs.avatars.ruler import Ruler, load
from services.generator.backend import GeneratorBackend
from services.generator.parts.clustering import cluster
from services.generator.parts.evaluation import iou
from services.generator.parts.network import PartsNetwork
from services.generator.parts.store import load_parts, save_parts
from services.generator.parts.training import STEPS, train
from unitscope.models.cards import WEIGHTS_FILE, ModelCard
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.latents import Z_DIM
from unitscope.worlds.parts import PARTS

NAME = "avatars/parts"
COUNTS = (1, 5, 10, 20)
SEED = 0

TEST_SEED, TEST_PICTURES = 604, 200
MATCH_SEED, MATCH_PICTURES = 605, 50
CLUSTER_SEED, CLUSTER_PICTURES, CLUSTERS = 606, 300, 32

_DESCRIPTION = (
    "Labels nine parts of what avatars/generator renders, from its hidden features: background, clothes, "
    "face, mouth, eyes, hair, hat, facial hair and glasses. Trained from 20 labelled pictures, whose label "
    "maps are those of the drawings of the same factors."
)


def train_and_write() -> ModelCard:
    """Train the parts model from all labelled pictures and write it, with a card without figures."""
    backend = GeneratorBackend(pack.read_generator())
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        part_set = write_labels(Path(folder) / "labels", backend)
        labels = part_set.label_maps(range(len(part_set)))
        network = train(backend.network, part_set.w, labels, part_set.parts, seed=SEED)
    card = save_parts(
        MODELS.parent,
        NAME,
        network,
        pack.read_card("generator"),
        description=_DESCRIPTION,
        license=pack.LICENSE,
        training={
            "command": "python -m packs.avatars parts",
            "data": "python -m packs.avatars labels FOLDER: 20 pictures of avatars/generator with label "
            "maps of the drawings of their factors, chosen by eye (packs/avatars/labels.py)",
            "labelled_pictures": len(SEEDS),
            "truncation": TRUNCATION,
            "seed": SEED,
            "steps": STEPS,
            "seconds": round(time.monotonic() - started),
        },
    )
    # safetensors makes files that only their owner can read; a pack is for everyone.
    (MODELS / "parts" / WEIGHTS_FILE).chmod(0o644)
    return card


def read() -> PartsNetwork:
    """Load the pack's parts model.

    Raises:
        DataLossError: If its weights are not the ones that the card speaks of.
    """
    return load_parts(pack.read_card("parts"), MODELS / "parts", pack.read_card("generator"))


def figures() -> dict[str, Any]:
    """Measure the shipped model, and models of fewer labelled pictures and of none, against the ruler."""
    backend, ruler = GeneratorBackend(pack.read_generator()), load()
    test = _Judged(backend, ruler, TEST_SEED, TEST_PICTURES)
    w = backend.map(examples().z, examples().classes, TRUNCATION)
    labels = label_maps(examples())
    found: dict[str, Any] = {
        "judge": f"avatars/ruler@sha256:{pack.read_card('ruler').short_digest}",
        "test_pictures": TEST_PICTURES,
        "truncation": TRUNCATION,
        "iou": test.score(read()),
        "iou_by_labelled_pictures": {},
    }
    for count in COUNTS[:-1]:
        network = train(backend.network, w[:count], labels[:count], PARTS, seed=SEED)
        found["iou_by_labelled_pictures"][str(count)] = test.score(network)
    found["iou_by_labelled_pictures"][str(COUNTS[-1])] = found["iou"]
    found["iou_unsupervised"] = {
        "clusters": CLUSTERS,
        "clustered_pictures": CLUSTER_PICTURES,
        "matching_pictures": MATCH_PICTURES,
        **_unsupervised(backend, ruler, test),
    }
    return found


class _Judged:
    """Generated pictures at truncation 1, classes in turn, with the ruler's label maps."""

    def __init__(self, backend: GeneratorBackend, ruler: Ruler, seed: int, count: int) -> None:
        self.backend = backend
        self.w = latents(backend, seed, count)
        self.truth = ruler.labels(backend.render(self.w))

    def labels(self, network: PartsNetwork) -> NDArray[np.uint8]:
        """What a parts network says of the pictures."""
        return self.backend.render_parts(self.w, network)[1]

    def score(self, network: PartsNetwork) -> dict[str, Any]:
        """IoU by part, and the mean."""
        return score(self.labels(network), self.truth)


def score(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the IoU of every part and their mean, rounded, for the card."""
    result = iou(found, truth, PARTS)
    by_part = {part: round(value, 4) for part, value in result.by_part.items()}
    return {"mean": round(result.mean, 4), **by_part}


def latents(backend: GeneratorBackend, seed: int, count: int) -> NDArray[np.float32]:
    """Draw w at truncation 1, classes in turn: ``float32 (count, w_dim)``."""
    z = np.random.Generator(np.random.PCG64(seed)).standard_normal((count, Z_DIM)).astype(np.float32)
    return backend.map(z, np.arange(count) % len(CLASSES), TRUNCATION)


def match(clusters: NDArray[np.uint8], truth: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Give every cluster the part that it overlaps most, ``uint8 (count,)``: several may share one."""
    table = np.bincount(
        clusters.astype(np.int64).ravel() * len(PARTS) + truth.ravel(), minlength=count * len(PARTS)
    )
    parts: NDArray[np.uint8] = table.reshape(count, len(PARTS)).argmax(axis=1).astype(np.uint8)
    return parts


def _unsupervised(backend: GeneratorBackend, ruler: Ruler, test: _Judged) -> dict[str, Any]:
    """Clusters, called by the part that they overlap most on other pictures than those of the test."""
    w = latents(backend, CLUSTER_SEED, CLUSTER_PICTURES)
    network = cluster(backend.network, w, CLUSTERS, seed=SEED)
    known = _Judged(backend, ruler, MATCH_SEED, MATCH_PICTURES)
    parts = match(known.labels(network), known.truth, CLUSTERS)
    return score(parts[test.labels(network)], test.truth)
