"""Label maps from and to COCO json (https://cocodataset.org/#format-data).

Pictures are matched by file name (``0007.png``, whatever the folder before it). Categories become parts,
the background first; where annotations overlap, the later one wins. Polygons and run lengths, plain and
compressed, are read; compressed run lengths are written, since polygons have no holes::

    summary = import_coco(part_set, Path("annotations.json"))
    export_coco(part_set, Path("annotations.json"))
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from services.generator.parts import rle
from services.generator.parts.dataset import UNLABELLED, PartSet
from services.generator.parts.files import MAX_EDGE, check_parts, pixels, write_atomically
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

BACKGROUND = "background"
MAX_BYTES = 256 << 20
_MAX_ITEMS = 200_000

Rest = Literal["background", "unlabelled"]
"""What a pixel is that no annotation of its picture covers."""

_Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_EDGE, le=2 * MAX_EDGE)]
_Edge = Annotated[int, Field(ge=1, le=MAX_EDGE)]


class _Runs(BaseModel):
    size: tuple[_Edge, _Edge]
    counts: str | list[int]


class _Picture(BaseModel):
    id: int | str
    file_name: str
    height: int
    width: int


class _Category(BaseModel):
    id: int | str
    name: str


class _Annotation(BaseModel):
    id: int | str | None = None
    image_id: int | str
    category_id: int | str
    segmentation: _Runs | list[list[_Coordinate]]


class _File(BaseModel):
    images: list[_Picture] = Field(max_length=_MAX_ITEMS)
    categories: list[_Category] = Field(min_length=1, max_length=1_000)
    annotations: list[_Annotation] = Field(max_length=_MAX_ITEMS)


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        part_set: The set, with the parts that it has now.
        pictures: Indices of the pictures that were labelled, ascending.
        unknown: File names in the json that the set does not have.
    """

    part_set: PartSet
    pictures: tuple[int, ...]
    unknown: tuple[str, ...]


def import_coco(
    part_set: PartSet, path: Path, rest: Rest = "background", *, replace: bool = False
) -> Imported:
    """Labels the pictures of a set as a COCO file says.

    A set without labels gets the file's categories as its parts, in their order, the background first.
    A set with labels keeps the index of every part; new categories come after them. A picture without
    annotations stays as it is. Nothing is written unless all of the file makes sense.

    Args:
        part_set: The set.
        path: The json.
        rest: What a pixel is that no annotation covers.
        replace: Whether pictures that have labels get new ones.

    Returns:
        What was done.

    Raises:
        InvalidArgumentError: The file is wrong (reason INVALID_COCO), or speaks of none of the set's
            pictures (NO_PICTURE_MATCHES).
        FailedPreconditionError: Pictures have labels, and `replace` is not set (ALREADY_LABELLED).
    """
    file = _read(path)
    names = {category.id: part_name(category.name) for category in file.categories}
    if len(names) < len(file.categories):
        raise _bad(path, "two categories have the same id")
    labelled = set(part_set.labelled())
    known = part_set.parts if labelled else (BACKGROUND,)
    try:
        parts = check_parts(tuple(dict.fromkeys([*known, *names.values()])))
    except InvalidArgumentError as error:
        raise _bad(path, f"categories: {error.message}") from error
    indices, unknown = _matched(file, part_set, path)
    start = parts.index(BACKGROUND) if rest == "background" and BACKGROUND in parts else UNLABELLED
    maps = _label_maps(file, path, part_set.size, indices, {id_: parts.index(n) for id_, n in names.items()})
    if not maps:
        raise InvalidArgumentError(
            f"{path} annotates none of the pictures in {part_set.folder}, which are called 0000.png to "
            f"{len(part_set) - 1:04}.png",
            reason="NO_PICTURE_MATCHES",
        )
    taken = sorted(labelled & set(maps))
    if taken and not replace:
        raise FailedPreconditionError(
            f"{len(taken)} of the {len(maps)} annotated pictures have labels already, first "
            f"{taken[0]:04}.png; pass --replace to label them anew",
            reason="ALREADY_LABELLED",
        )
    changed = part_set if parts == part_set.parts else part_set.with_parts(parts)
    for index, labels in maps.items():
        changed.save_labels(index, np.where(labels == UNLABELLED, start, labels))
    return Imported(changed, tuple(sorted(maps)), unknown)


