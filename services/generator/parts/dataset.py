"""Part sets: rendered pictures, the w they came from, and label maps of their parts, in a folder.

::

    FOLDER/parts.json            {"schema_version": 1, "generator": {"name": ..., "digest": ...},
                                  "parts": ["background", ...], "truncation": 1.0, "seed": 0}
    FOLDER/latents.safetensors   "w", float32 (n, w_dim): row i belongs to picture i
    FOLDER/images/0000.png       picture i, RGB
    FOLDER/labels/0000.png       its labels, palette or grey: indices into the parts, 255 = not
                                 labelled; missing where the picture was not labelled

Label maps come from anywhere (the page of ``unitscope parts label``, COCO, any editor that keeps
palette indices), so that everything read is checked and bounded::

    part_set = PartSet.load(folder, generator=card)
    chosen = part_set.labelled()
    labels = part_set.label_maps(chosen)        # uint8 (len(chosen), height, width)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from services.generator.parts.colours import palette
from services.generator.parts.files import (
    LATENTS,
    MAX_EDGE,
    Floats,
    GeneratorName,
    Info,
    check_count,
    check_new,
    check_parts,
    file_name,
    invalid,
    opened_png,
    picture_size,
    pixels,
    read_info,
    read_latents,
    write_atomically,
    write_info,
)
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from unitscope.models.cards import ModelCard

if TYPE_CHECKING:
    from services.generator.backend import GeneratorBackend

UNLABELLED = 255
"""The label of a pixel that nobody labelled."""

RENDERED_AT_ONCE = 32
"""Pictures between two reports of progress."""

Bytes = NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Called with what is done and how much there is."""


