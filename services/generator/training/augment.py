"""Differentiable augmentation and blur of what the discriminator sees.

The discriminator sees real and generated pictures through the same random changes of colour, place
and a hidden square, and the gradient of the generator passes through them (DiffAugment,
arXiv 2006.10738). Every change is drawn from a generator that is handed in, on the CPU, so that a run
can be repeated and resumed. Images are float32 `(batch, 3, h, w)` in [-1, 1].
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT = 1 / 8
"""Largest translation, as a share of the edge."""

_CUTOUT = 1 / 2
"""Edge of the hidden square, as a share of the picture's."""

_REACH = 3
"""Deviations after which a Gaussian is cut off."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The changes drawn for a batch: one row a picture.

    Attributes:
        brightness: Added to all colours, `(batch,)` in [-0.5, 0.5].
        saturation: Factor on the distance from grey, `(batch,)` in [0, 2].
        contrast: Factor on the distance from the mean, `(batch,)` in [0.5, 1.5].
        shift: Translation by rows and columns, `(batch, 2)`, shares of the edge in [-1/8, 1/8].
        centre: Centre of the hidden square, `(batch, 2)`, shares of the edge in [0, 1].
    """

    brightness: Tensor
    saturation: Tensor
    contrast: Tensor
    shift: Tensor
    centre: Tensor

    def __getitem__(self, rows: slice) -> Augmentation:
        """The changes of some of the pictures."""
        return Augmentation(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def __call__(self, images: Tensor) -> Tensor:
        """Changes the pictures; what moves in from outside, and the hidden square, is mid-grey."""
        x = images + _rows(self.brightness, images)
        grey = x.mean(dim=1, keepdim=True)
        x = (x - grey) * _rows(self.saturation, x) + grey
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * _rows(self.contrast, x) + mean
        return self._hidden(self._moved(x))

    def _moved(self, x: Tensor) -> Tensor:
        """Translates by matrices of zeros and ones: gathering would not repeat to the bit on a GPU."""
        height, width = x.shape[2:]
        rows = _shift_matrix(self.shift[:, 0], height, x)
        columns = _shift_matrix(self.shift[:, 1], width, x)
        moved: Tensor = rows[:, None] @ x @ columns[:, None].transpose(2, 3)
        return moved

    def _hidden(self, x: Tensor) -> Tensor:
        down = _near(self.centre[:, 0], x.shape[2], x)
        across = _near(self.centre[:, 1], x.shape[3], x)
        return x * ~(down[:, None, :, None] & across[:, None, None, :])


def draw_augmentation(batch: int, generator: torch.Generator) -> Augmentation:
    """Draws the changes of a batch of pictures.

    Args:
        batch: Number of pictures.
        generator: A generator on the CPU.
    """
    drawn = torch.rand((batch, 7), generator=generator)
    return Augmentation(
        brightness=drawn[:, 0] - 0.5,
        saturation=drawn[:, 1] * 2,
        contrast=drawn[:, 2] + 0.5,
        shift=(drawn[:, 3:5] * 2 - 1) * _SHIFT,
        centre=drawn[:, 5:7],
    )


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Convolves with a Gaussian; pictures go on beyond their edge as at it.

    Args:
        images: float `(batch, channels, h, w)`.
        sigma: Deviation in pixels; 0 leaves the pictures alone.
    """
    radius = math.floor(_REACH * sigma)
    if radius < 1:
        return images
    places = torch.arange(-radius, radius + 1, dtype=torch.float32, device=images.device)
    taps = torch.exp(-0.5 * (places / sigma).square())
    taps = (taps / taps.sum()).to(images.dtype).expand(images.shape[1], 1, 1, -1)
    padded = functional.pad(images, (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, taps, groups=images.shape[1])
    return functional.conv2d(rows, taps.transpose(2, 3), groups=images.shape[1])


def blur_sigma(pictures: int, start: float, over: int) -> float:
    """The blur after some pictures: from `start` linearly to 0 after `over` pictures."""
    return start * max(0.0, 1 - pictures / over) if over > 0 else 0.0


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device, like.dtype)[:, None, None, None]


def _shift_matrix(shift: Tensor, size: int, like: Tensor) -> Tensor:
    """`(batch, size, size)`: the matrix that moves a column of `size` values by whole places."""
    places = torch.arange(size)
    offset = (shift * size).round().long()
    matrix = places[None, :, None] - places[None, None, :] == offset[:, None, None]
    return matrix.to(like.device, like.dtype)


def _near(centre: Tensor, size: int, like: Tensor) -> Tensor:
    """`(batch, size)`: whether a place lies within half the square's edge of the centre."""
    places = (torch.arange(size) + 0.5) / size
    return ((places[None] - centre[:, None]).abs() < _CUTOUT / 2).to(like.device)
