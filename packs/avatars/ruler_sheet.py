"""The sheet by which the ruler was checked by hand: generated pictures, and all that it reads off them.

What was found is in ``ruler_hand_check.json`` beside this module, which the ruler's card quotes. The
sheet is for the eye: the ruler's figures count it as wrong where a picture departs from its ``z``, and
only somebody who looks can tell the two apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from packs.avatars.ruler import READINGS, Ruler
from services.generator.backend import GeneratorBackend
from services.generator.parts.overlay import blended, coloured
from unitscope.worlds.avatars import SIZE
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.latents import Z_DIM
from unitscope.worlds.parts import PARTS

HAND_CHECK = Path(__file__).with_name("ruler_hand_check.json")
SEED = 402
COUNT = 48
TRUNCATIONS = (0.7, 1.0)
"""Of every other picture."""

_ENLARGE, _COLUMNS, _LINE, _FONT_SIZE = 2, 6, 12, 10
_PAPER, _INK = (255, 255, 255), (28, 30, 34)


def hand_check() -> dict[str, Any]:
    """Return what was found when the sheet was looked at, or nothing if it was not yet."""
    if not HAND_CHECK.exists():
        return {}
    found: dict[str, Any] = json.loads(HAND_CHECK.read_text(encoding="utf-8"))
    return found


def pictures(backend: GeneratorBackend) -> NDArray[np.uint8]:
    """Render the 48 pictures that are looked at: classes in turn, truncations in turn."""
    z = np.random.Generator(np.random.PCG64(SEED)).standard_normal((COUNT, Z_DIM)).astype(np.float32)
    classes = np.arange(COUNT) // len(TRUNCATIONS) % len(CLASSES)
    truncation = torch.tensor(TRUNCATIONS).repeat(COUNT // len(TRUNCATIONS)).numpy()
    return backend.render(backend.map(z, classes, truncation))


def write_sheet(
    path: Path, ruler: Ruler, images: NDArray[np.uint8], enlarge: int = _ENLARGE, columns: int = _COLUMNS
) -> None:
    """Write pictures, labels, both, and the readings as text below, as a PNG."""
    codes, labels = ruler.codes(images), ruler.labels(images)
    count = len(PARTS)
    tiles = np.concatenate([images, coloured(labels, count), blended(images, labels, count)], axis=2)
    tiles = tiles.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    words = [
        [said[code] for said, code in zip(READINGS.values(), row, strict=True)] for row in codes.tolist()
    ]
    height, width = enlarge * SIZE + 4 * _LINE + 6, 3 * enlarge * SIZE + 6
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for index, tile in enumerate(tiles):
        left, top = index % columns * width, index // columns * height
        sheet.paste(Image.fromarray(tile), (left, top))
        for line, text in enumerate(_lines(index, words[index])):
            draw.text((left + 2, top + enlarge * SIZE + 1 + line * _LINE), text, fill=_INK, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _lines(index: int, words: list[str]) -> list[str]:
    """The readings in four lines, each named where its word alone would be ambiguous."""
    said = dict(zip(READINGS, words, strict=True))
    return [
        f"{index}: {said['top']}, hair {said['hair_colour']}, hat {said['hat_colour']}",
        f"glasses {said['glasses']}, face {said['facial_hair']}, skin {said['skin']}",
        f"{said['clothes']} {said['clothes_colour']}, on {said['background']}",
        f"mouth {said['mouth']}, eyes {said['eyes']}",
    ]
