"""Overlays: colours by label, and sheets that hold every picture."""

from __future__ import annotations

import numpy as np
import pytest

from services.generator.parts.colours import colour, palette, table, web
from services.generator.parts.overlay import blended, coloured, sheet
from unitscope.errors import InvalidArgumentError

PARTS = ("background", "hair", "hat")


def test_colours_are_fixed_and_apart() -> None:
    assert (web(1), web(2)) == ("#e69f00", "#56b4e9")
    colours = np.array([colour(index) for index in range(100)], np.int64)
    assert len({tuple(c) for c in colours.tolist()}) == 100
    distances = np.linalg.norm(colours[:16, None] - colours[None, :16], axis=-1)
    assert distances[~np.eye(16, dtype=bool)].min() > 25
    assert palette(3) == table(3).ravel().tolist()


def test_what_is_not_labelled_shows_the_picture() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    labels = np.array([[255, 0], [1, 2]], np.uint8)
    mixed = blended(image, labels, 3, opacity=0.25)
    np.testing.assert_array_equal(mixed[0, 0], [100, 100, 100])
    np.testing.assert_array_equal(mixed[1, 0], np.round(75 + 0.25 * np.array(colour(1))))
    np.testing.assert_array_equal(coloured(labels, 3)[1, 1], colour(2))


def test_a_sheet_shows_picture_labels_and_both() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 16, 16, 3), np.uint8)
    labels = random.integers(0, 3, (4, 16, 16), np.uint8)
    pixels = np.asarray(sheet(images, labels, PARTS, columns=2))
    tile, gap, margin, between = 128, 4, 16, 20
    left, top = margin + 3 * tile + 2 * gap + between, margin + tile + between
    for place, wanted in enumerate((images[3], coloured(labels[3], 3), blended(images[3], labels[3], 3))):
        x = left + place * (tile + gap)
        np.testing.assert_array_equal(pixels[top : top + tile : 8, x : x + tile : 8], wanted)
    swatches = pixels[top + tile + margin :].reshape(-1, 3)
    for index in range(3):
        assert (swatches == colour(index)).all(axis=1).any()


def test_a_long_legend_stays_inside() -> None:
    names = [f"a_rather_long_name_of_part_{index}" for index in range(30)]
    picture = sheet(np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 16, 16), np.uint8), names)
    pixels = np.asarray(picture)
    for index in range(30):
        assert (pixels == colour(index)).all(axis=-1).any(), index
    assert (pixels[:, -8:] == pixels[0, 0]).all()


@pytest.mark.parametrize(("count", "labels"), [(0, 0), (201, 201), (2, 1)])
def test_a_sheet_has_bounds(count: int, labels: int) -> None:
    with pytest.raises(InvalidArgumentError, match="1 to 200"):
        sheet(np.zeros((count, 4, 4, 3), np.uint8), np.zeros((labels, 4, 4), np.uint8), PARTS)
