"""A store that counts its operations, and shows those of a traced chunk as spans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from unitscope.errors import UnitScopeError
from unitscope.signals import catalogue, traces
from unitscope.store.base import ObjectInfo, ObjectStore

Answer = TypeVar("Answer")


class ObservedStore:
    """Another store, observed. Answers and errors are those of the other."""

    def __init__(self, inner: ObjectStore) -> None:
        """Takes the other store."""
        self._inner = inner

    def create(self, key: str, data: bytes) -> bool:
        """See `ObjectStore`."""
        return self._told(
            "create", lambda: self._inner.create(key, data), lambda new: "OK" if new else "TAKEN"
        )

    def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._told("put", lambda: self._inner.put(key, data))

    def get(self, key: str) -> bytes:
        """See `ObjectStore`."""
        return self._told("get", lambda: self._inner.get(key))

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """See `ObjectStore`. What is counted is the whole stream, with the time of who reads it."""
        began = time.perf_counter()
        try:
            pieces = self._inner.stream(key, chunk_bytes)  # not in a generator: it raises before the first
        except UnitScopeError as error:
            self._count("stream", error.status, time.perf_counter() - began)
            raise
        return self._counted(pieces, began)

    def _counted(self, pieces: Iterator[bytes], began: float) -> Iterator[bytes]:
        outcome = "OK"
        try:
            yield from pieces
        except UnitScopeError as error:
            outcome = error.status
            raise
        finally:
            self._count("stream", outcome, time.perf_counter() - began)

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        return self._told("stat", lambda: self._inner.stat(key))

    def objects(self, prefix: str) -> list[ObjectInfo]:
        """See `ObjectStore`."""
        return self._told("objects", lambda: self._inner.objects(prefix))

    def children(self, prefix: str) -> list[str]:
        """See `ObjectStore`."""
        return self._told("children", lambda: self._inner.children(prefix))

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        self._told("delete", lambda: self._inner.delete(key))

    def link(
        self,
        key: str,
        expires_seconds: int,
        filename: str | None = None,
        media_type: str | None = None,
    ) -> str | None:
        """See `ObjectStore`; nothing is asked of a server, so nothing is counted."""
        return self._inner.link(key, expires_seconds, filename, media_type)

    def local_path(self, key: str) -> Path | None:
        """See `ObjectStore`."""
        return self._inner.local_path(key)

    def _told(
        self, operation: str, act: Callable[[], Answer], outcome_of: Callable[[Answer], str] = lambda _: "OK"
    ) -> Answer:
        began, outcome = time.perf_counter(), "INTERNAL"
        call = traces.start_call(f"store {operation}")
        failed: Exception | None = None
        try:
            answer = act()
            outcome = outcome_of(answer)
            return answer
        except Exception as error:
            failed = error
            if isinstance(error, UnitScopeError):
                outcome = error.status
            raise
        finally:
            # That there is no such object is an answer.
            traces.end_call(call, None if outcome == "NOT_FOUND" else failed)
            self._count(operation, outcome, time.perf_counter() - began)

    def _count(self, operation: str, outcome: str, seconds: float) -> None:
        catalogue.STORE_SECONDS.observe(seconds, operation=operation)
        catalogue.STORE_OPERATIONS.add(operation=operation, outcome=outcome)


def observed(store: ObjectStore) -> ObjectStore:
    """The store, observed where this process keeps metrics or makes spans."""
    return ObservedStore(store) if catalogue.STORE_OPERATIONS.on or traces.on() else store
