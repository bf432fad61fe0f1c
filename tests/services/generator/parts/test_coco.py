"""COCO json: round trips, the published encodings, and files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.generator.parts import rle
from services.generator.parts.coco import export_coco, import_coco, part_name
from services.generator.parts.dataset import PartSet
from tests.services.generator.parts.part_sets import EDGE, PARTS, small_set, some_labels
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnitScopeError

SQUARE = [2.0, 2.0, 6.0, 2.0, 6.0, 6.0, 2.0, 6.0]

masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(np.bool_, shape))


@given(masks)
@settings(max_examples=60, deadline=None)
def test_run_lengths_make_the_round_trip(mask: np.ndarray) -> None:
    counts = rle.encode_counts(mask)
    assert rle.unpack(rle.pack(counts)) == counts
    np.testing.assert_array_equal(rle.decode_counts(counts, *mask.shape), mask)


@given(st.lists(st.integers(0, 4_000_000), max_size=12))
@settings(max_examples=60, deadline=None)
def test_long_runs_make_the_round_trip(counts: list[int]) -> None:
    assert rle.unpack(rle.pack(counts)) == counts


def test_run_lengths_are_those_of_the_published_encoding() -> None:
    # Columns of [[0, 1], [1, 1]] read downwards are 0 1 1 1: one zero, three ones.
    assert rle.encode_counts(np.array([[False, True], [True, True]])) == [1, 3]
    assert rle.encode_counts(np.array([[True, True], [False, True]])) == [0, 1, 1, 2]
    # By hand: 31 needs a second group, as bit 5 of the first is its sign; then 2 - 1 and 1 - 5.
    assert rle.pack([31, 1, 5, 2, 1]) == "o0" + "1" + "5" + "1" + "L"
    assert rle.unpack("o0151L") == [31, 1, 5, 2, 1]


@pytest.mark.parametrize("text", ["o", "~0", "\x7f", "oooooooooo", "é"])
def test_wrong_characters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        rle.unpack(text)


@pytest.mark.parametrize("counts", [[3], [2, -1, 3], [2**62, 2**62, 2**62, 2**62 + 4], []])
def test_run_lengths_must_fit_the_mask(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="add up to 4"):
        rle.decode_counts(counts, 2, 2)


def test_a_polygon_covers_the_pixels_whose_centres_it_holds() -> None:
    square = rle.fill_polygon(np.array(SQUARE).reshape(-1, 2), 8, 8)
    wanted = np.zeros((8, 8), np.bool_)
    wanted[2:6, 2:6] = True
    np.testing.assert_array_equal(square, wanted)
    triangle = rle.fill_polygon(np.array([[-9.0, -9.0], [40.0, -9.0], [-9.0, 40.0]]), 20, 20)
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(20) + 0.5)
    np.testing.assert_array_equal(triangle, x + y < 31)


def test_labels_make_the_round_trip_through_a_file(tmp_path: Path) -> None:
    first, second = small_set(tmp_path / "a"), small_set(tmp_path / "b")
    for index in (0, 2):
        first.save_labels(index, some_labels(index))
    assert export_coco(first, tmp_path / "coco.json") == 6
    done = import_coco(second, tmp_path / "coco.json", rest="unlabelled")
    assert done.pictures == (0, 2)
    assert done.unknown == ()
    again = PartSet.load(second.folder)
    assert again.parts == PARTS
    np.testing.assert_array_equal(again.label_maps([0, 1, 2]), first.label_maps([0, 1, 2]))


def file(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "photos/0001.png", "height": EDGE, "width": EDGE}],
        "categories": [{"id": 3, "name": "Top Hat"}, {"id": 9, "name": "hair"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "segmentation": [SQUARE]},
            {"id": 2, "image_id": 7, "category_id": 3, "segmentation": [[4, 4, 9, 4, 9, 9, 4, 9]]},
        ],
        **changes,
    }


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "coco.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_categories_become_parts_and_later_annotations_win(tmp_path: Path) -> None:
    done = import_coco(small_set(tmp_path / "set"), written(tmp_path, file()))
    assert done.part_set.parts == ("background", "top_hat", "hair")
    assert done.pictures == (1,)
    wanted = np.zeros((EDGE, EDGE), np.uint8)
    wanted[2:6, 2:6] = 2
    wanted[4:9, 4:9] = 1
    np.testing.assert_array_equal(PartSet.load(done.part_set.folder).labels(1), wanted)


def test_a_set_with_labels_keeps_the_indices_of_its_parts(tmp_path: Path) -> None:
    part_set = small_set(tmp_path / "set")
    part_set.save_labels(0, some_labels())
    done = import_coco(part_set, written(tmp_path, file()))
    assert done.part_set.parts == (*PARTS, "top_hat")
    np.testing.assert_array_equal(done.part_set.labels(0), some_labels())
    labels = done.part_set.labels(1)
    assert (labels[2, 2], labels[5, 5], labels[0, 0]) == (1, 3, 0)


def test_labels_are_replaced_only_when_asked(tmp_path: Path) -> None:
    part_set = small_set(tmp_path / "set")
    part_set.save_labels(1, some_labels())
    path = written(tmp_path, file())
    with pytest.raises(FailedPreconditionError, match=r"1 of the 1 .* --replace"):
        import_coco(part_set, path)
    np.testing.assert_array_equal(PartSet.load(part_set.folder).labels(1), some_labels())
    assert PartSet.load(part_set.folder).parts == PARTS
    assert import_coco(part_set, path, replace=True).part_set.labels(1)[5, 5] == 3


def test_pictures_that_the_set_does_not_have_are_named(tmp_path: Path) -> None:
    content = file()
    content["images"].append({"id": 8, "file_name": "cat.jpg", "height": 9, "width": 9})
    done = import_coco(small_set(tmp_path / "set"), written(tmp_path, content))
    assert done.unknown == ("cat.jpg",)


def annotation(segmentation: Any, **changes: Any) -> list[dict[str, Any]]:
    return [{"id": 5, "image_id": 7, "category_id": 9, "segmentation": segmentation, **changes}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "JSON"),
        ("[]", "the file"),
        (file(categories=[]), "categories"),
        (file(categories=[{"id": 3, "name": "hair"}, {"id": 3, "name": "hat"}]), "the same id"),
        (file(categories=[{"id": 3, "name": "picture"}, {"id": 9, "name": "b"}]), "'picture' is no name"),
        (file(images=file()["images"] * 2), "comes twice"),
        (file(images=[{"id": 7, "file_name": "0001.png", "height": 32, "width": 32}]), "32 x 32"),
        (file(annotations=annotation([SQUARE], image_id=1)), "annotation 5: there is no image 1"),
        (file(annotations=annotation([SQUARE], category_id=1)), "there is no category 1"),
        (file(annotations=annotation([[1, 2, 3, 4]])), "a polygon of 4 numbers"),
        (file(annotations=annotation([[1, 2, 3, 4, 1e9, 6]])), "annotations.0.segmentation"),
        (file(annotations=[{"image_id": 7, "category_id": 9}]), "segmentation"),
        (file(annotations=annotation({"size": [9, 9], "counts": [81]})), "size"),
        (file(annotations=annotation({"size": [EDGE, EDGE], "counts": [5]})), "add up to 256"),
        (file(annotations=annotation({"size": [EDGE, EDGE], "counts": "~~"})), "'~' does not occur"),
        (file(annotations=[]), "annotates none"),
        (file(images=[{"id": 7, "file_name": "cat.png", "height": 1, "width": 1}]), "annotates none"),
    ],
)
def test_a_wrong_file_changes_nothing(tmp_path: Path, content: Any, words: str) -> None:
    part_set = small_set(tmp_path / "set")
    path = written(tmp_path, content)
    with pytest.raises(UnitScopeError, match=words) as caught:
        import_coco(part_set, path)
    assert isinstance(caught.value, InvalidArgumentError)
    assert str(path) in caught.value.message
    assert PartSet.load(part_set.folder).parts == PARTS
    assert PartSet.load(part_set.folder).labelled() == []


def test_names_of_categories_become_plain() -> None:
    assert part_name("Traffic Light (red)") == "traffic_light_red"
