"""Tensors out of records: PyTorch's legacy blobs, read in place.

A tensor is the record of a call of ``torch._utils._rebuild_tensor_v2`` with a storage, which in turn is
a call of ``torch.storage._load_from_bytes`` with a blob: five small pickles (magic number, format
version, byte order, a reference to the storage with its type and device, the keys) and then a count
and the plain little-endian values. The device, e.g. ``cuda:0``, is not asked for: all is read to the CPU.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from services.generator.importing.limits import BLOB_LIMITS, Limits, check_limit, refuse
from services.generator.importing.reader import SymbolicReader
from services.generator.importing.symbols import Global, Record, called, described
from services.generator.importing.values import raw_bytes
from unitscope.errors import InvalidArgumentError

Floats = npt.NDArray[np.float32]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_BFLOAT16 = "bfloat16"
_TYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "BFloat16Storage": _BFLOAT16}
_NAMES = {"<f4": "float32", "<f2": "float16", "<f8": "float64", _BFLOAT16: "bfloat16"}
_MOST_DIMENSIONS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class _Storage:
    """Flat values of a type of `_TYPES`; bfloat16 as its bits."""

    values: npt.NDArray[Any]
    kind: str


@dataclasses.dataclass(frozen=True)
class Weights:
    """A tensor whose values stay in the file until they are asked for.

    Attributes:
        name: Where it stands in the checkpoint.
        shape: Its shape.
        precision: float16, bfloat16, float32 or float64: how the file holds it.
    """

    name: str
    shape: tuple[int, ...]
    precision: str
    _values: npt.NDArray[Any]

    def load(self) -> Floats:
        """The values as float32, contiguous; a view of the file where it holds them so.

        Raises:
            InvalidArgumentError: A value is NaN or infinite (reason NON_FINITE_WEIGHTS).
        """
        values = np.ascontiguousarray(self._values).reshape(self.shape)
        if values.dtype == np.uint16:  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite and is refused below
            found: Floats = values.astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            count = int(found.size - np.isfinite(found).sum())
            raise refuse(
                "NON_FINITE_WEIGHTS",
                f"{self.name} has {count} values of {found.size} that are NaN or infinite; a generator with "
                "such weights renders nothing",
                tensor=self.name,
            )
        return found


class TensorReader:
    """Reads the tensors of one generator, and counts what they come to."""

    def __init__(self, limits: Limits) -> None:
        """Has read nothing yet."""
        self._limits = limits
        self._storages: dict[int, tuple[_Storage, Record]] = {}
        self._count = self._bytes = self._stored = 0

    def tensor(self, value: Any, name: str) -> Weights:
        """A parameter or a buffer.

        Raises:
            InvalidArgumentError: It is no tensor of numbers (UNKNOWN_OBJECT, UNSUPPORTED_TENSOR,
                BAD_TENSOR_BLOB), reaches beyond its values (TENSOR_OUT_OF_BOUNDS), or a limit.
        """
        self._count += 1
        check_limit("TENSOR_COUNT", self._count, self._limits.tensors, "tensors of the generator")
        if called(value, "torch._utils._rebuild_parameter") and value.args:
            value = value.args[0]
        if not called(value, "torch._utils._rebuild_tensor_v2") or len(value.args) not in (6, 7):
            raise refuse("UNKNOWN_OBJECT", f"{name} is {described(value)}; it must be a tensor", where=name)
        stored, offset, size, stride = value.args[:4]
        shape, steps = _counts(size, name), _counts(stride, name)
        (first,) = _counts((offset,), name)
        if len(shape) != len(steps) or len(shape) > _MOST_DIMENSIONS:
            raise _out_of_bounds(name, shape, f"its strides are {steps}")
        count = math.prod(shape)
        check_limit("TENSOR_SIZE", 4 * count, self._limits.tensor_bytes, f"bytes of {name} as float32")
        self._bytes += 4 * count
        check_limit("TOTAL_SIZE", self._bytes, self._limits.total_bytes, "bytes of all tensors as float32")
        storage = self._storage(stored, name)
        total = len(storage.values)
        last = first + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if count > total or first > total or (count and last >= total):
            raise _out_of_bounds(name, shape, f"its storage holds {total:,} values")
        flat = storage.values[first:]
        steps_bytes = tuple(step * flat.itemsize for step in steps)
        view = np.lib.stride_tricks.as_strided(flat, shape, steps_bytes, writeable=False)
        return Weights(name, shape, _NAMES[storage.kind], view)

    def _storage(self, value: Any, name: str) -> _Storage:
        """The storage of a record; tensors that share one share the record."""
        if not called(value, "torch.storage._load_from_bytes") or len(value.args) != 1:
            raise refuse(
                "UNKNOWN_OBJECT", f"the values of {name} are {described(value)}; they must be a storage",
                where=name,
            )  # fmt: skip
        if id(value) not in self._storages:
            left = self._limits.total_bytes - self._stored
            data = raw_bytes(value.args[0], f"the storage of {name}", left)
            self._stored += data.nbytes
            storage = _read_blob(data, name)
            self._storages[id(value)] = (storage, value)
        return self._storages[id(value)][0]


def _read_blob(data: memoryview, name: str) -> _Storage:
    """Reads a blob; see the module."""
    magic, position = _small_pickle(data, 0, name)
    if magic != _MAGIC:
        raise _bad_blob(name, f"it begins with {described(magic)}")
    version, position = _small_pickle(data, position, name)
    if version != _VERSION:
        raise _bad_blob(name, f"its version is {described(version)}, not {_VERSION}")
    system, position = _small_pickle(data, position, name)
    reference, position = _small_pickle(data, position, name, persistent=True)
    keys, position = _small_pickle(data, position, name)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _bad_blob(name, "its values are not little-endian")
    kind, key, count = _reference(reference, name)
    if keys != [key]:
        raise _bad_blob(name, "it does not hold the one storage that it speaks of")
    width = 2 if kind == _BFLOAT16 else np.dtype(kind).itemsize
    stated = int.from_bytes(data[position : position + 8], "little")
    left = len(data) - position - 8
    if stated != count or left != count * width:
        raise _bad_blob(
            name,
            f"it announces {count:,} and {stated:,} values of {width} bytes and holds {max(left, 0):,} bytes",
        )
    dtype = np.dtype("<u2") if kind == _BFLOAT16 else np.dtype(kind)
    return _Storage(np.frombuffer(data, dtype, count, position + 8), kind)


def _small_pickle(data: memoryview, position: int, name: str, *, persistent: bool = False) -> tuple[Any, int]:
    """The value of a pickle within a blob, and where it ends."""
    reader = SymbolicReader(data, BLOB_LIMITS, position, persistent=persistent)
    try:
        return reader.read(), reader.position
    except InvalidArgumentError as error:
        if error.reason != "TRUNCATED_FILE":
            raise
        raise _bad_blob(name, "it ends within its description") from error


def _reference(value: Any, name: str) -> tuple[str, str, int]:
    """Type, key and number of values of the storage that a blob refers to."""
    identity = value.args if isinstance(value, Record) and value.made == "PERSISTENT" else None
    if not isinstance(identity, tuple) or len(identity) != 6 or identity[0] != "storage":
        raise _bad_blob(name, f"it holds {described(value)} instead of a reference to a storage")
    _, kind, key, location, count, view = identity
    if not isinstance(kind, Global) or kind.module != "torch" or kind.name not in _TYPES:
        raise refuse(
            "UNSUPPORTED_TENSOR",
            f"the values of {name} are a {described(kind)}; weights are one of {', '.join(_TYPES)}",
            where=name,
        )
    if not isinstance(key, str) or not isinstance(location, str) or view is not None:
        raise _bad_blob(name, "its reference has a key, a device or a view that is not of a whole storage")
    return _TYPES[kind.name], key, _counts((count,), name)[0]


def _counts(value: Any, name: str) -> tuple[int, ...]:
    """Whole numbers from 0 on."""
    if not isinstance(value, tuple) or not all(type(n) is int and 0 <= n < 1 << 48 for n in value):
        raise refuse(
            "BAD_TENSOR", f"the sizes of {name} are {described(value)} of no whole numbers", where=name
        )
    return value


def _out_of_bounds(name: str, shape: tuple[int, ...], why: str) -> Exception:
    return refuse(
        "TENSOR_OUT_OF_BOUNDS", f"{name} has the shape {shape}, but {why}", tensor=name
    )  # fmt: skip


def _bad_blob(name: str, why: str) -> Exception:
    return refuse("BAD_TENSOR_BLOB", f"the blob of {name} is no tensor of PyTorch: {why}", tensor=name)
