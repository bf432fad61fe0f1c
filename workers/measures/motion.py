"""Motion between two pictures that no affine map of the picture explains: deformation of parts.

Source: dense inverse search (T. Kroeger et al., ECCV 2016) as OpenCV has it; the affine part is found by
RANSAC (M. Fischler and R. Bolles, 1981), so that what moves by itself does not bend it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 4
"""The affine map is fitted to the flow at every fourth pixel of each direction."""
INLIER = 0.25
"""Distance in pixels within which a point of the grid agrees with an affine map."""
TRIALS = 500
"""Most samples that RANSAC draws; it stops where it is 99 % sure, after far fewer in like pictures."""
MIN_SIDE = 16
"""Least height and width in pixels: two patches of the flow."""

Floats = NDArray[np.float32]


def residual(lightness: Floats) -> Floats:
    """Length of the flow from step 0 to each step that the best affine map of the picture leaves over.

    Deterministic, and independent of other sequences.

    Args:
        lightness: (steps, height, width), L*, 0 to 100.

    Returns:
        (steps, height, width) at the pixels of step 0, as a share of the picture's width; 0 at step 0 and
        wherever a picture equals it; NaN in pictures with fewer than `MIN_SIDE` pixels on a side.
    """
    steps, height, width = lightness.shape
    lengths = np.zeros(lightness.shape, np.float32)
    if min(height, width) < MIN_SIDE:
        lengths[1:] = np.nan
        return lengths
    cv2.setNumThreads(1)
    grey = np.rint(np.clip(lightness, 0, 100) * 2.55).astype(np.uint8)
    # A flow object may keep what it saw, so that each sequence gets its own.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    for step in range(1, steps):
        if (grey[step] != grey[0]).any():
            flow: Floats = np.asarray(search.calc(grey[0], grey[step], None), np.float32)
            lengths[step] = np.hypot(*np.moveaxis(flow - _affine(flow), -1, 0)) / width
    return lengths


def _affine(flow: Floats) -> Floats:
    """The affine flow nearest to most of a flow, (height, width, 2); 0 where there is none."""
    height, width, _ = flow.shape
    rows, columns = np.mgrid[GRID // 2 : height : GRID, GRID // 2 : width : GRID]
    start = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
    end = start + flow[rows.ravel(), columns.ravel()]
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffine2D(
        start, end, method=cv2.RANSAC, ransacReprojThreshold=INLIER, maxIters=TRIALS
    )
    if matrix is None:
        return np.zeros_like(flow)
    x = np.arange(width, dtype=np.float64)[None, :, None]
    y = np.arange(height, dtype=np.float64)[:, None, None]
    moved = matrix[:, 0] * x + matrix[:, 1] * y + matrix[:, 2]
    affine: Floats = (moved - np.concatenate(np.broadcast_arrays(x, y), axis=2)).astype(np.float32)
    return affine
