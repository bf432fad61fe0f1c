"""The three tasks: plan a job, run a chunk, finalise.

A task may run twice, on two machines, at any time: each looks at the store first and finds what is
there. Celery's own retries and results are not used; `services.gateway` sends again what was lost.
While the store is away a task waits, and then begins anew.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from celery import shared_task
from celery.exceptions import Ignore

from unitscope.errors import (
    DeadlineError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    UnitScopeError,
)
from unitscope.jobs import broker, layout
from unitscope.jobs.chunks import encode
from unitscope.jobs.plan import Plan, Stage
from unitscope.jobs.state import (
    JobState,
    cancel_requested,
    done_chunks,
    write_terminal,
)
from unitscope.settings import WorkerSettings
from unitscope.store.base import sha256
from workers import observed
from workers.analyses import analysis_of
from workers.attempts import MAX_FAILURES, MAX_LOST, Attempt
from workers.context import Context, JobCancelled
from workers.outputs import OutputFile
from workers.runtime import Runtime, runtime

log = logging.getLogger(__name__)

PERMANENT = (InvalidArgumentError, FailedPreconditionError, NotFoundError)
"""Errors that trying again cannot mend: they fail the job at once."""

PASSING = ("STORE_FULL", "SERVER_BUSY")
"""Reasons of exhaustion that pass by themselves, or once somebody makes room: they are waited for."""

FINALISE_STAGE, PLANNED = "finalise", "plan"
"""Stand for no stage of a plan, but are looked after like one."""


@shared_task(name=broker.PLAN)
def plan(job_id: str) -> None:
    """Plans the job and sends its first stage."""
    with observed.task(broker.PLAN, job_id):
        _when_reachable(lambda here: _plan(here, job_id))


@shared_task(name=broker.RUN_CHUNK)
def run_chunk(job_id: str, stage: str, index: int) -> None:
    """Computes one chunk and stores its result; the last one of a stage releases the next."""
    with observed.task(broker.RUN_CHUNK, job_id, stage, index):
        _when_reachable(lambda here: _run_chunk(here, job_id, stage, index))


@shared_task(name=broker.FINALISE)
def finalise(job_id: str) -> None:
    """Writes tables, images and report, then the manifest, and ends the job."""
    with observed.task(broker.FINALISE, job_id):
        _when_reachable(lambda here: _finalise(here, job_id))


def _when_reachable(act: Callable[[Runtime], None]) -> None:
    """Acts; where the store does not answer, waits and begins anew, since acting twice does no harm."""
    pause, until = 0.5, time.monotonic() + WorkerSettings().wait_seconds
    while True:
        try:
            return act(runtime())
        except UnavailableError as error:
            log.warning("waiting: %s", error)
            if time.monotonic() + pause > until:
                return None  # The gateway sends it again.
            with observed.waiting(pause):
                time.sleep(pause)
            pause = min(2 * pause, 10.0)


def _plan(here: Runtime, job_id: str) -> None:
    if _over(here, job_id) or here.store.stat(layout.released(job_id, PLANNED)) is not None:
        return
    try:
        planned = here.make_plan(job_id)
    except UnavailableError:
        raise
    except UnitScopeError as error:
        write_terminal(here.store, job_id, JobState.FAILED, _describe(error, "plan"))
        return
    if _send_stage(here, job_id, planned, planned.stages[0]):
        here.store.create(layout.released(job_id, PLANNED), b"")


def _run_chunk(here: Runtime, job_id: str, stage: str, index: int) -> None:
    context = None if _over(here, job_id) else here.context(job_id)
    if context is None:
        return
    planned = context.plan.stage(stage)
    chunk = context.plan.chunk_ids(planned)[index]
    key = layout.chunk(job_id, stage, chunk)

    def work() -> None:
        result = analysis_of(context.plan.kind).run(context, stage, planned.chunks[index])
        here.store.create(key, encode(result))

    def is_done() -> bool:
        return here.store.stat(key) is not None

    if not is_done() and not _attempted(here, context, stage, chunk, work, is_done):
        return
    _release_next(here, context, stage)


def _finalise(here: Runtime, job_id: str) -> None:
    context = None if _over(here, job_id) else here.context(job_id)
    if context is None:
        return

    def work() -> None:
        outputs = analysis_of(context.plan.kind).finalise(context)
        artifacts = [_store_output(here, context, output) for output in outputs]
        manifest = {"schema_version": 1, "plan_digest": context.plan.digest, "artifacts": artifacts}
        here.store.create(layout.manifest(job_id), json.dumps(manifest, indent=1).encode())
        write_terminal(here.store, job_id, JobState.SUCCEEDED)

    _attempted(here, context, FINALISE_STAGE, FINALISE_STAGE, work, lambda: _over(here, job_id))


def _attempted(
    here: Runtime,
    context: Context,
    stage: str,
    chunk: str,
    work: Callable[[], None],
    is_done: Callable[[], bool],
) -> bool:
    """Runs the work as an attempt, waiting for what is unavailable; whether it was done.

    Raises:
        Ignore: Another attempt is at it. Were this task to end as if it had succeeded, Celery would take the
            other one, which has the same id, for over, and wait for it for ever when the worker is to end.
    """
    job_id = context.job_id
    attempt = Attempt(here.store, job_id, stage, chunk, here.settings.refresh_seconds)
    if not attempt.claim(here.lost_after):
        raise Ignore("another attempt is at it")
    with attempt:
        if is_done():  # By a worker with the same message, between our look and our claim.
            return True
        tally = observed.Tally(context.plan.kind, stage)
        lost_before = attempt.lost
        if lost_before:
            tally.end("lost")
        if lost_before >= MAX_LOST:
            lost = UnitScopeError(
                f"the workers at chunk {stage}/{chunk} were lost {MAX_LOST} times; the log of the "
                "last one, or the memory limit of the workers, may tell why",
                reason="CHUNK_LOST",
            )
            write_terminal(here.store, job_id, JobState.FAILED, _describe(lost, f"{stage}/{chunk}"))
            return False
        try:
            done = _patiently(here, context, work)
            tally.end("done" if done else "handed_back")
            return done
        except JobCancelled:
            tally.end("cancelled")
            return False
        except Exception as error:
            tally.end("failed", error)
            log.exception("%s: %s/%s failed", job_id, stage, chunk)
            described = _describe(error, f"{stage}/{chunk}")
            failures = attempt.fail(described)
            if isinstance(error, PERMANENT) or failures >= MAX_FAILURES:
                write_terminal(here.store, job_id, JobState.FAILED, described)
    if _over(here, job_id):
        return False
    _send_again(here, context, stage, chunk)
    return False


def _patiently(here: Runtime, context: Context, work: Callable[[], None]) -> bool:
    """Runs the work until it is done; False where what it needs stays away too long.

    A service that does not answer in time may be stuck, or asked for too much: it is waited for as if it were
    away, and then that is a failure.
    """
    pause, until = 0.5, time.monotonic() + here.settings.wait_seconds
    while True:
        try:
            work()
            return True
        except (UnavailableError, ResourceExhaustedError, DeadlineError) as error:
            if isinstance(error, ResourceExhaustedError) and error.reason not in PASSING:
                raise
            log.warning("%s waits: %s", context.job_id, error)
            if time.monotonic() + pause > until:
                if isinstance(error, DeadlineError):
                    raise
                return False
            _say_waiting(here, context.job_id, error)
            with observed.waiting(pause):
                _sleep_unless_cancelled(context, pause)
            pause = min(2 * pause, 10.0)


def _sleep_unless_cancelled(context: Context, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.25)
        with suppress(UnavailableError):
            context.beat()


def _release_next(here: Runtime, context: Context, stage: str) -> None:
    """Sends the next stage, or the finaliser, where this stage is complete and nobody has sent it yet.

    Every message that comes twice gets here again. Were it to send again as well, each would beget a whole
    stage, and their number would grow without end.
    """
    stages, job_id = context.plan.stages, context.job_id
    position = context.plan.stage_index(stage)
    if len(done_chunks(here.store, job_id, stage)) < len(stages[position].chunks):
        return
    if here.store.stat(layout.released(job_id, stage)) is not None:
        return
    if position + 1 == len(stages):
        sent = _send(here, context.plan, broker.FINALISE, job_id)
    else:
        sent = _send_stage(here, job_id, context.plan, stages[position + 1])
    if sent:
        here.store.create(layout.released(job_id, stage), b"")


def _send_stage(here: Runtime, job_id: str, plan: Plan, stage: Stage) -> bool:
    """Sends a stage's chunks; whether the broker took all."""
    chunks = range(len(stage.chunks))
    return all(_send(here, plan, broker.RUN_CHUNK, job_id, stage.name, index) for index in chunks)


