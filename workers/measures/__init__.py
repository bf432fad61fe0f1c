"""Pure functions of pictures, uint8 (batch, height, width, 3), in sRGB, and of the parts in them.

`measure` gives every measure of `MEASURES` for every part; `whole` those of pictures without parts.
"""

from workers.measures.catalogue import MEASURES, MIN_AREA, PICTURE, Measure
from workers.measures.parts import measure

__all__ = ["MEASURES", "MIN_AREA", "PICTURE", "Measure", "measure"]
