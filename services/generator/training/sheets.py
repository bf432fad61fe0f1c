"""Sample sheets: real pictures above generated ones, a row a class, with labels.

A sheet shows the same latents every time, so that sheets of one training can be flicked through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ROWS = 10
"""Classes that a sheet shows at most, at even distances."""
COLUMNS = 10
"""Pictures of a class."""
EDGE = 48
"""Smaller pictures are enlarged to about this, in whole pixels."""

_GAP, _LABEL, _TITLE = 2, 110, 18
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (110, 110, 110)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """Rows of pictures under a title.

    Attributes:
        title: What they are, e.g. ``truncation 0.7``.
        rows: uint8 ``(n, edge, edge, 3)`` for every class shown; n may be 0 and differ.
    """

    title: str
    rows: Sequence[Bytes]


def shown_classes(count: int) -> list[int]:
    """The classes that a sheet shows, of so many."""
    shown = min(count, ROWS)
    return [index * count // shown for index in range(shown)]


def sheet(blocks: Sequence[Block], labels: Sequence[str], title: str) -> Image.Image:
    """Draws a sheet.

    Args:
        blocks: One above the other, each with a row for every label.
        labels: Names of the classes shown.
        title: At the top.
    """
    edge = max(row.shape[1] for block in blocks for row in block.rows)
    scale = max(1, math.ceil(EDGE / edge))
    cell = edge * scale + _GAP
    columns = max(len(row) for block in blocks for row in block.rows)
    height = _TITLE + sum(_TITLE + cell * len(block.rows) for block in blocks)
    paper = Image.new("RGB", (max(_LABEL + cell * columns, 320), height), _PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(12)
    pen.text((4, 2), title, _INK, font)
    top = _TITLE
    for block in blocks:
        pen.text((_LABEL, top + 2), block.title, _FAINT, font)
        top += _TITLE
        for label, row in zip(labels, block.rows, strict=True):
            pen.text((4, top + (cell - 14) // 2), _fitting(label, font), _INK, font)
            for column, picture in enumerate(row):
                tile = Image.fromarray(picture)
                tile = tile.resize((edge * scale, edge * scale), Image.Resampling.NEAREST)
                paper.paste(tile, (_LABEL + column * cell, top))
            top += cell
    return paper


def save_sheet(path: Path, blocks: Sequence[Block], labels: Sequence[str], title: str) -> None:
    """Draws a sheet into a PNG file, which it replaces atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    sheet(blocks, labels, title).save(partial, format="PNG")
    partial.replace(path)


def _fitting(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The label, cut to the width there is; fonts without a glyph draw a box."""
    plain = "".join(c if c.isprintable() else "?" for c in label)
    if font.getlength(plain) <= _LABEL - 8:
        return plain
    while plain and font.getlength(plain + "…") > _LABEL - 8:
        plain = plain[:-1]
    return plain + "…"
