"""What varies in an avatar: its factors, their values, how often each occurs, and the words for them.

The class of an avatar is its ``top`` (hair or headwear). Every other factor is categorical, with
the documented weights of :data:`WEIGHTS`, drawn independently of the class and of each other.
Values were chosen to be told apart at 64 pixels: few pale colours, three mouths, three kinds of
eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError


class Top(StrEnum):
    """Hair or headwear; the class that classifier and generator know."""

    SHORT_HAIR = "short_hair"
    LONG_HAIR = "long_hair"
    CURLY_HAIR = "curly_hair"
    BUN = "bun"
    HAT = "hat"
    WINTER_HAT = "winter_hat"
    BEANIE = "beanie"
    TURBAN = "turban"


class HairColour(StrEnum):
    """Colour of hair and facial hair."""

    BLACK = "black"
    BROWN = "brown"
    BLONDE = "blonde"
    RED = "red"


class HatColour(StrEnum):
    """Colour of the headwear; not visible where the top is hair."""

    BLUE = "blue"
    RED = "red"
    GREEN = "green"
    YELLOW = "yellow"


class Glasses(StrEnum):
    """Nothing, thick clear glasses, or sunglasses, which hide the eyes."""

    NONE = "none"
    CLEAR = "clear"
    SUNGLASSES = "sunglasses"


class FacialHair(StrEnum):
    """Facial hair, in the colour of the hair."""

    NONE = "none"
    MOUSTACHE = "moustache"
    BEARD = "beard"


class Skin(StrEnum):
    """Skin tone."""

    LIGHT = "light"
    TAN = "tan"
    DARK = "dark"


class Clothes(StrEnum):
    """Kind of clothes."""

    SHIRT = "shirt"
    HOODIE = "hoodie"
    BLAZER = "blazer"


class ClothesColour(StrEnum):
    """Colour of the shirt or hoodie; of the shirt below a blazer."""

    RED = "red"
    BLUE = "blue"
    GREEN = "green"
    YELLOW = "yellow"


class Mouth(StrEnum):
    """Expression of the mouth."""

    SMILE = "smile"
    SERIOUS = "serious"
    OPEN = "open"


class Eyes(StrEnum):
    """Kind of eyes; hidden behind sunglasses."""

    OPEN = "open"
    WIDE = "wide"
    CLOSED = "closed"


class Background(StrEnum):
    """Colour behind the avatar."""

    SKY = "sky"
    LIME = "lime"
    ORANGE = "orange"
    PINK = "pink"


CLASSES: tuple[str, ...] = tuple(top.value for top in Top)
"""Class names, in the order of the classifier's and the generator's class index."""

HEADWEAR = frozenset({Top.HAT, Top.WINTER_HAT, Top.BEANIE, Top.TURBAN})
"""The tops that cover the head; the others are hair."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Everything that determines an avatar; two avatars with equal factors are equal pictures."""

    top: Top
    hair_colour: HairColour
    hat_colour: HatColour
    glasses: Glasses
    facial_hair: FacialHair
    skin: Skin
    clothes: Clothes
    clothes_colour: ClothesColour
    mouth: Mouth
    eyes: Eyes
    background: Background

    @property
    def class_index(self) -> int:
        """Index of the class in :data:`CLASSES`."""
        return CLASSES.index(self.top.value)

    def codes(self) -> NDArray[np.int64]:
        """Return the value index of every factor, int64 ``(10,)`` in the order of :data:`NAMES`."""
        return np.array([VALUES[name].index(getattr(self, name)) for name in NAMES], dtype=np.int64)

    def changed(self, **values: str) -> Factors:
        """Return the factors with some of them set to other values.

        Raises:
            InvalidArgumentError: If a factor or one of its values does not exist.
        """
        parsed: dict[str, Any] = {name: parse(name, value) for name, value in values.items()}
        return replace(self, **parsed)


_TYPES: Mapping[str, type[StrEnum]] = MappingProxyType(
    {
        "top": Top,
        "hair_colour": HairColour,
        "hat_colour": HatColour,
        "glasses": Glasses,
        "facial_hair": FacialHair,
        "skin": Skin,
        "clothes": Clothes,
        "clothes_colour": ClothesColour,
        "mouth": Mouth,
        "eyes": Eyes,
        "background": Background,
    }
)

