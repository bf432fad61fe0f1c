"""A small store of what was used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by name; the one that was not asked for longest gives way. Safe between threads."""

    def __init__(self, size: int) -> None:
        """Makes an empty one that holds `size` values at most."""
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str) -> Value | None:
        """The value, if it is still there."""
        with self._lock:
            value = self._values.get(name)
            if value is not None:
                self._values.move_to_end(name)
            return value

    def put(self, name: str, value: Value) -> None:
        """Keeps the value."""
        with self._lock:
            self._values[name] = value
            self._values.move_to_end(name)
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def drop(self, name: str) -> None:
        """Forgets the value, if it is there."""
        with self._lock:
            self._values.pop(name, None)
