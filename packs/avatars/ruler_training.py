"""Trains the ruler on drawings alone: disturbed, so that it also reads what a generator renders.

The time budget rules the schedule. Every epoch's checkpoint replaces the one before it atomically; a
run that is started again with the same budget goes on from there.
"""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from packs.avatars.classifiers import normalise
from packs.avatars.dataset import Drawings, label_maps, unbiased
from packs.avatars.paths import WORK
from packs.avatars.readers import visible
from packs.avatars.ruler import RulerNetwork, split
from unitscope.worlds.parts import PARTS

logger = logging.getLogger(__name__)

STATE = WORK / "ruler.safetensors"
HIDDEN = -1
"""The code of a factor that the drawing does not show: it does not count."""


@dataclass(frozen=True)
class Recipe:
    """How the ruler is trained.

    Attributes:
        seed: Of weights, order and disturbances.
        data_seed: Of the drawings' factors.
        count: Number of drawings.
        batch: Drawings a step.
        learning_rate: Of AdamW at its highest, ...
        warm_up: ... to which it rises over this share of the budget.
        weight_decay: Of AdamW.
        label_smoothing: Of the factors' cross-entropy.
        reader_weight: Of the factors' loss, a mean over factors, beside that of the parts.
    """

    seed: int = 51
    data_seed: int = 501
    count: int = 10_000
    batch: int = 64
    learning_rate: float = 3e-3
    warm_up: float = 0.03
    weight_decay: float = 5e-3
    label_smoothing: float = 0.02
    reader_weight: float = 0.5

    def drawings(self) -> Drawings:
        """Draw or read the training set."""
        return unbiased("ruler-train", self.data_seed, self.count)


class Trainer:
    """One training, from its recipe to its last checkpoint."""

    def __init__(self, recipe: Recipe, data: Drawings) -> None:
        """Build the network, its optimiser and the targets."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.data = recipe, data
        self.network = RulerNetwork().train()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=recipe.weight_decay)
        self.labels = torch.from_numpy(label_maps(data))
        self.codes = torch.from_numpy(targets(data))
        self.weights = part_weights(self.labels)
        self.epoch, self.seconds = 0, 0.0

    def run_epoch(self, progress: float, share: float) -> float:
        """Go through the drawings once.

        Args:
            progress: Share of the budget that is spent at the epoch's start, ...
            share: ... and that the epoch will take; the learning rate follows both.

        Returns:
            The mean loss.
        """
        # An epoch's randomness follows from its number, so that a resumed run does as one in one piece.
        generator = torch.Generator().manual_seed(1000 * self.recipe.seed + self.epoch)
        torch.manual_seed(1000 * self.recipe.seed + self.epoch)  # for the dropout
        order = torch.randperm(len(self.data), generator=generator).numpy()
        batches = np.array_split(order, max(1, len(order) // self.recipe.batch))
        total = 0.0
        for index, batch in enumerate(batches):
            spent = progress + share * index / len(batches)
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate(spent)
            total += self._step(np.sort(batch), generator) * len(batch)
        self.epoch += 1
        return total / len(self.data)

    def _step(self, rows: NDArray[np.int64], generator: torch.Generator) -> float:
        images, labels = disturb(normalise(self.data.images[rows]), self.labels[rows], generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            parts, values = self.network(images.contiguous(memory_format=torch.channels_last))
        codes = self.codes[rows]
        loss = functional.cross_entropy(parts.float(), labels.long(), self.weights)
        readers = [
            functional.cross_entropy(
                logits, codes[:, i], ignore_index=HIDDEN, label_smoothing=self.recipe.label_smoothing
            )
            for i, logits in enumerate(split(values.float()).values())
            if (codes[:, i] != HIDDEN).any()
        ]
        loss = loss + self.recipe.reader_weight * torch.stack(readers).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def _learning_rate(self, spent: float) -> float:
        rise = min(1.0, (spent + 1e-3) / self.recipe.warm_up)
        return (
            self.recipe.learning_rate * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(spent, 1))))
        )

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors.update({f"optimiser.{index}.{name}": value for name, value in moments.items()})
        said = {"recipe": asdict(self.recipe), "epoch": self.epoch, "seconds": self.seconds}
        partial = path.with_suffix(".partial")
        flat = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        save_file(flat, partial, metadata={"state": json.dumps(said)})
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: It is another recipe's.
        """
        with safe_open(path, "pt") as file:
            said = json.loads(file.metadata()["state"])
        if said["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path.name} was made by the recipe {said['recipe']}; delete it to start again")
        tensors = load_file(path)
        of_network = {n.removeprefix("network."): v for n, v in tensors.items() if n.startswith("network.")}
        self.network.load_state_dict(of_network)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.epoch, self.seconds = said["epoch"], said["seconds"]

    def result(self) -> RulerNetwork:
        """Return the network in evaluation mode."""
        self.network.eval()
        return self.network


