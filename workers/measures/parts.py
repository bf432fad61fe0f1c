"""All measures of all parts, and of the whole picture, of many traversals.

One pass over the pixels for each sum serves every part of every picture; nothing of a picture depends on
others, save on step 0 of its own traversal where a measure is of change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000

from workers.measures import instances, motion, texture
from workers.measures.catalogue import INDEX, MEASURES, MIN_AREA
from workers.measures.colour import to_lab
from workers.measures.regions import Doubles, Regions
from workers.measures.shape import Ellipse, wrapped_angle

HUE_FLOOR = 5.0
"""Chroma of the mean colour below which it has no hue: one unit of a* or b* would turn it by 11 degrees."""
BLOCK = 2**18
"""Pixels that are measured at once, so that memory does not grow with the number of traversals."""

_SHAPE = ("centre_x", "centre_y", "major_axis", "minor_axis", "eccentricity", "orientation")


def measure(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], parts: int, min_area: float = MIN_AREA
) -> NDArray[np.float32]:
    """Measures every part at every step of every traversal.

    What each measure is: `unitscope`'s list `MEASURES`. In detail:

    - ``luminance``, ``a``, ``b``, ``chroma`` are means over the pixels; ``hue`` is that of the mean a*
      and b*, in [0, 360), NaN where their chroma is below `HUE_FLOOR`.
    - ``delta_e`` (CIEDE2000, parametric factors 1) compares mean colours with step 0.
    - ``entropy``, ``contrast``: see `workers.measures.texture`; shape and position: see `Ellipse`.
    - ``instances`` counts 8-connected pieces of at least ``min_area`` each: none, where all are smaller.
      Where a part has several at step 0, its shape and position are those of the instances that can be
      followed through all steps, averaged with their areas at step 0 as weights; the orientation is the
      mean axis at step 0 plus the mean turn since. Where none can be followed, they are the whole part's.
    - ``motion`` is the mean of `workers.measures.motion.residual` over the part's pixels at step 0.

    A part with fewer than ``min_area`` of the pixels is too small to measure: all of it is NaN at that
    step, and ``delta_e`` and ``motion`` at all steps where that step is 0. ``area`` is NaN only where the
    part is too small at every step of the traversal. The whole picture has colour, texture and motion.

    Args:
        images: (traversals, steps, height, width, 3), sRGB.
        labels: (traversals, steps, height, width), indices into the parts; 255 belongs to no part.
        parts: Number of parts, 1 to 255.
        min_area: Share of the picture's pixels, 0 to 1; at least one pixel is needed in any case.

    Returns:
        (traversals, steps, parts + 1, len(MEASURES)); the last part is the whole picture.

    Raises:
        ValueError: An array has another type or shape, or a label is out of range.
    """
    _check(images, labels, parts, min_area)
    traversals, steps, height, width = labels.shape
    measured = np.full((traversals, steps, parts + 1, len(MEASURES)), np.nan, np.float32)
    rows = max(1, BLOCK // max(1, steps * height * width))
    for start in range(0, traversals if steps else 0, rows):
        block = slice(start, start + rows)
        measured[block] = _block(images[block], labels[block], parts, min_area)
    return measured


def _check(images: NDArray[np.uint8], labels: NDArray[np.uint8], parts: int, min_area: float) -> None:
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[-1] != 3:
        raise ValueError(
            f"images are {images.dtype} {images.shape}; uint8 (traversals, steps, height, width, 3) is needed"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:-1]:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}; uint8 {images.shape[:-1]} is needed")
    if not 1 <= parts <= 255:
        raise ValueError(f"{parts} parts; 1 to 255 are possible")
    if not 0 <= min_area <= 1:
        raise ValueError(f"min_area is {min_area}; a share of the picture, 0 to 1, is needed")


def _block(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], parts: int, min_area: float
) -> NDArray[np.float64]:
    traversals, steps, height, width = labels.shape
    batch, pixels = traversals * steps, height * width
    flat = labels.reshape(batch, height, width)
    regions = Regions.of(flat, parts)
    by_step = (traversals, steps, parts + 1)
    table = np.full((*by_step, len(MEASURES)), np.nan)

    lab = to_lab(images.reshape(batch, pixels, 3))
    for name, values in _colours(lab, regions).items():
        table[..., INDEX[name]] = values.reshape(by_step)
    _delta_e(table)
    lightness = lab[..., 0]
    residual = np.stack([motion.residual(one) for one in lightness.reshape(labels.shape)])
    table[..., INDEX["motion"]] = _at_start(residual, labels, parts)
    # A share such as 0.07 of 100 pixels is a little more than 7 in binary.
    min_pixels = max(1, int(np.ceil(min_area * pixels - 1e-6)))
    found = instances.pieces(flat, parts, min_pixels)
    counts = found.counts(parts).reshape(traversals, steps, parts)
    table[:, :, :parts, INDEX["instances"]] = counts
    _shape(table, regions, found, counts)

    large = regions.pixels.reshape(by_step) >= min_pixels
    table[~large] = np.nan
    for name in ("delta_e", "motion"):
        table[..., INDEX[name]][~large[:, :1].repeat(steps, 1)] = np.nan
    area = (regions.pixels / pixels).reshape(by_step)[..., :parts]
    seen = large[..., :parts].any(1, keepdims=True)
    table[..., :parts, INDEX["area"]] = np.where(seen, area, np.nan)
    return table


def _colours(lab: NDArray[np.float32], regions: Regions) -> dict[str, Doubles]:
    """Colour and texture, (batch, parts + 1) each, of lab (batch, pixels, 3)."""
    lightness = lab[..., 0]
    red, yellow = regions.means(lab[..., 1]), regions.means(lab[..., 2])
    hue = np.mod(np.degrees(np.arctan2(yellow, red)), 360.0)
    hue = np.where(hue.astype(np.float32) >= 360, 0.0, hue)
    return {
        "luminance": regions.means(lightness),
        "a": red,
        "b": yellow,
        "chroma": regions.means(np.hypot(lab[..., 1], lab[..., 2])),
        "hue": np.where(np.hypot(red, yellow) >= HUE_FLOOR, hue, np.nan),
        "entropy": texture.entropy(lightness, regions),
        "contrast": texture.contrast(lightness, regions),
    }


def _delta_e(table: Doubles) -> None:
    """Fills in the difference of every mean colour to that of step 0."""
    colours = table[..., [INDEX["luminance"], INDEX["a"], INDEX["b"]]]
    table[..., INDEX["delta_e"]] = deltaE_ciede2000(np.broadcast_to(colours[:, :1], colours.shape), colours)


def _at_start(residual: NDArray[np.float32], labels: NDArray[np.uint8], parts: int) -> Doubles:
    """Mean residual (traversals, steps, parts + 1) of the pixels that are each part at step 0."""
    traversals, steps = labels.shape[:2]
    start = Regions.of(np.broadcast_to(labels[:, :1], labels.shape).reshape(-1, *labels.shape[2:]), parts)
    return start.means(residual).reshape(traversals, steps, parts + 1)


def _shape(table: Doubles, regions: Regions, found: instances.Pieces, counts: NDArray[np.int64]) -> None:
    """Fills in shape and position of the parts."""
    traversals, steps, parts = counts.shape
    batch, *size = found.ids.shape
    height, width = size
    whole = Ellipse.of(regions.sums, regions.pixels, batch, (height, width))
    for name in _SHAPE:
        values = getattr(whole, name).reshape(traversals, steps, parts + 1)
        table[:, :, :parts, INDEX[name]] = values[..., :parts]

    several = (counts[:, :1] > 1).repeat(steps, 1)
    tracked = instances.followed(found, several)
    if not len(tracked):
        return
    keys = found.ids.ravel()

    def sums(values: Doubles) -> Doubles:
        return np.bincount(keys, values.ravel(), len(found.pixels)).astype(np.float64)

    ellipse = Ellipse.of(sums, found.pixels.astype(np.float64), batch, (height, width))
    first = tracked[:, 0]
    rows, part, weights = found.picture[first] // steps, found.part[first], found.pixels[first]
    keys_of, group = np.unique(rows * parts + part, return_inverse=True)
    share = weights / np.bincount(group, weights)[group]

    def average(values: Doubles) -> Doubles:
        """Weighted means (groups, steps) of values (instances, steps)."""
        total = np.zeros((len(keys_of), values.shape[1]))
        np.add.at(total, group, values * share[:, None])
        return total

    at = (keys_of // parts, slice(None), keys_of % parts)
    for name in _SHAPE[:-1]:
        table[(*at, INDEX[name])] = average(getattr(ellipse, name)[tracked])
    angle = ellipse.orientation[tracked]
    doubled = np.radians(2 * angle[:, :1])
    start = np.degrees(np.arctan2(average(np.sin(doubled)), average(np.cos(doubled)))) / 2
    turn = np.mod(angle - angle[:, :1] + 90, 180) - 90
    table[(*at, INDEX["orientation"])] = wrapped_angle(start + average(turn))
