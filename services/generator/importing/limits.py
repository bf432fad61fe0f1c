"""What a file may ask of the reader, and how it is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

from unitscope.errors import InvalidArgumentError

LAZY_TEXT = 64 << 10
"""Texts longer than this stay undecoded until they are needed: pickle protocol 2 holds bytes as text."""
_LONGEST_MESSAGE = 500
LAZY_BYTES = 256
"""Byte strings longer than this are views of the file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on a file; the defaults leave an official 1024-pixel checkpoint room.

    Attributes:
        file_bytes: Size of the file.
        opcodes: Instructions of the pickle.
        stack: Values on the stack at once.
        nesting: Marks that are open at once, and tuples within tuples.
        memo: Values that are remembered for later reference.
        text_bytes: All decoded texts together.
        name_bytes: A line of text: the name of a module, a class or a function.
        tensor_bytes: One tensor.
        total_bytes: All tensors of the generator together.
        tensors: Tensors of the generator.
    """

    file_bytes: int = 16 << 30
    opcodes: int = 4_000_000
    stack: int = 200_000
    nesting: int = 1_000
    memo: int = 2_000_000
    text_bytes: int = 64 << 20
    name_bytes: int = 512
    tensor_bytes: int = 1 << 30
    total_bytes: int = 4 << 30
    tensors: int = 4_096


BLOB_LIMITS = Limits(opcodes=256, stack=64, nesting=8, memo=64, text_bytes=4096)
"""For the small pickles before the values of a tensor."""


def refuse(reason: str, message: str, **metadata: Any) -> InvalidArgumentError:
    """The error that refuses a file; the caller raises it."""
    return InvalidArgumentError(printable(message, _LONGEST_MESSAGE), reason=reason, field="file", **metadata)


def printable(text: str, most: int) -> str:
    """A text of the file for people: short, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def check_limit(name: str, value: int, limit: int, what: str) -> None:
    """Refuses what goes beyond a limit.

    Raises:
        InvalidArgumentError: reason `<name>_LIMIT`.
    """
    if value > limit:
        raise refuse(f"{name}_LIMIT", f"{what}: {value:,}; at most {limit:,} are read", limit=limit)
