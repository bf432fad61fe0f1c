"""Arrays to wire tensors and back. The only place that reads tensor bytes from outside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from unitscope.errors import InvalidArgumentError
from unitscope.v1 import tensor_pb2

_TYPES: dict[Any, np.dtype[Any]] = {
    tensor_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DATA_TYPE_UINT8: np.dtype("u1"),
    tensor_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
}
_CODES: dict[np.dtype[Any], Any] = {dtype: code for code, dtype in _TYPES.items()}


def to_tensor(array: npt.NDArray[Any]) -> tensor_pb2.Tensor:
    """The array, float32, uint8 or int64, as a tensor."""
    array = np.ascontiguousarray(array)
    code: Any = _CODES[array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype]
    return tensor_pb2.Tensor(
        data_type=code,
        shape=array.shape,
        data=array.tobytes(),
    )


def from_tensor(
    tensor: tensor_pb2.Tensor,
    dtype: npt.DTypeLike,
    shape: tuple[int | None, ...],
    field: str,
    *,
    max_batch: int = 65_536,
    finite: bool = True,
) -> npt.NDArray[Any]:
    """The tensor as a read-only array of the given type and shape.

    Args:
        tensor: What came in.
        dtype: float32, uint8 or int64.
        shape: The shape it must have; None allows any length on that axis.
        field: The field it came in, for messages.
        max_batch: The longest first axis.
        finite: Whether NaN and infinity are refused.

    Raises:
        InvalidArgumentError: The type, shape, length or a value is wrong.
    """
    wanted = np.dtype(dtype)
    if _TYPES.get(tensor.data_type) != wanted.newbyteorder("<"):
        name = tensor_pb2.DataType.Name(tensor.data_type) if tensor.data_type in _TYPES else "none"
        raise InvalidArgumentError(
            f"{field} has the element type {name.removeprefix('DATA_TYPE_').lower()}; "
            f"{wanted.name} is needed",
            reason="WRONG_TENSOR_TYPE",
            field=field,
        )
    actual = tuple(tensor.shape)
    described = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
    matches = len(actual) == len(shape) and all(
        n >= 0 and (want is None or n == want) for n, want in zip(actual, shape, strict=True)
    )
    if not matches:
        raise InvalidArgumentError(
            f"{field} has the shape {actual}; {described} is needed",
            reason="WRONG_TENSOR_SHAPE",
            field=field,
            shape=actual,
        )
    if actual and not 1 <= actual[0] <= max_batch:
        raise InvalidArgumentError(
            f"{field} has {actual[0]} rows; 1 to {max_batch} are allowed at once",
            reason="BATCH_OUT_OF_RANGE",
            field=field,
            rows=actual[0],
            limit=max_batch,
        )
    if math.prod(actual) * wanted.itemsize != len(tensor.data):
        raise InvalidArgumentError(
            f"{field} brings {len(tensor.data)} bytes; its shape {actual} needs "
            f"{math.prod(actual) * wanted.itemsize}",
            reason="WRONG_TENSOR_LENGTH",
            field=field,
        )
    array = np.frombuffer(tensor.data, wanted.newbyteorder("<")).reshape(actual)
    if finite and wanted.kind == "f" and not np.isfinite(array).all():
        bad = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InvalidArgumentError(
            f"{field} holds NaN or infinity, first in row {bad}; only finite numbers are allowed",
            reason="NON_FINITE_" + field.upper().replace(".", "_"),
            field=field,
            row=bad,
        )
    return array
