"""Sheets: what stands where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.generator.training.sheets import COLUMNS, Block, save_sheet, sheet, shown_classes


def row(value: int, count: int, edge: int = 48) -> NDArray[np.uint8]:
    return np.full((count, edge, edge, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("classes", "shown"),
    [(1, [0]), (3, [0, 1, 2]), (20, list(range(0, 20, 2))), (1000, list(range(0, 1000, 100)))],
)
def test_classes_at_even_distances(classes: int, shown: list[int]) -> None:
    assert shown_classes(classes) == shown


def test_real_pictures_come_first_a_row_a_class() -> None:
    blocks = [Block("real", [row(10, 3), row(20, 3)]), Block("generated", [row(30, 3), row(40, 3)])]
    drawn = np.asarray(sheet(blocks, ("owl", "wren"), "after 5 pictures"))
    column = drawn[:, 130]
    found = [int(v) for v in column[:, 0] if tuple(column[0]) is not None and v in (10, 20, 30, 40)]
    assert found == [10] * 48 + [20] * 48 + [30] * 48 + [40] * 48
    # Labels are drawn left of the pictures, in every row.
    tops = [int(np.flatnonzero(column[:, 0] == value)[0]) for value in (10, 20, 30, 40)]
    for top in tops:
        assert drawn[top : top + 48, :100].min() < 100


def test_small_pictures_are_enlarged_in_whole_pixels() -> None:
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    picture[0, 4, 6] = 255
    drawn = np.asarray(sheet([Block("", [picture])], ("owl",), ""))
    left, top = 110, 36
    found = drawn[top : top + 48, left : left + 48]
    np.testing.assert_array_equal(found, picture[0].repeat(3, 0).repeat(3, 1))


def test_a_class_with_fewer_pictures_leaves_room_and_a_long_name_is_cut() -> None:
    drawn = sheet([Block("real", [row(10, COLUMNS), row(20, 2)])], ("owl", "wren of the woods " * 9), "")
    pixels = np.asarray(drawn)
    assert (pixels[36:84, 104:110] == 255).all()
    assert (pixels[90:130, 102:110] == 255).all()
    assert (pixels[100, 110 + 50 * 2 + 10] == 255).all()


def test_a_sheet_is_a_png_that_replaces_the_one_before(tmp_path: Path) -> None:
    for value in (10, 200):
        save_sheet(tmp_path / "sheets" / "a.png", [Block("", [row(value, 1)])], ("owl",), "")
    with Image.open(tmp_path / "sheets" / "a.png") as found:
        assert found.format == "PNG"
        assert found.getpixel((130, 60)) == (200, 200, 200)
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["a.png"]
