"""Contact sheets: picture, coloured labels, and both blended, beside the names of the parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.generator.parts.colours import colour, table
from services.generator.parts.dataset import UNLABELLED
from unitscope.errors import InvalidArgumentError

TILE = 128
"""Pictures smaller than this are enlarged by a whole factor."""
MAX_PICTURES = 200

_OPACITY = 0.55
_MARGIN, _GAP, _BETWEEN = 16, 4, 20
_SWATCH, _LINE = 14, 22
_PAPER, _INK = (250, 249, 246), (28, 30, 34)
_FONT_SIZE = 14

Bytes = NDArray[np.uint8]


def coloured(labels: Bytes, parts: int) -> Bytes:
    """Labels ``(..., height, width)`` as colours, uint8 ``(..., height, width, 3)``."""
    return table(parts)[labels]


def blended(images: Bytes, labels: Bytes, parts: int, opacity: float = _OPACITY) -> Bytes:
    """Pictures under their labels' colours; what is not labelled shows the picture.

    Args:
        images: uint8 ``(..., height, width, 3)``.
        labels: uint8 ``(..., height, width)``.
        parts: The number of parts.
        opacity: Of the labels, in [0, 1].

    Returns:
        uint8 ``(..., height, width, 3)``.
    """
    share = np.where(labels == UNLABELLED, 0.0, opacity)[..., None]
    mixed = (1 - share) * images + share * coloured(labels, parts)
    return mixed.round().astype(np.uint8)


def sheet(images: Bytes, labels: Bytes, parts: Sequence[str], columns: int = 3) -> Image.Image:
    """A contact sheet with a legend.

    Args:
        images: uint8 ``(n, height, width, 3)``, n from 1 to 200.
        labels: uint8 ``(n, height, width)``.
        parts: Names in the order of the labels.
        columns: Triplets (picture, labels, both) beside each other.

    Returns:
        An RGB picture.

    Raises:
        InvalidArgumentError: No or too many pictures, or shapes that do not fit (reason BAD_SHEET).
    """
    count = len(images)
    if not 1 <= count <= MAX_PICTURES or labels.shape != images.shape[:3] or columns < 1:
        raise InvalidArgumentError(
            f"pictures of the shape {images.shape}, labels of the shape {labels.shape}, {columns} columns; "
            f"a sheet shows 1 to {MAX_PICTURES} pictures with their labels",
            reason="BAD_SHEET",
        )
    factor = max(1, TILE // images.shape[1])
    triplets = np.stack([images, coloured(labels, len(parts)), blended(images, labels, len(parts))], axis=1)
    triplets = triplets.repeat(factor, axis=2).repeat(factor, axis=3)
    height, width = triplets.shape[2:4]
    columns = min(columns, count)
    rows = -(-count // columns)
    step_x, step_y = 3 * width + 2 * _GAP + _BETWEEN, height + _BETWEEN
    total = 2 * _MARGIN + columns * step_x - _BETWEEN
    legend = _Legend(parts, total - 2 * _MARGIN)
    below = 2 * _MARGIN + rows * step_y - _BETWEEN
    picture = Image.new("RGB", (total, below + legend.height + _MARGIN), _PAPER)
    for index, triplet in enumerate(triplets):
        top, left = _MARGIN + index // columns * step_y, _MARGIN + index % columns * step_x
        for place, tile in enumerate(triplet):
            picture.paste(Image.fromarray(tile), (left + place * (width + _GAP), top))
    legend.draw(picture, (_MARGIN, below))
    return picture


class _Legend:
    """Swatches and names, in lines that fit a width."""

    def __init__(self, parts: Sequence[str], width: int) -> None:
        self._font = ImageFont.load_default(_FONT_SIZE)
        self._places: list[tuple[int, int, str]] = []
        x = y = 0
        for name in parts:
            wide = _SWATCH + 6 + int(self._font.getlength(name)) + 18
            if x and x + wide > width:
                x, y = 0, y + _LINE
            self._places.append((x, y, name))
            x += wide
        self.height = y + _LINE

    def draw(self, picture: Image.Image, origin: tuple[int, int]) -> None:
        draw = ImageDraw.Draw(picture)
        for index, (x, y, name) in enumerate(self._places):
            left, top = origin[0] + x, origin[1] + y
            draw.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=colour(index))
            middle = top + _SWATCH / 2
            draw.text((left + _SWATCH + 6, middle), name, fill=_INK, font=self._font, anchor="lm")
