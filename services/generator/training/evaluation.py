"""What a generator in training renders: samples, their features, sheets, and the mean w of every class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.generator.network import StyleGanXl, to_uint8
from services.generator.training.data import Pictures
from services.generator.training.distance import Distances, measure
from services.generator.training.guidance import Guide, fit_guide
from services.generator.training.projector import FeatureNetwork
from services.generator.training.sheets import COLUMNS, Block, shown_classes

BATCH = 32
"""Pictures rendered, or read by the feature network, at once."""

TRUNCATIONS = (1.0, 0.7)
"""Of the samples on a sheet."""

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]


def as_floats(images: Bytes, device: torch.device) -> Tensor:
    """uint8 ``(n, h, w, 3)`` as the generator's float32 ``(n, 3, h, w)`` in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.inference_mode()
def pooled(network: FeatureNetwork, images: Bytes, device: torch.device) -> Floats:
    """Features of pictures uint8 ``(n, h, w, 3)``: float32 ``(n, d)``."""
    parts = [network.pooled(as_floats(images[rows], device)).float().cpu() for rows in _batches(len(images))]
    found: Floats = torch.cat(parts).numpy()
    return found


@torch.inference_mode()
def render(network: StyleGanXl, w: Tensor) -> Bytes:
    """Pictures uint8 ``(n, resolution, resolution, 3)`` of w ``(n, w_dim)``."""
    parts = [to_uint8(network.synthesis(w[rows])).cpu() for rows in _batches(len(w))]
    found: Bytes = torch.cat(parts).numpy()
    return found


@torch.inference_mode()
def sample(network: StyleGanXl, labels: Labels, seed: int) -> Bytes:
    """Untruncated pictures of these classes, from seeded latents."""
    device = network.mapping.w_avg.device
    z = latents(len(labels), network.spec.z_dim, seed).to(device)
    return render(network, network.mapping(z, torch.from_numpy(labels).to(device)))


def latents(count: int, z_dim: int, seed: int) -> Tensor:
    """Standard normal z, float32 ``(count, z_dim)``, on the CPU: the same on every device."""
    return torch.randn((count, z_dim), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def class_means(network: StyleGanXl, count: int, seed: int, classes: Sequence[int] | None = None) -> Tensor:
    """The mean w of classes over so many latents, float32 ``(classes, w_dim)``; all classes by default.

    Every class sees the same latents, and sums are in float64.
    """
    device = network.mapping.w_avg.device
    z = latents(count, network.spec.z_dim, seed).to(device)
    means = []
    for index in range(network.spec.num_classes) if classes is None else classes:
        labels = torch.full((count,), index, device=device)
        means.append(network.mapping(z, labels).double().mean(0))
    return torch.stack(means).float()


@dataclass(frozen=True)
class Judge:
    """Measures how far a generator is from a training's pictures, always from the same real ones.

    Attributes:
        features: The feature network, on `device`.
        real: Features of real pictures, float32 ``(n, d)``.
        labels: Their classes: generated pictures are of the same ones.
        device: Where to compute.
    """

    features: FeatureNetwork
    real: Floats
    labels: Labels
    device: torch.device

    @classmethod
    def of(
        cls, features: FeatureNetwork, pictures: Pictures, resolution: int, samples: int, seed: int,
        device: torch.device,
    ) -> Judge:  # fmt: skip
        """Reads the features of some real pictures, drawn at random, at a resolution."""
        rows = chosen_rows(len(pictures), samples, seed)
        real = pooled(features, pictures.images(resolution)[rows], device)
        return cls(features, real, pictures.labels[rows], device)

    def measure(self, network: StyleGanXl, seed: int) -> Distances:
        """The distance of as many samples as there are real pictures; raises as `distance.measure` says."""
        return measure(pooled(self.features, sample(network, self.labels, seed), self.device), self.real)


def chosen_rows(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Different rows at random, at most `wanted`, in random order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.permutation(count)[:wanted]


def balanced_rows(labels: Labels, wanted: int, seed: int) -> NDArray[np.int64]:
    """Different rows at random, as evenly over the classes as they allow: 2 or more of each, if there are."""
    order = chosen_rows(len(labels), len(labels), seed)
    rank = np.empty(len(labels), np.int64)
    for index in np.unique(labels):
        own = order[labels[order] == index]
        rank[own] = np.arange(len(own))
    wanted = max(wanted, 2 * len(np.unique(labels)))
    return order[np.argsort(rank[order], kind="stable")][:wanted]


def fitted_guide(
    features: FeatureNetwork,
    pictures: Pictures,
    resolution: int,
    wanted: int,
    seed: int,
    device: torch.device,
) -> Guide:
    """The classifier of the guidance, fitted on some of the pictures; raises as `fit_guide` says."""
    rows = balanced_rows(pictures.labels, wanted, seed)
    found = pooled(features, pictures.images(resolution)[rows], device)
    labels = torch.from_numpy(pictures.labels[rows])
    return fit_guide(torch.from_numpy(found), labels, len(pictures.classes), seed=seed).to(device)


@torch.inference_mode()
def coarse_means(
    features: FeatureNetwork,
    pictures: Pictures,
    resolution: int,
    wanted: int,
    seed: int,
    device: torch.device,
) -> list[Tensor]:
    """For every class the mean of the coarsest map over some of its pictures, ``(channels[-1],)``."""
    rows = balanced_rows(pictures.labels, wanted, seed)
    images, labels = pictures.images(resolution), torch.from_numpy(pictures.labels[rows])
    maps = [
        features.scales(as_floats(images[rows[part]], device))[-1].float().mean((2, 3)).cpu()
        for part in _batches(len(rows))
    ]
    found = torch.cat(maps)
    return [found[labels == index].mean(0) for index in range(len(pictures.classes))]


def sheet_blocks(network: StyleGanXl, pictures: Pictures, seed: int) -> tuple[list[Block], list[str]]:
    """Rows of a sheet and their labels: real pictures, then samples at every truncation of `TRUNCATIONS`.

    Means are computed anew, since those of a network in training lag behind it.
    """
    spec, device = network.spec, network.mapping.w_avg.device
    classes = shown_classes(len(pictures.classes))
    images = pictures.images(spec.resolution)
    real = [images[np.flatnonzero(pictures.labels == index)[:COLUMNS]] for index in classes]
    blocks = [Block("real pictures", real)]
    z = latents(COLUMNS, spec.z_dim, seed).to(device)
    means = class_means(network, 1000, seed + 1, classes)
    for truncation in TRUNCATIONS:
        rows = []
        for index, mean in zip(classes, means, strict=True):
            with torch.inference_mode():
                w = network.mapping(z, torch.full((COLUMNS,), index, device=device))
                rows.append(render(network, torch.lerp(mean.expand_as(w), w, truncation)))
        blocks.append(Block(f"generated, truncation {truncation:g}", rows))
    return blocks, [pictures.classes[index] for index in classes]


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))
