"""Pictures inside the file: film strips as one WebP each, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 90
"""WebP quality; with sharp chroma, small coloured parts keep their edges."""


def strip(frames: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> str:
    """Frames side by side, as a data URI.

    Args:
        frames: ``uint8 (steps, height, width, 3)``, or ``(steps, height, width)`` of labels, which are
            kept exactly.
    """
    joined = np.concatenate(list(frames), axis=1)
    sink = io.BytesIO()
    if joined.ndim == 2:
        Image.fromarray(joined).save(sink, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()
    Image.fromarray(joined).save(sink, "WEBP", quality=QUALITY, method=4, use_sharp_yuv=True)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def within(
    budget: int, wanted: Iterable[tuple[str, NDArray[np.uint8] | Sequence[NDArray[np.uint8]]]]
) -> tuple[dict[str, str], int]:
    """Strips in the order in which they are wanted, until the next would not fit.

    Args:
        budget: Bytes that all data URIs together may take.
        wanted: Key and frames of each strip, the most wanted first.

    Returns:
        The data URIs by key, and the number of strips that were left out.
    """
    chosen: dict[str, str] = {}
    left_out = 0
    for key, frames in wanted:
        if left_out:
            left_out += 1
            continue
        uri = strip(frames)
        budget -= len(uri)
        if budget < 0:
            left_out += 1
            continue
        chosen[key] = uri
    return chosen, left_out
