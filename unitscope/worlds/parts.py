"""Which pixel of a drawn avatar belongs to which part.

The drawing is a tree of SVG groups. Every shape of a group is painted in one flat colour for its
part, shadows and light are left out, and the picture is rasterised without anti-aliasing at several
times its size. The part that owns most of a pixel's samples owns the pixel. What is painted later
hides what is below, exactly as in the picture itself; glass that one can see through (clear
glasses) belongs to what is seen through it, the lens of sunglasses to them. What covers less than
half of a pixel owns none of it, although it tints it.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

PARTS: tuple[str, ...] = (
    "background",
    "clothes",
    "face",
    "mouth",
    "eyes",
    "hair",
    "hat",
    "facial_hair",
    "glasses",
)
"""Part names; a label map holds indices into this tuple. ``face`` is all skin, with nose, brows and neck."""

OVERSAMPLING = 4
"""Samples along each side of a pixel."""

_SHAPES = frozenset({"path", "rect", "circle", "ellipse", "polygon", "use"})
_PAINT = ("fill", "fill-opacity", "opacity", "style", "filter")
_SHADOWS = ("Shadow", "Shadowy", "Shadows", "Neck-Shadow")
_PART_OF_GROUP = {
    "Body": "face",
    "Clothing": "clothes",
    "Mouth": "mouth",
    "Nose": "face",
    "Eyes": "eyes",
    "Eyebrow": "face",
    "Facial-Hair": "facial_hair",
    "Accessory": "glasses",
}
# Equal steps that survive rasterisation: one grey level per part.
_STEP = 255 // (len(PARTS) - 1)


def label_map(
    svg: str,
    *,
    headwear: bool,
    rasterise: Callable[[str, int], NDArray[np.uint8]],
    size: int,
) -> NDArray[np.uint8]:
    """Return the label map of an avatar's drawing.

    Args:
        svg: The drawing, as python_avatars renders it.
        headwear: Whether the top is headwear (part ``hat``) or hair (part ``hair``).
        rasterise: Turns an SVG without anti-aliasing into ``uint8 (n, n, 3)``, given the side n in
            pixels.
        size: Side of the label map in pixels.

    Returns:
        ``uint8 (size, size)``, indices into :data:`PARTS`.
    """
    root = ET.fromstring(svg)
    _paint(root, "background", "hat" if headwear else "hair")
    samples = rasterise(ET.tostring(root, encoding="unicode"), size * OVERSAMPLING)[..., 0]
    labels = np.rint(samples / _STEP).astype(np.uint8)
    blocks = labels.reshape(size, OVERSAMPLING, size, OVERSAMPLING)
    votes = np.stack([(blocks == part).sum(axis=(1, 3)) for part in range(len(PARTS))])
    owners: NDArray[np.uint8] = votes.argmax(axis=0).astype(np.uint8)
    return owners


def _paint(element: ET.Element, part: str, top: str) -> None:
    """Paint every shape below ``element`` in the flat colour of its part, and remove shadows."""
    for child in list(element):
        tag = child.tag.rpartition("}")[2]
        name = child.get("id", "").partition("_")[2] if "_" in child.get("id", "") else ""
        if tag in ("defs", "mask", "title", "desc"):
            continue
        casts_shadow = tag == "use" and child.get("filter") is not None
        if casts_shadow or name.endswith(_SHADOWS):
            element.remove(child)
            continue
        # python_avatars prefixes ids with the file's name, which may itself contain underscores.
        own = next(
            (p for g, p in _PART_OF_GROUP.items() if child.get("id", "").endswith("_" + g)),
            None,
        )
        if child.get("id", "").endswith("_Top"):
            own = top
        inner = own if own is not None and tag == "g" else part
        for attribute in _PAINT:
            child.attrib.pop(attribute, None)
        if tag in _SHAPES:
            grey = PARTS.index(inner) * _STEP
            child.set("fill", f"#{grey:02x}{grey:02x}{grey:02x}")
        _paint(child, inner, top)
