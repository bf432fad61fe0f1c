"""A job's state, derived from what is in the store. The only reader of a job's objects.

The sequence number counts what can only grow (chunks present, lifecycle objects present), so that it
is the same for every process that looks, before and after a restart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from unitscope.errors import NotFoundError
from unitscope.jobs import layout
from unitscope.jobs.ids import DEFAULT_PROJECT, check_job_id
from unitscope.jobs.plan import Plan
from unitscope.jobs.specs import AnySpec, parse_spec
from unitscope.store import ObjectStore


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class StageProgress:
    """Chunks of one stage."""

    name: str
    done: frozenset[str]
    total: int

    @property
    def complete(self) -> bool:
        """Whether all chunks are there."""
        return len(self.done) >= self.total


@dataclass(frozen=True)
class JobRecord:
    """A job as the store shows it.

    Attributes:
        stages: One entry a stage, as far as it is known; stages after the current one are empty.
        error: Of a failed job: ``{"status", "reason", "message", "chunk"}``.
        artifacts: Of an ended job: ``{"name", "sha256", "size", "media_type"}`` each.
        sequence: Rises with every change.
        project: What it belongs to.
        creator: The name of the token that created it.
    """

    job_id: str
    kind: str
    spec: AnySpec
    created: datetime
    state: JobState
    plan: Plan | None = None
    plan_digest: str = ""
    stages: tuple[StageProgress, ...] = ()
    ended: datetime | None = None
    error: dict[str, str] | None = None
    artifacts: tuple[dict[str, Any], ...] = ()
    waiting_for: str = ""
    sequence: int = 0
    project: str = DEFAULT_PROJECT
    creator: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def current(self) -> StageProgress | None:
        """The first stage that is not complete; the last one where all are."""
        for stage in self.stages:
            if not stage.complete:
                return stage
        return self.stages[-1] if self.stages else None

    @property
    def fraction(self) -> float:
        """The share of planned work that is done, by renders and chunks, 0 to 1."""
        if self.state is JobState.SUCCEEDED:
            return 1.0
        if self.plan is None:
            return 0.0
        weights = [stage.renders + 20 * len(stage.chunks) for stage in self.plan.stages]
        done = sum(
            weight * len(stage.done) / max(stage.total, 1)
            for weight, stage in zip(weights, self.stages, strict=True)
        )
        return min(0.999, done / max(sum(weights), 1))


def create_spec(
    store: ObjectStore,
    job_id: str,
    spec: AnySpec,
    kind: str,
    created: datetime | None = None,
    project: str = DEFAULT_PROJECT,
    creator: str = "",
) -> bool:
    """Stores the spec, which makes the job exist; whether it is new."""
    body = {
        "schema_version": 1,
        "kind": kind,
        "spec": spec.model_dump(mode="json"),
        "created": (created or datetime.now(UTC)).isoformat(),
        "project": project,
        "creator": creator,
    }
    return store.create(layout.spec(job_id), json.dumps(body, indent=1).encode())


def read_json(store: ObjectStore, key: str) -> dict[str, Any] | None:
    """A JSON object from the store; None where it is not there."""
    try:
        value: dict[str, Any] = json.loads(store.get(key))
    except NotFoundError:
        return None
    return value


def read_plan(store: ObjectStore, job_id: str) -> Plan | None:
    """The job's plan; None where it has none yet."""
    try:
        return Plan.model_validate_json(store.get(layout.plan(job_id)))
    except NotFoundError:
        return None


def cancel_requested(store: ObjectStore, job_id: str) -> bool:
    """Whether somebody asked the job to stop."""
    return store.stat(layout.cancel(job_id)) is not None


def write_terminal(
    store: ObjectStore,
    job_id: str,
    state: JobState,
    error: dict[str, str] | None = None,
) -> bool:
    """Ends the job; whether this call decided how."""
    body = {
        "state": state.value,
        "ended": datetime.now(UTC).isoformat(),
        "error": error,
    }
    return store.create(layout.terminal(job_id), json.dumps(body, indent=1).encode())


def done_chunks(store: ObjectStore, job_id: str, stage: str) -> frozenset[str]:
    """The ids of the stage's chunks that are there."""
    names = store.children(layout.stage(job_id, stage))
    return frozenset(name.removesuffix(".safetensors") for name in names)


def read_job(store: ObjectStore, job_id: str, plan: Plan | None = None) -> JobRecord:
    """The job as it stands.

    Args:
        store: The store.
        job_id: The job.
        plan: Its plan, where the caller knows it already; plans never change.

    Raises:
        InvalidArgumentError: The id is none.
        NotFoundError: There is no such job (reason JOB_NOT_FOUND).
    """
    body = read_json(store, layout.spec(check_job_id(job_id)))
    if body is None:
        raise NotFoundError(
            f"there is no job {job_id}; 'unitscope list' shows those there are",
            reason="JOB_NOT_FOUND",
            field="job_id",
            job=job_id,
        )
    end = read_json(store, layout.terminal(job_id))
    plan = plan or read_plan(store, job_id)
    cancelling = cancel_requested(store, job_id)
    stages = _progress(store, job_id, plan) if plan else ()
    state = JobState.RUNNING if plan else JobState.QUEUED
    if cancelling:
        state = JobState.CANCELLING
    if end is not None:
        state = JobState(end["state"])
    done = sum(len(stage.done) for stage in stages)
    manifest = read_json(store, layout.manifest(job_id)) if end is not None else None
    waiting = read_json(store, layout.waiting(job_id)) if end is None else None
    return JobRecord(
        job_id=job_id,
        kind=body["kind"],
        spec=parse_spec(body["kind"], body["spec"]),
        created=datetime.fromisoformat(body["created"]),
        state=state,
        plan=plan,
        plan_digest=plan.digest if plan else "",
        stages=stages,
        ended=datetime.fromisoformat(end["ended"]) if end else None,
        error=end.get("error") if end else None,
        artifacts=tuple(manifest["artifacts"]) if manifest else (),
        waiting_for=_waiting(waiting),
        sequence=1 + done + sum((plan is not None, cancelling, end is not None)),
        project=body.get("project", DEFAULT_PROJECT),
        creator=body.get("creator", ""),
    )


def _progress(store: ObjectStore, job_id: str, plan: Plan) -> tuple[StageProgress, ...]:
    """Stages in order; those after the first incomplete one are not looked for."""
    found: list[StageProgress] = []
    reached = True
    for stage in plan.stages:
        done = done_chunks(store, job_id, stage.name) if reached else frozenset()
        found.append(StageProgress(stage.name, done, len(stage.chunks)))
        reached = found[-1].complete
    return tuple(found)


def _waiting(body: dict[str, Any] | None) -> str:
    """What a chunk said it waits for, unless that was a while ago."""
    if body is None:
        return ""
    age = (datetime.now(UTC) - datetime.fromisoformat(body["at"])).total_seconds()
    return str(body["message"]) if age < 30 else ""
