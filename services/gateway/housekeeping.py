"""Deletes what has expired, and goes on with deletions that broke off; in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.gateway.jobs import Jobs
from unitscope.errors import InvalidArgumentError, NotFoundError, UnitScopeError
from unitscope.jobs.state import JobRecord

log = logging.getLogger(__name__)

BY = "retention"
BATCH = 100
"""Jobs of a project that are deleted at one look at most."""


@dataclass(frozen=True)
class Retention:
    """How long ended jobs are kept; 0 means for good.

    Attributes:
        days: Days after the end.
        size: Bytes of a project's ended jobs; above, the oldest go.
    """

    days: float = 0
    size: int = 0


class Housekeeping:
    """A thread that looks from time to time."""

    def __init__(self, jobs: Jobs, retention: Retention, pause: float) -> None:
        """Prepares it; `start` begins.

        Args:
            jobs: The jobs.
            retention: How long they are kept.
            pause: Seconds between two looks.
        """
        self._jobs = jobs
        self._retention = retention
        self._pause = pause
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="housekeeping")

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, after the job that is being deleted."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def look(self) -> int:
        """Finishes deletions and deletes what has expired; how many jobs were deleted."""
        self._jobs.deletion.finish()
        deleted = 0
        for project in self._jobs.listing.projects():
            if self._retention.days:
                deleted += self._delete(self._too_old(project), "age")
            if self._retention.size:
                deleted += self._delete(self._too_much(project), "space")
        return deleted

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            try:
                self.look()
            except UnitScopeError as error:
                log.warning("housekeeping waits: %s", error)
            except Exception:
                log.exception("housekeeping met a defect and goes on")

    def _delete(self, records: Iterator[JobRecord], cause: str) -> int:
        count = 0
        for record in records:
            if self._stopped.is_set() or count == BATCH:
                break
            self._jobs.deletion.delete(record, BY, cause)
            count += 1
        return count

    def _ended(self, project: str) -> Iterator[JobRecord]:
        """Ended jobs, oldest first."""
        for mark in self._jobs.listing.oldest(project):
            try:
                record = self._jobs.read(mark.job_id)
            except (NotFoundError, InvalidArgumentError):
                continue
            if record.state.terminal and record.created == mark.created:
                yield record

    def _too_old(self, project: str) -> Iterator[JobRecord]:
        limit = datetime.now(UTC) - timedelta(days=self._retention.days)
        for record in self._ended(project):
            if record.created > limit:
                return
            if record.ended is not None and record.ended <= limit:
                yield record

    def _too_much(self, project: str) -> Iterator[JobRecord]:
        sizes = self._jobs.admission.usage(project)
        over = sum(sizes.values()) - self._retention.size
        if over <= 0:
            return
        for record in self._ended(project):
            yield record
            over -= sizes.get(record.job_id, 0)
            if over <= 0:
                return
