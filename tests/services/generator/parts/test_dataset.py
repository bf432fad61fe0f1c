"""Part sets: what is written is read, and nothing wrong is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from services.generator.backend import GeneratorBackend
from services.generator.parts.dataset import PartSet, create, write_part_set
from tests.services.generator.parts.part_sets import (
    EDGE,
    PARTS,
    W_DIM,
    generator_card,
    small_set,
    some_labels,
)
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from unitscope.models.cards import ModelCard


@pytest.fixture
def part_set(tmp_path: Path) -> PartSet:
    return small_set(tmp_path / "set")


def test_a_set_is_read_as_it_was_written(part_set: PartSet) -> None:
    again = PartSet.load(part_set.folder, generator=generator_card())
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(
        again.images(range(3)), random.integers(0, 256, (3, EDGE, EDGE, 3), np.uint8)
    )
    np.testing.assert_array_equal(again.w, random.standard_normal((3, W_DIM), np.float32))
    assert (again.parts, again.truncation, again.seed, again.size) == (PARTS, 0.7, 5, (EDGE, EDGE))
    assert again.generator.digest == generator_card().digest
    assert len(again) == 3
    assert again.labelled() == []
    assert (again.labels(1) == 255).all()


def test_labels_come_back_and_are_a_palette_png(part_set: PartSet) -> None:
    labels = some_labels()
    part_set.save_labels(2, labels)
    again = PartSet.load(part_set.folder)
    assert again.labelled() == [2]
    np.testing.assert_array_equal(again.label_maps([2])[0], labels)
    with Image.open(part_set.folder / "labels" / "0002.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), labels)
    assert not [p for p in (part_set.folder / "labels").iterdir() if p.name != "0002.png"]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_label_maps_of_other_programs_are_read(part_set: PartSet, mode: str) -> None:
    labels = some_labels(3)
    picture = Image.fromarray(labels)
    if mode == "P":
        picture.putpalette(list(range(256)) * 3)
    picture.save(part_set.label_path(0))
    np.testing.assert_array_equal(part_set.labels(0), labels)


def test_nothing_labelled_removes_the_map(part_set: PartSet) -> None:
    part_set.save_labels(0, some_labels())
    part_set.save_labels(0, np.full((EDGE, EDGE), 255, np.uint8))
    assert part_set.labelled() == []


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((EDGE, EDGE - 1), np.uint8), "shape"),
        (np.full((EDGE, EDGE), 3, np.uint8), "label 3 is none of the 3 parts"),
        (np.full((EDGE, EDGE), -1), "label -1"),
        (np.full((EDGE, EDGE), 256), "label 256"),
        (np.zeros((EDGE, EDGE)), "float64"),
    ],
)
def test_wrong_labels_are_not_saved(part_set: PartSet, labels: np.ndarray, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        part_set.save_labels(0, labels)
    assert caught.value.reason == "INVALID_LABELS"
    assert part_set.labelled() == []


def test_there_is_no_picture_beyond_the_last(part_set: PartSet) -> None:
    with pytest.raises(NotFoundError, match="0 to 2"):
        part_set.image(3)


def test_the_generator_must_be_the_one_that_rendered(part_set: PartSet) -> None:
    other = generator_card(edge=32)
    with pytest.raises(FailedPreconditionError) as caught:
        PartSet.load(part_set.folder, generator=other)
    assert caught.value.reason == "PARTS_OF_ANOTHER_GENERATOR"
    assert generator_card().short_digest in caught.value.message
    assert other.short_digest in caught.value.message


def test_pictures_and_latents_must_fit_the_generator(tmp_path: Path) -> None:
    w, images = np.zeros((1, W_DIM), np.float32), np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(InvalidArgumentError, match="8 x 8"):
        write_part_set(tmp_path / "a", generator_card(), w, images, PARTS)
    with pytest.raises(InvalidArgumentError, match="5 columns"):
        write_part_set(
            tmp_path / "b", generator_card(), w[:, :5], np.zeros((1, EDGE, EDGE, 3), np.uint8), PARTS
        )


def info(**changes: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "parts.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def latents(**tensors: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: save_file(tensors, folder / "latents.safetensors")


def picture(kind: str, edge: int) -> Callable[[Path], object]:
    return lambda folder: Image.new("RGB", (edge, edge)).save(folder / "images" / "0001.png", format=kind)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "parts.json").write_text("{"), "parts.json"),
        (info(schema_version=2), "schema_version"),
        (info(parts=["background", "background"]), "'background' is named twice"),
        (info(parts=["background", "Hair"]), "'Hair' is no name of a part"),
        (info(parts=["background", "picture"]), "'picture' is no name of a part"),
        (info(parts=["background"]), "1 parts"),
        (info(generator={"name": "x/y", "digest": "12"}), "generator.digest"),
        (info(truncation=3), "truncation"),
        (lambda folder: (folder / "latents.safetensors").unlink(), "latents.safetensors is missing"),
        (lambda folder: (folder / "latents.safetensors").write_bytes(b"x" * 20), "no safetensors"),
        (latents(v=np.zeros((3, 4), np.float32)), "must hold 'w'"),
        (latents(w=np.zeros((3, 4), np.float64)), "must hold 'w'"),
        (latents(w=np.full((3, W_DIM), np.nan, np.float32)), "NaN"),
        (latents(w=np.zeros((5001, 1), np.float32)), "5001 rows"),
        (latents(w=np.zeros((4, W_DIM), np.float32)), "0003.png is missing"),
        (picture("PNG", 17), "17 x 17"),
        (picture("JPEG", EDGE), "no PNG"),
        (lambda folder: Image.new("1", (20_000, 1)).save(folder / "images" / "0000.png"), "at most 2048"),
    ],
)  # fmt: skip
def test_a_spoilt_set_is_refused(part_set: PartSet, spoil: Callable[[Path], object], words: str) -> None:
    spoil(part_set.folder)
    with pytest.raises(InvalidArgumentError, match=re.escape(words)) as caught:
        PartSet.load(part_set.folder)
    assert caught.value.reason == "INVALID_PART_SET"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: Image.new("RGB", (EDGE, EDGE)).save(path), "mode RGB"),
        (lambda path: Image.new("L", (EDGE, EDGE), 3).save(path), "label 3 is none"),
        (lambda path: Image.new("L", (8, 8)).save(path), "8 x 8"),
        (lambda path: path.write_bytes(b"\x89PNG"), "no PNG"),
    ],
)
def test_a_spoilt_label_map_is_refused(
    part_set: PartSet, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(part_set.label_path(1))
    with pytest.raises(InvalidArgumentError, match=words):
        part_set.labels(1)


def test_a_truncated_picture_is_refused(part_set: PartSet) -> None:
    path = part_set.image_path(0)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidArgumentError, match="no PNG that can be read"):
        part_set.image(0)


def test_a_folder_without_a_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="unitscope parts sample"):
        PartSet.load(tmp_path)


def test_parts_can_be_named_anew(part_set: PartSet) -> None:
    part_set.with_parts(("background", "hair", "hat", "face"))
    assert PartSet.load(part_set.folder).parts == ("background", "hair", "hat", "face")
    with pytest.raises(InvalidArgumentError, match="named twice"):
        part_set.with_parts(("a", "a"))


def test_a_new_set_is_rendered_class_by_class(
    backend: GeneratorBackend, card: ModelCard, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    made = create(tmp_path / "set", backend, card, 5, PARTS, 0.5, 3, (2, 0), lambda *p: told.append(p))
    z = np.random.default_rng(3).standard_normal((5, backend.spec.z_dim), np.float32)
    w = backend.map(z, np.array([2, 0, 2, 0, 2]), 0.5)
    np.testing.assert_array_equal(made.w, w)
    np.testing.assert_array_equal(made.images(range(5)), backend.render(w))
    assert told == [(5, 5)]
    with pytest.raises(InvalidArgumentError, match="not empty"):
        create(tmp_path / "set", backend, card, 5, PARTS)
    with pytest.raises(InvalidArgumentError, match="1 to 5000"):
        create(tmp_path / "other", backend, card, 0, PARTS)
