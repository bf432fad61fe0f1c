"""A picture file from outside as small squares of pixels: bounded, upright, RGB."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from unitscope.store.pictures import in_rgb

FORMATS = ("JPEG", "PNG")
"""What is read; every other format is refused without being decoded."""
MAX_PIXELS = 64_000_000
"""A file may claim to hold this many pixels at most; larger ones are not decoded."""
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What decoders raise on damaged files."""


def squares(data: bytes, resolutions: Iterable[int]) -> list[NDArray[np.uint8]]:
    """Decodes a picture file and cuts out its central square, at several sizes.

    Upright as its EXIF data says, transparency laid on white. Enlarged where it is smaller.

    Args:
        data: The bytes of a JPEG or PNG file.
        resolutions: Edges in pixels.

    Returns:
        uint8 ``(edge, edge, 3)`` each.

    Raises:
        ValueError, OSError and others of Pillow: No picture that can be read, or one of more than
            `MAX_PIXELS`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"it has {image.width} x {image.height} pixels; {MAX_PIXELS:,} are the limit"
                )
            upright = in_rgb(ImageOps.exif_transpose(image))
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    box = (left, top, left + side, top + side)
    return [
        np.asarray(upright.resize((edge, edge), Image.Resampling.LANCZOS, box=box)) for edge in resolutions
    ]
