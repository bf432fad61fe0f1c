"""Colours of parts: fixed by the index of the part, and apart for colour-blind eyes.

Index 0, by convention the background, is grey. Then come the eight hues of Okabe and Ito ("Color
universal design", 2008) without black, then Paul Tol's "muted" scheme, and, for the rare set with more
parts, hues a golden angle apart.
"""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

_NAMED = (
    "8a8f98",  # grey: background
    *("e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7"),  # Okabe and Ito
    *("332288", "ddcc77", "117733", "88ccee", "882255", "44aa99", "999933", "aa4499"),  # Tol, muted
)
_GOLDEN = 0.618034
_UNLABELLED: Colour = (24, 26, 30)


def colour(index: int) -> Colour:
    """The colour of a part, sRGB 0 to 255.

    Args:
        index: The part's label; from 0.
    """
    if index < len(_NAMED):
        red, green, blue = bytes.fromhex(_NAMED[index])
        return red, green, blue
    lightness = (0.42, 0.62)[index % 2]
    parts = colorsys.hls_to_rgb(index * _GOLDEN % 1, lightness, 0.55)
    red, green, blue = (round(255 * part) for part in parts)
    return red, green, blue


def table(parts: int) -> NDArray[np.uint8]:
    """The colour of every label, uint8 ``(256, 3)``; labels that are no part are nearly black."""
    colours = [colour(index) for index in range(parts)]
    return np.array(colours + [_UNLABELLED] * (256 - parts), np.uint8)


def palette(parts: int) -> list[int]:
    """The same for a palette image: 768 numbers."""
    return [int(value) for value in table(parts).ravel()]


def web(index: int) -> str:
    """The colour of a part as ``#rrggbb``."""
    return f"#{bytes(colour(index)).hex()}"
