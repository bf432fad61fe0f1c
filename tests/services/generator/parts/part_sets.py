"""A small part set with made-up pictures, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.generator.parts.dataset import PartSet, write_part_set
from unitscope.models.cards import ModelCard

PARTS = ("background", "hair", "hat")
EDGE, W_DIM = 16, 24


def generator_card(name: str = "tiny/generator", edge: int = EDGE) -> ModelCard:
    spec = {"w_dim": W_DIM, "resolution": edge}
    return ModelCard(
        name=name,
        kind="generator",
        description="",
        license="Apache-2.0",
        architecture={"name": "stylegan-xl", "spec": spec},
        files={},
    )


def small_set(folder: Path, count: int = 3, parts: tuple[str, ...] = PARTS) -> PartSet:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, EDGE, EDGE, 3), np.uint8)
    w = random.standard_normal((count, W_DIM), np.float32)
    return write_part_set(folder, generator_card(), w, images, parts, truncation=0.7, seed=5)


def some_labels(seed: int = 0, parts: int = len(PARTS)) -> np.ndarray:
    random = np.random.default_rng(seed)
    blocks = random.integers(0, parts, (4, 4), np.uint8).repeat(4, 0).repeat(4, 1)
    blocks[0, :3] = 255
    return blocks
