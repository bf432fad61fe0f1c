"""Fits the generator to drawn avatars, with supervision: a `w` and the picture that it should give.

The mapping network is constructed (`packs.avatars.mapping`) and stays as it is. The synthesis
network starts from random weights and is fitted to (w, drawing) pairs under an L1 loss and a loss
on EfficientNet-Lite0 features. The time budget rules the schedule, so that a slower machine gets
fewer steps and not a wrong learning rate. Every checkpoint replaces the one before it atomically; a
run that is started again goes on from there.

A state is one safetensors file: weights, their running mean, the optimiser's moments, and the
position of the random generator; scalars are in its metadata.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from packs.avatars.dataset import Drawings, draw_codes, pairs
from packs.avatars.mapping import EMBED_DIM, W_DIM, construct_mapping
from packs.avatars.paths import WORK
from packs.avatars.perceptual import LiteFeatures, relative_l1
from packs.avatars.sheets import save_rows
from services.generator.design import stem_spec
from services.generator.network import StyleGanXl, to_uint8
from services.generator.specs import NetworkSpec
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.latents import Z_DIM, read_codes

logger = logging.getLogger(__name__)

STATE = WORK / "generator.safetensors"
SHEET = WORK / "generator-sheet.png"
FACE = (slice(25, 50), slice(17, 47))
"""Rows and columns in which eyes, glasses and mouth of every avatar lie."""


@dataclass(frozen=True)
class Recipe:
    """How the generator is fitted.

    Attributes:
        seed: Of weights and batches.
        data_seed: Of the latents that are drawn.
        count: Number of drawings.
        learning_rate: Of Adam at its highest.
        warm_up: Steps over which the learning rate rises.
        batches: Batch size in the first third of the budget, and after it.
        ema: Share of the running mean of the weights that a step keeps.
        feature_weight: Of the loss on features; that of L1 is 2.
        truncation: Lowest truncation, drawn uniformly up to 1 ...
        truncated: ... for this share of the samples, after the first third.
        face_weight: Of the pixels of eyes and mouth in L1, over all others, ...
        face_from: ... once this share of the budget is spent: first the large shapes, then these.
    """

    seed: int = 1
    data_seed: int = 201
    count: int = 40_000
    learning_rate: float = 8e-3
    warm_up: int = 100
    batches: tuple[int, int] = (16, 32)
    ema: float = 0.997
    feature_weight: float = 0.25
    truncation: float = 0.55
    truncated: float = 0.6
    face_weight: float = 3.0
    face_from: float = 0.4

    def drawings(self) -> Drawings:
        """Draw or read the training pairs."""
        return pairs("generator-train", self.data_seed, self.count)


def spec() -> NetworkSpec:
    """Return the generator's architecture: 64 pixels, 7 layers, 24 channels or more at full resolution."""
    return stem_spec(
        64,
        7,
        channel_base=1024,
        channel_max=128,
        margin=2,
        first_cutoff=4.0,
        first_stopband=7.9,
        channel_min=24,
        z_dim=Z_DIM,
        w_dim=W_DIM,
        num_classes=len(CLASSES),
        embed_dim=EMBED_DIM,
    )


