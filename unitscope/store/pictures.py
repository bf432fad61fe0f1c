"""A user's picture file made safe to keep: checked, bounded, RGB, without metadata."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from unitscope.errors import InvalidArgumentError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""What is read; every other format is refused without being decoded."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 64_000_000
"""A file may claim to hold this many pixels at most; larger ones are not decoded."""
MAX_SIDE = 512
"""The longer side of what is kept, in pixels."""
JPEG_QUALITY = 92

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """A picture as it is kept: its bytes, ``png`` or ``jpg``, and its size in pixels."""

    data: bytes
    suffix: str
    width: int
    height: int


def read_picture(path: Path) -> Picture:
    """Decodes a file and encodes it anew: JPEG stays JPEG, everything else becomes PNG.

    Turned upright as its EXIF data says, transparency laid on white, scaled down to `MAX_SIDE`. Nothing
    of the file but its pixels is kept: no place, no camera, no comment.

    Raises:
        InvalidArgumentError: The file is no picture, is damaged, or is too large (reason
            UNREADABLE_IMAGE).
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _unreadable(path, f"it has more than {MAX_FILE_BYTES >> 20} MiB")
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _kept(path, data)
    except _BROKEN as error:
        raise _unreadable(path, _reason(error)) from error


def _kept(path: Path, data: bytes) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _unreadable(
                path, f"it has {image.width} x {image.height} pixels; {MAX_PIXELS:,} are the limit"
            )
        image.verify()
    # A verified image cannot be decoded; it is opened again.
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        jpeg = image.format == "JPEG"
        upright = ImageOps.exif_transpose(image)
        small = in_rgb(_eight_bits(upright))
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    if jpeg:
        small.save(sink, "JPEG", quality=JPEG_QUALITY)
    else:
        small.save(sink, "PNG")
    return Picture(sink.getvalue(), "jpg" if jpeg else "png", small.width, small.height)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits in 8: Pillow would cut its values off at 255, so that nearly all of it became white."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


def in_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB, as a new one without metadata; transparency laid on white."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        plain = Image.new("RGB", layer.size, "white")
        plain.paste(layer, mask=layer.getchannel("A"))
        return plain
    found = image.convert("RGB")
    plain = Image.new("RGB", found.size)
    plain.paste(found)
    return plain


def fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The largest centred cut of an image that has the aspect of a size (width, height), at that size.

    Args:
        image: uint8 (height, width, 3).
        size: Wanted.
    """
    return np.asarray(ImageOps.fit(Image.fromarray(image), size, Image.Resampling.BILINEAR))


def _reason(error: Exception) -> str:
    """What is wrong, without the names of objects in memory that the decoder speaks of."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    words = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return words[:200] or type(error).__name__


def _unreadable(path: Path, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{path.name} cannot be taken: {why}", reason="UNREADABLE_IMAGE", field="folder", file=path.name
    )
