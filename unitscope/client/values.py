"""What the client hands out: frozen values, read from protobuf once and free of it afterwards.

Fields that a newer server adds are ignored here, so that an older client keeps working.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.convert import spec_from_proto
from unitscope.jobs.specs import AnySpec
from unitscope.jobs.state import JobState
from unitscope.v1 import analysis_job_pb2 as pb


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: The stage being worked on; empty before there is a plan.
        stage_index: Its place, from 0.
        stage_count: The number of stages; 0 before there is a plan.
        chunks_done: Chunks of the stage that are there.
        chunks_total: Chunks of the stage.
        fraction: Share of the job's planned work that is done, 0 to 1.
        waiting_for: What holds the job up, as a sentence; empty if nothing does.
    """

    stage: str = ""
    stage_index: int = 0
    stage_count: int = 0
    chunks_done: int = 0
    chunks_total: int = 0
    fraction: float = 0.0
    waiting_for: str = ""


@dataclass(frozen=True)
class JobError:
    """What a job failed of: gRPC status by name, stable reason, message, and the chunk if it was one."""

    status: str
    reason: str
    message: str
    chunk: str = ""


@dataclass(frozen=True)
class Artifact:
    """One result: its name in the job, sha256 in hexadecimal, size in bytes, and media type."""

    name: str
    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True)
class ModelName:
    """A model by name, digest (sha256, hexadecimal) and kind."""

    name: str
    digest: str
    kind: str


@dataclass(frozen=True)
class Cost:
    """What a plan will take: images, bytes that stay in the store, seconds, chunks."""

    renders: int
    stored_bytes: int
    seconds: float
    chunks: int


@dataclass(frozen=True)
class JobStatus:
    """A job as it stood at one moment.

    Attributes:
        id: The job's id.
        kind: The kind of analysis; empty where this client does not know it.
        spec: What it does, defaults filled in; None where this client does not know all its fields.
        state: Where it stands.
        progress: How far it is.
        error: Of a failed job, what it failed of.
        created: When it was created, UTC.
        ended: When it ended, UTC.
        plan_digest: The sha256 of its plan, once planned.
        models: The models it runs on, once planned.
        artifacts: What came out, once ended.
        sequence: Rises with every change; `JobHandle.watch` resumes after it.
        project: What it belongs to.
        creator: The name of the token that created it; empty where no tokens are asked for.
    """

    id: str
    kind: str
    spec: AnySpec | None
    state: JobState
    progress: Progress
    error: JobError | None
    created: datetime | None
    ended: datetime | None
    plan_digest: str
    models: tuple[ModelName, ...]
    artifacts: tuple[Artifact, ...]
    sequence: int
    project: str = ""
    creator: str = ""

    @property
    def seconds(self) -> float:
        """How long the job has taken so far, or took."""
        if self.created is None:
            return 0.0
        return max(0.0, ((self.ended or datetime.now(UTC)) - self.created).total_seconds())

    @classmethod
    def from_proto(cls, job: pb.AnalysisJob) -> JobStatus:
        """The status that a message states."""
        return cls(
            id=job.job_id,
            kind=job.spec.WhichOneof("kind") or "",
            spec=_spec(job),
            state=JobState(pb.JobState.Name(job.state).removeprefix("JOB_STATE_")),
            progress=Progress(**_fields(job.progress, Progress)),
            error=JobError(**_fields(job.error, JobError)) if job.HasField("error") else None,
            created=_time(job, "create_time"),
            ended=_time(job, "end_time"),
            plan_digest=job.plan_digest,
            models=tuple(ModelName(**_fields(model, ModelName)) for model in job.models),
            artifacts=tuple(Artifact(**_fields(item, Artifact)) for item in job.artifacts),
            sequence=job.sequence,
            project=job.project,
            creator=job.creator,
        )


@dataclass(frozen=True)
class DeletedJob:
    """What stays of a deleted job.

    Attributes:
        id: The job's id.
        project: What it belonged to.
        kind: The kind of analysis.
        state: How it had ended.
        created: When it was created, UTC.
        deleted: When it was deleted, UTC.
        deleted_by: The name of the token that deleted it, or "retention"; empty without tokens.
        cause: "request", "age" or "space".
        manifest_sha256: Of the manifest, which named every artifact with its digest; empty if it had none.
        spec_sha256: Of the spec.
        plan_digest: Of the plan; empty if it had none.
        objects: The number of its objects.
        size: Their bytes.
    """

    id: str
    project: str
    kind: str
    state: JobState
    created: datetime | None
    deleted: datetime | None
    deleted_by: str
    cause: str
    manifest_sha256: str
    spec_sha256: str
    plan_digest: str
    objects: int
    size: int

    @classmethod
    def from_proto(cls, line: pb.DeletedJob) -> DeletedJob:
        """The line that a message states."""
        names = ("project", "kind", "deleted_by", "cause", "manifest_sha256", "spec_sha256", "plan_digest")
        return cls(
            id=line.job_id,
            state=JobState(pb.JobState.Name(line.state).removeprefix("JOB_STATE_")),
            created=_time(line, "create_time"),
            deleted=_time(line, "delete_time"),
            objects=line.objects,
            size=line.size,
            **{name: getattr(line, name) for name in names},
        )


@dataclass(frozen=True)
class Layer:
    """A layer that features can be read from."""

    name: str
    units: int
    nonnegative: bool


@dataclass(frozen=True)
class Model:
    """A model that the installation offers, with its classes and, for a classifier, its layers."""

    name: str
    digest: str
    kind: str
    description: str
    classes: tuple[str, ...]
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of analysis: its name, what it does, and the JSON schema of its spec."""

    name: str
    summary: str
    json_schema: str


@dataclass(frozen=True)
class Capabilities:
    """What an installation can do."""

    version: str
    kinds: tuple[Kind, ...]
    models: tuple[Model, ...]
    limits: Mapping[str, int]

    @classmethod
    def from_proto(cls, response: pb.GetCapabilitiesResponse) -> Capabilities:
        """The capabilities that a message states."""
        models = tuple(
            Model(
                name=item.model.name,
                digest=item.model.digest,
                kind=item.model.kind,
                description=item.description,
                classes=tuple(item.classes),
                layers=tuple(Layer(**_fields(layer, Layer)) for layer in item.layers),
            )
            for item in response.models
        )
        kinds = tuple(Kind(**_fields(kind, Kind)) for kind in response.kinds)
        return cls(response.version, kinds, models, dict(response.limits))


def cost_from_proto(cost: pb.PlanCost) -> Cost:
    """The cost that a message states."""
    return Cost(**_fields(cost, Cost))


def _spec(job: pb.AnalysisJob) -> AnySpec | None:
    """The spec; None where it was made by a newer client, which is no reason to show no job at all."""
    try:
        return spec_from_proto(job.spec)
    except InvalidArgumentError:
        return None


def _fields(message: Message, cls: type[Any]) -> dict[str, Any]:
    return {field.name: getattr(message, field.name) for field in fields(cls)}


def _time(job: pb.AnalysisJob | pb.DeletedJob, field: str) -> datetime | None:
    if not job.HasField(field):
        return None
    return getattr(job, field).ToDatetime(tzinfo=UTC)  # type: ignore[no-any-return]
