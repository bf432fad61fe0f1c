"""Reads the archive that ``torch.export.save`` writes, without torch's own loader.

That loader is not fit for files from elsewhere: it falls back to a full unpickling of sample inputs and
constants, looks operators up by chains of attributes, and has strings evaluated as symbolic expressions.
Here the archive is what it is on disk: a zip of stored members with a graph in JSON and the raw bytes of
every tensor. Members that are pickles are never opened::

    archive = read_archive(Path("model.pt2"))
    archive.model["graph_module"]["graph"]["nodes"]       # JSON
    archive.tensors["conv1.weight"]                       # a tensor

The layout is that of archive version 0 as torch 2.8 to 2.13 write it.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unitscope.errors import InvalidArgumentError

MAX_ARCHIVE_BYTES = 4 << 30
MAX_JSON_BYTES = 256 << 20
MAX_MEMBERS = 100_000
SCHEMA = 8
"""The major version of the graph's schema."""

DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
"""By the numbers that the archive's schema gives them."""


@dataclass(frozen=True)
class Archive:
    """What an archive holds that is needed.

    Attributes:
        model: The graph, as JSON.
        tensors: Parameters, buffers and constants, by their names.
    """

    model: dict[str, Any]
    tensors: dict[str, Tensor]


def read_archive(path: Path) -> Archive:
    """Reads the archive of one exported program.

    Args:
        path: A ``.pt2`` file.

    Returns:
        Its graph and tensors; nothing of it was executed.

    Raises:
        InvalidArgumentError: It is no such archive (reason INVALID_ARCHIVE), one of an earlier torch
            (OLD_ARCHIVE), it keeps a tensor or an object as a pickle (PICKLED_MEMBER), or it is too large
            (ARCHIVE_TOO_LARGE).
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _read(file)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise _invalid(f"{path.name} is no archive of torch.export.save: {error}") from error


def _read(file: zipfile.ZipFile) -> Archive:
    members = {info.filename: info for info in file.infolist()}
    size = sum(info.file_size for info in members.values())
    if len(members) > MAX_MEMBERS or size > MAX_ARCHIVE_BYTES:
        raise InvalidArgumentError(
            f"the archive has {len(members)} members of {size} bytes; {MAX_MEMBERS} and {MAX_ARCHIVE_BYTES} "
            "are allowed",
            reason="ARCHIVE_TOO_LARGE",
            field="file",
        )
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise _invalid("the archive has compressed members; torch.export.save stores them as they are")
    graphs = [name for name in members if name.endswith("models/model.json")]
    if any(name.endswith("serialized_exported_program.json") for name in members):
        raise InvalidArgumentError(
            "the archive is of an earlier torch, which keeps its weights as a pickle; load it where you "
            "trust it and save it again with torch.export.save of torch 2.8 or later",
            reason="OLD_ARCHIVE",
            field="file",
        )
    if len(graphs) != 1:
        raise _invalid(f"the archive holds {len(graphs)} graphs called models/model.json; one is needed")
    root = graphs[0].removesuffix("models/model.json")
    model = _json(file, graphs[0])
    version = model.get("schema_version")
    if not isinstance(version, dict) or version.get("major") != SCHEMA:
        raise _invalid(f"the archive's schema is {version!r}; the major version {SCHEMA} is read")
    if f"{root}byteorder" in members and file.read(f"{root}byteorder") != b"little":
        raise _invalid("the archive is not little-endian")
    tensors: dict[str, Tensor] = {}
    for kind, listing in (("weights", "model_weights"), ("constants", "model_constants")):
        config = f"{root}data/{kind}/{listing}_config.json"
        if config not in members:
            continue
        entries = _json(file, config).get("config")
        if not isinstance(entries, dict):
            raise _invalid(f"{config} lists no tensors")
        for name, entry in entries.items():
            tensors[name] = _tensor(file, f"{root}data/{kind}/", name, entry)
    return Archive(model, tensors)


def _json(file: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if file.getinfo(name).file_size > MAX_JSON_BYTES:
        raise _invalid(f"{name} has {file.getinfo(name).file_size} bytes; at most {MAX_JSON_BYTES} are read")
    try:
        value = json.loads(file.read(name))
    except (ValueError, RecursionError) as error:
        raise _invalid(f"{name} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise _invalid(f"{name} holds a {type(value).__name__}, not an object")
    return value


def _tensor(file: zipfile.ZipFile, folder: str, name: str, entry: Any) -> Tensor:
    """One tensor from its raw bytes."""
    if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
        raise InvalidArgumentError(
            f"the archive keeps {name!r} as a pickle, which is not read; export a model whose weights are "
            "plain "
            "dense tensors",
            reason="PICKLED_MEMBER",
            field="file",
            member=name[:80],
        )
    try:
        meta = entry["tensor_meta"]
        dtype = DTYPES[meta["dtype"]]
        sizes, strides = ([int(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
        offset = int(meta["storage_offset"]["as_int"])
        data = file.read(folder + str(entry["path_name"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(f"the tensor {name!r} is not described as it should be: {error!r}") from error
    if min([offset, *sizes, *strides], default=0) < 0 or len(sizes) != len(strides):
        raise _invalid(f"the tensor {name!r} has sizes {sizes}, strides {strides}, offset {offset}")
    if math.prod(sizes) == 0:
        return torch.zeros(sizes, dtype=dtype)
    last = offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
    # A stride of 0 would make a tensor of any size out of a few bytes.
    if (last + 1) * dtype.itemsize > len(data) or math.prod(sizes) * dtype.itemsize > len(data):
        raise _invalid(f"the tensor {name!r} of sizes {sizes} does not fit into its {len(data)} bytes")
    flat = torch.frombuffer(bytearray(data), dtype=dtype, count=len(data) // dtype.itemsize)
    return flat.as_strided(sizes, strides, offset).clone(memory_format=torch.contiguous_format)


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_ARCHIVE", field="file")