NAMES: tuple[str, ...] = tuple(field.name for field in fields(Factors) if field.name != "top")
"""The factors beside the class, in the order of their codes."""

VALUES: Mapping[str, tuple[StrEnum, ...]] = MappingProxyType({name: tuple(_TYPES[name]) for name in NAMES})
"""The values of every factor, in the order of their codes."""

WEIGHTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "hair_colour": (0.25, 0.25, 0.25, 0.25),
        "hat_colour": (0.25, 0.25, 0.25, 0.25),
        "glasses": (0.4, 0.3, 0.3),
        "facial_hair": (0.5, 0.2, 0.3),
        "skin": (0.4, 0.3, 0.3),
        "clothes": (0.4, 0.3, 0.3),
        "clothes_colour": (0.25, 0.25, 0.25, 0.25),
        "mouth": (0.4, 0.3, 0.3),
        "eyes": (0.5, 0.3, 0.2),
        "background": (0.25, 0.25, 0.25, 0.25),
    }
)
"""How often each value occurs: the widths of the quantile bins in which
:mod:`unitscope.worlds.latents` reads a ``z``."""


def parse(name: str, value: str) -> StrEnum:
    """Return the value of the factor ``name`` that is spelled ``value``.

    Raises:
        InvalidArgumentError: If the factor or the value does not exist.
    """
    kind = _TYPES.get(name)
    if kind is None:
        raise InvalidArgumentError(
            f"there is no factor {name!r}; use one of {', '.join(_TYPES)}",
            reason="UNKNOWN_FACTOR",
            field=name,
        )
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{name} cannot be {value!r}; use one of {', '.join(kind)}",
            reason="UNKNOWN_FACTOR_VALUE",
            field=name,
        ) from error


def from_codes(class_index: int, codes: NDArray[np.int64]) -> Factors:
    """Return the factors of a class index and of codes ``(10,)`` as :meth:`Factors.codes` gives them."""
    values: dict[str, Any] = {name: VALUES[name][int(code)] for name, code in zip(NAMES, codes, strict=True)}
    return Factors(top=Top(CLASSES[class_index]), **values)


def sample_factors(rng: np.random.Generator, **constraints: str) -> Factors:
    """Draw factors: the class uniformly, every other factor by its weights.

    Constraints fix factors (``top="hat", glasses="sunglasses"``). A constrained factor still
    consumes its random number, so that the same generator gives the same remaining factors with and
    without the constraint: that is what makes pairs and counter-examples.

    Raises:
        InvalidArgumentError: If a constraint names no factor or no value of it.
    """
    fixed = {name: parse(name, value) for name, value in constraints.items()}
    drawn: dict[str, Any] = {"top": Top(CLASSES[int(rng.integers(len(CLASSES)))])}
    for name in NAMES:
        edges = np.cumsum(WEIGHTS[name])[:-1]
        drawn[name] = VALUES[name][int(np.searchsorted(edges, rng.random(), side="right"))]
    return Factors(**{**drawn, **fixed})


def words(factors: Factors) -> tuple[str, ...]:
    """Return the words that are true of what can be seen, most important first.

    What is hidden has no word: the hair's colour below a headwear without facial hair, the eyes
    behind sunglasses.
    """
    top = factors.top.value.replace("_", " ")
    found = [top]
    if factors.top in HEADWEAR:
        found.append(f"{factors.hat_colour.value} {top}")
    else:
        found += ["hair", f"{factors.hair_colour.value} hair"]
    if factors.glasses is not Glasses.NONE:
        found.append("sunglasses" if factors.glasses is Glasses.SUNGLASSES else "glasses")
    if factors.facial_hair is not FacialHair.NONE:
        kind = factors.facial_hair.value
        found += [kind, f"{factors.hair_colour.value} {kind}"]
    found += [
        f"{factors.skin.value} skin",
        factors.clothes.value,
        f"{factors.clothes_colour.value} clothes",
        f"{factors.mouth.value} mouth",
    ]
    if factors.glasses is not Glasses.SUNGLASSES:
        found.append(f"{factors.eyes.value} eyes")
    found.append(f"{factors.background.value} background")
    return tuple(found)
