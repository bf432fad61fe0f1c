"""Signs of life: who is at which chunk, who was lost at it, and what failed.

``attempts/<chunk>/<n>`` exists while attempt n runs and is refreshed by a thread; an attempt that ends
by itself, also by the soft shutdown of its worker, removes it. What is left behind, unrefreshed, was
lost. ``failures/<chunk>/<n>`` holds what an attempt reported.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from unitscope.errors import NotFoundError, UnitScopeError
from unitscope.jobs import layout
from unitscope.store import ObjectStore

MAX_LOST = 8
MAX_FAILURES = 3
_PROCESS = uuid.uuid4().hex
_running: set[str] = set()
"""Keys of the attempts that this process is at."""


class Attempt:
    """One attempt at a chunk; a context manager that shows life until it is left."""

    def __init__(self, store: ObjectStore, job_id: str, stage: str, chunk: str, refresh: float) -> None:
        """Prepares the attempt; `claim` makes it.

        Args:
            store: The store.
            job_id: The job.
            stage: The stage's name.
            chunk: The chunk's id.
            refresh: Seconds between signs of life.
        """
        self._store = store
        self._prefix = layout.attempts(job_id, stage, chunk)
        self._failures = layout.failures(job_id, stage, chunk)
        self._refresh = refresh
        self._ended = threading.Event()
        self._key = ""

    def claim(self, lost_after: float) -> bool:
        """Whether the chunk is ours to work on: False where another attempt shows life.

        Args:
            lost_after: Seconds without a sign after which another attempt is lost.
        """
        others = self._store.objects(self._prefix)
        now = datetime.now(UTC)
        for other in others:
            sign = self._read(other.key)
            if sign.get("process") == _PROCESS and other.key not in _running:
                # Ours, and over: its end, or the answer to its beginning, did not get through to the store.
                self._store.delete(other.key)
            elif (now - other.modified).total_seconds() < lost_after and not _died_here(sign):
                return False
        numbers = [int(other.key.rpartition("/")[2]) for other in others]
        self._key = f"{self._prefix}{max(numbers, default=-1) + 1:03d}"
        claimed = self._store.create(self._key, self._sign())
        if claimed:
            _running.add(self._key)
        return claimed

    @property
    def lost(self) -> int:
        """How many earlier attempts at this chunk were lost."""
        return sum(1 for other in self._store.objects(self._prefix) if other.key != self._key)

    def fail(self, error: dict[str, str]) -> int:
        """Reports a failure of this attempt; how many the chunk has had."""
        number = len(self._store.children(self._failures))
        self._store.create(f"{self._failures}{number:03d}.json", json.dumps(error).encode())
        return number + 1

    def __enter__(self) -> Attempt:
        threading.Thread(target=self._show_life, daemon=True, name="attempt").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        _running.discard(self._key)
        with suppress(UnitScopeError):
            self._store.delete(self._key)

    def _read(self, key: str) -> dict[str, Any]:
        """An attempt's sign; empty where it is gone, or half written."""
        try:
            sign: dict[str, Any] = json.loads(self._store.get(key))
        except (NotFoundError, ValueError):
            return {}
        return sign

    def _show_life(self) -> None:
        while not self._ended.wait(self._refresh):
            with suppress(UnitScopeError):
                self._store.put(self._key, self._sign())
                if self._ended.is_set():
                    self._store.delete(self._key)

    def _sign(self) -> bytes:
        sign = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": _PROCESS,
            "at": datetime.now(UTC).isoformat(),
        }
        return json.dumps(sign).encode()


def _died_here(sign: dict[str, Any]) -> bool:
    """Whether the attempt was made by a process of this host that is no more."""
    return sign.get("host") == socket.gethostname() and not _alive(int(sign["pid"]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _ended(pid)


def _ended(pid: int) -> bool:
    """Whether the process has ended, and only its parent has not looked; False where there is no /proc."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # The name stands in brackets and may hold any character; the state follows it.
    return line.rpartition(b")")[2].split()[:1] == [b"Z"]
