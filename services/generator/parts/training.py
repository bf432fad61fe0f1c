"""Fits a parts network to a few labelled pictures of a generator.

Features of a generator separate parts so well that a handful of pictures is enough ("Repurposing
GANs", arXiv 2103.04379; DatasetGAN, arXiv 2104.06490). Everything below is meant for 1 to some
dozens of pictures: features are read once and kept, and every step sees whole pictures.

Flipping or shifting features, as one would pictures, is no augmentation: the features of a mirrored
picture are not the mirrored features. What does vary without moving a part is the strength of single
channels, hence channels are dropped and scaled at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from services.generator.network import StyleGanXl
from services.generator.parts.features import (
    SAMPLE_BATCH,
    FeatureLayer,
    Features,
    Scale,
    capture,
    feature_layers,
    measure_scales,
)
from services.generator.parts.network import HIDDEN, PartsNetwork, check_names
from unitscope.errors import InvalidArgumentError

UNLABELLED = 255
"""The label of a pixel that nobody has labelled."""

STEPS = 500
BATCH = 4
SCALE_IMAGES = 256
"""Pictures that the mean and deviation of every channel are taken from."""

CACHE_BYTES = 2 << 30
"""Features beyond this are rendered anew in every step, which is slower and takes no more memory."""

_RATE = 2e-2
_WEIGHT_DECAY = 1e-2
_DROPPED = 0.2
_JITTER = 0.2

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def train(
    network: StyleGanXl,
    w: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    parts: Sequence[str],
    *,
    hidden: int = HIDDEN,
    steps: int = STEPS,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> PartsNetwork:
    """Fits a parts network. The same call on the same machine gives the same weights.

    Args:
        network: The generator, its weights loaded.
        w: Latents of the labelled pictures, float32 ``(n, w_dim)`` or ``(n, num_ws, w_dim)``.
        labels: uint8 ``(n, resolution, resolution)``: indices into `parts`, or UNLABELLED.
        parts: Names of the parts.
        hidden: Channels that every layer is projected to.
        steps: Steps of Adam.
        seed: Of weights, augmentation and order.
        layers: Names of the layers to read; all by default.
        progress: Told of pictures measured and steps made.

    Returns:
        The network, in evaluation mode, without gradients.

    Raises:
        InvalidArgumentError: `w` and `labels` do not fit the generator or each other
            (WRONG_TENSOR_SHAPE), a label names no part (LABEL_OUT_OF_RANGE), nothing is labelled
            (NOTHING_LABELLED), or parts or layers make no sense (INVALID_PARTS, LAYER_NOT_FOUND).
    """
    _check(network, w, labels, parts)
    total = SCALE_IMAGES + steps
    tell = progress or (lambda done, of: None)
    chosen = feature_layers(network.spec, layers)
    scales = measure_scales(network, chosen, SCALE_IMAGES, seed, lambda done: tell(done, total))
    device = network.mapping.w_avg.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fitted = PartsNetwork(network.spec, parts, layers, hidden).to(device)
        source = _Source(network, torch.from_numpy(np.array(w)).to(device), chosen, scales)
        targets = torch.from_numpy(labels.astype(np.int64)).to(device)
        _fit(fitted, source, targets, steps, lambda done: tell(SCALE_IMAGES + done, total))
    fitted.fold(scales)
    return fitted.eval().requires_grad_(False)


class _Source:
    """Standardised features of the labelled pictures: kept, where they are few enough."""

    def __init__(
        self, network: StyleGanXl, w: Tensor, layers: Sequence[FeatureLayer], scales: dict[str, Scale]
    ) -> None:
        self._network, self._w, self._layers, self._scales = network, w, layers, scales
        self.layers = layers
        self.count = len(w)
        values = sum(layer.channels * layer.size**2 for layer in layers)
        self._kept: Features | None = None
        if self.count * values * 4 <= CACHE_BYTES:
            parts = [self._render(rows) for rows in torch.split(torch.arange(self.count), SAMPLE_BATCH)]
            self._kept = {layer.name: torch.cat([part[layer.name] for part in parts]) for layer in layers}

    def __call__(self, rows: Tensor) -> Features:
        """Features of the pictures of these indices."""
        if self._kept is None:
            return self._render(rows)
        return {name: x[rows] for name, x in self._kept.items()}

    def _render(self, rows: Tensor) -> Features:
        found = capture(self._network.synthesis, self._w[rows], self._layers)
        return {name: self._scales[name].standardise(x) for name, x in found.items()}


def _fit(
    fitted: PartsNetwork, source: _Source, targets: Tensor, steps: int, tick: Callable[[int], None]
) -> None:
    weights = class_weights(targets, len(fitted.parts))
    optimiser = torch.optim.AdamW(fitted.parameters(), _RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=max(steps, 2))
    queue = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        while len(queue) < min(BATCH, source.count):
            queue = torch.cat([queue, torch.randperm(source.count)])
        rows, queue = queue[:BATCH], queue[BATCH:]
        gains = {layer.name: _gains(layer).to(weights.device) for layer in source.layers}
        logits = fitted(source(rows), gains)
        loss = F.cross_entropy(logits, targets[rows], weights, ignore_index=UNLABELLED)
        optimiser.zero_grad(set_to_none=True)
        # A picture without a single label has no loss.
        if bool(loss.isfinite()):
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
        tick(step + 1)


def class_weights(targets: Tensor, parts: int) -> Tensor:
    """Weights of the parts in the loss: the square root of their rarity, 1 on average over pixels.

    The root keeps small parts from being ignored without having them take pixels of large ones.

    Args:
        targets: int64, labels or UNLABELLED, any shape.
        parts: Number of parts; those without a single pixel get 0.
    """
    counts = torch.bincount(targets[targets != UNLABELLED].flatten(), minlength=parts).float()
    weights = torch.where(counts > 0, counts.clamp(min=1).rsqrt(), torch.zeros_like(counts))
    return weights * (counts.sum() / (weights * counts).sum())


def _gains(layer: FeatureLayer) -> Tensor:
    """Random factors for the channels of a layer: dropped, or scaled."""
    kept = (torch.rand(layer.channels) >= _DROPPED) / (1 - _DROPPED)
    return kept * (1 + _JITTER * torch.randn(layer.channels))


def _check(
    network: StyleGanXl,
    w: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    parts: Sequence[str],
) -> None:
    spec = network.spec
    check_names(parts)
    if w.ndim not in (2, 3) or w.shape[-1] != spec.w_dim or not len(w):
        raise _wrong("w", f"w has the shape {w.shape}; (n, {spec.w_dim}) is needed")
    wanted = (len(w), spec.resolution, spec.resolution)
    if labels.shape != wanted:
        raise _wrong("labels", f"labels have the shape {labels.shape}; {wanted} is needed")
    used = np.unique(labels[labels != UNLABELLED])
    if not len(used):
        raise InvalidArgumentError(
            f"no pixel of the {len(w)} pictures is labelled; label at least one picture",
            reason="NOTHING_LABELLED",
            field="labels",
        )
    if used[-1] >= len(parts):
        raise InvalidArgumentError(
            f"a label is {used[-1]}; the {len(parts)} parts have the labels 0 to {len(parts) - 1}, and "
            f"{UNLABELLED} is for what is not labelled",
            reason="LABEL_OUT_OF_RANGE",
            field="labels",
            label=int(used[-1]),
        )


def _wrong(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="WRONG_TENSOR_SHAPE", field=field)
