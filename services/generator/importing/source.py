"""The file itself: what it is at a glance, and ``G_ema`` out of it."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

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


def open_source(path: Path, limits: Limits) -> memoryview:
    """The file's bytes, mapped: only what is looked at comes into memory.

    Raises:
        NotFoundError: There is no such file (reason FILE_NOT_FOUND).
        InvalidArgumentError: It is empty or no pickle (NOT_A_CHECKPOINT), too large (FILE_SIZE_LIMIT) or
            cannot be read (FILE_UNREADABLE).
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", reason="FILE_NOT_FOUND", field="file")
    size = path.stat().st_size
    check_limit("FILE_SIZE", size, limits.file_bytes, f"bytes of {path.name}")
    if size == 0:
        raise refuse("NOT_A_CHECKPOINT", f"{path.name} is empty; fetch it again")
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise refuse("FILE_UNREADABLE", f"{path.name} cannot be read: {error.strerror or error}") from error
    if data[0] != 0x80:
        start = bytes(data[:32])
        what = next(
            (text for magic, text in _OTHERS if start.startswith(magic)), f"it begins with {start[:8]!r}"
        )
        raise refuse(
            "NOT_A_CHECKPOINT",
            f"{path.name} is no StyleGAN-XL checkpoint, which is a pickle: {what}",
        )
    return data


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
