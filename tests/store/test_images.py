"""Folders of real images: on a directory, and on a real S3 server."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unitscope.errors import AlreadyExistsError, DataLossError, InvalidArgumentError, NotFoundError
from unitscope.jobs import layout
from unitscope.store import ObjectStore
from unitscope.store import images as module
from unitscope.store import pictures as decoding
from unitscope.store.images import (
    add_files,
    add_images,
    image_folders,
    read_files,
    read_image,
    read_index,
    remove_images,
)

NOISE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "mine"
    (found / "sub").mkdir(parents=True)
    Image.fromarray(NOISE).save(found / "b.png")
    Image.fromarray(NOISE[::-1]).save(found / "a.webp", lossless=True)
    Image.fromarray(NOISE).save(found / "sub" / "c.JPG", quality=95)
    (found / "notes.txt").write_text("no image")
    (found / ".hidden.png").write_bytes(b"")
    return found


def test_images_come_back_as_they_were(store: ObjectStore, folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    added = add_images(store, "mine", folder, seen=lambda done, total: calls.append((done, total)))
    entries = read_index(store, "mine")
    assert entries == added.entries
    assert [entry.name for entry in entries] == ["a.webp", "b.png", "sub/c.JPG"]
    assert [entry.file[-4:] for entry in entries] == [".png", ".png", ".jpg"]
    assert (entries[0].width, entries[0].height) == (10, 12)
    np.testing.assert_array_equal(read_image(store, "mine", entries[0]), NOISE[::-1])
    np.testing.assert_array_equal(read_image(store, "mine", entries[1]), NOISE)
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    (listed,) = image_folders(store)
    assert (listed.name, listed.images, listed.complete) == ("mine", 3, True)
    assert listed.size > sum(entry.size for entry in entries)

    with pytest.raises(AlreadyExistsError, match="remove them first"):
        add_images(store, "mine", folder)
    assert remove_images(store, "mine") == 3
    assert image_folders(store) == []
    with pytest.raises(NotFoundError, match="there are: none"):
        read_index(store, "mine")


def test_an_adding_that_broke_off_is_seen_and_goes_on(store: ObjectStore, folder: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_images(store, "mine", folder, seen=stop)
    assert [(f.images, f.complete) for f in image_folders(store)] == [(2, False)]
    with pytest.raises(NotFoundError):
        read_index(store, "mine")
    add_images(store, "mine", folder)
    assert [(f.images, f.complete) for f in image_folders(store)] == [(3, True)]


def test_who_comes_second_is_told(store: ObjectStore, folder: Path) -> None:
    def race(done: int, total: int) -> None:
        if done == total:
            store.create(layout.image_index("mine"), b"{}")

    with pytest.raises(AlreadyExistsError):
        add_images(store, "mine", folder, seen=race)
    with pytest.raises(DataLossError, match="damaged"):
        read_index(store, "mine")


def test_files_named_one_by_one_are_one_folder_by_what_they_are(store: ObjectStore, folder: Path) -> None:
    own = read_files([folder / "b.png", folder / "sub" / "c.JPG"])
    assert re.fullmatch(r"own-[0-9a-f]{12}", own.name)
    assert add_files(store, own)
    entries = read_index(store, own.name)
    assert [entry.name for entry in entries] == ["b.png", "c.JPG"]
    np.testing.assert_array_equal(read_image(store, own.name, entries[0]), NOISE)

    assert not add_files(store, read_files([folder / "b.png", folder / "sub" / "c.JPG"]))
    assert len(image_folders(store)) == 1
    others = ([folder / "b.png"], [folder / "sub" / "c.JPG", folder / "b.png"], [folder / "a.webp"])
    assert len({own.name, *(read_files(files).name for files in others)}) == 4
    named = read_files([folder / "b.png"]).name
    (folder / "b.png").rename(folder / "d.png")
    assert read_files([folder / "d.png"]).name != named


def test_an_adding_of_files_that_broke_off_goes_on(store: ObjectStore, folder: Path) -> None:
    own = read_files([folder / "b.png", folder / "a.webp"])
    add_files(store, own)
    store.delete(layout.image_index(own.name))
    assert [f.complete for f in image_folders(store)] == [False]
    assert add_files(store, own)
    assert len(read_index(store, own.name)) == 2


def test_a_file_that_is_named_must_be_a_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("notes.txt", ".hidden.png", "nowhere.png", "sub"):
        with pytest.raises(InvalidArgumentError, match=f"{file} cannot be taken: ") as caught:
            read_files([folder / "b.png", folder / file])
        assert caught.value.reason == "UNREADABLE_IMAGE"
    with pytest.raises(InvalidArgumentError, match="0 image files") as caught:
        read_files([])
    assert caught.value.reason == "NO_IMAGES"
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with pytest.raises(InvalidArgumentError, match="unitscope images add FOLDER") as caught:
        read_files([folder / "b.png", folder / "b.png"])
    assert caught.value.reason == "TOO_MANY_IMAGES"


def test_a_missing_name_suggests_one_that_is_there(store: ObjectStore, folder: Path) -> None:
    add_images(store, "faces", folder)
    with pytest.raises(NotFoundError, match="did you mean 'faces'"):
        read_index(store, "face")
    with pytest.raises(NotFoundError):
        remove_images(store, "face")


def test_spoilt_bytes_are_noticed(store: ObjectStore, folder: Path) -> None:
    entry = add_images(store, "mine", folder).entries[0]
    store.put(layout.image("mine", entry.file), b"spoilt")
    with pytest.raises(DataLossError):
        read_image(store, "mine", entry)


def test_a_limit_takes_images_at_even_distances(store: ObjectStore, folder: Path) -> None:
    for number in range(7):
        Image.fromarray(NOISE + number).save(folder / f"d{number}.png")
    added = add_images(store, "mine", folder, limit=5)
    assert [e.name for e in added.entries] == ["a.webp", "d0.png", "d2.png", "d4.png", "d6.png"]


def test_what_cannot_be_read_is_left_out_and_named(
    store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png = (folder / "b.png").read_bytes()
    (folder / "cut.png").write_bytes(png[:-30])
    (folder / "flipped.png").write_bytes(png[:60] + bytes([png[60] ^ 1]) + png[61:])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "really.png").write_bytes(_gif())
    Image.fromarray(np.zeros((90, 40, 3), np.uint8)).save(folder / "bomb.png")
    (folder / "heavy.png").write_bytes(png + b"\0" * 4000)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 3_000)
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", 4_000)
    added = add_images(store, "mine", folder)
    assert [entry.name for entry in added.entries] == ["a.webp", "b.png", "sub/c.JPG"]
    reasons = dict(added.skipped)
    assert set(reasons) == {"bomb.png", "cut.png", "empty.jpg", "flipped.png", "heavy.png", "really.png"}
    assert "40 x 90 pixels; 3,000 are the limit" in reasons["bomb.png"]
    assert "MiB" in reasons["heavy.png"]


def test_a_file_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    header = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    claim = (40).to_bytes(4, "little") + (30_000).to_bytes(4, "little") * 2
    (tmp_path / "x.bmp").write_bytes(header + claim + b"\1\0\x18\0" + bytes(24))
    with pytest.raises(InvalidArgumentError, match=r"cannot be taken: .*(pixels|exceeds limit)"):
        decoding.read_picture(tmp_path / "x.bmp")


def test_pictures_are_upright_bounded_opaque_and_bare(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "a camera"
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.full((600, 1200, 3), 90, np.uint8)).save(path, exif=exif, comment=b"secret")
    picture = decoding.read_picture(path)
    assert (picture.suffix, picture.width, picture.height) == ("jpg", 256, 512)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert not image.getexif()
        assert b"secret" not in picture.data

    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    with Image.open(io.BytesIO(decoding.read_picture(tmp_path / "clear.png").data)) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    with Image.open(io.BytesIO(decoding.read_picture(tmp_path / "grey.png").data)) as image:
        assert image.getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "..", "a" * 64, "a b"])
def test_names_are_checked_everywhere(store: ObjectStore, folder: Path, name: str) -> None:
    for call in (
        lambda: add_images(store, name, folder),
        lambda: read_index(store, name),
        lambda: remove_images(store, name),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert caught.value.reason == "INVALID_NAME"


def test_folders_that_cannot_be_added(
    store: ObjectStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidArgumentError, match="is no folder"):
        add_images(store, "mine", tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InvalidArgumentError, match="holds no image"):
        add_images(store, "mine", tmp_path / "bare")
    (tmp_path / "bare" / "x.png").write_bytes(b"x")
    with pytest.raises(InvalidArgumentError, match="none of the 1 files"):
        add_images(store, "mine", tmp_path / "bare")
    monkeypatch.setattr(module, "MAX_IMAGES", 2)
    with pytest.raises(InvalidArgumentError, match=r"3 images.*--limit"):
        add_images(store, "mine", folder)
    assert image_folders(store) == []


def _gif() -> bytes:
    sink = io.BytesIO()
    Image.fromarray(NOISE).save(sink, "GIF")
    return sink.getvalue()


def test_sixteen_bits_of_grey_become_eight(tmp_path: Path) -> None:
    """Scans and medical pictures: Pillow alone would make nearly all of them white."""
    grey = np.linspace(0, 65_535, 48, dtype=np.uint16).reshape(6, 8)
    Image.fromarray(grey).save(tmp_path / "scan.png")
    ((_, picture),) = read_files([tmp_path / "scan.png"]).pictures
    with Image.open(io.BytesIO(picture.data)) as kept:
        found = np.asarray(kept)
    np.testing.assert_array_equal(found, np.repeat((grey >> 8)[..., None], 3, axis=2))


def test_who_names_many_files_is_told_how_far_it_is(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    read_files([folder / "b.png", folder / "a.webp"], seen=lambda *how: told.append(how))
    assert told == [(0, 2), (1, 2), (2, 2)]
