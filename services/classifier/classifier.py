"""Runs a classifier in fixed, padded batches, so that a result does not depend on its neighbours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from services.classifier.networks import Network, build
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, InputSpec, ModelCard
from unitscope.models.registry import Registry

BATCH = 32
"""Rows that are evaluated at once, always: shorter batches are padded with zeros.

The kernels that a tensor library picks, and with them the last bits, depend on the batch size.
"""

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """What a classifier makes of images.

    Attributes:
        features: float32 ``(batch, units)``.
        logits: float32 ``(batch, classes)``.
        maps: float32 ``(batch, units, height, width)`` where asked for.
    """

    features: Floats
    logits: Floats
    maps: Floats | None = None


class Classifier:
    """A network with its card. Calls from several threads are served one after another."""

    def __init__(self, card: ModelCard, network: Network, device: str = "cpu") -> None:
        """Takes a network with its weights loaded.

        Raises:
            FailedPreconditionError: The card does not say how images are normalised.
        """
        if card.input is None or not card.layers:
            raise FailedPreconditionError(
                f"{card.name}: a classifier's card needs 'input' and at least one of 'layers'",
                reason="INVALID_CARD",
            )
        self.card = card
        self._input = card.input
        self._network = network
        self._device = torch.device(device)
        self._lock = threading.Lock()
        network.module.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def read(
        self,
        images: Images,
        layer: str = "",
        *,
        maps: bool = False,
        between: Callable[[], None] = lambda: None,
    ) -> Reading:
        """Reads images.

        Args:
            images: uint8 ``(batch, height, width, 3)`` of any size; resized as the card declares.
            layer: A declared layer, or several joined by ``+``; empty means the first, the penultimate
                one.
            maps: Whether the layer's feature maps are wanted.
            between: Called before every batch; may raise to give up.

        Raises:
            FailedPreconditionError: The card declares no such layer (LAYER_NOT_FOUND), or the layer
                has no maps (LAYER_HAS_NO_MAPS).
        """
        declared = self.card.layers_of(layer)
        found: list[tuple[Any, ...]] = []
        for part in _batches(images):
            between()
            with self._lock, torch.inference_mode():
                batch = preprocess(torch.from_numpy(part).to(self._device), self._input)
                features, logits, spatial = self._network.read(batch, declared)
            if maps and spatial is None:
                raise FailedPreconditionError(
                    f"layer {layer!r} of {self.card.name} has no feature maps of its own; ask without "
                    "feature_maps, or for a layer of the convolutions",
                    reason="LAYER_HAS_NO_MAPS",
                    field="feature_maps",
                    layer=layer,
                )
            found.append((features, logits, spatial) if maps else (features, logits))
        columns = [_joined(column, len(images)) for column in zip(*found, strict=True)]
        return Reading(*columns)

    def head(
        self, features: Floats, layer: str = "", *, between: Callable[[], None] = lambda: None
    ) -> Floats:
        """Carries features on to the logits.

        Args:
            features: float32 ``(batch, units)``, finite.
            layer: A layer that the card declares with a head; empty means the penultimate one.
            between: Called before every batch; may raise to give up.

        Returns:
            float32 ``(batch, classes)``.

        Raises:
            FailedPreconditionError: No such layer, or it has no head (LAYER_HAS_NO_HEAD).
            InvalidArgumentError: The features have another width (WRONG_TENSOR_SHAPE).
        """
        declared = self.card.layer(layer)
        if not declared.has_head:
            able = ", ".join(item.name for item in self.card.layers if item.has_head) or "none"
            raise FailedPreconditionError(
                f"the logits cannot be evaluated from layer {declared.name!r} of {self.card.name}; "
                f"they can from: {able}",
                reason="LAYER_HAS_NO_HEAD",
                field="layer",
                layer=declared.name,
            )
        if features.ndim != 2 or features.shape[1] != declared.units:
            raise InvalidArgumentError(
                f"features has the shape {features.shape}; layer {declared.name!r} has "
                f"{declared.units} units: (any, {declared.units}) is needed",
                reason="WRONG_TENSOR_SHAPE",
                field="features",
            )
        found = []
        for part in _batches(features):
            between()
            with self._lock, torch.inference_mode():
                found.append(self._network.head(torch.from_numpy(part).to(self._device)))
        return _joined(found, len(features))


def load_classifier(card: ModelCard, registry: Registry, device: str = "cpu") -> Classifier:
    """Loads a classifier's weights, checked against its card.

    Raises:
        DataLossError: The weights are not those on the card.
        FailedPreconditionError: The weights do not fit the architecture (reason INVALID_WEIGHTS), or
            the card is at fault (INVALID_CARD, UNKNOWN_ARCHITECTURE).
    """
    folder = registry.verified(card)
    network = build(card)
    try:
        network.module.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (RuntimeError, OSError) as error:
        raise FailedPreconditionError(
            f"{card.name}: the weights do not fit the architecture on the card: {str(error)[:300]}",
            reason="INVALID_WEIGHTS",
            model=card.name,
        ) from error
    return Classifier(card, network, device)


def preprocess(images: Tensor, spec: InputSpec) -> Tensor:
    """Scales, resizes and normalises.

    Args:
        images: uint8 ``(batch, height, width, 3)``.
        spec: What the classifier wants.

    Returns:
        float32 ``(batch, 3, spec.height, spec.width)``, channels last in memory. Resizing is bilinear
        with antialiasing.
    """
    x = images.permute(0, 3, 1, 2).float().div_(255)
    size = (spec.height, spec.width)
    if tuple(x.shape[2:]) != size:
        x = functional.interpolate(x, size=size, mode="bilinear", antialias=True)
    mean = torch.tensor(spec.mean, device=x.device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=x.device).view(3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def _batches(rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Copies of BATCH rows each, the last one padded with zeros."""
    parts = []
    for start in range(0, len(rows), BATCH):
        part = np.zeros((BATCH, *rows.shape[1:]), rows.dtype)
        part[: len(rows) - start] = rows[start : start + BATCH]
        parts.append(part)
    return parts


def _joined(parts: Any, count: int) -> Floats:
    joined: Floats = torch.cat([part.cpu() for part in parts])[:count].contiguous().numpy()
    return joined
