"""Pictures of users: found, refused, cached, ordered."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.generator.training import data as data_module
from services.generator.training.data import Order, Source, find_pictures, prepare
from services.generator.training.squares import squares
from tests.services.generator.training.folders import png, write_classes
from unitscope.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError


def test_a_subfolder_is_a_class(tmp_path: Path) -> None:
    source = find_pictures(write_classes(tmp_path / "birds", ("wren", "owl"), 12))
    assert source.classes == ("owl", "wren")
    assert [entry.label for entry in source.entries] == [0] * 12 + [1] * 12


def test_a_flat_folder_is_one_class(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "birds", ("wren",), 20) / "wren"
    assert find_pictures(folder).classes == ("wren",)
    assert find_pictures(tmp_path / "birds").classes == ("wren",)


def test_a_zip_is_the_folder_that_it_holds(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "birds", ("wren", "owl"), 12)
    path = zipped(tmp_path / "birds.zip", folder, "train")
    of_folder = prepare(find_pictures(folder), tmp_path / "cache", (16,))
    of_zip = prepare(find_pictures(path), tmp_path / "cache", (16,))
    assert of_zip.classes == of_folder.classes
    np.testing.assert_array_equal(of_zip.images(16), of_folder.images(16))
    assert of_zip.digest == of_folder.digest
    assert of_zip.folder != of_folder.folder


def zipped(path: Path, folder: Path, root: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"{root}/{file.relative_to(folder).as_posix()}")
        archive.writestr("__MACOSX/train/owl/._0.png", b"no picture")
    return path


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        ((), "NO_IMAGES", "holds no picture"),
        (("a/1.png",), "TOO_FEW_IMAGES", "holds 1 picture; at least 20"),
        (("1.png", *(f"a/{i}.png" for i in range(30))), "MIXED_CLASSES", "(e.g. 1.png)"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, make: Sequence[str], reason: str, words: str) -> None:
    for name in make:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(0))
    with pytest.raises(InvalidArgumentError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        find_pictures(tmp_path)
    assert caught.value.reason == reason


def test_what_is_not_there_and_what_is_no_zip(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name a folder"):
        find_pictures(tmp_path / "gone")
    (tmp_path / "birds.zip").write_bytes(b"no zip")
    with pytest.raises(InvalidArgumentError, match="neither a folder nor a zip"):
        find_pictures(tmp_path / "birds.zip")


def test_too_many_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_classes(tmp_path / "birds", ("wren", "owl", "kite"), 8)
    monkeypatch.setattr(data_module, "MAX_CLASSES", 2)
    with pytest.raises(InvalidArgumentError, match="3 classes; 2 are the limit"):
        find_pictures(folder)


def test_unreadable_pictures_are_named_or_left_out(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "birds", ("wren", "owl"), 12)
    (folder / "owl" / "3.png").write_bytes(png(3)[:60])
    (folder / "wren" / "bad.jpg").write_bytes(b"text")
    source = find_pictures(folder)
    with pytest.raises(InvalidArgumentError) as caught:
        prepare(source, tmp_path / "cache", (8, 16))
    assert caught.value.reason == "UNREADABLE_IMAGES"
    assert caught.value.message.startswith("2 of 25 files cannot be read (owl/3.png: ")
    assert "wren/bad.jpg: it is no JPEG or PNG" in caught.value.message
    found = prepare(source, tmp_path / "cache", (8, 16), skip_unreadable=True)
    assert len(found) == len(found.images(16)) == 23
    assert [name for name, _ in found.unreadable] == ["owl/3.png", "wren/bad.jpg"]
    assert found.labels.tolist() == [0] * 11 + [1] * 12
    np.testing.assert_array_equal(
        found.images(8)[5], squares((folder / "owl" / "4.png").read_bytes(), [8])[0]
    )


def test_a_picture_that_claims_to_be_huge_is_not_decoded() -> None:
    sink = io.BytesIO()
    Image.new("1", (9000, 9000)).save(sink, "PNG")
    with pytest.raises(ValueError, match="9000 x 9000 pixels; 64,000,000 are the limit"):
        squares(sink.getvalue(), [16])


def test_formats_beyond_jpeg_and_png_are_not_decoded() -> None:
    sink = io.BytesIO()
    Image.new("RGB", (9, 9)).save(sink, "GIF")
    with pytest.raises(OSError, match="cannot identify"):
        squares(sink.getvalue(), [16])


def test_the_central_square_is_cut_out_and_antialiased() -> None:
    stripes = np.zeros((32, 64, 3), np.uint8)
    stripes[:, 16:48:2] = 255
    stripes[:, :16] = (255, 0, 0)
    sink = io.BytesIO()
    Image.fromarray(stripes).save(sink, "PNG")
    (found,) = squares(sink.getvalue(), [8])
    # No red of the sides, and stripes become the grey that they are from afar.
    assert np.abs(found[:, 1:-1].astype(int) - 128).max() <= 12
    assert found.shape == (8, 8, 3)


def test_transparency_lies_on_white_and_exif_turns_upright() -> None:
    sink = io.BytesIO()
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(sink, "PNG")
    assert squares(sink.getvalue(), [4])[0].min() == 255
    picture = Image.new("RGB", (16, 16), "black")
    picture.paste("white", (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3
    sink = io.BytesIO()
    picture.save(sink, "JPEG", exif=exif)
    (turned,) = squares(sink.getvalue(), [16])
    assert turned[:6].max() < 20
    assert turned[-6:].min() > 235


def test_the_cache_is_used_until_the_pictures_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_classes(tmp_path / "birds", ("wren", "owl"), 12)
    cache = tmp_path / "cache"
    first = prepare(find_pictures(folder), cache, (16,))
    reads: list[int] = []
    monkeypatch.setattr(data_module, "squares", lambda data, sizes: reads.append(1) or squares(data, sizes))
    again = prepare(find_pictures(folder), cache, (16,))
    assert not reads
    assert again.digest == first.digest
    prepare(find_pictures(folder), cache, (16, 32))
    assert len(reads) == 24
    (folder / "owl" / "new.png").write_bytes(png(99))
    changed = prepare(find_pictures(folder), cache, (16,))
    assert changed.digest != first.digest
    assert len(changed) == 25


def test_a_cut_off_cache_is_made_again(tmp_path: Path) -> None:
    source = find_pictures(write_classes(tmp_path / "birds", ("wren", "owl"), 12))
    first = prepare(source, tmp_path / "cache", (16,))
    pixels = np.array(first.images(16))
    path = first.folder / "16.npy"
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(prepare(source, tmp_path / "cache", (16,)).images(16), pixels)
    assert not list(first.folder.glob("*.partial"))


def test_a_full_disk_is_said_before_and_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find_pictures(write_classes(tmp_path / "birds", ("wren", "owl"), 12))
    usage = type("Usage", (), {"free": 1000})
    with monkeypatch.context() as patch:
        patch.setattr(data_module.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ResourceExhaustedError, match="larger disk with --cache"):
            prepare(source, tmp_path / "cache", (16,))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data_module, "_write_header", full)
    with pytest.raises(ResourceExhaustedError, match="No space left on device"):
        prepare(source, tmp_path / "cache", (16,))
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    order = Order(seed=3, count=10, position=0)
    rows, mirrored = order.rows(30)
    epochs = rows.reshape(3, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert not (epochs[0] == epochs[1]).all()
    assert not mirrored.any()
    assert not (Order(seed=4, count=10, position=0).rows(30)[0] == rows).all()


def test_an_order_goes_on_anywhere() -> None:
    whole, flips = Order(seed=3, count=7, position=0, flip=True).rows(25)
    for start in (0, 3, 7, 20):
        rows, mirrored = Order(seed=3, count=7, position=start, flip=True).rows(5)
        np.testing.assert_array_equal(rows, whole[start : start + 5])
        np.testing.assert_array_equal(mirrored, flips[start : start + 5])
    assert 5 < flips.sum() < 20


def test_mirrored_pictures_are_mirrored(tmp_path: Path) -> None:
    source: Source = find_pictures(write_classes(tmp_path / "birds", ("wren", "owl"), 12))
    found = prepare(source, tmp_path / "cache", (16,))
    order = Order(seed=1, count=len(found), position=0, flip=True)
    rows, mirrored = order.rows(24)
    images, labels = found.batch(order, 24, 16)
    np.testing.assert_array_equal(labels, found.labels[rows])
    for image, row, turned in zip(images, rows, mirrored, strict=True):
        plain = found.images(16)[row]
        np.testing.assert_array_equal(image, plain[:, ::-1] if turned else plain)
