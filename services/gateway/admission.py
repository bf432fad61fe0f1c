"""Who may create a job now: quotas of projects, and the limit of the installation.

Nothing waits here. What is over a limit is refused at once with RESOURCE_EXHAUSTED and, where waiting
helps, with the time to wait; the client waits, not a queue of ours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from unitscope.errors import ResourceExhaustedError
from unitscope.jobs import layout
from unitscope.store import ObjectStore

SLOT_SECONDS = 5.0
"""What a caller is told to wait where too many jobs are active: jobs take minutes."""


@dataclass(frozen=True)
class Quotas:
    """Limits; 0 sets none.

    Attributes:
        active: Active jobs of the installation.
        project_active: Active jobs of a project.
        project_bytes: Bytes of a project's ended jobs.
        per_minute: Jobs that a project may create a minute, in a burst or evenly.
    """

    active: int
    project_active: int = 0
    project_bytes: int = 0
    per_minute: int = 0


@dataclass
class Admission:
    """Refuses jobs that are too many."""

    store: ObjectStore
    quotas: Quotas
    clock: Callable[[], float] = time.monotonic
    _rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, project: str) -> None:
        """Counts one submission.

        Raises:
            ResourceExhaustedError: The project has submitted too many of late (TOO_MANY_SUBMISSIONS).
        """
        limit = self.quotas.per_minute
        if not limit:
            return
        with self._lock:
            now = self.clock()
            left, at = self._rates.get(project, (float(limit), now))
            left = min(float(limit), left + (now - at) * limit / 60)
            self._rates[project] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise ResourceExhaustedError(
                f"the project {project!r} has created {limit} jobs within a minute, as many as are allowed; "
                "go on more slowly",
                reason="TOO_MANY_SUBMISSIONS",
                retry_after=(1 - left) * 60 / limit,
                limit=limit,
            )

    @contextmanager
    def admitted(self, project: str, stored_bytes: int) -> Iterator[None]:
        """A block in which one job may be created; one at a time, so that no limit is passed by two.

        Args:
            project: Whose job.
            stored_bytes: What it will leave in the store, estimated.

        Raises:
            ResourceExhaustedError: Too many jobs are active (TOO_MANY_JOBS), or the project's jobs take
                too much room (QUOTA_EXCEEDED).
        """
        with self._lock:
            self._refuse_many(project)
            self._refuse_much(project, stored_bytes)
            yield

    def usage(self, project: str) -> dict[str, int]:
        """Bytes of the project's ended jobs, by job."""
        found: dict[str, int] = {}
        for name in self.store.children(layout.usage(project)):
            job_id, _, size = name.partition(".")
            if size.isdigit():
                found[job_id] = max(int(size), found.get(job_id, 0))
        return found

    def _refuse_many(self, project: str) -> None:
        active = {name: self.store.children(layout.active_jobs(name)) for name in self._projects()}
        everything, own = sum(map(len, active.values())), len(active.get(project, ()))
        limits = self.quotas
        if limits.active and everything >= limits.active:
            raise ResourceExhaustedError(
                f"{everything} jobs are active, as many as are allowed; wait for one to end, or cancel one",
                reason="TOO_MANY_JOBS",
                retry_after=SLOT_SECONDS,
                limit=limits.active,
            )
        if limits.project_active and own >= limits.project_active:
            raise ResourceExhaustedError(
                f"{own} jobs of the project {project!r} are active, as many as are allowed; wait for one to "
                "end, or cancel one",
                reason="TOO_MANY_JOBS",
                retry_after=SLOT_SECONDS,
                limit=limits.project_active,
            )

    def _refuse_much(self, project: str, stored_bytes: int) -> None:
        limit = self.quotas.project_bytes
        if not limit:
            return
        used = sum(self.usage(project).values())
        if used + stored_bytes > limit:
            raise ResourceExhaustedError(
                f"the jobs of the project {project!r} take {used:,} bytes, this one would take about "
                f"{stored_bytes:,}, and {limit:,} are allowed; delete jobs, or keep fewer images",
                reason="QUOTA_EXCEEDED",
                used=used,
                needed=stored_bytes,
                limit=limit,
            )

    def _projects(self) -> list[str]:
        return self.store.children(layout.ACTIVE)
