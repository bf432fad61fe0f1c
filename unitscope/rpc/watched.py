"""Files that are read again when they change: keys, certificates, tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")
Stamp = tuple[tuple[int, int, int], ...]


def stamp(files: Sequence[Path]) -> Stamp:
    """Something that changes when one of the files does. Raises OSError where one is not there."""
    found = [path.stat() for path in files]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)


class Watched(Generic[Value]):
    """What some files say. Safe to share between threads."""

    def __init__(self, files: Sequence[Path], read: Callable[[], Value]) -> None:
        """Reads nothing yet.

        Args:
            files: What is looked at for changes.
            read: Reads all of them; may raise.
        """
        self._files = files
        self._read = read
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._value: Value | None = None

    def current(self) -> Value:
        """The value, the same object as before where no file has changed.

        Raises:
            OSError: A file is not there or cannot be read.
            Exception: What reading raised. Files are read again at the next call.
        """
        with self._lock:
            now = stamp(self._files)
            if now != self._stamp or self._value is None:
                self._stamp = None
                self._value = self._read()
                # Files that changed while they were read are read again at the next call.
                self._stamp = now if stamp(self._files) == now else None
            return self._value
