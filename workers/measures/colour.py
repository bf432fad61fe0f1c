"""From sRGB bytes to CIELAB.

Source: IEC 61966-2-1 (sRGB), CIE 15:2004 (CIELAB, D65, 2 degree observer). Bytes have only 256 values,
so that the gamma curve is a table; this is what makes it several times as fast as a general converter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WHITE = np.array([0.95047, 1.0, 1.08883])
_XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_MATRIX = (_XYZ_FROM_RGB / _WHITE[:, None]).astype(np.float32)
_EPSILON, _KAPPA = (6 / 29) ** 3, (29 / 6) ** 2 / 3


def _linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


_LINEAR = _linear(np.arange(256) / 255).astype(np.float32)


def to_lab(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns CIELAB, (..., 3) float32: L* from 0 (black) to 100 (white), a* and b* about -110 to 110.

    Args:
        images: (..., 3) sRGB.

    Raises:
        ValueError: The values are not bytes, or the last axis is not 3.
    """
    if images.dtype != np.uint8 or images.shape[-1:] != (3,):
        raise ValueError(f"images are {images.dtype} {images.shape}; uint8 (..., 3) is needed")
    xyz = _LINEAR[images] @ _MATRIX.T
    x, y, z = np.moveaxis(_response(xyz), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _response(ratio: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(
        ratio > np.float32(_EPSILON),
        np.cbrt(ratio),
        np.float32(_KAPPA) * ratio + np.float32(4 / 29),
    )
