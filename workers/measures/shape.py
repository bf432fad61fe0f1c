"""Shape of regions by the ellipse that has their second moments.

Source: M. R. Teague, "Image analysis via the general theory of moments", J. Opt. Soc. Am. 70 (1980), and
as `skimage.measure.regionprops` has it: the full axes are 4 square roots of the eigenvalues of the
covariance of the pixels' centres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ellipse:
    """Ellipses of equal moments; all arrays have one shape, NaN where a region has no pixels.

    Attributes:
        centre_x: Mean of the pixels' centres, as a share of the picture's width from the left.
        centre_y: Likewise, of the height from the top.
        major_axis: Full length of the long axis, as a share of the picture's width.
        minor_axis: Full length of the short axis, likewise of the width; 0 for a line one pixel wide.
        eccentricity: Square root of 1 - (minor / major)^2, 0 (round) to 1 (a line); 0 for one pixel.
        orientation: Angle of the long axis to the level, degrees in [0, 180), counter-clockwise as seen.
            Where both axes are equal it is 0 and means nothing; near there it is little but noise.
    """

    centre_x: Doubles
    centre_y: Doubles
    major_axis: Doubles
    minor_axis: Doubles
    eccentricity: Doubles
    orientation: Doubles

    @classmethod
    def of(
        cls, sums: Callable[[NDArray[Any]], Doubles], pixels: Doubles, pictures: int, size: tuple[int, int]
    ) -> Ellipse:
        """The ellipses of regions.

        Args:
            sums: Sums values (pictures, height, width) over each region.
            pixels: Number of pixels of each region.
            pictures: Number of pictures.
            size: Their height and width.
        """
        height, width = size
        # Counted from the middle of the picture, the squares lose no digits that matter.
        column = np.arange(width) - (width - 1) / 2
        row = np.arange(height) - (height - 1) / 2
        x, y = np.broadcast_to(column, size), np.broadcast_to(row[:, None], size)

        def mean(values: Doubles) -> Doubles:
            total = sums(np.broadcast_to(values, (pictures, *size)))
            return total / np.where(pixels > 0, pixels, np.nan)

        mean_x, mean_y = mean(x), mean(y)
        # Exact in binary for straight lines: the products are multiples of 1/4.
        xx, yy, xy = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
        middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        long, short = np.maximum(middle + spread, 0), np.maximum(middle - spread, 0)
        ratio = short / np.where(long > 0, long, 1)
        # Rows count downwards, angles upwards.
        angle = np.degrees(np.arctan2(-2 * xy, xx - yy)) / 2
        return cls(
            centre_x=mean_x / width + 0.5,
            centre_y=mean_y / height + 0.5,
            major_axis=4 * np.sqrt(long) / width,
            minor_axis=4 * np.sqrt(short) / width,
            eccentricity=np.where(long > 0, np.sqrt(1 - ratio), np.where(np.isnan(long), np.nan, 0.0)),
            orientation=wrapped_angle(angle),
        )


def wrapped_angle(angle: Doubles) -> Doubles:
    """Angles of axes in [0, 180) degrees, in float32 too."""
    turned = np.mod(angle, 180.0)
    folded: Doubles = np.where(turned.astype(np.float32) >= 180, 0.0, turned)
    return folded
