"""The labelled pictures that the pack's own parts model is trained from: a part set of 20.

A label map is the drawing's, for the factors that the picture's ``z`` names: what a careful person
would draw who sees the same outlines. It is not the ruler's, which judges the parts model later. The
pictures were chosen by eye, in an order of which the first 1, 5 and 10 are sensible sets of their own.
Pictures that visibly depart from their drawing were left out: eyes that the generator smears behind
clear glasses, facial hair in the colour of the skin or of long hair.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packs.avatars import pack
from packs.avatars.dataset import Drawings, label_maps
from services.generator.backend import GeneratorBackend
from services.generator.parts.dataset import PartSet, write_part_set
from services.generator.parts.overlay import sheet
from unitscope.errors import InvalidArgumentError
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.latents import Z_DIM, read_codes
from unitscope.worlds.parts import PARTS

SEEDS = (
    *(56, 21, 393, 140, 147),
    *(551, 438, 546, 4, 291),
    *(143, 1594, 149, 206, 537, 248, 120, 244, 19, 2),
)
"""A picture's seed gives its ``z``, and the remainder of the division by 8 its class."""

TRUNCATION = 1.0


def examples(count: int = len(SEEDS)) -> Drawings:
    """Return ``z``, classes and codes of the first pictures; the drawings themselves are not made.

    Raises:
        InvalidArgumentError: There are not so many.
    """
    if not 1 <= count <= len(SEEDS):
        raise InvalidArgumentError(
            f"count is {count}; the pack has 1 to {len(SEEDS)} labelled pictures",
            reason="COUNT_OUT_OF_RANGE",
            field="count",
        )
    seeds = np.array(SEEDS[:count])
    streams = [np.random.Generator(np.random.PCG64(int(seed))) for seed in seeds]
    z = np.stack([rng.standard_normal(Z_DIM).astype(np.float32) for rng in streams])
    nothing = np.empty((count, 0, 0, 3), dtype=np.uint8)
    return Drawings(nothing, seeds % len(CLASSES), read_codes(z), z)


def write_labels(folder: Path, backend: GeneratorBackend, count: int = len(SEEDS)) -> PartSet:
    """Render the first pictures into a new part set, and label them.

    Args:
        folder: A new or an empty folder.
        backend: The pack's generator.
        count: Pictures, 1 to 20.

    Returns:
        The set, with every picture labelled; its ``seed`` is 0 and means nothing: see :data:`SEEDS`.

    Raises:
        InvalidArgumentError: The folder is not empty, or there are not so many pictures.
    """
    chosen = examples(count)
    w = backend.map(chosen.z, chosen.classes, TRUNCATION)
    part_set = write_part_set(
        folder, pack.read_card("generator"), w, backend.render(w), PARTS, TRUNCATION, seed=0
    )
    for index, labels in enumerate(label_maps(chosen)):
        part_set.save_labels(index, labels)
    return part_set


def write_overlays(path: Path, part_set: PartSet) -> None:
    """Write a sheet of the pictures with their labels laid over them, to look at."""
    rows = part_set.labelled()
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(part_set.images(rows), part_set.label_maps(rows), part_set.parts).save(path)
