"""Parts without labels: k-means on the same features, served in the same form.

Features are standardised, weighted by layer, and reduced to their principal components; centres
are found there by scipy. The centre nearest to x is the one of greatest ``c.x - |c|^2 / 2``, which is
linear in x, as is all that went before: the clusters become a parts network without a head, whose
logits these are. After "Editing in Style" (arXiv 2004.14367), which clusters one layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.cluster.vq import kmeans2
from torch import Tensor

from services.generator.network import StyleGanXl
from services.generator.parts.features import (
    FeatureLayer,
    Features,
    Scale,
    batches,
    feature_layers,
    measure_scales,
)
from services.generator.parts.network import MAX_PARTS, PartsNetwork
from services.generator.parts.training import SCALE_IMAGES, Progress
from unitscope.errors import InvalidArgumentError

COMPONENTS = 32
PIXELS = 40_000
"""Pixels that are clustered, taken from all pictures alike."""

SAMPLE_BYTES = 256 << 20
"""Bound on their features; where a generator has many channels, fewer pixels are taken."""

# 0 lets layers of many channels, which are coarse, decide; 1/2 weighs all layers alike, and colours
# decide. On the avatars this agreed best with the parts that people name (purity 0.90 of 12 parts).
_FAVOUR = 0.25
_RESTARTS = 3
_ROUNDS = 40

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Centres in the reduced space, and the way there.

    Attributes:
        scales: Mean and deviation of every channel by layer.
        weights: What a layer's standardised features are multiplied by.
        mean: Of the weighted features of all layers, `(channels,)`.
        basis: Principal directions, `(channels, components)`.
        centres: `(count, components)`.
    """

    scales: dict[str, Scale]
    weights: dict[str, float]
    mean: Tensor
    basis: Tensor
    centres: Tensor

    def reduce(self, x: Tensor) -> Tensor:
        """Coordinates of weighted features `(pixels, channels)`: `(pixels, components)`."""
        return (x - self.mean) @ self.basis

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the centre nearest to weighted features `(pixels, channels)`: the definition."""
        return torch.cdist(self.reduce(x), self.centres).argmin(dim=1)


def cluster(
    network: StyleGanXl,
    w: npt.NDArray[np.float32],
    count: int,
    *,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> PartsNetwork:
    """Finds parts that pixels fall into by themselves. The same call gives the same parts.

    Args:
        network: The generator, its weights loaded.
        w: Latents of the pictures to look at, float32 ``(n, w_dim)`` or ``(n, num_ws, w_dim)``;
            some hundred.
        count: How many parts, 2 to 255.
        seed: Of pixels and first centres.
        layers: Names of the layers to read; all by default.
        progress: Told of pictures and of restarts.

    Returns:
        A network without a head; the parts are called ``part-00``, ``part-01``, ..., from the most
        pixels to the fewest.

    Raises:
        InvalidArgumentError: The count is out of range (INVALID_PARTS), or there are no more pixels
            than parts (TOO_FEW_PICTURES).
    """
    found = find_clusters(network, w, count, seed=seed, layers=layers, progress=progress)
    return to_network(network, found, layers)


def find_clusters(
    network: StyleGanXl,
    w: npt.NDArray[np.float32],
    count: int,
    *,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Clusters:
    """The first half of `cluster`: centres, most pixels first."""
    chosen = feature_layers(network.spec, layers)
    channels = sum(layer.channels for layer in chosen)
    per_picture = _pixels(len(w), network.spec.resolution, channels, count)
    total = SCALE_IMAGES + len(w) + _RESTARTS
    tell = progress or (lambda done, of: None)
    scales = measure_scales(network, chosen, SCALE_IMAGES, seed, lambda done: tell(done, total))
    weights = {layer.name: layer.channels**-_FAVOUR for layer in chosen}
    x = _sample(
        network, w, chosen, scales, weights, per_picture, seed, lambda n: tell(SCALE_IMAGES + n, total)
    )
    mean = x.mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        basis = torch.pca_lowrank(x, min(COMPONENTS, *x.shape), center=True, niter=4)[2]
    reduced = ((x - mean) @ basis).double().numpy()
    centres = _centres(reduced, count, seed, lambda n: tell(SCALE_IMAGES + len(w) + n, total))
    return Clusters(scales, weights, mean, basis, torch.from_numpy(centres).float())


def to_network(network: StyleGanXl, clusters: Clusters, layers: Sequence[str] | None = None) -> PartsNetwork:
    """The parts network whose logits are greatest where a centre is nearest."""
    count = len(clusters.centres)
    names = [f"part-{index:02d}" for index in range(count)]
    fitted = PartsNetwork(network.spec, names, layers, head="none").requires_grad_(False)
    directions = clusters.centres @ clusters.basis.t()
    fitted.bias.copy_(-clusters.centres.square().sum(dim=1) / 2 - directions @ clusters.mean)
    start = 0
    for layer in fitted.layers:
        end = start + layer.channels
        fitted.project[layer.name].copy_(directions[:, start:end] * clusters.weights[layer.name])
        start = end
    fitted.to(network.mapping.w_avg.device).fold(clusters.scales)
    return fitted.eval()


def pixel_features(
    features: Features,
    layers: Sequence[FeatureLayer],
    points: Tensor,
    size: int,
    scales: dict[str, Scale],
    weights: dict[str, float],
) -> Tensor:
    """Weighted, standardised features of some pixels, of all layers, resized as a parts network does.

    Args:
        features: Visible features, `(batch, channels, size, size)` by layer.
        layers: Their order.
        points: Row and column of the pixels, int64 `(batch, points, 2)`.
        size: Edge of the picture.
        scales: To standardise with.
        weights: To multiply with, by layer.

    Returns:
        `(batch * points, channels of all layers)`, on the CPU.
    """
    # From -1 to 1 over the edges of the picture, x first: what grid_sample wants.
    grid = ((points.flip(2).float() + 0.5) / size * 2 - 1)[:, :, None]
    columns = []
    for layer in layers:
        x = scales[layer.name].standardise(features[layer.name]) * weights[layer.name]
        near = F.grid_sample(
            x, grid.to(x.device), mode="bilinear", padding_mode="border", align_corners=False
        )
        columns.append(near[..., 0].transpose(1, 2).flatten(0, 1).cpu())
    return torch.cat(columns, dim=1)


def _sample(
    network: StyleGanXl,
    w: npt.NDArray[np.float32],
    layers: Sequence[FeatureLayer],
    scales: dict[str, Scale],
    weights: dict[str, float],
    per_picture: int,
    seed: int,
    tick: Callable[[int], None],
) -> Tensor:
    """Features of random pixels of every picture, `(pixels, channels)`."""
    rng = torch.Generator().manual_seed(seed)
    size = network.spec.resolution
    latents = torch.from_numpy(np.array(w)).to(network.mapping.w_avg.device)
    rows = []
    for features in batches(network, latents, layers, tick):
        batch = len(features[layers[0].name])
        points = torch.randint(size, (batch, per_picture, 2), generator=rng)
        rows.append(pixel_features(features, layers, points, size, scales, weights))
    return torch.cat(rows)


def _pixels(pictures: int, size: int, channels: int, count: int) -> int:
    """Pixels to take of every picture."""
    if not 2 <= count <= MAX_PARTS:
        raise InvalidArgumentError(
            f"{count} parts are asked for; 2 to {MAX_PARTS} are possible",
            reason="INVALID_PARTS",
            field="count",
        )
    pixels = min(PIXELS, SAMPLE_BYTES // (4 * channels))
    per_picture = min(-(-pixels // max(pictures, 1)), size**2)
    if pictures * per_picture <= count:
        raise InvalidArgumentError(
            f"{pictures} pictures of {size} pixels are too few for {count} parts; give more pictures",
            reason="TOO_FEW_PICTURES",
            field="w",
        )
    return per_picture


def _centres(x: Floats, count: int, seed: int, tick: Callable[[int], None]) -> Floats:
    """The best of a few runs of k-means: centres `(count, components)`, most pixels first."""
    best: tuple[float, Floats] | None = None
    for restart in range(_RESTARTS):
        centres, owner = kmeans2(
            x, count, iter=_ROUNDS, minit="++", rng=np.random.default_rng((seed, restart))
        )
        error = float(((x - centres[owner]) ** 2).sum())
        if best is None or error < best[0]:
            order = np.argsort(-np.bincount(owner, minlength=count), kind="stable")
            best = error, centres[order]
        tick(restart + 1)
    assert best is not None
    return best[1]
