"""Measures of whole pictures: one number each, independent of where things are in it.

Every function takes uint8 (batch, height, width, 3) in sRGB and returns float32 (batch,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.measures.colour import to_lab

BINS = 64
"""Bins of the histogram of lightness, over 0 to 100."""

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]


def whole(images: Images) -> dict[str, Floats]:
    """All measures of single pictures by name; one conversion of colour serves them all.

    Raises:
        ValueError: The images are not uint8 (batch, height, width, 3).
    """
    if images.ndim != 4:
        raise ValueError(f"images have the shape {images.shape}; (batch, height, width, 3) is needed")
    lab = to_lab(images).reshape(len(images), -1, 3)
    lightness = lab[..., 0]
    return {
        "luminance": lightness.mean(1, np.float64).astype(np.float32),
        "contrast": lightness.std(1, np.float64).astype(np.float32),
        "entropy": _entropy(lightness),
        "chroma": np.hypot(lab[..., 1], lab[..., 2]).mean(1, np.float64).astype(np.float32),
    }


def luminance(images: Images) -> Floats:
    """Mean CIELAB lightness L*, 0 (black) to 100 (white)."""
    return whole(images)["luminance"]


def contrast(images: Images) -> Floats:
    """Standard deviation of the lightness L*, 0 (uniform) to 50 (half black, half white)."""
    return whole(images)["contrast"]


def entropy(images: Images) -> Floats:
    """Shannon entropy in bits of the histogram of lightness in `BINS` equal bins: 0 to 6."""
    return whole(images)["entropy"]


def chroma(images: Images) -> Floats:
    """Mean CIELAB chroma C*ab, 0 (grey) to about 134 (blue)."""
    return whole(images)["chroma"]


def change(images: Images, references: Images) -> Floats:
    """Mean absolute difference to the reference pictures in grey levels, 0 to 255.

    Args:
        images: (batch, height, width, 3).
        references: The same shape, or one that broadcasts to it.
    """
    difference = np.abs(images.astype(np.int16) - references)
    mean: Floats = difference.mean((1, 2, 3), np.float64).astype(np.float32)
    return mean


def _entropy(lightness: Floats) -> Floats:
    """The entropy (batch,) of lightness (batch, pixels)."""
    batch, pixels = lightness.shape
    bins = np.clip((lightness * (BINS / 100)).astype(np.int64), 0, BINS - 1)
    counts = np.bincount((bins + np.arange(batch)[:, None] * BINS).ravel(), minlength=batch * BINS)
    share = counts.reshape(batch, BINS) / pixels
    information = -share * np.log2(share, where=share > 0, out=np.zeros_like(share))
    bits: Floats = information.sum(1).astype(np.float32)
    return bits
