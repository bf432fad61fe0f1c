"""Texture of parts: how the lightness is spread in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.measures.regions import Doubles, Regions
from workers.measures.whole import BINS


def entropy(lightness: NDArray[np.float32], regions: Regions) -> Doubles:
    """Shannon entropy in bits of the histogram of L* in `BINS` equal bins over 0 to 100.

    Between 0 and log2 of the lesser of `BINS` and the number of pixels: small parts have little room.

    Args:
        lightness: (batch, pixels), L*.
        regions: The parts of the same pictures.

    Returns:
        (batch, parts + 1); 0 for parts without pixels.
    """
    bins = np.clip((lightness * (BINS / 100)).astype(np.int64), 0, BINS - 1)
    counts = regions.histograms(bins, BINS)
    share = counts / np.maximum(regions.pixels, 1)[..., None]
    information = -share * np.log2(share, where=share > 0, out=np.zeros_like(share))
    bits: Doubles = information.sum(-1)
    return bits


def contrast(lightness: NDArray[np.float32], regions: Regions) -> Doubles:
    """Standard deviation of L*, 0 (uniform) to 50 (half black, half white).

    Args:
        lightness: (batch, pixels), L*.
        regions: The parts of the same pictures.

    Returns:
        (batch, parts + 1); NaN for parts without pixels.
    """
    values = lightness.astype(np.float64)
    variance = regions.means(values * values) - regions.means(values) ** 2
    spread: Doubles = np.sqrt(np.maximum(variance, 0))
    return spread
