"""Folders of real images in the object store: shown beside units, or where counterfactuals start from.

::

    add_images(store, "faces", Path("my-faces"))
    own = read_files([Path("me.jpg")])                    # own.name is made of what is in the files
    add_files(store, own)
    for entry in read_index(store, "faces"):
        picture = read_image(store, "faces", entry)       # uint8 (height, width, 3)

The index is written last and only once, so a folder is there as a whole or not at all.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unitscope.errors import AlreadyExistsError, DataLossError, InvalidArgumentError, NotFoundError
from unitscope.jobs import layout
from unitscope.names import did_you_mean
from unitscope.store.base import ObjectStore, get_verified, sha256
from unitscope.store.pictures import MAX_SIDE, SUFFIXES, Picture, read_picture

MAX_IMAGES = 20_000
"""Images of one folder at most."""
MAX_FILES = 100
"""Images named one by one at most: they are all in memory."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageEntry(_Record):
    """One image of a folder."""

    file: str = Field(pattern=r"^[0-9]{5}-[0-9a-f]{8}\.(png|jpg)$")
    """Its last segment in the store."""
    name: str = Field(max_length=1000)
    """Where it lay in the user's folder, for display only."""
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    size: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Index(_Record):
    schema_version: Literal[1] = 1
    name: str
    images: tuple[ImageEntry, ...] = Field(max_length=MAX_IMAGES)


@dataclass(frozen=True)
class ImageFolder:
    """A folder in the store: images and bytes, and whether its index is there."""

    name: str
    images: int
    size: int
    complete: bool


