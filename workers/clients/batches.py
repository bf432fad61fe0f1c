"""Cutting arrays into messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

MESSAGE_BYTES = 16 << 20
"""What one message of ours carries at most: a quarter of what servers take by default."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Pending(Generic[Value]):
    """An answer that is under way.

    Attributes:
        result: Waits for it; raises the error of `unitscope.errors` that the call ended with.
    """

    result: Callable[[], Value]


def spans(rows: int, row_bytes: int, most: int, limit: int = MESSAGE_BYTES) -> Iterator[slice]:
    """Consecutive slices of rows, each of at most `most` rows and about `limit` bytes, never empty.

    Args:
        rows: Rows in all.
        row_bytes: Bytes of one row.
        most: The most rows of a slice.
        limit: The most bytes of a slice of more than one row.
    """
    size = max(1, min(most, limit // max(row_bytes, 1)))
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))
