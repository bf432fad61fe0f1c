"""The measures: what each is called, its unit, and how its changes are to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIN_AREA = 20 / 128**2
"""Share of the picture below which a part is too small to measure: 5 pixels of 64 x 64.

Source: the published notebooks of "Linking in Style" hide parts of fewer than 20 of 128 x 128 pixels.
"""

PICTURE = "picture"
"""Name of the last row of every measurement: the whole picture."""

Aspect = Literal["size", "colour", "texture", "shape", "position", "count", "motion"]


@dataclass(frozen=True)
class Measure:
    """One number of a part of a picture.

    Attributes:
        name: Its name in tables and on the command line.
        unit: Its unit.
        meaning: What it is, in a phrase.
        aspect: What about the part it describes.
        period: The length of its circle in its own unit; 0 where it is not circular.
        signed: False for measures of change, which cannot be negative: no test of a sign is possible.
        clear: A change, in its own unit, that a person would call clear. Effects are compared in units of how
            much a measure varies among base images, but never finer than this: where glasses never move, a
            tenth of a pixel is still no great move. 0 for measures without direction.
    """

    name: str
    unit: str
    meaning: str
    aspect: Aspect
    period: float = 0.0
    signed: bool = True
    clear: float = 0.0


MEASURES: tuple[Measure, ...] = (
    Measure("area", "share of picture", "how much of the picture the part covers", "size", clear=0.01),
    Measure("luminance", "L*", "mean lightness, 0 (black) to 100 (white)", "colour", clear=10),
    Measure("a", "a*", "mean redness; negative is green", "colour", clear=10),
    Measure("b", "b*", "mean yellowness; negative is blue", "colour", clear=10),
    Measure("chroma", "C*ab", "mean colourfulness, 0 is grey", "colour", clear=10),
    Measure(
        "hue",
        "degree",
        "hue of the mean colour: 0 red, 90 yellow, 180 green, 270 blue",
        "colour",
        360.0,
        clear=45,
    ),
    Measure(
        "delta_e", "CIEDE2000", "difference of the mean colour to the first step", "colour", signed=False
    ),
    Measure("entropy", "bit", "how varied the lightness is: entropy of its histogram", "texture", clear=0.7),
    Measure("contrast", "L*", "standard deviation of the lightness", "texture", clear=7),
    Measure("eccentricity", "0..1", "how elongated the part is: 0 round, 1 a line", "shape", clear=0.2),
    Measure("orientation", "degree", "angle of the long axis: 0 level, 90 upright", "shape", 180.0, clear=20),
    Measure("centre_x", "share of width", "position from the left", "position", clear=0.05),
    Measure("centre_y", "share of height", "position from the top", "position", clear=0.05),
    Measure("major_axis", "share of width", "length of the long axis", "shape", clear=0.07),
    Measure("minor_axis", "share of width", "length of the short axis", "shape", clear=0.07),
    Measure("instances", "count", "separate pieces of the part", "count", clear=1),
    Measure("motion", "share of width", "mean deformation since the first step", "motion", signed=False),
)
"""All measures, in the order of the last axis of every measurement."""

INDEX: dict[str, int] = {measure.name: index for index, measure in enumerate(MEASURES)}
"""Position of each measure by name."""
