"""The files of a part set: their names, their limits, and readers that trust nothing in them."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unitscope.errors import InvalidArgumentError, NotFoundError

INFO, LATENTS = "parts.json", "latents.safetensors"
MAX_IMAGES = 5_000
MAX_EDGE = 2_048
MAX_PARTS = 100
MAX_NAME = 40
_MAX_INFO_BYTES = 1 << 20
_MAX_PNG_BYTES = 64 << 20
_MAX_LATENT_BYTES = 1 << 30
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_NAME - 1}}}")
_RESERVED = ("picture", "logit")
"""Taken in tables of measures: the whole picture, and what the classifier says."""

Floats = NDArray[np.float32]


class GeneratorName(BaseModel):
    """The generator that rendered a set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class Info(BaseModel):
    """``parts.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    generator: GeneratorName
    parts: tuple[str, ...]
    truncation: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The names, checked.

    Raises:
        InvalidArgumentError: Too few, too many, one twice, or one that is no plain name (reason
            INVALID_PARTS).
    """
    if not 2 <= len(parts) <= MAX_PARTS:
        raise _bad_parts(f"{len(parts)} parts; 2 to {MAX_PARTS} are needed, the background first")
    for name in parts:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise _bad_parts(
                f"{name[:80]!r} is no name of a part; a name has 1 to {MAX_NAME} lower-case letters, digits, "
                f"'_' and '-', and is not {' or '.join(repr(word) for word in _RESERVED)}"
            )
    if len(set(parts)) < len(parts):
        twice = next(name for name in parts if list(parts).count(name) > 1)
        raise _bad_parts(f"the part {twice!r} is named twice")
    return tuple(parts)


def check_count(count: int) -> None:
    """Refuses no pictures, and more than a set may have.

    Raises:
        InvalidArgumentError: reason TOO_MANY_IMAGES.
    """
    if not 1 <= count <= MAX_IMAGES:
        raise InvalidArgumentError(
            f"{count} pictures; a part set has 1 to {MAX_IMAGES}", reason="TOO_MANY_IMAGES", field="count"
        )


def check_new(folder: Path) -> None:
    """Refuses a folder that holds something.

    Raises:
        InvalidArgumentError: reason FOLDER_IN_USE.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidArgumentError(
            f"{folder} exists and is not empty; name a new folder", reason="FOLDER_IN_USE", field="folder"
        )


def file_name(index: int) -> str:
    """The name of a picture's files."""
    return f"{index:04}.png"


def read_info(folder: Path) -> Info:
    """``parts.json``, checked.

    Raises:
        NotFoundError: There is none (reason PART_SET_NOT_FOUND).
        InvalidArgumentError: It is wrong (INVALID_PART_SET).
    """
    path = folder / INFO
    if not path.is_file():
        raise NotFoundError(
            f"there is no part set in {folder}: {INFO} is missing; make one with 'unitscope parts sample'",
            reason="PART_SET_NOT_FOUND",
            field="folder",
        )
    check_size(path, _MAX_INFO_BYTES)
    try:
        info = Info.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(item) for item in first["loc"]) or "the file"
        raise invalid(f"{path}: {where}: {first['msg']}") from error
    try:
        check_parts(info.parts)
    except InvalidArgumentError as error:
        raise invalid(f"{path}: {error.message}") from error
    return info


def write_info(folder: Path, info: Info) -> None:
    """Writes ``parts.json``."""
    text = info.model_dump_json(indent=1) + "\n"
    write_atomically(folder / INFO, lambda file: file.write(text.encode()))


def read_latents(path: Path) -> Floats:
    """The w of a set, float32 ``(n, w_dim)``, checked.

    Raises:
        InvalidArgumentError: The file is missing or wrong (reason INVALID_PART_SET).
    """
    if not path.is_file():
        raise invalid(f"{path} is missing; it holds the w of every picture")
    check_size(path, _MAX_LATENT_BYTES)
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, TypeError) as error:
        raise invalid(f"{path} is no safetensors file: {error}") from error
    w = tensors.get("w")
    if w is None or w.ndim != 2 or w.dtype != np.float32:
        found = {name: (str(t.dtype), t.shape) for name, t in tensors.items()}
        raise invalid(f"{path} holds {found or 'nothing'}; it must hold 'w', float32 (n, w_dim)")
    if not 1 <= len(w) <= MAX_IMAGES:
        raise invalid(f"{path}: w has {len(w)} rows; a part set has 1 to {MAX_IMAGES} pictures")
    if not np.isfinite(w).all():
        raise invalid(f"{path}: w holds NaN or infinity")
    return w


def picture_size(folder: Path, count: int) -> tuple[int, int]:
    """Height and width that all pictures of a set have.

    Raises:
        InvalidArgumentError: A picture is missing, is no PNG, is too large, or has another size than
            the first (reason INVALID_PART_SET).
    """
    size: tuple[int, int] | None = None
    for index in range(count):
        with opened_png(folder / "images" / file_name(index), size) as picture:
            size = picture.height, picture.width
    if size is None:
        raise invalid(f"{folder} has no pictures")
    return size


@contextmanager
def opened_png(path: Path, size: tuple[int, int] | None) -> Iterator[Image.Image]:
    """A PNG file whose size was checked before anything of it is decoded.

    Args:
        path: The file.
        size: Height and width that it must have; None for any within the limits.

    Raises:
        InvalidArgumentError: It is missing, no PNG, damaged or of another size (reason
            INVALID_PART_SET).
    """
    if not path.is_file():
        raise invalid(f"{path} is missing")
    check_size(path, _MAX_PNG_BYTES)
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            found = picture.height, picture.width
            if max(found) > MAX_EDGE:
                raise invalid(f"{path} has {pixels(found)}; at most {MAX_EDGE} x {MAX_EDGE} are read")
            if size is not None and found != size:
                raise invalid(f"{path} has {pixels(found)}; the pictures of this set have {pixels(size)}")
            yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise invalid(f"{path} is no PNG that can be read: {error}") from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Has `write` write to a temporary file beside the path, and puts it in place.

    Args:
        path: The file to write or to replace.
        write: Called with the open binary file.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_size(path: Path, limit: int) -> None:
    """Refuses a file of more bytes than the limit.

    Raises:
        InvalidArgumentError: reason INVALID_PART_SET.
    """
    found = path.stat().st_size
    if found > limit:
        raise invalid(f"{path} has {found:,} bytes; at most {limit:,} are read")


def pixels(size: tuple[int, int]) -> str:
    """Height and width, as width x height in words."""
    return f"{size[1]} x {size[0]} pixels"


def invalid(message: str) -> InvalidArgumentError:
    """A file of a part set is wrong."""
    return InvalidArgumentError(message, reason="INVALID_PART_SET", field="folder")


def _bad_parts(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_PARTS", field="parts")
