"""The words of a counterfactual report: reasons, sentences about a pair, and what was searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.report.counterfactual.data import CounterfactualData, Row
from workers.report.quantify.phrases import MeasureWords, amount, deed
from workers.report.words import feature, finite, label, number, percent, whole

OUTCOMES: dict[str, tuple[str, str]] = {
    "not_crossed": (
        "No picture crosses",
        "In the features the way leads to the target, but no picture on it or beyond is read as the target: "
        "the generator does not show what the features ask for.",
    ),
    "unreachable": (
        "No way in the features",
        "No allowed shift of the features makes the classifier’s head say the target, even before a picture "
        "is made. Features below zero are not allowed where the layer has none.",
    ),
    "starts_as_target": (
        "Starts as the target",
        "The picture that the search starts from is read as the target before anything is shifted. Where "
        "searches start from the linked picture, it was the link that turned it.",
    ),
    "not_accepted": (
        "No image to start from",
        "The generator was asked for pictures of the origin again and again, and the classifier read too few "
        "of them as it. They are not searches: shares and intervals leave them out.",
    ),
    "already_target": (
        "Already the target",
        "The features of the base image say the target before anything is changed.",
    ),
    "same_class": (
        "Origin and target are one class",
        "The image is read as what was asked for, so there is nothing to change.",
    ),
    "unknown_class": (
        "No such class",
        "A name that was asked for is no class of the classifier or the generator.",
    ),
    "invalid_features": (
        "Features that cannot be used",
        "The features or the latent hold NaN or infinity, or negative values where the layer has none.",
    ),
}
"""Title and meaning of every outcome without a counterfactual, those that say most about a model first."""


def near_names(name: str, near: Sequence[str]) -> str:
    """What is said of a name that is no class."""
    if not near:
        return f"“{label(name)}” is no class, and no class has a name like it"
    names = " or ".join(f"“{label(n)}”" for n in near)
    return f"“{label(name)}” is no class; did you mean {names}?"


def span(low: Any, high: Any) -> str:
    """An interval in brackets, of feature values; empty where it is not known."""
    if not finite(low) or not finite(high):
        return ""
    return f" [{feature(float(low))}, {feature(float(high))}]"


def share_span(low: Any, high: Any) -> str:
    """An interval of shares in brackets, of whole percentages."""
    if not finite(low) or not finite(high):
        return ""
    return f" [{100 * float(low):.0f}, {100 * float(high):.0f}]"


def distance(value: Any) -> str:
    """A distance in feature space, or a dash."""
    return feature(float(value)) if finite(value) else "–"


def chance(value: Any) -> str:
    """A share as a percentage; small and large ones are not rounded to nothing and to all."""
    if not finite(value):
        return "–"
    share = float(value)
    if 0 < share < 0.005:
        return "<\u202f1\u202f%"
    return ">\u202f99\u202f%" if 0.995 <= share < 1 else percent(share)


def headline(pair: Row) -> str:
    """Whether the pair can be crossed, and how far it is, in a sentence."""
    origin, target = label(str(pair["origin"])), label(str(pair["target"]))
    images, reached = int(pair["images"]), int(pair["reached"])
    if not images:
        return f"No picture read as “{origin}” could be searched from."
    if not reached:
        many = "The one picture" if images == 1 else f"None of {whole(images)} pictures"
        denied = " could not be" if images == 1 else " could be"
        return f"{many} read as “{origin}”{denied} made to read as “{target}”."
    many = "The one picture" if images == 1 else f"All {whole(images)} pictures"
    if reached < images:
        many = f"{whole(reached)} of {whole(images)} pictures"
    verb = "was" if reached == 1 else "were"
    return (
        f"{many} read as “{origin}” {verb} made to read as “{target}”, "
        f"{'at a distance' if reached == 1 else 'at a mean distance'} of {distance(pair['distance'])}."
    )


def change_words(row: Row, words: Mapping[str, MeasureWords], appears: bool) -> str:
    """What a change does, as a verb phrase: ``makes hat appear``."""
    return deed(words[row["measure"]], str(row["part"]), float(row["change"]), appears)


def change_value(row: Row, words: MeasureWords) -> tuple[str, str]:
    """A change in the measure's unit, and its interval in brackets or nothing."""
    text = f"{amount(row['change'], words.scale)}{words.suffix}"
    if not finite(row["lower"]) or not finite(row["upper"]):
        return text, ""
    return text, f"[{amount(row['lower'], words.scale)}, {amount(row['upper'], words.scale)}]"


def mean_shift(pair: Row) -> str:
    """How alike the single shifts are, and what their mean does to images that it was not made from."""
    if not finite(pair["alike"]):
        return ""
    alike = float(pair["alike"])
    how = "much alike" if alike >= 0.7 else "somewhat alike" if alike >= 0.4 else "little alike"
    text = f"The shifts of single images are {how} (mean cosine with the mean of the others {number(alike)})."
    if finite(pair["mean_flips"]):
        interval = share_span(pair["mean_flips_lower"], pair["mean_flips_upper"])
        text += (
            f" The mean shift of the other images takes {percent(pair['mean_flips'])}{interval} of images to "
            f"“{label(str(pair['target']))}”"
        )
        if finite(pair["mean_flips_doubled"]):
            text += f", and {percent(pair['mean_flips_doubled'])} when it is applied twice over"
        text += "."
    return text


def usual(row: Row) -> str:
    """Whether a counterfactual's w is as usual as the generator's own."""
    if row["plausible"] is None:
        return ""
    if row["plausible"]:
        return "as usual as 99\u202f% of the generator’s own"
    return "less usual than 99\u202f% of the generator’s own"


def methods(data: CounterfactualData) -> dict[str, str]:
    """What was searched, in words, by term."""
    if data.method == "descent":
        how = (
            "Gradient descent on a shift of the features, as published: the loss rewards the target’s logit, "
            "punishes the origin’s, and holds the direction of the mapped latent; it stops at the first "
            "picture that the classifier reads as the target."
        )
    else:
        norm = (
            "the smallest sum of moves (L1), which few units carry"
            if data.norm == "l1"
            else "the smallest length (L2)"
        )
        usual = (
            " and, with a weight of "
            f"{data.plausibility:g}, the least unusual (its Mahalanobis length by the covariance of the "
            "features of generated images)"
            if data.plausibility > 0
            else ""
        )
        how = (
            "The shift of the features over the boundary of the classifier’s head with "
            f"{norm}{usual}, no feature pushed below what the layer can give; then the crossing on rendered "
            "pictures, by division of that way, and from there a smaller shift where gradients through "
            "the picture show one that changes no more of it."
        )
    start = (
        "The base image’s own latent, moved by what the linker says about the shift: "
        "w(r′) = w₀ + A (r′ − r). The first picture is the base image itself."
        if data.start == "own"
        else "What the linker makes of the features, w(r′) = A r′ + b, as published. The first picture is "
        "the linked one and need not look like the image that the features were read in."
    )
    return {"method": how, "start": start}