@dataclass(frozen=True)
class Added:
    """What `add_images` did: the images kept, and (file, reason) of those left out."""

    entries: tuple[ImageEntry, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OwnImages:
    """Files made ready by `read_files`: what their folder is called, and (name, picture) of each."""

    name: str
    pictures: tuple[tuple[str, Picture], ...]


def check_name(name: str) -> str:
    """The name of an image folder, if it is one.

    Raises:
        InvalidArgumentError: It is none (reason INVALID_NAME).
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"{name[:80]!r} is no name for images; use 1 to 63 lower-case letters, digits and '-', "
            "beginning with a letter or digit, e.g. 'my-faces'",
            reason="INVALID_NAME",
            field="name",
        )
    return name


def read_index(store: ObjectStore, name: str) -> tuple[ImageEntry, ...]:
    """The images of a folder, in their order.

    Raises:
        InvalidArgumentError: The name is none.
        NotFoundError: There is no such folder (reason IMAGES_NOT_FOUND).
        DataLossError: Its index is damaged (reason DAMAGED_INDEX).
    """
    try:
        data = store.get(layout.image_index(check_name(name)))
    except NotFoundError:
        raise _missing(store, name) from None
    try:
        return _Index.model_validate_json(data).images
    except ValidationError as error:
        raise DataLossError(
            f"the index of the images {name!r} is damaged ({error.error_count()} errors); remove the "
            "images and add them again",
            reason="DAMAGED_INDEX",
            name=name,
        ) from error


def read_image(store: ObjectStore, name: str, entry: ImageEntry) -> NDArray[np.uint8]:
    """One image, uint8 (height, width, 3), checked against its sha256.

    Raises:
        NotFoundError: It is gone.
        DataLossError: Its bytes are not those that were added.
    """
    data = get_verified(store, layout.image(check_name(name), entry.file), entry.sha256)
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("RGB"))


def image_folders(store: ObjectStore) -> list[ImageFolder]:
    """All folders of images, by name; one that is being added, or whose adding broke off, is incomplete."""
    found: dict[str, list[tuple[str, int]]] = {}
    for item in store.objects(layout.IMAGES):
        name, _, file = item.key.removeprefix(layout.IMAGES).partition("/")
        found.setdefault(name, []).append((file, item.size))
    return [
        ImageFolder(
            name=name,
            images=sum(file != "index.json" for file, _ in files),
            size=sum(size for _, size in files),
            complete=any(file == "index.json" for file, _ in files),
        )
        for name, files in sorted(found.items())
    ]


def add_images(
    store: ObjectStore,
    name: str,
    folder: Path,
    *,
    limit: int | None = None,
    seen: Callable[[int, int], None] = lambda done, total: None,
) -> Added:
    """Puts the images of a folder, subfolders included, into the store.

    Args:
        store: Where to.
        name: What the images are called from now on.
        folder: Files with a suffix of `SUFFIXES` are taken, in the order of their names; hidden ones and
            linked folders are passed over.
        limit: Images at most, taken at even distances; all where None.
        seen: Is called with the number of files done and of all.

    Returns:
        What was kept and what was left out; a file that cannot be read does not end the others.

    Raises:
        InvalidArgumentError: The name is none, the folder is missing, has too many images, or none that
            can be read (reasons INVALID_NAME, NO_IMAGES, TOO_MANY_IMAGES).
        AlreadyExistsError: The name is taken (reason IMAGES_EXIST).
    """
    if store.stat(layout.image_index(check_name(name))) is not None:
        raise _taken(name)
    files = _files(folder, limit)
    entries: list[ImageEntry] = []
    skipped: list[tuple[str, str]] = []
    for done, path in enumerate(files):
        seen(done, len(files))
        shown = path.relative_to(folder).as_posix()
        try:
            picture = read_picture(path)
        except InvalidArgumentError as error:
            skipped.append((shown, error.message))
            continue
        entries.append(_put(store, name, len(entries), shown, picture))
    seen(len(files), len(files))
    if not entries:
        raise InvalidArgumentError(
            f"none of the {len(files)} files in {folder} can be taken, e.g.: {skipped[0][1]}",
            reason="NO_IMAGES",
            field="folder",
        )
    if not _finish(store, name, entries):
        raise _taken(name)
    return Added(tuple(entries), tuple(skipped))


def read_files(
    files: Sequence[Path], *, seen: Callable[[int, int], None] = lambda done, total: None
) -> OwnImages:
    """Reads image files that somebody names one by one.

    The folder's name, ``own-<12 hex digits>``, is made of the pictures and their files' names, so that the
    same files are the same folder.

    Args:
        files: Their paths.
        seen: Is called with the number of files read and of all.

    Raises:
        InvalidArgumentError: A file cannot be read (reason UNREADABLE_IMAGE), or there are none or too many
            of them (NO_IMAGES, TOO_MANY_IMAGES).
    """
    if not 1 <= len(files) <= MAX_FILES:
        raise InvalidArgumentError(
            f"{len(files)} image files are named; 1 to {MAX_FILES} can be, more of them as a folder: "
            "unitscope images add FOLDER --name NAME",
            reason="TOO_MANY_IMAGES" if files else "NO_IMAGES",
            field="image",
        )
    pictures = []
    for done, path in enumerate(files):
        seen(done, len(files))
        pictures.append((_shown(path.name), read_picture(path)))
    seen(len(files), len(files))
    lines = "\n".join(f"{sha256(picture.data)} {name}" for name, picture in pictures)
    return OwnImages(f"own-{sha256(lines.encode())[:12]}", tuple(pictures))


def add_files(store: ObjectStore, own: OwnImages) -> bool:
    """Puts files into the store that `read_files` read; whether they were not there yet."""
    if store.stat(layout.image_index(own.name)) is not None:
        return False
    pictures = enumerate(own.pictures)
    return _finish(store, own.name, [_put(store, own.name, place, *item) for place, item in pictures])


def remove_images(store: ObjectStore, name: str) -> int:
    """Removes a folder, complete or not; the number of its images.

    Raises:
        NotFoundError: There is none of the name (reason IMAGES_NOT_FOUND).
    """
    objects = store.objects(layout.image_folder(check_name(name)))
    if not objects:
        raise _missing(store, name)
    index = layout.image_index(name)
    store.delete(index)  # First, so that nobody reads a folder of which half is gone.
    rest = [item.key for item in objects if item.key != index]
    for key in rest:
        store.delete(key)
    return len(rest)


def _put(store: ObjectStore, name: str, place: int, shown: str, picture: Picture) -> ImageEntry:
    """Writes one picture; its entry of the index."""
    digest = sha256(picture.data)
    file = f"{place:05d}-{digest[:8]}.{picture.suffix}"
    store.create(layout.image(name, file), picture.data)
    size = {"width": picture.width, "height": picture.height, "size": len(picture.data)}
    return ImageEntry(file=file, name=_shown(shown), sha256=digest, **size)


def _finish(store: ObjectStore, name: str, entries: Sequence[ImageEntry]) -> bool:
    """Writes the index; whether there was none before."""
    index = _Index(name=name, images=tuple(entries))
    return store.create(layout.image_index(name), index.model_dump_json(indent=1).encode())


def _files(folder: Path, limit: int | None) -> list[Path]:
    if not folder.is_dir():
        raise InvalidArgumentError(f"{folder} is no folder", reason="NO_IMAGES", field="folder")
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [item for item in folders if not item.startswith(".")]
        paths = (Path(parent, item) for item in names if not item.startswith("."))
        found += [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    found.sort(key=lambda path: path.relative_to(folder).parts)
    if not found:
        raise InvalidArgumentError(
            f"{folder} holds no image; files must end in {', '.join(sorted(SUFFIXES))}",
            reason="NO_IMAGES",
            field="folder",
        )
    count = len(found) if limit is None else min(limit, len(found))
    if not 1 <= count <= MAX_IMAGES:
        raise InvalidArgumentError(
            f"{count:,} images are to be added; a folder holds 1 to {MAX_IMAGES:,}: choose with --limit",
            reason="TOO_MANY_IMAGES",
            field="limit",
        )
    # At even distances: in folders of classes, the first ones would all be of one class.
    return [found[index * len(found) // count] for index in range(count)]


def _shown(name: str) -> str:
    """The name without what cannot be shown or stored as text."""
    return "".join(c if c.isprintable() else "?" for c in name.encode("utf-8", "replace").decode())[:1000]


def _taken(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"there are images called {name!r} already; remove them first, or choose another name",
        reason="IMAGES_EXIST",
        field="name",
        name=name,
    )


def _missing(store: ObjectStore, name: str) -> NotFoundError:
    there = [folder.name for folder in image_folders(store) if folder.complete]
    return NotFoundError(
        f"there are no images called {name!r}; {did_you_mean(name, there)}there are: "
        f"{', '.join(there[:30]) or 'none'}",
        reason="IMAGES_NOT_FOUND",
        field="name",
        name=name,
    )