def export_coco(part_set: PartSet, path: Path) -> int:
    """Writes the labelled pictures of a set as COCO json, every part of a picture one annotation.

    Args:
        part_set: The set.
        path: The file to write or to replace.

    Returns:
        The number of annotations.
    """
    height, width = part_set.size
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in part_set.labelled():
        labels = part_set.labels(index)
        images.append(
            {"id": index, "file_name": part_set.image_path(index).name, "height": height, "width": width}
        )
        for part in np.unique(labels[labels != UNLABELLED]).tolist():
            annotation = {"id": len(annotations) + 1, "image_id": index, "category_id": part}
            annotations.append(annotation | _described(labels == part))
    categories = [{"id": part, "name": name} for part, name in enumerate(part_set.parts)]
    text = json.dumps({"images": images, "categories": categories, "annotations": annotations})
    write_atomically(path, lambda file: file.write(text.encode()))
    return len(annotations)


def part_name(category: str) -> str:
    """A category as the name of a part: lower case, with '_' for spaces and what is like them."""
    return re.sub(r"[^a-z0-9-]+", "_", category.lower()).strip("_-")


def _read(path: Path) -> _File:
    if not path.is_file():
        raise _bad(path, "there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise _bad(path, f"{path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
    try:
        return _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(item) for item in first["loc"]) or "the file"
        raise _bad(path, f"{where}: {first['msg']}") from error


def _matched(file: _File, part_set: PartSet, path: Path) -> tuple[dict[int | str, int], tuple[str, ...]]:
    """Indices of the set's pictures by the file's ids, and the names that the set does not have."""
    own = {part_set.image_path(index).name: index for index in range(len(part_set))}
    indices: dict[int | str, int] = {}
    unknown: list[str] = []
    for picture in file.images:
        name = PurePosixPath(picture.file_name.replace("\\", "/")).name
        index = own.get(name)
        if index is None:
            unknown.append(picture.file_name)
            continue
        if picture.id in indices or index in indices.values():
            raise _bad(path, f"the picture {name} (id {picture.id}) comes twice")
        if (picture.height, picture.width) != part_set.size:
            found = pixels((picture.height, picture.width))
            raise _bad(path, f"the picture {name} has {found}; the set's have {pixels(part_set.size)}")
        indices[picture.id] = index
    return indices, tuple(unknown)


def _label_maps(
    file: _File,
    path: Path,
    size: tuple[int, int],
    indices: dict[int | str, int],
    parts: dict[int | str, int],
) -> dict[int, NDArray[np.uint8]]:
    """Label maps by index of the picture; 255 where no annotation is."""
    known = {picture.id for picture in file.images}
    maps: dict[int, NDArray[np.uint8]] = {}
    for number, annotation in enumerate(file.annotations):
        where = f"annotations.{number}" if annotation.id is None else f"annotation {annotation.id}"
        if annotation.image_id not in known:
            raise _bad(path, f"{where}: there is no image {annotation.image_id}")
        if annotation.category_id not in parts:
            raise _bad(path, f"{where}: there is no category {annotation.category_id}")
        index = indices.get(annotation.image_id)
        if index is None:
            continue
        try:
            mask = _mask(annotation.segmentation, size)
        except ValueError as error:
            raise _bad(path, f"{where}: {error}") from error
        labels = maps.setdefault(index, np.full(size, UNLABELLED, np.uint8))
        labels[mask] = parts[annotation.category_id]
    return maps


def _mask(segmentation: _Runs | list[list[float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, _Runs):
        if segmentation.size != size:
            raise ValueError(f"the mask has the size {segmentation.size}; its picture has {size}")
        counts = segmentation.counts
        return rle.decode_counts(rle.unpack(counts) if isinstance(counts, str) else counts, *size)
    mask = np.zeros(size, np.bool_)
    for polygon in segmentation:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers; x and y of 3 points or more are needed")
        mask |= rle.fill_polygon(np.array(polygon).reshape(-1, 2), *size)
    return mask


def _described(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    counts = rle.pack(rle.encode_counts(mask))
    return {
        "segmentation": {"size": list(mask.shape), "counts": counts},
        "area": int(mask.sum()),
        "bbox": box,
        "iscrowd": 0,
    }


def _bad(path: Path, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{path}: {message}", reason="INVALID_COCO", field="file")
