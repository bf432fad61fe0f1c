"""One batch at a time, with how many wait and how long each takes told to Prometheus."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from unitscope.signals import catalogue


class Turns:
    """A lock whose holder works on one batch."""

    def __init__(self) -> None:
        """Nobody works yet."""
        self._lock = threading.Lock()
        self._began = 0.0

    def __enter__(self) -> None:
        with catalogue.BATCH_QUEUE.held():
            self._lock.acquire()
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._began
        self._lock.release()
        catalogue.BATCH_SECONDS.observe(seconds)
