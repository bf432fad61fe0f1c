"""The one place that looks at active jobs: it reconciles them and feeds all watchers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product

from services.gateway.feeds import Feeds
from services.gateway.gauges import Gauges
from services.gateway.jobs import Jobs
from services.gateway.reconcile import Reconciler
from unitscope.errors import NotFoundError, UnitScopeError
from unitscope.jobs import layout
from unitscope.jobs.broker import queue_of
from unitscope.jobs.specs import KINDS
from unitscope.jobs.state import JobRecord, JobState
from unitscope.signals import catalogue
from unitscope.signals.logs import bound

log = logging.getLogger(__name__)

STILLBORN_SECONDS = 600.0
"""After this long, the mark of a job whose spec never came is removed."""


class Loop:
    """A thread that reads every active job every few seconds.

    Attributes:
        renders_per_second: Rate of the last job that succeeded; 0 before the first.
        looks: How often it has looked at all of them.
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
        self._feeds = Feeds()
        self._stopped = threading.Event()
        self._adopted = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="reconcile")
        self.renders_per_second = 0.0
        self.looks = 0
        # Shown from the start, so that the first job that ends is a rise.
        for kind, state in product(KINDS, JobState):
            if state.terminal:
                catalogue.JOBS_ENDED.touch(kind=kind, state=state.value)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the loop, and every watch."""
        self._stopped.set()
        self._feeds.wake()
        self._thread.join(timeout=10)

    def watch(
        self,
        job_id: str,
        project: str,
        after: int,
        heartbeat: float,
        on_end: Callable[[Callable[[], None]], bool] = lambda wake: True,
    ) -> Iterator[tuple[JobRecord, bool]]:
        """The job's states after a sequence number until it ends; and heartbeats (True) between.

        Args:
            job_id: The job.
            project: The project of who watches.
            after: The sequence number.
            heartbeat: Seconds without a change after which a heartbeat comes.
            on_end: Is given what wakes this watch; to be called when the watcher leaves, so that it is
                noticed at once.

        Raises:
            NotFoundError: There is no such job, or it was deleted meanwhile.
        """
        with self._feeds.of(job_id) as feed, catalogue.WATCHERS.held():
            record = self._jobs.get(job_id, project)
            on_end(feed.wake)
            seen, until = after, time.monotonic() + heartbeat
            while not self._stopped.is_set():
                if record.sequence > seen or record.state.terminal:
                    seen = record.sequence
                    until = time.monotonic() + heartbeat
                    yield record, False
                    if record.state.terminal:
                        return
                fresh = feed.wait(seen, max(0.0, until - time.monotonic()))
                record = fresh or self._jobs.get(job_id, project)
                if record.sequence <= seen and not record.state.terminal:
                    until = time.monotonic() + heartbeat
                    yield record, True

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._adopt()
                with catalogue.RECONCILE_SECONDS.timed():
                    self._look()
                self.looks += 1
            except UnitScopeError as error:
                log.warning("the loop waits: %s", error)
            except Exception:
                log.exception("the loop met a defect and goes on")
            self._stopped.wait(self._pause)

    def _adopt(self) -> None:
        """Once: takes in jobs of an older version."""
        if not self._adopted:
            if adopted := self._jobs.listing.adopt():
                log.info("%d jobs were taken in", adopted)
            self._adopted = True

    def _look(self) -> None:
        gauges = Gauges(lambda renders: queue_of(self._jobs.app, renders))
        for project, job_id in self._jobs.active():
            with bound(job=job_id):
                self._look_at(project, job_id, gauges)
        gauges.show()

    def _look_at(self, project: str, job_id: str, gauges: Gauges) -> None:
        try:
            record = self._jobs.read(job_id)
            gauges.count(record)
            self._reconciler.reconcile(record)
            if record.state.terminal:
                self._end(project, record)
        except NotFoundError:
            self._forget_stillborn(project, job_id)
        except UnitScopeError as error:
            log.warning("%s: %s", job_id, error)
        else:
            self._feeds.put(record)

    def _end(self, project: str, record: JobRecord) -> None:
        """Notes what an ended job takes, and looks at it no more."""
        store, job_id = self._jobs.store, record.job_id
        self._reconciler.forget(job_id)
        if record.state is JobState.SUCCEEDED and record.plan and record.ended:
            seconds = (record.ended - record.created).total_seconds()
            renders = sum(stage.renders for stage in record.plan.stages)
            if seconds > 0 and renders:
                self.renders_per_second = renders / seconds
        size = sum(info.size for info in store.objects(layout.job(job_id)))
        mark = f"{layout.usage(project)}{job_id}.{size}"
        is_new = store.create(mark, b"{}")
        if store.stat(layout.spec(job_id)) is None:  # Deleted meanwhile, perhaps before the mark was there.
            store.delete(mark)
        elif is_new:
            log.info("%s ended: %s", job_id, record.state.value)
            catalogue.JOBS_ENDED.add(kind=record.kind, state=record.state.value)
        store.delete(layout.active(project, job_id))

    def _forget_stillborn(self, project: str, job_id: str) -> None:
        """Removes a mark whose job was never created; its creation broke off."""
        mark = self._jobs.store.stat(layout.active(project, job_id))
        if mark and (datetime.now(UTC) - mark.modified).total_seconds() > STILLBORN_SECONDS:
            self._jobs.store.delete(layout.active(project, job_id))
