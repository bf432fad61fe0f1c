"""Pictures of the counterfactual report: film strips, what differs, outlines of parts, one's own images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.report.counterfactual.data import Images, Inverted, Shown
from workers.report.counterfactual.results import Results, difference

MAX_EXAMPLES = 2
"""Counterfactuals with pictures on the page of a pair."""

MAX_OWN = 60
"""One's own images that are shown."""

TRIO_SIDE = 384
"""Larger pictures are made smaller before they are stood side by side."""

FILM_SIDE = 192
"""Likewise the frames of film strips."""

OUTLINE_SIDE = 128
"""Side of the grid on which outlines of parts are drawn."""

NO_DIFFERENCE, MUCH, MOST = (246, 196, 92), (226, 84, 46), (138, 12, 74)
"""Colours of small, clear and the largest differences, over a faded picture."""

LEAST_SCALE = 32.0
"""The difference, in grey levels, that at least is drawn in the strongest colour: noise is to stay pale."""


def wanted(results: Results) -> Iterator[tuple[str, Images]]:
    """Pictures by importance: the opening, one's own, then for each pair its trio and its film strip.

    Keys are ``film<k>`` and ``trio<k>`` by the place in `CounterfactualData.shown`, and ``own<k>``.
    """
    data, first = results.data, results.hero
    if first is not None:
        yield f"film{first}", film(data.shown[first])
        yield f"trio{first}", trio(data.shown[first])
    for k, own in enumerate(data.inverted[:MAX_OWN]):
        yield f"own{k}", own_strip(own)
    for place in range(MAX_EXAMPLES):
        for make in ("trio", "film"):
            for key in results.order:
                shown = results.shown.get(key, [])
                if place < len(shown) and shown[place] != first:
                    one = data.shown[shown[place]]
                    yield f"{make}{shown[place]}", trio(one) if make == "trio" else film(one)


def way(shown: Shown) -> tuple[NDArray[np.float64], int, bool]:
    """The places of a film strip's pictures, with the counterfactual among them.

    Returns:
        Alphas, the number of the counterfactual, and whether it had to be put in.
    """
    alphas = np.asarray(shown.alphas, float)
    place = int(np.searchsorted(alphas, 1.0 - 1e-6))
    if place < len(alphas) and alphas[place] <= 1.0 + 1e-6:
        return alphas, place, False
    return np.insert(alphas, place, 1.0), place, True


def film(shown: Shown) -> Images:
    """The film strip with the counterfactual itself in its place, ``uint8 (frames, height, width, 3)``."""
    _, place, added = way(shown)
    frames = np.insert(shown.frames, place, shown.counterfactual, axis=0) if added else shown.frames
    return np.stack([_smaller(f, FILM_SIDE) for f in frames])


def trio(shown: Shown) -> Images:
    """Start, counterfactual, and where they differ: ``uint8 (3, height, width, 3)``."""
    pair = (shown.start, shown.counterfactual)
    return np.stack([_smaller(f, TRIO_SIDE) for f in (*pair, heat(*pair))])


def own_strip(own: Inverted) -> Images:
    """The photo, the linker's picture, and the inverted one."""
    return np.stack([_smaller(f, TRIO_SIDE) for f in (own.photo, own.linked, own.inverted)])


def heat(before: Images, after: Images) -> Images:
    """Where two pictures differ, over the faded second one, ``uint8 (height, width, 3)``."""
    gap = difference(before, after)
    strength = np.clip(gap / max(LEAST_SCALE, float(np.quantile(gap, 0.99))), 0, 1)[..., None]
    grey = after.astype(np.float64).mean(axis=2, keepdims=True)
    faded = 214 + 0.22 * (grey - 128)
    low, middle, high = (np.array(c, float) for c in (NO_DIFFERENCE, MUCH, MOST))
    colour = np.where(
        strength < 0.5, low + (middle - low) * 2 * strength, middle + (high - middle) * (2 * strength - 1)
    )
    # Small differences are let through only partly, so that the eye goes to the large ones.
    cover = np.clip(1.6 * strength, 0, 1)
    mixed: Images = np.clip(np.rint(faded * (1 - cover) + colour * cover), 0, 255).astype(np.uint8)
    return mixed


def outline_box(labels: Images) -> str:
    """The view box of the outlines of a label map."""
    height, width = _coarse(labels).shape
    return f"0 0 {width} {height}"


def outlines(shown: Shown, part: int) -> tuple[str, str]:
    """The outline of a part before and after; before is empty where nothing has moved."""
    before, after = outline(shown.start_labels, part), outline(shown.labels, part)
    return "" if before == after else before, after


def outline(labels: Images, part: int) -> str:
    """The outline of a part as the path of an SVG, along the edges of pixels; empty where it is not.

    Where the part leaves the picture there is no line.
    """
    inside = _coarse(labels) == part
    steps: list[str] = []
    down, right = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]
    for y, row in enumerate(down, 1):
        steps += [f"M{a} {y}h{b - a}" for a, b in _runs(row)]
    for x, column in enumerate(right.T, 1):
        steps += [f"M{x} {a}v{b - a}" for a, b in _runs(column)]
    return "".join(steps)


def _runs(line: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Start and end of each run of true values."""
    edges = np.flatnonzero(np.diff(np.pad(line.astype(np.int8), 1)))
    yield from ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _coarse(labels: Images) -> Images:
    step = max(1, -(-max(labels.shape) // OUTLINE_SIDE))
    return labels[::step, ::step]


def _smaller(picture: Images, side: int) -> Images:
    height, width = picture.shape[:2]
    if max(height, width) <= side:
        return picture
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