@dataclass(frozen=True, eq=False)
class PartSet:
    """A part set on disk, checked.

    Attributes:
        folder: Where it lies.
        generator: Name and digest of the generator that rendered it.
        parts: Names of the parts; a label is an index into them.
        truncation: With which the w were drawn.
        seed: With which they were drawn.
        w: float32 ``(n, w_dim)``.
        size: Height and width of every picture.
    """

    folder: Path
    generator: GeneratorName
    parts: tuple[str, ...]
    truncation: float
    seed: int
    w: Floats
    size: tuple[int, int]

    @classmethod
    def load(cls, folder: Path, generator: ModelCard | None = None) -> Self:
        """Opens a set; label maps are read, and checked, when asked for.

        Args:
            folder: The folder.
            generator: Where given, the set must be of this generator.

        Raises:
            NotFoundError: There is no part set (reason PART_SET_NOT_FOUND).
            InvalidArgumentError: A file of it is wrong (INVALID_PART_SET).
            FailedPreconditionError: It belongs to another generator (PARTS_OF_ANOTHER_GENERATOR).
        """
        info = read_info(folder)
        w = read_latents(folder / LATENTS)
        size = picture_size(folder, len(w))
        found = cls(folder, info.generator, info.parts, info.truncation, info.seed, w, size)
        if generator is not None:
            found.check_generator(generator)
        return found

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.w)

    def check_generator(self, card: ModelCard) -> None:
        """Refuses another generator than the one that rendered the set.

        Raises:
            FailedPreconditionError: Another digest (reason PARTS_OF_ANOTHER_GENERATOR).
            InvalidArgumentError: Latents or pictures do not fit the generator (INVALID_PART_SET).
        """
        if card.digest != self.generator.digest:
            raise FailedPreconditionError(
                f"{self.folder} was rendered by {self.generator.name}@sha256:{self.generator.digest[:12]}, "
                f"not by {card.name}@sha256:{card.short_digest}; use that generator, or render a new set "
                "with 'unitscope parts sample'",
                reason="PARTS_OF_ANOTHER_GENERATOR",
                expected=self.generator.digest,
                actual=card.digest,
            )
        spec = card.architecture.get("spec", {})
        if self.w.shape[1] != spec.get("w_dim"):
            raise invalid(
                f"{self.folder / LATENTS}: w has {self.w.shape[1]} columns; that of {card.name} has "
                f"{spec.get('w_dim')}"
            )
        edge = spec.get("resolution")
        if self.size != (edge, edge):
            raise invalid(
                f"{self.folder}: the pictures have {pixels(self.size)}; those of {card.name} have "
                f"{edge} x {edge}"
            )

    def image_path(self, index: int) -> Path:
        """The file of a picture."""
        return self.folder / "images" / file_name(self._checked(index))

    def label_path(self, index: int) -> Path:
        """The file of a picture's labels, which may be missing."""
        return self.folder / "labels" / file_name(self._checked(index))

    def labelled(self) -> list[int]:
        """Indices of the pictures that have a label map, ascending."""
        return [index for index in range(len(self)) if self.label_path(index).is_file()]

    def image(self, index: int) -> Bytes:
        """A picture, uint8 ``(height, width, 3)``.

        Raises:
            InvalidArgumentError: The file is no such picture (reason INVALID_PART_SET).
        """
        with opened_png(self.image_path(index), self.size) as picture:
            return np.asarray(picture.convert("RGB"))

    def images(self, indices: Iterable[int]) -> Bytes:
        """Pictures, uint8 ``(n, height, width, 3)``."""
        found = [self.image(index) for index in indices]
        return np.stack(found) if found else np.zeros((0, *self.size, 3), np.uint8)

    def labels(self, index: int) -> Bytes:
        """The labels of a picture, uint8 ``(height, width)``; all 255 where it has none.

        Raises:
            InvalidArgumentError: The file is no label map of these parts (reason INVALID_PART_SET).
        """
        path = self.label_path(index)
        if not path.is_file():
            return np.full(self.size, UNLABELLED, np.uint8)
        with opened_png(path, self.size) as picture:
            if picture.mode not in ("P", "L", "1"):
                raise invalid(
                    f"{path} has the mode {picture.mode}; a label map is an 8-bit palette (P) or grey (L) "
                    "image whose pixel values are indices into the parts"
                )
            labels = np.asarray(picture).astype(np.uint8)
        self._check_values(labels, str(path))
        return labels

    def label_maps(self, indices: Iterable[int]) -> Bytes:
        """Labels of pictures, uint8 ``(n, height, width)``."""
        found = [self.labels(index) for index in indices]
        return np.stack(found) if found else np.zeros((0, *self.size), np.uint8)

    def save_labels(self, index: int, labels: NDArray[Any]) -> None:
        """Writes a label map as a palette PNG, at once or not at all; nothing labelled removes it.

        Args:
            index: The picture.
            labels: Integers ``(height, width)``: indices into the parts, or 255.

        Raises:
            InvalidArgumentError: A wrong shape or value (reason INVALID_LABELS).
        """
        path = self.label_path(index)
        if labels.shape != self.size or not np.issubdtype(labels.dtype, np.integer):
            raise InvalidArgumentError(
                f"the labels have the shape {labels.shape} and the type {labels.dtype}; integers of the "
                f"shape {self.size} are needed",
                reason="INVALID_LABELS",
            )
        self._check_values(labels, f"the labels of picture {index}", reason="INVALID_LABELS")
        if (labels == UNLABELLED).all():
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(exist_ok=True)
        picture = Image.fromarray(labels.astype(np.uint8))
        # The same indices, with colours, so that a viewer of images shows the parts.
        picture.putpalette(palette(len(self.parts)))
        write_atomically(path, lambda file: picture.save(file, format="PNG", optimize=True))

    def with_parts(self, parts: Sequence[str]) -> Self:
        """The same set with other names of its parts, on disk as well.

        Raises:
            InvalidArgumentError: Bad names (reason INVALID_PARTS).
        """
        names = check_parts(parts)
        info = Info(generator=self.generator, parts=names, truncation=self.truncation, seed=self.seed)
        write_info(self.folder, info)
        return replace(self, parts=names)

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise NotFoundError(
                f"there is no picture {index}; {self.folder} has the pictures 0 to {len(self) - 1}",
                reason="PICTURE_NOT_FOUND",
            )
        return index

    def _check_values(self, labels: NDArray[Any], origin: str, reason: str = "INVALID_PART_SET") -> None:
        wrong = (labels != UNLABELLED) & ((labels < 0) | (labels >= len(self.parts)))
        if wrong.any():
            raise InvalidArgumentError(
                f"{origin}: the label {int(labels[wrong][0])} is none of the {len(self.parts)} parts; labels "
                f"are 0 to {len(self.parts) - 1}, or {UNLABELLED} where nothing is labelled",
                reason=reason,
            )


