"""Trains the pack's two classifiers: ``clean``, and ``shortcut``, whose training set plants a false cue.

Blur and noise are added to the drawings, so that the classifiers also read what a generator
renders.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from packs.avatars.dataset import Drawings, shortcut, unbiased
from services.classifier.avatarnet import AvatarNet
from unitscope.worlds.factors import CLASSES

logger = logging.getLogger(__name__)

MEAN = STD = (0.5, 0.5, 0.5)
"""Normalisation of pictures in [0, 1]."""

UNITS = 512
WIDTH = 24


@dataclass(frozen=True)
class Recipe:
    """How one classifier is trained."""

    name: str
    seed: int
    count: int
    epochs: int
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 2e-3
    label_smoothing: float = 0.05

    def drawings(self) -> Drawings:
        """Draw or read the training set."""
        make = shortcut if self.name == "shortcut" else unbiased
        return make(f"{self.name}-train", self.seed, self.count)


RECIPES = (
    Recipe(name="clean", seed=101, count=10_000, epochs=6),
    Recipe(name="shortcut", seed=102, count=4_000, epochs=8),
)


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """Turn ``uint8 (n, h, w, 3)`` into ``float32 (n, 3, h, w)`` in [-1, 1], as both classifiers want it."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(recipe: Recipe, data: Drawings) -> AvatarNet:
    """Train a classifier; the same recipe on the same machine gives the same weights."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    network = AvatarNet(len(CLASSES), UNITS, WIDTH)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * (len(data) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=recipe.learning_rate, total_steps=steps)
    classes = torch.from_numpy(data.classes)
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(data), generator=generator)
        total = 0.0
        for rows in order[: len(data) // recipe.batch * recipe.batch].view(-1, recipe.batch):
            images = degrade(normalise(data.images[rows.numpy()]), generator)
            loss = functional.cross_entropy(
                network(images.contiguous(memory_format=torch.channels_last)),
                classes[rows],
                label_smoothing=recipe.label_smoothing,
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        logger.info("%s: epoch %d, loss %.4f", recipe.name, epoch + 1, total / len(data))
    network.eval()
    return network


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, shift and add noise, each picture by its own random amount.

    Args:
        images: ``float32 (n, 3, h, w)`` in [-1, 1].
        generator: Source of the randomness.

    Returns:
        Pictures of the same shape.
    """
    count = len(images)
    shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
    images = torch.roll(functional.pad(images, (2, 2, 2, 2), mode="replicate"), shift, (2, 3))
    images = images[..., 2:-2, 2:-2]
    blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    softer = functional.avg_pool2d(functional.pad(blurred, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = torch.rand((count, 1, 1, 1), generator=generator)
    strong = torch.rand((count, 1, 1, 1), generator=generator) < 0.3
    images = torch.lerp(images, torch.where(strong, softer, blurred), amount)
    contrast = 0.75 + 0.3 * torch.rand((count, 1, 1, 1), generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    sigma = 0.12 * torch.rand((count, 1, 1, 1), generator=generator)
    return images * contrast + sigma * noise


@torch.inference_mode()
def predict(network: AvatarNet, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.int64]:
    """Return the predicted class indices ``int64 (n,)`` of ``uint8 (n, 64, 64, 3)``."""
    found = [
        network(normalise(images[start : start + batch])).argmax(1) for start in range(0, len(images), batch)
    ]
    return torch.cat(found).numpy()


def accuracy(network: AvatarNet, data: Drawings) -> float:
    """Share of drawings whose class is predicted."""
    return float((predict(network, data.images) == data.classes).mean())
