"""What every object store does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from unitscope.errors import DataLossError, InvalidArgumentError

MAX_LINK_SECONDS = 7 * 24 * 3600
"""The longest that a download link may last: what S3 signs for."""
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its bytes."""

    key: str
    size: int
    modified: datetime


@runtime_checkable
class ObjectStore(Protocol):
    """Objects by key. Keys are ``/``-separated segments of letters, digits, ``._-``.

    Every method raises `UnavailableError` where the store does not answer, `ResourceExhaustedError`
    where it is full, and `InvalidArgumentError` for a key that is none.
    """

    def create(self, key: str, data: bytes) -> bool:
        """Stores the bytes unless the key is taken; whether this call stored them."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Stores the bytes, replacing what is there. Only for signs of life, which nobody decides by."""
        ...

    def get(self, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFoundError: There is no such object (reason OBJECT_NOT_FOUND).
        """
        ...

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of an object, piece by piece. Raises like `get`, before the first piece."""
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object; None where there is none."""
        ...

    def objects(self, prefix: str) -> list[ObjectInfo]:
        """All objects below a prefix that ends in ``/``, sorted by key."""
        ...

    def children(self, prefix: str) -> list[str]:
        """Names of the next segments below a prefix that ends in ``/``, sorted, without duplicates."""
        ...

    def delete(self, key: str) -> None:
        """Removes an object; nothing happens where there is none."""
        ...

    def link(
        self,
        key: str,
        expires_seconds: int,
        filename: str | None = None,
        media_type: str | None = None,
    ) -> str | None:
        """An address that anybody can read the object at until it expires; None where the store has none.

        Args:
            key: The object; whether it exists is not looked at.
            expires_seconds: 1 to `MAX_LINK_SECONDS`.
            filename: The name that a browser shall save it as.
            media_type: The type that the answer shall have.
        """
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine's disk, for stores that keep it there."""
        ...


def check_key(key: str) -> str:
    """The key, if it is one.

    Raises:
        InvalidArgumentError: A segment is empty, ``.``, ``..``, too long or holds other characters.
    """
    if len(key) > 900 or not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise InvalidArgumentError(
            f"{key[:80]!r} is no object key; keys are segments of letters, digits, '.', '_' and '-'",
            reason="INVALID_KEY",
            key=key[:80],
        )
    return key


def check_prefix(prefix: str) -> str:
    """The prefix, if it is a key followed by ``/``. Raises like `check_key`."""
    check_key(prefix.removesuffix("/"))
    if not prefix.endswith("/"):
        raise InvalidArgumentError(
            f"the prefix {prefix[:80]!r} must end in '/'",
            reason="INVALID_KEY",
            key=prefix[:80],
        )
    return prefix


def sha256(data: bytes) -> str:
    """The sha256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def get_verified(store: ObjectStore, key: str, digest: str) -> bytes:
    """The bytes of an object, checked against their sha256.

    Raises:
        NotFoundError: There is no such object.
        DataLossError: The bytes are not those of the digest.
    """
    data = store.get(key)
    if sha256(data) != digest:
        raise DataLossError(
            f"the object {key} does not have the sha256 {digest[:16]}... that its reference states",
            key=key,
        )
    return data
