"""Folders of small pictures, to train on in tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed: int, tint: int = 128, edge: int = 24) -> bytes:
    """A picture of random pixels around a tint."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(tint, 40, (edge, edge, 3)), 0, 255).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def write_classes(folder: Path, classes: Sequence[str], each: int) -> Path:
    """Writes a subfolder a class, each of its own tint, and returns the folder."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            tint = 60 + 120 * label // max(1, len(classes) - 1)
            (folder / name / f"{index}.png").write_bytes(png(1000 * label + index, tint))
    return folder
