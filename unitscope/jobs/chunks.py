"""A chunk's result: named arrays and one JSON record, as a single safetensors object.

One object a chunk means that a chunk is either there, whole, or not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from unitscope.errors import DataLossError

_RECORD = "__record__"


@dataclass(frozen=True)
class ChunkResult:
    """What a chunk came to.

    Attributes:
        tensors: Arrays by name.
        record: Anything JSON can say.
    """

    tensors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)


def encode(result: ChunkResult) -> bytes:
    """The result as bytes; equal results give equal bytes."""
    record = json.dumps(dict(result.record), sort_keys=True, separators=(",", ":")).encode()
    tensors = {name: np.asarray(a, order="C") for name, a in sorted(result.tensors.items())}
    tensors[_RECORD] = np.frombuffer(record, np.uint8)
    return bytes(save(tensors))


def decode(data: bytes, key: str = "chunk") -> ChunkResult:
    """The result of bytes. Raises `DataLossError` where they are none."""
    try:
        tensors = dict(load(data))
        record = json.loads(tensors.pop(_RECORD).tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataLossError(f"the object {key} is no chunk result", key=key) from error
    return ChunkResult(tensors, record)