def train(recipe: Recipe, minutes: float, state: Path = STATE) -> Trainer:
    """Train within a budget of minutes, going on from the last checkpoint."""
    trainer = Trainer(recipe, recipe.drawings())
    if state.exists():
        trainer.load(state)
        logger.info("going on after epoch %d, %.0f s", trainer.epoch, trainer.seconds)
    budget = 60 * minutes
    longest = 0.0
    while trainer.seconds + longest < budget:
        started = time.monotonic()
        # The first epoch's length is not known yet; a wrong guess bends its learning rate only.
        share = (longest or min(60.0, budget)) / budget
        loss = trainer.run_epoch(trainer.seconds / budget, share)
        longest = time.monotonic() - started
        trainer.seconds += longest
        trainer.save(state)
        logger.info("epoch %d: loss %.4f, %.0f s in all", trainer.epoch, loss, trainer.seconds)
    return trainer


def targets(data: Drawings) -> NDArray[np.int64]:
    """Return the class and the codes, ``int64 (n, 11)``, :data:`HIDDEN` where the drawing hides a factor."""
    shown = np.where(visible(data.classes, data.codes), data.codes, HIDDEN)
    return np.column_stack([data.classes, shown])


def part_weights(labels: Tensor) -> Tensor:
    """Weights of the parts' cross-entropy, ``float32 (9,)``: rarer parts count more, by the square root."""
    shares = torch.bincount(labels.flatten().int(), minlength=len(PARTS)).float() / labels.numel()
    weights = shares.clamp_min(1e-4).rsqrt()
    return weights / (weights * shares).sum()


def disturb(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bend, move, blur and tint pictures, each by its own random amount, and their label maps along.

    Args:
        images: ``float32 (n, 3, h, w)`` in [-1, 1].
        labels: ``uint8 (n, h, w)``.
        generator: Source of the randomness.

    Returns:
        Pictures and label maps of the same shapes.
    """
    count, _, height, width = images.shape
    grid = _bent_grid(count, height, width, generator)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    moved = functional.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )

    def random(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand((count, channels, 1, 1), generator=generator)

    softer = [images]
    for _ in range(3):
        padded = functional.pad(softer[-1], (1, 1, 1, 1), mode="replicate")
        softer.append(functional.avg_pool2d(padded, 3, stride=1))
    strength = random(0, 1)
    blurred = torch.where(strength < 0.5, softer[1], torch.where(strength < 0.8, softer[2], softer[3]))
    # Below 0 it sharpens a little: a generator may overshoot at an edge.
    images = torch.lerp(images, blurred, random(-0.2, 1))
    images = images * random(0.8, 1.1) * random(0.95, 1.05, 3) + random(-0.06, 0.06, 3)
    images = images + random(0, 0.1) * torch.randn(images.shape, generator=generator)
    return images.clamp(-1, 1), moved[:, 0].to(torch.uint8)


def _bent_grid(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Sampling positions ``(n, h, w, 2)``: shifts to 3 pixels, turns to 4 degrees, sizes to 6 %, bends."""

    def random(scale: float, *shape: int) -> Tensor:
        return scale * (2 * torch.rand((count, *shape), generator=generator) - 1)

    angle, size = random(math.radians(4)), 1 + random(0.06)
    sine, cosine = size * angle.sin(), size * angle.cos()
    shift_x, shift_y = random(6 / width), random(6 / height)
    affine = torch.stack([cosine, -sine, shift_x, sine, cosine, shift_y], dim=1).view(count, 2, 3)
    grid = functional.affine_grid(affine, [count, 3, height, width], align_corners=False)
    coarse = random(2.4 / width, 2, 6, 6)
    bend = functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return grid + bend.permute(0, 2, 3, 1)
