"""The file itself: what it is at a glance, and ``G_ema`` out of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from services.generator.importing.architecture import FoundNetwork, find_network
from services.generator.importing.limits import Limits, check_limit, refuse
from services.generator.importing.modules import ModuleReader
from services.generator.importing.reader import SymbolicReader
from services.generator.importing.symbols import Record, described
from services.generator.importing.values import mapping
from unitscope.errors import NotFoundError

_OTHERS = (
    (b"PK\x03\x04", "it is a zip archive, as torch.save writes it: perhaps a state dict"),
    (b"\x1f\x8b", "it is compressed by gzip; unpack it first"),
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file that it stands for"),
    (b"\x89HDF", "it is an HDF5 file"),
    (b"<", "it is a page of the web, perhaps the publisher's answer that a download failed"),
)

_START, _PIECE = 32, 16 << 20


def open_source(path: Path, limits: Limits) -> memoryview:
    """The file's bytes, read once into memory, read-only.

    A mapped file would do with less, but whoever shortens it meanwhile would end this process by SIGBUS,
    without a word; and what is parsed would not be certain to be what is digested.

    Raises:
        NotFoundError: There is no such file (reason FILE_NOT_FOUND).
        InvalidArgumentError: It is empty or no pickle (NOT_A_CHECKPOINT), too large (FILE_SIZE_LIMIT) or for
            this machine's memory (FILE_EXCEEDS_MEMORY), cannot be read (FILE_UNREADABLE), or was changed
            while it was read (FILE_CHANGED).
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", reason="FILE_NOT_FOUND", field="file")
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            check_limit("FILE_SIZE", size, limits.file_bytes, f"bytes of {path.name}")
            if size == 0:
                raise refuse("NOT_A_CHECKPOINT", f"{path.name} is empty; fetch it again")
            # Before all of it is read: most of what is no checkpoint says so at once.
            _check_start(path.name, os.pread(file.fileno(), _START, 0))
            _check_memory(path.name, size)
            data = np.empty(size, np.uint8)
            count = _read_into(file, data.data)
            now = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise refuse("FILE_UNREADABLE", f"{path.name} cannot be read: {error.strerror or error}") from error
    if count != size or now != size:
        raise refuse(
            "FILE_CHANGED",
            f"{path.name} changed while it was read: it had {size:,} bytes and has {now:,}; wait until its "
            "download is complete",
        )
    return data.data.toreadonly()


def _check_start(name: str, start: bytes) -> None:
    if start[:1] != b"\x80":
        what = next(
            (text for magic, text in _OTHERS if start.startswith(magic)), f"it begins with {start[:8]!r}"
        )
        raise refuse("NOT_A_CHECKPOINT", f"{name} is no StyleGAN-XL checkpoint, which is a pickle: {what}")


def _check_memory(name: str, size: int) -> None:
    """Refuses what the whole machine's memory does not hold, before the system ends this process."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise refuse(
            "FILE_EXCEEDS_MEMORY",
            f"{name} has {size:,} bytes, and this machine {memory:,} bytes of memory, which a checkpoint is "
            "read into",
        )


def _read_into(file: Any, buffer: memoryview) -> int:
    """Reads until the buffer is full or the file ends; how many bytes came."""
    count = 0
    while count < len(buffer) and (read := file.readinto(buffer[count : count + _PIECE])):
        count += read
    return count


def read_network(data: memoryview, limits: Limits) -> FoundNetwork:
    """The averaged generator of an official file; other networks in it are not read.

    Raises:
        InvalidArgumentError: Every refusal of this package.
    """
    reader = SymbolicReader(data, limits)
    content = reader.read()
    if reader.position != len(data):
        raise refuse(
            "TRAILING_BYTES",
            f"{len(data) - reader.position:,} bytes follow the end of the checkpoint; there must be none",
        )
    return find_network(ModuleReader().read(_averaged(content)), limits)


def _averaged(content: Any) -> Any:
    """The record of ``G_ema``."""
    legacy = content if isinstance(content, tuple | list) else [content]
    if any(isinstance(item, Record) and item.what.startswith("dnnlib.tflib") for item in legacy):
        raise refuse(
            "TENSORFLOW_CHECKPOINT",
            "this is a checkpoint of a StyleGAN for TensorFlow; StyleGAN-XL checkpoints are imported",
        )
    if not isinstance(content, dict | Record):
        raise refuse(
            "NOT_A_CHECKPOINT",
            f"the pickle holds {described(content)}; a checkpoint is a dictionary with G_ema",
        )
    found = mapping(content, "the checkpoint")
    if "G_ema" not in found:
        names = ", ".join(str(name)[:40] for name in list(found)[:8]) or "nothing"
        raise refuse(
            "MISSING_G_EMA",
            f"the file has no G_ema, the averaged generator that is imported; it has {names}",
        )
    return found["G_ema"]
