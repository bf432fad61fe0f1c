"""The sample sheets that the documentation shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packs.avatars import ruler, ruler_sheet
from packs.avatars.dataset import pairs
from packs.avatars.measure import render
from packs.avatars.sheets import save_rows
from services.generator.backend import GeneratorBackend
from services.generator.network import StyleGanXl
from unitscope.worlds import avatars

_SAMPLES = 48
_SEED = 401
_PART_COLOURS: NDArray[np.uint8] = np.array(
    [
        (32, 36, 44),
        (66, 103, 178),
        (255, 205, 160),
        (214, 48, 49),
        (245, 245, 245),
        (121, 85, 61),
        (39, 174, 96),
        (155, 89, 182),
        (120, 130, 140),
    ],
    dtype=np.uint8,
)


def write_sheets(folder: Path, network: StyleGanXl) -> None:
    """Write ``avatars-drawn.png`` and ``avatars-generated.png`` into a folder.

    The first shows drawings above their parts; the second drawings above the generator's pictures
    of the same ``z`` at truncation 1 and at truncation 0.7. Neither is selected: seeds 0 to 23, and
    the first 48 of one stream of latents to which the generator was not fitted.
    """
    drawn = [avatars.draw(seed) for seed in range(24)]
    labels = np.stack([_PART_COLOURS[avatar.labels] for avatar in drawn])
    save_rows(folder / "avatars-drawn.png", [np.stack([a.image for a in drawn]), labels])
    held_out = pairs("generator-sheet", _SEED, _SAMPLES)
    rows = [held_out.images, render(network, held_out, 1.0), render(network, held_out, 0.7)]
    save_rows(folder / "avatars-generated.png", rows)


def write_ruler_sheet(folder: Path, network: StyleGanXl) -> None:
    """Write ``avatars-ruler-check.png`` into a folder: the 48 pictures by which the ruler was checked."""
    images = ruler_sheet.pictures(GeneratorBackend(network))
    ruler_sheet.write_sheet(folder / "avatars-ruler-check.png", ruler.load(), images)