class Trainer:
    """One fit, from its recipe to its last checkpoint."""

    def __init__(self, recipe: Recipe, data: Drawings, *, network_spec: NetworkSpec | None = None) -> None:
        """Build the network, its optimiser and the pairs.

        Args:
            recipe: How to fit.
            data: Drawings with their ``z``.
            network_spec: Another architecture than :func:`spec`, for tests.
        """
        torch.manual_seed(recipe.seed)
        self.recipe, self.data = recipe, data
        self.network = StyleGanXl(network_spec or spec())
        construct_mapping(self.network)
        self.centre = self.network.mapping.w_avg.mean(0)
        with torch.no_grad():
            classes = torch.from_numpy(data.classes)
            self.w = self.network.mapping(torch.from_numpy(data.z), classes)
            self.w_avg = self.network.mapping.w_avg[classes]
        self.parameters = dict(self.network.synthesis.named_parameters())
        self.mean = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimiser = torch.optim.Adam(
            self.parameters.values(), lr=recipe.learning_rate, betas=(0.9, 0.99), foreach=True
        )
        self.features = LiteFeatures()
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.step, self.images, self.seconds = 0, 0, 0.0

    def train_step(self, progress: float) -> float:
        """Make one step.

        Args:
            progress: Share of the budget that is spent, in [0, 1].

        Returns:
            The mean absolute difference to the drawings, on [-1, 1].
        """
        recipe = self.recipe
        late = progress > 1 / 3
        rows = torch.randint(len(self.data), (recipe.batches[late],), generator=self.random)
        w = self._truncated(rows) if late else self.w[rows]
        wanted = torch.from_numpy(self.data.images[rows.numpy()]).permute(0, 3, 1, 2)
        wanted = wanted.float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            found = self.network.synthesis(w - self.centre)
            with torch.no_grad():
                wanted_features = self.features.blocks(wanted)
            features = relative_l1(self.features.blocks(found), wanted_features)
        difference = (found - wanted).abs()
        l1 = difference.mean()
        loss = 2 * l1 + recipe.feature_weight * features
        if progress > recipe.face_from:
            face = difference[:, :, FACE[0], FACE[1]].sum() / difference.numel()
            loss = loss + 2 * (recipe.face_weight - 1) * face
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        rise = min(1.0, (self.step + 1) / recipe.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * progress))
        self.optimiser.step()
        torch._foreach_lerp_(list(self.mean.values()), list(self.parameters.values()), 1 - recipe.ema)
        self.step += 1
        self.images += len(rows)
        return float(l1.detach())

    def _truncated(self, rows: Tensor) -> Tensor:
        """Pull a share of the rows' w towards the mean of their class, each by its own amount."""
        low = self.recipe.truncation
        psi = low + (1 - low) * torch.rand((len(rows), 1), generator=self.random)
        untouched = torch.rand((len(rows), 1), generator=self.random) > self.recipe.truncated
        return torch.lerp(self.w_avg[rows], self.w[rows], torch.where(untouched, 1.0, psi))

    def result(self) -> StyleGanXl:
        """Return the generator with the running mean of the weights, ready for use.

        Training feeds the synthesis network ``w`` minus its mean, which keeps steps small; here the
        biases take that subtraction over.
        """
        network = StyleGanXl(self.network.spec).eval().requires_grad_(False)
        network.load_state_dict(self.network.state_dict())
        network.synthesis.load_state_dict(self.mean, strict=False)
        inner = (network.synthesis.input.affine, *(x.affine for x in network.synthesis.layers()))
        for affine in inner:
            shift = affine.weight * affine.weight_gain @ self.centre
            affine.bias.sub_(shift / affine.bias_gain)
        return network

    def save(self, path: Path) -> None:
        """Write the state, replacing the one before it atomically."""
        tensors = {f"weights/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"mean/{name}": value for name, value in self.mean.items()}
        # Frequencies and phases of the input are random buffers, not parameters.
        tensors |= {f"buffers/{n}": b for n, b in self.network.synthesis.named_buffers()}
        for name, parameter in self.parameters.items():
            moments = self.optimiser.state.get(parameter, {})
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if key in moments:
                    tensors[f"{key}/{name}"] = moments[key]
        tensors["random"] = self.random.get_state()
        scalars = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        contiguous = {name: value.contiguous().clone() for name, value in tensors.items()}
        save_file(contiguous, partial, metadata={"scalars": json.dumps(scalars)})
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: If the state was made by another recipe.
        """
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            scalars = json.loads(file.metadata()["scalars"])
        recipe = json.loads(json.dumps(asdict(self.recipe)))
        if scalars["recipe"] != recipe:
            raise ValueError(f"{path.name} was made by the recipe {scalars['recipe']}, not {recipe}")
        buffers = dict(self.network.synthesis.named_buffers())
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weights/{name}"])
                self.mean[name].copy_(tensors[f"mean/{name}"])
                if f"step/{name}" in tensors:
                    self.optimiser.state[parameter] = {
                        key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
                    }
            for name, buffer in buffers.items():
                buffer.copy_(tensors[f"buffers/{name}"])
        self.random.set_state(tensors["random"])
        self.step, self.images = int(scalars["step"]), int(scalars["images"])
        self.seconds = float(scalars["seconds"])


def fit(recipe: Recipe, minutes: float, checkpoint_seconds: float = 150.0) -> Trainer:
    """Fit the generator within a budget of training time, going on from the last checkpoint.

    Args:
        recipe: How to fit.
        minutes: Budget of the whole fit, over all its runs.
        checkpoint_seconds: Time between checkpoints.
    """
    trainer = Trainer(recipe, recipe.drawings())
    if STATE.exists():
        trainer.load(STATE)
        logger.info("going on from step %d", trainer.step)
    budget = 60 * minutes
    held_out = HeldOut(recipe.data_seed + 1)
    last, shown, recent = time.monotonic(), time.monotonic(), []
    started, before = last, trainer.seconds
    while trainer.seconds < budget:
        recent.append(trainer.train_step(trainer.seconds / budget))
        now = time.monotonic()
        trainer.seconds = before + now - started
        if now - shown > 20:
            logger.info(
                "step %d, %d images, %.0f s of %.0f, L1 %.4f",
                trainer.step, trainer.images, trainer.seconds, budget, float(np.mean(recent)),
            )  # fmt: skip
            shown, recent = now, []
        if now - last > checkpoint_seconds or trainer.seconds >= budget:
            trainer.save(STATE)
            logger.info("checkpoint: %s", held_out.look(trainer.result()))
            last = time.monotonic()
    return trainer


class HeldOut:
    """Drawings that the generator was not fitted to: for the sheet of pictures and for the error."""

    def __init__(self, seed: int, count: int = 256) -> None:
        """Draw them."""
        rng = np.random.Generator(np.random.PCG64(seed))
        z = rng.standard_normal((count, Z_DIM)).astype(np.float32)
        classes = np.arange(count) % len(CLASSES)
        self.z, self.classes = torch.from_numpy(z), torch.from_numpy(classes)
        self.images = draw_codes(np.column_stack([classes, read_codes(z)]), processes=1)

    @torch.inference_mode()
    def look(self, network: StyleGanXl) -> str:
        """Write the sheet, drawings above the pictures at truncation 1 and 0.7, and say the errors."""
        rows, errors = [self.images], {}
        for psi in (1.0, 0.7):
            w = network.mapping(self.z, self.classes, psi)
            found = torch.cat([network.synthesis(part) for part in w.split(64)])
            rows.append(to_uint8(found).numpy())
            errors[psi] = float(np.abs(rows[-1].astype(float) - self.images).mean() / 127.5)
        save_rows(SHEET, [row[:24] for row in rows])
        return ", ".join(f"held-out L1 {value:.4f} at truncation {psi}" for psi, value in errors.items())