def _send_again(here: Runtime, context: Context, stage: str, chunk: str) -> None:
    if stage == FINALISE_STAGE:
        _send(here, context.plan, broker.FINALISE, context.job_id)
    else:
        index = context.plan.chunk_ids(context.plan.stage(stage)).index(chunk)
        _send(here, context.plan, broker.RUN_CHUNK, context.job_id, stage, index)


def _send(here: Runtime, plan: Plan, task: str, *ids: str | int) -> bool:
    """Sends a task; where the broker is away the gateway will find out and send it. Whether it took it."""
    try:
        broker.send(here.app, task, *ids, renders=plan.renders)
    except UnavailableError as error:
        log.warning("%s%s is not sent: %s", task, ids, error)
        return False
    return True


def _over(here: Runtime, job_id: str) -> bool:
    """Whether nothing is to be done for the job: it has ended, is to end, or was deleted."""
    return (
        here.store.stat(layout.terminal(job_id)) is not None
        or cancel_requested(here.store, job_id)
        or here.store.stat(layout.spec(job_id)) is None
    )


def _say_waiting(here: Runtime, job_id: str, error: UnitScopeError) -> None:
    body = {"at": datetime.now(UTC).isoformat(), "message": error.message}
    with suppress(UnitScopeError):
        here.store.put(layout.waiting(job_id), json.dumps(body).encode())


def _store_output(here: Runtime, context: Context, output: OutputFile) -> dict[str, object]:
    """Stores an artifact; its entry in the manifest, of what is stored if another was first."""
    key = layout.artifact(context.job_id, output.name)
    data = output.data if here.store.create(key, output.data) else here.store.get(key)
    return {
        "name": output.name,
        "sha256": sha256(data),
        "size": len(data),
        "media_type": output.media_type,
    }


def _describe(error: Exception, chunk: str) -> dict[str, str]:
    """The error as the job's record states it; defects keep their details in the worker's log."""
    if isinstance(error, UnitScopeError):
        return {
            "status": error.status,
            "reason": error.reason,
            "message": error.message,
            "chunk": chunk,
        }
    return {
        "status": "INTERNAL",
        "reason": "WORKER_DEFECT",
        "message": f"{type(error).__name__} in {chunk}; the worker's log has the details",
        "chunk": chunk,
    }
