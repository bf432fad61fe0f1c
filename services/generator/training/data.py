"""A user's pictures for training: found, checked, and cached as squares of every stage's resolution.

A folder with a subfolder for each class, a flat folder (one class), or a ``.zip`` of either. Every picture is
decoded once, cut to its central square, reduced with an antialiasing filter, and written as uint8 into
one memory-mapped ``.npy`` file a resolution::

    source = find_pictures(Path("birds"))
    data = prepare(source, Path("cache"), (16, 32, 64))
    images, labels = data.batch(Order(seed=0, count=len(data), position=0), 32, resolution=32)

The cache is keyed by names, sizes and times of the files; what a training depends on is the digest of
their contents, `Pictures.digest`, which survives copying and re-zipping.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.generator.training.squares import BROKEN, squares
from unitscope.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError, UnitScopeError
from unitscope.models.cards import canonical_json

MIN_IMAGES = 20
"""Fewer are no distribution; the distance needs as many for its interval."""
MAX_IMAGES = 5_000_000
MAX_CLASSES = 10_000
MAX_FILE_BYTES = 64 << 20
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
NAMED = 10
"""Unreadable files that a message names."""

_AHEAD = 256
_SPARE_BYTES = 256 << 20
Bytes = NDArray[np.uint8]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Entry:
    """One file: its name within the source, its class and its size in bytes."""

    name: str
    label: int
    size: int


@dataclass(frozen=True)
class Source:
    """Pictures that were found, none of them opened yet.

    Attributes:
        path: The folder or the zip.
        classes: Names in the order of the labels, sorted.
        entries: The files, by class and name.
        key: sha256 over names, sizes and times: whether the source may have changed.
    """

    path: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    key: str


class _Index(BaseModel):
    """``index.json`` of a cache; written last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    kept: tuple[int, ...]
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Order:
    """Where in the endless, seeded order of pictures a training is: a function of the position alone.

    Every epoch is a permutation of its own, and, where flips are asked for, mirrors pictures anew.
    """

    seed: int
    count: int
    position: int
    flip: bool = False

    def rows(self, batch: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Indices ``(batch,)`` of the next pictures, and which of them are mirrored."""
        places = np.arange(self.position, self.position + batch)
        rows, mirrored = np.empty(batch, np.int64), np.zeros(batch, np.bool_)
        for epoch in np.unique(places // self.count):
            here = places // self.count == epoch
            rng = np.random.Generator(np.random.PCG64([self.seed, int(epoch)]))
            within = places[here] % self.count
            rows[here] = rng.permutation(self.count)[within]
            if self.flip:
                mirrored[here] = rng.random(self.count)[within] < 0.5
        return rows, mirrored


@dataclass(frozen=True)
class Pictures:
    """Pictures in a cache, at one or several resolutions.

    Attributes:
        folder: The cache of this source.
        classes: Names of the classes.
        labels: int64 ``(n,)``.
        digest: sha256 over classes, and class and content of every picture that is used.
        unreadable: (file, why) of those that were left out.
    """

    folder: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    digest: str
    unreadable: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, resolution: int) -> Bytes:
        """All pictures, uint8 ``(n, resolution, resolution, 3)``, mapped and not read."""
        found: Bytes = np.lib.format.open_memmap(_file(self.folder, resolution), mode="r")
        return found

    def batch(self, order: Order, batch: int, resolution: int) -> tuple[Bytes, NDArray[np.int64]]:
        """The next pictures of an order, uint8 ``(batch, edge, edge, 3)``, and labels ``(batch,)``."""
        rows, mirrored = order.rows(batch)
        images = self.images(resolution)[rows]
        images[mirrored] = images[mirrored, :, ::-1]
        return images, self.labels[rows]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Pictures of every class."""
        return np.bincount(self.labels, minlength=len(self.classes))


def find_pictures(path: Path) -> Source:
    """Lists the pictures of a folder or zip, and their classes.

    Folders that hold nothing but one folder of classes (``train/``) are passed through. Hidden files and
    linked folders are passed over.

    Raises:
        NotFoundError: There is nothing at the path (reason DATA_NOT_FOUND).
        InvalidArgumentError: No zip (NOT_A_ZIP); no picture (NO_IMAGES), fewer than `MIN_IMAGES`
            (TOO_FEW_IMAGES); pictures both in the folder and in subfolders (MIXED_CLASSES); more
            pictures or classes than the limits (TOO_MANY_IMAGES, TOO_MANY_CLASSES).
    """
    if not path.exists():
        raise NotFoundError(
            f"there is no {path}; name a folder of pictures with a subfolder a class, or a .zip of it",
            reason="DATA_NOT_FOUND",
            field="data",
        )
    listed = sorted(_in_folder(path) if path.is_dir() else _in_zip(path))
    if not listed:
        raise _bad(f"{path} holds no picture; files must end in {', '.join(sorted(SUFFIXES))}", "NO_IMAGES")
    if len(listed) < MIN_IMAGES:
        counted = "1 picture" if len(listed) == 1 else f"{len(listed)} pictures"
        raise _bad(f"{path} holds {counted}; at least {MIN_IMAGES} are needed", "TOO_FEW_IMAGES")
    if len(listed) > MAX_IMAGES:
        raise _bad(f"{path} holds {len(listed):,} pictures; {MAX_IMAGES:,} are the limit", "TOO_MANY_IMAGES")
    parts = [PurePosixPath(name).parts for name, _, _ in listed]
    while len({part[0] for part in parts}) == 1 and min(map(len, parts)) > 2:
        parts = [part[1:] for part in parts]
    if len({len(part) == 1 for part in parts}) == 2:
        loose = next(name for (name, _, _), part in zip(listed, parts, strict=True) if len(part) == 1)
        raise _bad(
            f"{path} holds pictures both beside and in its subfolders (e.g. {loose}); put each into "
            "the folder of its class, or all into one folder",
            "MIXED_CLASSES",
        )
    owners = [part[0] if len(part) > 1 else path.stem for part in parts]
    classes = tuple(sorted(set(owners)))
    if len(classes) > MAX_CLASSES:
        raise _bad(
            f"{path} holds {len(classes):,} classes; {MAX_CLASSES:,} are the limit", "TOO_MANY_CLASSES"
        )
    labels = {name: index for index, name in enumerate(classes)}
    entries = [
        Entry(name, labels[owner], size) for (name, size, _), owner in zip(listed, owners, strict=True)
    ]
    key = hashlib.sha256(canonical_json([str(path.resolve()), listed])).hexdigest()
    return Source(path, classes, tuple(sorted(entries, key=lambda e: (e.label, e.name))), key)


def prepare(
    source: Source,
    cache: Path,
    resolutions: Sequence[int],
    *,
    skip_unreadable: bool = False,
    progress: Progress = lambda done, total: None,
    threads: int = 0,
) -> Pictures:
    """The pictures of a source at these resolutions, out of the cache where they are there already.

    Args:
        source: What `find_pictures` found.
        cache: Where the caches of all sources lie; made where it is missing.
        resolutions: Edges in pixels.
        skip_unreadable: Leave files out that cannot be read, instead of refusing all.
        progress: Told of files read, and of all.
        threads: Decoders; 0 for as many as there are cores.

    Raises:
        InvalidArgumentError: Files cannot be read (reason UNREADABLE_IMAGES, they are named), or too few
            are left (TOO_FEW_IMAGES).
        ResourceExhaustedError: The disk is too full (reason DISK_FULL).
    """
    folder = cache / source.key[:24]
    index = _read_index(folder, source)
    missing = [r for r in resolutions if index is None or not _intact(folder, r, len(index.kept))]
    if missing:
        made = _build(source, folder, missing, progress, threads)
        if index is not None and made.digest != index.digest:
            # Contents changed under equal names, sizes and times: the other resolutions are stale.
            for stale in set(_present(folder)) - set(missing):
                _file(folder, stale).unlink()
            made = _build(source, folder, resolutions, progress, threads)
        index = made
    if index is None:
        raise _bad("no resolution was asked for", "NO_RESOLUTION")
    if index.unreadable and not skip_unreadable:
        raise _unreadable(source, index)
    if len(index.kept) < MIN_IMAGES:
        raise _bad(f"only {len(index.kept)} pictures can be read; {MIN_IMAGES} are needed", "TOO_FEW_IMAGES")
    labels = np.array([source.entries[i].label for i in index.kept], np.int64)
    return Pictures(folder, source.classes, labels, index.digest, index.unreadable)


def _in_folder(folder: Path) -> Iterator[tuple[str, int, int]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [item for item in folders if not item.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                found = path.stat()
                yield path.relative_to(folder).as_posix(), found.st_size, found.st_mtime_ns


def _in_zip(path: Path) -> Iterator[tuple[str, int, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                name = PurePosixPath(item.filename)
                hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
                if not item.is_dir() and not hidden and name.suffix.lower() in SUFFIXES:
                    yield item.filename, item.file_size, item.CRC
    except (zipfile.BadZipFile, OSError) as error:
        raise _bad(f"{path} is neither a folder nor a zip that can be read: {error}", "NOT_A_ZIP") from error


def _build(
    source: Source, folder: Path, resolutions: Sequence[int], progress: Progress, threads: int
) -> _Index:
    """Reads all files once and writes these resolutions."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(source.entries)
    needed = sum(3 * count * r * r for r in resolutions)
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise _full(
            folder, f"the pictures take {needed / 1e9:.2f} GB there, and {free / 1e9:.2f} GB are free"
        )
    kept: list[int] = []
    unreadable: list[tuple[str, str]] = []
    digest = hashlib.sha256(canonical_json(list(source.classes)))
    with ExitStack() as stack:
        try:
            # Written with plain writes: a full disk is an error here, and a killed process in a mapped file.
            files = {r: stack.enter_context(_partial(folder, r).open("wb")) for r in resolutions}
            for resolution in resolutions:
                stack.callback(_partial(folder, resolution).unlink, missing_ok=True)
            for file, resolution in zip(files.values(), resolutions, strict=True):
                _write_header(file, count, resolution)
            for done, (entry, found) in enumerate(_decoded(source, resolutions, threads)):
                progress(done, count)
                if isinstance(found, str):
                    unreadable.append((entry.name, found))
                    continue
                content, squares = found
                digest.update(canonical_json([entry.label, content]))
                kept.append(done)
                for resolution, square in zip(resolutions, squares, strict=True):
                    files[resolution].write(square.tobytes())
            progress(count, count)
            for file, resolution in zip(files.values(), resolutions, strict=True):
                file.seek(0)
                _write_header(file, len(kept), resolution)
                file.flush()
                os.fsync(file.fileno())
                _partial(folder, resolution).replace(_file(folder, resolution))
        except OSError as error:
            raise _full(folder, error.strerror or str(error)) from error
    index = _Index(key=source.key, digest=digest.hexdigest(), kept=tuple(kept), unreadable=tuple(unreadable))
    partial = folder / f"index.{os.getpid()}.partial"
    partial.write_text(index.model_dump_json(), encoding="utf-8")
    partial.replace(folder / "index.json")
    return index


def _decoded(
    source: Source, resolutions: Sequence[int], threads: int
) -> Iterator[tuple[Entry, tuple[str, list[Bytes]] | str]]:
    """Digest and squares of every file, or why it cannot be read, in order; few at a time in memory."""
    archive = None if source.path.is_dir() else zipfile.ZipFile(source.path)

    def read(entry: Entry) -> tuple[str, list[Bytes]] | str:
        try:
            if entry.size > MAX_FILE_BYTES:
                return f"it has more than {MAX_FILE_BYTES >> 20} MiB"
            data = archive.read(entry.name) if archive else (source.path / entry.name).read_bytes()
            return hashlib.sha256(data).hexdigest(), squares(data, resolutions)
        except UnidentifiedImageError:
            return "it is no JPEG or PNG"
        except (*BROKEN, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            return str(error).partition("\n")[0][:200] or type(error).__name__

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool, ExitStack() as stack:
        if archive:
            stack.enter_context(archive)
        for start in range(0, len(source.entries), _AHEAD):
            part = source.entries[start : start + _AHEAD]
            yield from zip(part, pool.map(read, part), strict=True)


def _write_header(file: io.BufferedWriter, count: int, resolution: int) -> None:
    """The header of an .npy file; NumPy leaves room in it, so that another count takes as many bytes."""
    shape = (count, resolution, resolution, 3)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _read_index(folder: Path, source: Source) -> _Index | None:
    try:
        index = _Index.model_validate_json((folder / "index.json").read_bytes())
    except (OSError, ValidationError, json.JSONDecodeError):
        return None
    inside = all(0 <= i < len(source.entries) for i in index.kept)
    return index if index.key == source.key and inside else None


def _intact(folder: Path, resolution: int, count: int) -> bool:
    """Whether a cached resolution is there as a whole."""
    try:
        found = np.lib.format.open_memmap(_file(folder, resolution), mode="r")
    except (OSError, ValueError):
        return False
    return found.shape == (count, resolution, resolution, 3) and found.dtype == np.uint8


def _present(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.npy") if path.stem.isdigit()]


def _file(folder: Path, resolution: int) -> Path:
    return folder / f"{resolution}.npy"


def _partial(folder: Path, resolution: int) -> Path:
    # Of this process: two trainings may prepare the same pictures at once.
    return folder / f"{resolution}.{os.getpid()}.partial"


def _bad(message: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason=reason, field="data")


def _full(folder: Path, why: str) -> UnitScopeError:
    return ResourceExhaustedError(
        f"pictures cannot be cached in {folder}: {why}; name a larger disk with --cache",
        reason="DISK_FULL",
        field="cache",
    )


def _unreadable(source: Source, index: _Index) -> InvalidArgumentError:
    names = "; ".join(f"{name}: {why}" for name, why in index.unreadable[:NAMED])
    more = len(index.unreadable) - NAMED
    tail = f"; and {more} more" if more > 0 else ""
    return _bad(
        f"{len(index.unreadable)} of {len(source.entries)} files cannot be read ({names}{tail}); remove or "
        "repair them, or pass --skip-unreadable to train without them",
        "UNREADABLE_IMAGES",
    )
