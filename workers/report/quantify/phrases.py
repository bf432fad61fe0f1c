"""The words of the quantify report: measures as one reads them, effects as sentences."""

from __future__ import annotations

from dataclasses import dataclass

from workers.report.quantify.data import PICTURE, MeasureLike
from workers.report.words import finite, label, number

TITLES = {
    "area": "area",
    "luminance": "lightness",
    "a": "redness (a*)",
    "b": "yellowness (b*)",
    "chroma": "colourfulness",
    "hue": "hue",
    "delta_e": "colour change (ΔE)",
    "entropy": "texture",
    "contrast": "contrast",
    "eccentricity": "elongation",
    "orientation": "orientation",
    "centre_x": "place across",
    "centre_y": "place down",
    "major_axis": "length",
    "minor_axis": "width",
    "instances": "pieces",
    "motion": "motion",
}
"""What a measure is called on the page; others go by their name."""

PHRASES = {
    "area": ("makes {part} larger", "makes {part} smaller"),
    "luminance": ("makes {part} lighter", "makes {part} darker"),
    "a": ("turns {part} redder", "turns {part} greener"),
    "b": ("turns {part} yellower", "turns {part} bluer"),
    "chroma": ("makes {part} more colourful", "makes {part} greyer"),
    "hue": ("shifts the hue of {part}", "shifts the hue of {part}"),
    "delta_e": ("recolours {part}", "recolours {part}"),
    "entropy": ("makes {part} more textured", "makes {part} smoother"),
    "contrast": ("raises the contrast in {part}", "lowers the contrast in {part}"),
    "eccentricity": ("makes {part} longer and thinner", "makes {part} rounder"),
    "orientation": ("turns {part}", "turns {part}"),
    "centre_x": ("moves {part} to the right", "moves {part} to the left"),
    "centre_y": ("moves {part} down", "moves {part} up"),
    "major_axis": ("makes {part} longer", "makes {part} shorter"),
    "minor_axis": ("makes {part} wider", "makes {part} narrower"),
    "instances": ("splits {part} into more pieces", "joins the pieces of {part}"),
    "motion": ("moves {part}", "moves {part}"),
}
"""What a unit does when its effect is positive, and when it is negative."""

SHORT = {"CIEDE2000": "ΔE", "count": "", "pieces": "", "instances": "", "0..1": ""}
"""Units that are written shorter, or go without saying."""

APPEARS = ("makes {part} appear", "makes {part} vanish")
"""Instead of larger and smaller, where the part is not there at one end."""


@dataclass(frozen=True)
class MeasureWords:
    """How one measure is written.

    Attributes:
        name: As in the tables.
        title: As on the page.
        scale: By what a value is multiplied before it is written: 100 for shares.
        suffix: What follows the number.
        up: Sentence for a positive effect, with ``{part}``.
        down: Sentence for a negative effect.
        signed: Whether an effect has a direction.
        meaning: One sentence.
    """

    name: str
    title: str
    scale: float
    suffix: str
    up: str
    down: str
    signed: bool
    meaning: str

    @classmethod
    def of(cls, measure: MeasureLike) -> MeasureWords:
        """The words of a measure."""
        title = TITLES.get(measure.name, label(measure.name))
        plain = (f"raises {title} of {{part}}", f"lowers {title} of {{part}}")
        up, down = PHRASES.get(measure.name, plain)
        scale, suffix = _suffix(measure.unit)
        return cls(measure.name, title, scale, suffix, up, down, measure.signed, measure.meaning)


def _suffix(unit: str) -> tuple[float, str]:
    if unit == "share" or unit.startswith("share of"):
        whole = unit.removeprefix("share").removeprefix(" of").removeprefix(" the").strip()
        return 100.0, f"\u202f% of the {whole}" if whole else "\u202f%"
    if unit.startswith("degree"):
        return 1.0, "°"
    unit = SHORT.get(unit, unit)
    return 1.0, f"\u202f{unit}" if unit else ""


def part_label(name: str) -> str:
    """A part as one reads it within a sentence."""
    return "the whole picture" if name == PICTURE else label(name)


def amount(value: float, scale: float = 1.0, *, sign: bool = True) -> str:
    """A value with as many decimals as its size deserves; a dash where there is none."""
    if not finite(value):
        return "–"
    shown = scale * float(value)
    size = abs(shown)
    text = number(shown, 0 if size >= 100 else 1 if size >= 1 else 2)
    return text if text.startswith("−") or not sign or not shown > 0 else "+" + text


def deed(words: MeasureWords, part: str, effect: float, appears: bool) -> str:
    """What happens to a part, as a verb phrase: ``makes glasses appear``."""
    up, down = APPEARS if appears else (words.up, words.down)
    return (up if effect >= 0 else down).replace("{part}", part_label(part))


def evidence(
    words: MeasureWords, effect: float, bounds: tuple[float, float], share: float, images: int
) -> str:
    """The numbers behind a deed: ``area +3.1 % of the picture [2.4, 3.8], in 31 of 32 images``."""
    text = f"{words.title} {amount(effect, words.scale)}{words.suffix}"
    if finite(bounds[0]) and finite(bounds[1]):
        text += f" [{amount(bounds[0], words.scale)}, {amount(bounds[1], words.scale)}]"
    if finite(share) and images:
        text += f", in {round(share * images)} of {images} images"
    return text
