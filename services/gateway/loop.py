"""The one place that looks at active jobs: it reconciles them and feeds all watchers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from services.gateway.jobs import Jobs
from services.gateway.reconcile import Reconciler
from unitscope.errors import UnitScopeError
from unitscope.jobs.state import JobRecord, JobState

log = logging.getLogger(__name__)


class Loop:
    """A thread that reads every active job every few seconds.

    Attributes:
        renders_per_second: Rate of the last job that succeeded; 0 before the first.
    """

    def __init__(self, jobs: Jobs, reconciler: Reconciler, pause: float) -> None:
        """Prepares the loop; `start` begins it.

        Args:
            jobs: The jobs.
            reconciler: What keeps them going.
            pause: Seconds between two looks.
        """
        self._jobs = jobs
        self._reconciler = reconciler
        self._pause = pause
        self._latest: dict[str, JobRecord] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="reconcile")
        self.renders_per_second = 0.0

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the loop, and every watch."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def watch(self, job_id: str, after: int, heartbeat: float) -> Iterator[tuple[JobRecord, bool]]:
        """The job's states after a sequence number until it ends; and heartbeats (True) between.

        Raises:
            NotFoundError: There is no such job.
        """
        record = self._jobs.get(job_id)
        seen = after
        while not self._stopped.is_set():
            if record.sequence > seen or record.state.terminal:
                seen = record.sequence
                yield record, False
                if record.state.terminal:
                    return
            record, quiet = self._next(job_id, seen, heartbeat)
            if quiet:
                yield record, True

    def _next(self, job_id: str, seen: int, heartbeat: float) -> tuple[JobRecord, bool]:
        """The next state of the job; True where none came within the heartbeat."""
        until = time.monotonic() + heartbeat
        with self._changed:
            while not self._stopped.is_set():
                latest = self._latest.get(job_id)
                if latest is not None and (latest.sequence > seen or latest.state.terminal):
                    return latest, False
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
        return self._latest.get(job_id) or self._jobs.get(job_id), True

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
            except UnitScopeError as error:
                log.warning("the loop waits: %s", error)
            except Exception:
                log.exception("the loop met a defect and goes on")
            self._stopped.wait(self._pause)

    def _look(self) -> None:
        active = set(self._jobs.active()) | {
            job for job, record in self._latest.items() if not record.state.terminal
        }
        for job_id in active:
            try:
                record = self._jobs.get(job_id)
                self._reconciler.reconcile(record)
            except UnitScopeError as error:
                log.warning("%s: %s", job_id, error)
                continue
            if record.state.terminal:
                self._reconciler.forget(job_id)
                self._measure(record)
            with self._changed:
                self._latest[job_id] = record
                self._changed.notify_all()

    def _measure(self, record: JobRecord) -> None:
        if record.state is JobState.SUCCEEDED and record.plan and record.ended:
            seconds = (record.ended - record.created).total_seconds()
            renders = sum(stage.renders for stage in record.plan.stages)
            if seconds > 0 and renders:
                self.renders_per_second = renders / seconds
