"""Runs a classifier in fixed, padded batches, so that a result does not depend on its neighbours.

The kernels that a tensor library picks, and with them the last bits, depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from services.classifier.gradients import check_differentiable, pull_to_features, pull_to_images
from services.classifier.memory import give_back
from services.classifier.networks import Network
from services.classifier.turns import Turns
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import InputSpec, LayerCard, ModelCard

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


@dataclass(frozen=True)
class ImageGradient:
    """How a loss changes with pixels.

    Attributes:
        pixels: float32 ``(batch, height, width, 3)``, the derivative by pixels in [0, 255].
        features: float32 ``(batch, units)``, as `Reading` has them.
        logits: float32 ``(batch, classes)``, likewise.
    """

    pixels: Floats
    features: Floats
    logits: Floats


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
        self._lock = Turns()
        network.to(self._device)

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
        for part in _batches(images, self._network.batch):
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
        declared = self._head_layer(features, layer)
        found = []
        for part in _batches(features, self._network.batch):
            between()
            with self._lock, torch.inference_mode():
                found.append(self._network.head(torch.from_numpy(part).to(self._device), declared))
        return _joined(found, len(features))

    def head_gradient(
        self,
        features: Floats,
        cotangent: Floats,
        layer: str = "",
        *,
        between: Callable[[], None] = lambda: None,
    ) -> tuple[Floats, Floats]:
        """Pulls cotangents of the logits back to features.

        Args:
            features: float32 ``(batch, units)``, finite.
            cotangent: float32 ``(batch, classes)``, the derivative of each row's loss by its logits.
            layer: As in `head`.
            between: Called before every batch; may raise to give up.

        Returns:
            Logits ``(batch, classes)``, and the derivative by the features ``(batch, units)``.

        Raises:
            FailedPreconditionError: As `head`; no gradient goes through the network
                (GRADIENT_NOT_AVAILABLE).
            InvalidArgumentError: As `head`, of either array.
        """
        declared = self._head_layer(features, layer)
        _check_shape(cotangent, (len(features), len(self.card.classes)), "logits_cotangent")
        check_differentiable(self._network, self.card.name)
        found = []
        size = self._network.batch
        for part, pull in zip(_batches(features, size), _batches(cotangent, size), strict=True):
            between()
            rows, given = torch.from_numpy(part), torch.from_numpy(pull)
            with self._lock:
                found.append(
                    pull_to_features(
                        self._network, rows.to(self._device), given.to(self._device), declared, self.card.name
                    )
                )
        logits, gradient = (_joined(column, len(features)) for column in zip(*found, strict=True))
        return logits, gradient

    def image_gradient(
        self,
        images: Images | Floats,
        logits_cotangent: Floats | None,
        features_cotangent: Floats | None,
        layer: str = "",
        *,
        between: Callable[[], None] = lambda: None,
    ) -> ImageGradient:
        """Pulls cotangents of logits, features or both back to the pixels.

        Args:
            images: uint8, or float32 in [0, 255], ``(batch, height, width, 3)``.
            logits_cotangent: float32 ``(batch, classes)``, the derivative of each row's loss by its logits.
            features_cotangent: float32 ``(batch, units)``, likewise by the features of the layer.
            layer: As in `read`.
            between: Called before every batch; may raise to give up.

        Raises:
            FailedPreconditionError: As `read`; no gradient goes through the network
                (GRADIENT_NOT_AVAILABLE).
            InvalidArgumentError: There is no cotangent (NO_COTANGENT), or one has another shape
                (WRONG_TENSOR_SHAPE).
        """
        declared = self.card.layers_of(layer)
        if logits_cotangent is None and features_cotangent is None:
            raise InvalidArgumentError(
                "there is no cotangent; give logits_cotangent, features_cotangent or both",
                reason="NO_COTANGENT",
                field="logits_cotangent",
            )
        rows, units = len(images), sum(item.units for item in declared)
        pulls = [
            np.zeros((rows, width), np.float32) if given is None else given
            for given, width in ((logits_cotangent, len(self.card.classes)), (features_cotangent, units))
        ]
        _check_shape(pulls[0], (rows, len(self.card.classes)), "logits_cotangent")
        _check_shape(pulls[1], (rows, units), "features_cotangent")
        check_differentiable(self._network, self.card.name)
        found = []
        parts = [_batches(array, self._network.batch) for array in (images, *pulls)]
        try:
            for batch in zip(*parts, strict=True):
                between()
                image, logits, features = (torch.from_numpy(part) for part in batch)
                with self._lock:
                    found.append(
                        pull_to_images(
                            self._network,
                            lambda x: preprocess(x, self._input),
                            image.to(self._device),
                            (features.to(self._device), logits.to(self._device)),
                            declared,
                            self.card.name,
                        )
                    )
        finally:
            give_back()
        columns = [_joined(column, rows) for column in zip(*found, strict=True)]
        return ImageGradient(*columns)

    def _head_layer(self, features: Floats, layer: str) -> LayerCard:
        """The layer, once it has a head and the features are as wide as it; raises like `head`."""
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
        return declared


def preprocess(images: Tensor, spec: InputSpec) -> Tensor:
    """Resizes, cuts out, scales and normalises.

    Args:
        images: uint8, or float32 in [0, 255], ``(batch, height, width, 3)``.
        spec: What the classifier wants.

    Returns:
        float32 ``(batch, 3, spec.height, spec.width)``, channels last in memory. Resizing is with
        antialiasing.
    """
    x = images.permute(0, 3, 1, 2).float() / 255
    size = (spec.height, spec.width)
    scaled = _scaled(x.shape[2], x.shape[3], spec.shorter_edge) if spec.shorter_edge else size
    if tuple(x.shape[2:]) != scaled:
        # Bicubic weights overshoot; pixels do not.
        x = functional.interpolate(x, size=scaled, mode=spec.interpolation, antialias=True).clamp_(0, 1)
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    x = x[:, :, top : top + size[0], left : left + size[1]]
    if spec.channels == "bgr":
        x = x.flip(1)
    mean = torch.tensor(spec.mean, device=x.device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=x.device).view(3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def _scaled(height: int, width: int, shorter_edge: int) -> tuple[int, int]:
    """The size with the shorter edge as given, and the proportions kept."""
    short = min(height, width)
    return max(shorter_edge, height * shorter_edge // short), max(shorter_edge, width * shorter_edge // short)


def _batches(rows: npt.NDArray[Any], size: int) -> list[npt.NDArray[Any]]:
    """Copies of `size` rows each, the last one padded with zeros."""
    parts = []
    for start in range(0, len(rows), size):
        part = np.zeros((size, *rows.shape[1:]), rows.dtype)
        part[: len(rows) - start] = rows[start : start + size]
        parts.append(part)
    return parts


def _joined(parts: Any, count: int) -> Floats:
    joined: Floats = torch.cat([part.cpu() for part in parts])[:count].contiguous().numpy()
    return joined


def _check_shape(array: Floats, shape: tuple[int, int], field: str) -> None:
    if array.shape != shape:
        raise InvalidArgumentError(
            f"{field} has the shape {array.shape}; {shape} is needed",
            reason="WRONG_TENSOR_SHAPE",
            field=field,
        )