def write_part_set(
    folder: Path,
    generator: ModelCard,
    w: Floats,
    images: Bytes,
    parts: Sequence[str],
    truncation: float = 1.0,
    seed: int = 0,
) -> PartSet:
    """Writes a new set without labels.

    Args:
        folder: A new or an empty folder.
        generator: The card of the generator that rendered the pictures.
        w: float32 ``(n, w_dim)``.
        images: uint8 ``(n, height, width, 3)``.
        parts: Names in the order of the labels, the background first.
        truncation: With which w was drawn.
        seed: With which w was drawn.

    Returns:
        The set.

    Raises:
        InvalidArgumentError: Bad names (reason INVALID_PARTS), too many pictures (TOO_MANY_IMAGES),
            arrays that do not fit each other (INVALID_PART_SET), or a folder that is in use
            (FOLDER_IN_USE).
    """
    name = GeneratorName(name=generator.name, digest=generator.digest)
    info = Info(generator=name, parts=check_parts(parts), truncation=truncation, seed=seed)
    check_count(len(w))
    if w.ndim != 2 or images.ndim != 4 or len(images) != len(w) or max(images.shape[1:3]) > MAX_EDGE:
        raise invalid(
            f"w of the shape {w.shape} and pictures of the shape {images.shape}; (n, w_dim) and "
            f"(n, height, width, 3) of at most {MAX_EDGE} pixels are needed"
        )
    check_new(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / file_name(index))
    rows = save({"w": np.ascontiguousarray(w, np.float32)})
    write_atomically(folder / LATENTS, lambda file: file.write(rows))
    # Last, as a folder with this file counts as a part set.
    write_info(folder, info)
    return PartSet.load(folder, generator=generator)


def create(
    folder: Path,
    backend: GeneratorBackend,
    card: ModelCard,
    count: int,
    parts: Sequence[str],
    truncation: float = 1.0,
    seed: int = 0,
    classes: Sequence[int] = (),
    progress: Progress | None = None,
) -> PartSet:
    """Renders a new set, the classes in turn.

    Args:
        folder: A new or an empty folder.
        backend: The generator.
        card: Its card.
        count: Pictures.
        parts: As in `write_part_set`.
        truncation: In [0, 1]; 1 keeps w as it was drawn.
        seed: Of the latents.
        classes: Indices of the generator's classes; none means all.
        progress: Called after every few pictures.

    Returns:
        The set.

    Raises:
        InvalidArgumentError: As `write_part_set` and `GeneratorBackend.map` say.
    """
    check_count(count)
    check_parts(parts)
    check_new(folder)
    chosen = np.asarray(classes or range(backend.spec.num_classes), np.int64)
    z = np.random.default_rng(seed).standard_normal((count, backend.spec.z_dim), np.float32)
    w = backend.map(z, np.resize(chosen, count), truncation)
    images = []
    for start in range(0, count, RENDERED_AT_ONCE):
        images.append(backend.render(w[start : start + RENDERED_AT_ONCE]))
        if progress is not None:
            progress(min(start + RENDERED_AT_ONCE, count), count)
    return write_part_set(folder, card, w, np.concatenate(images), parts, truncation, seed)
