"""What a job needs now: tasks that were lost, or its end.

`needs` looks at one job in the store and names what should be done; it decides nothing that a worker
could not redo, so that acting on it twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from unitscope.jobs import broker, layout
from unitscope.jobs.plan import Plan
from unitscope.jobs.state import JobRecord, JobState, StageProgress, write_terminal
from unitscope.signals import catalogue
from unitscope.store import ObjectInfo, ObjectStore

CANCEL_GRACE_SECONDS = 10.0
FINALISE = "finalise-finalise"


@dataclass
class Sent:
    """When a task was last sent by this gateway, and how often."""

    at: float = 0.0
    times: int = 0


@dataclass
class Reconciler:
    """Sends again what was lost, and ends what was cancelled.

    Attributes:
        store: The store.
        send: Sends a task; whether the broker took it.
        lost_after: Seconds without a sign of life after which an attempt is lost.
    """

    store: ObjectStore
    send: Callable[..., bool]
    lost_after: float
    _sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    _moved: dict[str, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Shows all tasks from the start, so that the first loss is a rise."""
        for task in (broker.PLAN, broker.RUN_CHUNK, broker.FINALISE):
            catalogue.RESENT.touch(task=task)

    def reconcile(self, record: JobRecord) -> None:
        """Does what the job needs now."""
        if record.state.terminal:
            return
        attempts = self.store.objects(layout.job(record.job_id) + "attempts/")
        if record.state is JobState.CANCELLING:
            self._end_cancelled(record, attempts)
        elif record.plan is None:
            self._again(record, "plan", 0, broker.PLAN, record.job_id)
        else:
            self._resend_lost(record, record.plan, attempts)

    def forget(self, job_id: str) -> None:
        """Drops what is remembered of a job that has ended, and what lost attempts at it have left."""
        self._moved.pop(job_id, None)
        for key in [key for key in self._sent if key[0] == job_id]:
            del self._sent[key]
        for attempt in self.store.objects(layout.job(job_id) + "attempts/"):
            self.store.delete(attempt.key)

    def _end_cancelled(self, record: JobRecord, attempts: list[ObjectInfo]) -> None:
        """Ends the job once no attempt shows life, or after a grace."""
        wish = self.store.stat(layout.cancel(record.job_id))
        waited = _age(wish) if wish else CANCEL_GRACE_SECONDS
        if waited >= CANCEL_GRACE_SECONDS or not self._alive(attempts):
            write_terminal(self.store, record.job_id, JobState.CANCELLED)

    def _resend_lost(self, record: JobRecord, plan: Plan, attempts: list[ObjectInfo]) -> None:
        alive = self._alive(attempts)
        stage = record.current
        if stage is None:
            return
        if stage.complete:
            count = len([a for a in attempts if _chunk_of(a) == FINALISE])
            if FINALISE not in alive and (count or self._quiet(record, alive)):
                self._again(record, FINALISE, count, broker.FINALISE, record.job_id)
            return
        self._resend_chunks(record, plan, stage, attempts, alive)

    def _resend_chunks(
        self,
        record: JobRecord,
        plan: Plan,
        stage: StageProgress,
        attempts: list[ObjectInfo],
        alive: set[str],
    ) -> None:
        """Chunks whose attempt was lost at once; chunks nobody began once the whole job is quiet."""
        lost: dict[str, int] = {}
        for attempt in attempts:
            lost[_chunk_of(attempt)] = lost.get(_chunk_of(attempt), 0) + 1
        quiet = self._quiet(record, alive)
        for index, chunk in enumerate(plan.chunk_ids(plan.stage(stage.name))):
            name = f"{stage.name}-{chunk}"
            if chunk in stage.done or name in alive:
                continue
            if name in lost or quiet:
                self._again(
                    record,
                    name,
                    lost.get(name, 0),
                    broker.RUN_CHUNK,
                    record.job_id,
                    stage.name,
                    index,
                )

    def _alive(self, attempts: list[ObjectInfo]) -> set[str]:
        return {_chunk_of(attempt) for attempt in attempts if _age(attempt) < self.lost_after}

    def _quiet(self, record: JobRecord, alive: set[str]) -> bool:
        """Whether nothing of the job has moved for `lost_after` seconds, as far as we have seen."""
        now = time.monotonic()
        sequence, since = self._moved.get(record.job_id, (-1, now))
        if alive or sequence != record.sequence:
            self._moved[record.job_id] = (record.sequence, now)
            return False
        return now - since >= self.lost_after

    def _again(self, record: JobRecord, what: str, lost: int, task: str, *ids: str | int) -> None:
        """Sends a task unless it was sent lately; each time after twice the pause."""
        key = (record.job_id, f"{what}/{lost}")
        sent = self._sent.setdefault(key, Sent())
        pause = self.lost_after * 2 ** min(sent.times - 1, 5) if sent.times else 0.0
        first_plan = task == broker.PLAN and not sent.times
        if first_plan and _seconds_since(record.created) < self.lost_after:
            return
        now = time.monotonic()
        renders = record.plan.renders if record.plan is not None else 0
        if now - sent.at >= pause and self.send(task, *ids, renders=renders):
            sent.at, sent.times = now, sent.times + 1
            catalogue.RESENT.add(task=task)


def _chunk_of(attempt: ObjectInfo) -> str:
    return attempt.key.split("/")[-2]


def _age(info: ObjectInfo) -> float:
    return _seconds_since(info.modified)


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
