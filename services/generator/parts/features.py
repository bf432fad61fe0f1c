"""The hidden features of a generator, layer by layer, cut to what the picture shows.

A canvas of StyleGAN3 is larger than the picture: it has a margin of whole samples on every side
(arXiv 2106.12423, section 3.2). Without it, layers of all sizes cover the same square, and resizing
them with pixel centres aligned makes their samples meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from services.generator.network import StyleGanXl, Synthesis
from services.generator.specs import NetworkSpec
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

SAMPLE_BATCH = 8
"""Pictures that are rendered at once where many are."""

Features = dict[str, Tensor]
"""Visible features by layer, `(batch, channels, size, size)`."""


@dataclasses.dataclass(frozen=True)
class FeatureLayer:
    """A layer that features are read from.

    Attributes:
        name: Its name in the generator.
        channels: Features at every sample.
        size: Edge of the visible square, in samples.
        margin: Samples around it on every side.
    """

    name: str
    channels: int
    size: int
    margin: int

    def visible(self, canvas: Tensor) -> Tensor:
        """The part of a canvas `(..., height, width)` that the picture shows; a view."""
        end = self.margin + self.size
        return canvas[..., self.margin : end, self.margin : end]


def feature_layers(spec: NetworkSpec, names: Sequence[str] | None = None) -> tuple[FeatureLayer, ...]:
    """The named layers of a generator in its own order; all of them without names.

    Raises:
        InvalidArgumentError: A name that the generator does not have, or no name at all
            (reason LAYER_NOT_FOUND).
        FailedPreconditionError: A layer's margin is no whole number of samples
            (UNSUPPORTED_CANVAS): no design of ours or of published checkpoints has such a layer.
    """
    known = [layer.name for layer in spec.layers]
    unknown = [name for name in names or () if name not in known]
    if unknown or (names is not None and not names):
        raise InvalidArgumentError(
            f"the generator has no layer {unknown[0]!r}; it has {', '.join(known)}"
            if unknown
            else f"no layer is named; the generator has {', '.join(known)}",
            reason="LAYER_NOT_FOUND",
            field="layers",
        )
    found = []
    for layer in spec.layers:
        if names is not None and layer.name not in names:
            continue
        margin = (layer.out_size - layer.out_sampling_rate) / 2
        if margin < 0 or not margin.is_integer():
            raise FailedPreconditionError(
                f"layer {layer.name} writes {layer.out_size} samples at {layer.out_sampling_rate} for a "
                "picture; its margin must be a whole number of samples",
                reason="UNSUPPORTED_CANVAS",
                layer=layer.name,
            )
        size = layer.out_size - 2 * int(margin)
        found.append(FeatureLayer(layer.name, layer.out_channels, size, int(margin)))
    return tuple(found)


@torch.no_grad()
def capture(synthesis: Synthesis, w: Tensor, layers: Sequence[FeatureLayer]) -> Features:
    """The visible features of pictures, each layer at its own size.

    Args:
        synthesis: The generator's synthesis network.
        w: As `Synthesis.forward` takes it.
        layers: The layers to keep.

    Returns:
        float32 `(batch, channels, size, size)` by layer, contiguous.
    """
    wanted = {layer.name: layer for layer in layers}
    found: Features = {}

    def keep(name: str, canvas: Tensor) -> None:
        if name in wanted:
            found[name] = wanted[name].visible(canvas).float().contiguous()

    synthesis(w, "fast", keep)
    return found


@dataclasses.dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of every channel of one layer, float32 `(channels,)` each."""

    mean: Tensor
    std: Tensor

    def standardise(self, x: Tensor) -> Tensor:
        """`(batch, channels, height, width)` with mean 0 and variance 1 over the pictures measured."""
        return (x - self.mean[:, None, None]) / self.std[:, None, None]


def draw_w(network: StyleGanXl, count: int, seed: int, truncation: float = 1.0) -> Tensor:
    """Latents w of random z and of all classes in turn, float32 `(count, w_dim)`, on the CPU's draw."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(count, network.spec.z_dim, generator=rng)
    classes = torch.arange(count) % network.spec.num_classes
    device = network.mapping.w_avg.device
    with torch.no_grad():
        w: Tensor = network.mapping(z.to(device), classes.to(device), truncation)
    return w


def batches(
    network: StyleGanXl, w: Tensor, layers: Sequence[FeatureLayer], tick: Callable[[int], None]
) -> Iterator[Features]:
    """The visible features of many pictures, a few at a time; `tick` is told how many are done."""
    done = 0
    for part in torch.split(w, SAMPLE_BATCH):
        yield capture(network.synthesis, part, layers)
        done += len(part)
        tick(done)


def measure_scales(
    network: StyleGanXl,
    layers: Sequence[FeatureLayer],
    count: int,
    seed: int,
    tick: Callable[[int], None],
) -> dict[str, Scale]:
    """Mean and deviation of every channel over all visible samples of `count` random pictures.

    A channel that never changes gets the deviation 1: it stays 0 after standardising.
    """
    sums = {layer.name: torch.zeros(2, layer.channels, dtype=torch.float64) for layer in layers}
    for features in batches(network, draw_w(network, count, seed), layers, tick):
        for name, x in features.items():
            sums[name][0] += x.sum(dim=(0, 2, 3)).double().cpu()
            sums[name][1] += x.square().sum(dim=(0, 2, 3)).double().cpu()
    scales = {}
    for layer in layers:
        first, second = sums[layer.name] / (count * layer.size**2)
        std = (second - first.square()).clamp(min=0).sqrt()
        std = torch.where(std > 1e-6 * first.abs().clamp(min=1e-6), std, torch.ones_like(std))
        device = network.mapping.w_avg.device
        scales[layer.name] = Scale(first.float().to(device), std.float().to(device))
    return scales
