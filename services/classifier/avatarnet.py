"""A small convolutional classifier for 64-pixel pictures, with a wide ReLU layer before its head.

Its penultimate layer keeps the coarse place of things (a 4 x 4 grid) instead of averaging over the
picture, so that units can speak of a mouth or of the shirt below it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GRID = 4
"""Side of the last feature map, for pictures of 64 pixels."""


class AvatarNet(nn.Module):
    """Six convolutions, four of them with stride 2, then ``Linear -> ReLU`` (the features) and a linear head.

    Input everywhere: ``float32 (batch, 3, 64, 64)``, already normalised as the model's card says.
    """

    def __init__(self, num_classes: int, units: int = 512, width: int = 24) -> None:
        """Build the network with random weights.

        Args:
            num_classes: Number of logits.
            units: Width of the penultimate layer.
            width: Channels of the first convolution; the last has eight times as many.
        """
        super().__init__()
        self.trunk = nn.Sequential(
            _convolution(3, width, stride=2),
            _convolution(width, 2 * width, stride=2),
            _convolution(2 * width, 2 * width, stride=1),
            _convolution(2 * width, 4 * width, stride=2),
            _convolution(4 * width, 4 * width, stride=1),
            _convolution(4 * width, 8 * width, stride=2),
        )
        self.units = nn.Linear(8 * width * GRID * GRID, units)
        self.classifier = nn.Linear(units, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Return the last convolution's output after ReLU, ``float32 (batch, 8 * width, 4, 4)``."""
        maps: Tensor = self.trunk(images)
        return maps

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate features, ``float32 (batch, units)``, all at least 0."""
        return torch.relu(self.units(self.feature_maps(images).flatten(1)))

    def head(self, features: Tensor) -> Tensor:
        """Return the logits ``float32 (batch, num_classes)`` of features ``(batch, units)``."""
        logits: Tensor = self.classifier(features)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``float32 (batch, num_classes)`` of pictures."""
        return self.head(self.features(images))


def _convolution(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
