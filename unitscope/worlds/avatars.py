"""Avatars: seeded cartoon faces with known factors, part masks and words.

The drawings are those of the package ``python-avatars`` (MIT; after the avataaars of Pablo
Stanley), rasterised by ``resvg-py``. Both come with the extra ``unitscope[worlds]``.

    >>> from unitscope.worlds import avatars
    >>> avatar = avatars.draw(7)
    >>> avatar.image.shape, avatar.factors.top, avatar.mask("eyes").sum() > 0
    ((64, 64, 3), <Top.TURBAN: 'turban'>, np.True_)

The same seed gives the same bytes with the same versions of the two packages.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import python_avatars as drawn
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from unitscope.errors import InvalidArgumentError, NotFoundError
from unitscope.worlds.factors import (
    HEADWEAR,
    Background,
    Clothes,
    ClothesColour,
    Eyes,
    FacialHair,
    Factors,
    Glasses,
    HairColour,
    HatColour,
    Mouth,
    Skin,
    Top,
    sample_factors,
    words,
)
from unitscope.worlds.parts import PARTS, label_map

SIZE = 64
"""Side of an avatar in pixels."""

# The square of the drawing's canvas that is shown: head and shoulders, brim of the hat included.
_VIEW_BOX = "22 6 220 220"

_TOPS: dict[Top, drawn.HairType | drawn.HatType] = {
    Top.SHORT_HAIR: drawn.HairType.SHORT_FLAT,
    Top.LONG_HAIR: drawn.HairType.STRAIGHT_1,
    Top.CURLY_HAIR: drawn.HairType.CURLY,
    Top.BUN: drawn.HairType.BUN,
    Top.HAT: drawn.HatType.HAT,
    Top.WINTER_HAT: drawn.HatType.WINTER_HAT_2,
    Top.BEANIE: drawn.HatType.WINTER_HAT_3,
    Top.TURBAN: drawn.HatType.TURBAN,
}
_HAIR_COLOURS = {
    HairColour.BLACK: "#2C1B18",
    HairColour.BROWN: "#7A4A2B",
    HairColour.BLONDE: "#E3BC5B",
    HairColour.RED: "#D0421B",
}
_HAT_COLOURS = {
    HatColour.BLUE: "#3355CC",
    HatColour.RED: "#D93636",
    HatColour.GREEN: "#2E9E5B",
    HatColour.YELLOW: "#F2C230",
}
_GLASSES = {
    Glasses.NONE: drawn.AccessoryType.NONE,
    Glasses.CLEAR: drawn.AccessoryType.PRESCRIPTION_2,
    Glasses.SUNGLASSES: drawn.AccessoryType.WAYFARERS,
}
_FACIAL_HAIR = {
    FacialHair.NONE: drawn.FacialHairType.NONE,
    FacialHair.MOUSTACHE: drawn.FacialHairType.MOUSTACHE_MAGNUM,
    FacialHair.BEARD: drawn.FacialHairType.BEARD_MEDIUM,
}
_SKINS = {Skin.LIGHT: "#FFDBB4", Skin.TAN: "#D99A62", Skin.DARK: "#8A5433"}
_CLOTHES = {
    Clothes.SHIRT: drawn.ClothingType.SHIRT_CREW_NECK,
    Clothes.HOODIE: drawn.ClothingType.HOODIE,
    Clothes.BLAZER: drawn.ClothingType.BLAZER_SHIRT,
}
_CLOTHES_COLOURS = {
    ClothesColour.RED: "#E8413C",
    ClothesColour.BLUE: "#2F6FDE",
    ClothesColour.GREEN: "#2FA35B",
    ClothesColour.YELLOW: "#F5C518",
}
_MOUTHS = {
    Mouth.SMILE: drawn.MouthType.BIG_SMILE,
    Mouth.SERIOUS: drawn.MouthType.SERIOUS,
    Mouth.OPEN: drawn.MouthType.SCREAM_OPEN,
}
_EYES = {
    Eyes.OPEN: drawn.EyeType.DEFAULT,
    Eyes.WIDE: drawn.EyeType.SURPRISED,
    Eyes.CLOSED: drawn.EyeType.CLOSED,
}
_BACKGROUNDS = {
    Background.SKY: "#6CC4F5",
    Background.LIME: "#A6D854",
    Background.ORANGE: "#F59B42",
    Background.PINK: "#F389B8",
}


@dataclass(frozen=True, eq=False)
class Avatar:
    """A drawn avatar.

    Attributes:
        image: ``uint8 (64, 64, 3)``.
        factors: What was drawn.
        labels: ``uint8 (64, 64)`` of indices into :data:`unitscope.worlds.parts.PARTS`, or None if
            not asked for.
    """

    image: NDArray[np.uint8]
    factors: Factors
    labels: NDArray[np.uint8] | None

    @property
    def words(self) -> tuple[str, ...]:
        """The words that are true of the picture."""
        return words(self.factors)

    def mask(self, part: str) -> NDArray[np.bool_]:
        """Return ``bool (64, 64)``: where the part is what one sees.

        Raises:
            NotFoundError: If the avatar was drawn without masks.
            InvalidArgumentError: If there is no such part.
        """
        if self.labels is None:
            raise NotFoundError(
                "this avatar was drawn with masks=False; draw it with masks=True",
                reason="MASKS_NOT_DRAWN",
            )
        if part not in PARTS:
            raise InvalidArgumentError(
                f"there is no part {part!r}; use one of {', '.join(PARTS)}",
                reason="UNKNOWN_PART",
                field="part",
            )
        owned: NDArray[np.bool_] = self.labels == PARTS.index(part)
        return owned


def draw(what: int | Factors, *, masks: bool = True) -> Avatar:
    """Draw an avatar.

    Args:
        what: A seed >= 0 of which the factors are drawn, or the factors themselves.
        masks: Whether to find out which pixel belongs to which part, which takes longer than the
            drawing.

    Returns:
        The avatar; the same argument gives the same bytes.

    Raises:
        InvalidArgumentError: If the seed is negative.
    """
    factors = what if isinstance(what, Factors) else _seeded(what)
    svg = _svg(factors)
    labels = None
    if masks:
        labels = label_map(
            svg,
            headwear=factors.top in HEADWEAR,
            rasterise=lambda flat, side: _rasterise(flat, side, "#000000", "crisp_edges"),
            size=SIZE,
        )
    image = _rasterise(svg, SIZE, _BACKGROUNDS[factors.background], "geometric_precision")
    return Avatar(image=image, factors=factors, labels=labels)


def _seeded(seed: int) -> Factors:
    if seed < 0:
        raise InvalidArgumentError(
            f"a seed must be 0 or more, got {seed}",
            reason="SEED_OUT_OF_RANGE",
            field="seed",
        )
    return sample_factors(np.random.Generator(np.random.PCG64(seed)))


def _svg(factors: Factors) -> str:
    """Return the drawing, with every choice made explicitly: the package's own defaults are random."""
    svg: str = drawn.Avatar(
        style=drawn.AvatarStyle.TRANSPARENT,
        top=_TOPS[factors.top],
        hat_color=_HAT_COLOURS[factors.hat_colour],
        hair_color=_HAIR_COLOURS[factors.hair_colour],
        facial_hair=_FACIAL_HAIR[factors.facial_hair],
        facial_hair_color=_HAIR_COLOURS[factors.hair_colour],
        skin_color=_SKINS[factors.skin],
        accessory=_GLASSES[factors.glasses],
        clothing=_CLOTHES[factors.clothes],
        clothing_color=_CLOTHES_COLOURS[factors.clothes_colour],
        mouth=_MOUTHS[factors.mouth],
        eyes=_EYES[factors.eyes],
        eyebrows=drawn.EyebrowType.DEFAULT,
        nose=drawn.NoseType.DEFAULT,
    ).render()
    return re.sub(r'viewBox="[^"]*"', f'viewBox="{_VIEW_BOX}"', svg, count=1)


def _rasterise(
    svg: str,
    side: int,
    background: str,
    edges: Literal["crisp_edges", "geometric_precision"],
) -> NDArray[np.uint8]:
    """Return ``uint8 (side, side, 3)``."""
    sized = re.sub(
        r' width="[^"]*" height="[^"]*"',
        f' width="{side}" height="{side}"',
        svg,
        count=1,
    )
    png = resvg_py.svg_to_bytes(
        svg_string=sized,
        background=background,
        skip_system_fonts=True,
        shape_rendering=edges,
    )
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
