"""The ruler: reads parts and factors off pictures of avatars, to judge what analyses say of them.

One small network, trained on drawings, whose every factor and label map is known. It knows nothing of
the generator and no analysis uses it: it is the measure of truth for *generated* pictures, and the
figures on its card bound every claim that rests on it.

    >>> from packs.avatars import ruler
    >>> judge = ruler.load()
    >>> judge.labels(images).shape, judge.codes(images).shape     # images uint8 (n, 64, 64, 3)
    ((n, 64, 64), (n, 11))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from packs.avatars.classifiers import normalise
from packs.avatars.paths import MODELS
from unitscope.errors import InvalidArgumentError
from unitscope.models.cards import CARD_FILE, WEIGHTS_FILE, ModelCard, verify_files
from unitscope.worlds.avatars import SIZE
from unitscope.worlds.factors import CLASSES, NAMES, VALUES
from unitscope.worlds.parts import PARTS

READINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"top": CLASSES, **{name: tuple(value.value for value in VALUES[name]) for name in NAMES}}
)
"""What is read, the class first: the words of every factor's values, in the order of their codes."""

WIDTHS = (16, 32, 64, 96)
"""Channels at 64, 32, 16 and 8 pixels."""

READER_WIDTH = 48
"""Channels of the 8-pixel map that factors are read from."""


class RulerNetwork(nn.Module):
    """A U-Net whose skips are added, and a linear reader of its three coarsest maps."""

    def __init__(self, widths: Sequence[int] = WIDTHS, reader_width: int = READER_WIDTH) -> None:
        """Draw the weights."""
        super().__init__()
        self.stem = _block(3, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in pairwise(widths)
        )
        self.middle = _block(widths[-1], widths[-1])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_block(a, a) for a in widths[:-1])
        self.parts = nn.Conv2d(widths[0], len(PARTS), 1)
        coarse = SIZE // 2 ** len(self.down)
        self.squeeze = nn.Sequential(
            nn.Conv2d(widths[-1] + 4 * widths[-2] + 16 * widths[-3], reader_width, 1, bias=False),
            nn.BatchNorm2d(reader_width),
            nn.SiLU(),
        )
        self.dropout = nn.Dropout(0.2)
        self.read = nn.Linear(reader_width * coarse**2, sum(len(words) for words in READINGS.values()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read pictures.

        Args:
            images: ``float32 (n, 3, 64, 64)`` in [-1, 1].

        Returns:
            Logits of the parts, ``(n, 9, 64, 64)``, and of all values of all factors side by side in the
            order of :data:`READINGS`, ``(n, 42)``.
        """
        x = self.stem(images)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        x = coarse = self.middle(x)
        finer: list[Tensor] = []
        for skip, narrow, block in zip(
            reversed(skips), reversed(self.narrow), reversed(self.up), strict=True
        ):
            x = block(skip + functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest"))
            finer.append(x)
        # Eyes and mouths differ by single pixels: the reader sees the finer maps whole, not averaged.
        finest = [functional.pixel_unshuffle(map_, 2 ** (i + 1)) for i, map_ in enumerate(finer[:2])]
        seen = torch.cat([coarse, *finest], dim=1)
        return self.parts(finer[-1]), self.read(self.dropout(self.squeeze(seen).flatten(1)))


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


def split(values: Tensor) -> dict[str, Tensor]:
    """Take the reader's logits ``(n, 42)`` apart: ``(n, values)`` by factor."""
    widths = [len(words) for words in READINGS.values()]
    parts = torch.tensor_split(values, tuple(accumulate(widths[:-1])), dim=1)
    return dict(zip(READINGS, parts, strict=True))


@dataclass(frozen=True, eq=False)
class Ruler:
    """The ruler, ready to read: pictures are ``uint8 (n, 64, 64, 3)`` everywhere."""

    network: RulerNetwork

    def labels(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label maps, ``uint8 (n, 64, 64)``: indices into ``unitscope.worlds.parts.PARTS``.

        Raises:
            InvalidArgumentError: The pictures have another shape.
        """
        found = [parts.argmax(1).to(torch.uint8) for parts, _ in self._batches(images)]
        return torch.cat(found).numpy() if found else np.empty((0, SIZE, SIZE), dtype=np.uint8)

    def codes(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the class index and the codes of the factors, ``int64 (n, 11)``.

        What a picture hides (the eyes behind sunglasses) is read as well, and means nothing;
        `packs.avatars.readers.visible` says what can be seen.

        Raises:
            InvalidArgumentError: The pictures have another shape.
        """
        found = self.probabilities(images)
        return np.stack([found[name].argmax(1) for name in READINGS], axis=1).astype(np.int64)

    def probabilities(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return ``float32 (n, values)`` for ``top`` and every factor; a row sums to 1.

        Raises:
            InvalidArgumentError: The pictures have another shape.
        """
        widths = sum(len(words) for words in READINGS.values())
        found = [values for _, values in self._batches(images)] or [torch.empty((0, widths))]
        return {name: logits.softmax(1).numpy() for name, logits in split(torch.cat(found)).items()}

    @torch.inference_mode()
    def _batches(self, images: NDArray[np.uint8], size: int = 128) -> Iterator[tuple[Tensor, Tensor]]:
        if images.ndim != 4 or images.shape[1:] != (SIZE, SIZE, 3) or images.dtype != np.uint8:
            raise InvalidArgumentError(
                f"images are {images.dtype} {images.shape}; the ruler reads uint8 (n, {SIZE}, {SIZE}, 3)",
                reason="WRONG_SHAPE",
                field="images",
            )
        for start in range(0, len(images), size):
            yield self.network(_channels_last(normalise(images[start : start + size])))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def build(architecture: Mapping[str, Any]) -> RulerNetwork:
    """Build the network that a card's architecture names, in evaluation mode, with random weights."""
    network = RulerNetwork(architecture["widths"], architecture["reader_width"])
    network.eval()
    return network


def load(folder: Path = MODELS / "ruler") -> Ruler:
    """Load the ruler from its folder.

    Raises:
        DataLossError: If the weights are missing or are not the ones that the card speaks of.
    """
    card = ModelCard.parse((folder / CARD_FILE).read_bytes(), f"avatars/ruler/{CARD_FILE}")
    verify_files(card, folder)
    network = build(card.architecture)
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return Ruler(network.eval().requires_grad_(False))
