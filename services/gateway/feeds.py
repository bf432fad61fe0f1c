"""What watchers wait for: each is woken by changes of its own job alone.

With hundreds of watchers, waking all of them at each change of any job would keep a processor busy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from unitscope.jobs.state import JobRecord


class Feed:
    """The latest state of one watched job."""

    def __init__(self) -> None:
        """Makes a feed that has said nothing yet."""
        self.watchers = 0
        self._latest: JobRecord | None = None
        self._changed = threading.Condition()

    def put(self, record: JobRecord) -> None:
        """Says how the job stands; wakes the watchers where that is new."""
        with self._changed:
            before, self._latest = self._latest, record
            if before is None or record.sequence > before.sequence or record.state.terminal:
                self._changed.notify_all()

    def wake(self) -> None:
        """Lets every watcher look up at once."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> JobRecord | None:
        """A state after `seen`; None where none came in time, or the watcher was woken without one."""
        with self._changed:
            if not self._is_new(seen):
                self._changed.wait(seconds)
            return self._latest if self._is_new(seen) else None

    def _is_new(self, seen: int) -> bool:
        latest = self._latest
        return latest is not None and (latest.sequence > seen or latest.state.terminal)


class Feeds:
    """The feeds of the jobs that are being watched."""

    def __init__(self) -> None:
        """Nobody watches yet."""
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._feeds)

    @contextmanager
    def of(self, job_id: str) -> Iterator[Feed]:
        """The job's feed, for as long as the block lasts."""
        with self._lock:
            feed = self._feeds.setdefault(job_id, Feed())
            feed.watchers += 1
        try:
            yield feed
        finally:
            with self._lock:
                feed.watchers -= 1
                if not feed.watchers:
                    del self._feeds[job_id]

    def put(self, record: JobRecord) -> None:
        """Tells those who watch this job."""
        with self._lock:
            feed = self._feeds.get(record.job_id)
        if feed is not None:
            feed.put(record)

    def wake(self) -> None:
        """Lets all watchers look up, e.g. because the server stops."""
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.wake()
