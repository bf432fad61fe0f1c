"""Sheets of pictures: while the generator is fitted, and for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save_rows(path: Path, rows: Sequence[NDArray[np.uint8]], columns: int = 12, enlarge: int = 1) -> None:
    """Save pictures as a PNG in which picture i of every row stands above picture i of the next.

    Args:
        path: Where to.
        rows: Each ``uint8 (n, h, w, 3)``, all of the same length.
        columns: Pictures side by side; longer rows are broken, all of them together.
        enlarge: Factor of nearest-neighbour enlargement.
    """
    bands = []
    for start in range(0, len(rows[0]), columns):
        for row in rows:
            pictures = list(row[start : start + columns])
            blank = np.full_like(row[0], 255)
            pictures += [blank] * (columns - len(pictures))
            bands.append(np.concatenate(pictures, axis=1))
        bands.append(np.full((4, bands[-1].shape[1], 3), 255, dtype=np.uint8))
    sheet = Image.fromarray(np.concatenate(bands[:-1]))
    if enlarge != 1:
        sheet = sheet.resize((sheet.width * enlarge, sheet.height * enlarge), Image.Resampling.NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.png")
    sheet.save(partial, optimize=True)
    partial.replace(path)
