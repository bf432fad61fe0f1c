"""Jobs, costs and capabilities as protobuf messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.pages import Filters
from unitscope.errors import InvalidArgumentError
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.plan import Cost
from unitscope.jobs.specs import KINDS, SUMMARIES
from unitscope.jobs.state import JobRecord, JobState
from unitscope.models import ModelCard
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import info_pb2


def job_to_proto(record: JobRecord, *, artifacts: bool = True) -> pb.AnalysisJob:
    """The job as a message, with its artifacts or without."""
    job = pb.AnalysisJob(
        job_id=record.job_id,
        spec=spec_to_proto(record.spec),
        state=f"JOB_STATE_{record.state.value}",
        create_time=timestamp(record.created),
        plan_digest=record.plan_digest,
        sequence=record.sequence,
        progress=_progress(record),
        artifacts=[pb.Artifact(**artifact) for artifact in record.artifacts if artifacts],
        project=record.project,
        creator=record.creator,
    )
    if record.ended is not None:
        job.end_time.CopyFrom(timestamp(record.ended))
    if record.error:
        job.error.CopyFrom(pb.JobError(**record.error))
    if record.plan is not None:
        job.models.extend(
            info_pb2.ModelInfo(name=m.name, digest=m.digest, kind=m.kind) for m in record.plan.models
        )
    return job


def deleted_to_proto(line: Mapping[str, Any]) -> pb.DeletedJob:
    """The audit line of a deleted job as a message."""
    return pb.DeletedJob(
        job_id=line["job_id"],
        project=line["project"],
        kind=line["kind"],
        state=f"JOB_STATE_{line['state']}",
        create_time=timestamp(datetime.fromisoformat(line["created"])),
        delete_time=timestamp(datetime.fromisoformat(line["deleted"])),
        deleted_by=line["by"],
        cause=line["cause"],
        manifest_sha256=line["manifest_sha256"],
        spec_sha256=line["spec_sha256"],
        plan_digest=line["plan_digest"],
        objects=line["objects"],
        size=line["size"],
    )


def filters_from_proto(request: pb.ListAnalysisJobsRequest) -> Filters:
    """The filters of a request.

    Raises:
        InvalidArgumentError: A state or kind is unknown, or a time is none.
    """
    return Filters(
        frozenset(_state(number) for number in request.states),
        frozenset(request.kinds),
        _moment(request, "created_from"),
        _moment(request, "created_before"),
    )


def cost_to_proto(cost: Cost, renders_per_second: float) -> pb.PlanCost:
    """The cost as a message; 0 seconds where no rate has been measured yet."""
    seconds = cost.renders / renders_per_second if renders_per_second > 0 else 0.0
    return pb.PlanCost(
        renders=cost.renders, stored_bytes=cost.stored_bytes, chunks=cost.chunks, seconds=seconds
    )


def model_to_proto(card: ModelCard) -> pb.ModelCapability:
    """A model as capabilities show it."""
    return pb.ModelCapability(
        model=info_pb2.ModelInfo(name=card.name, digest=card.digest, kind=card.kind),
        classes=card.classes,
        description=card.description,
        layers=[
            pb.LayerCapability(name=layer.name, units=layer.units, nonnegative=layer.nonnegative)
            for layer in card.layers
        ],
    )


@cache
def kinds_to_proto() -> tuple[pb.AnalysisKind, ...]:
    """The kinds of analysis with the JSON schema of their specs; made once, for it takes a while."""
    return tuple(
        pb.AnalysisKind(name=kind, summary=SUMMARIES[kind], json_schema=json.dumps(cls.model_json_schema()))
        for kind, cls in KINDS.items()
    )


def _progress(record: JobRecord) -> pb.JobProgress:
    progress = pb.JobProgress(fraction=record.fraction, waiting_for=record.waiting_for)
    current = record.current
    if current is not None:
        progress.stage = current.name
        progress.stage_index = [stage.name for stage in record.stages].index(current.name)
        progress.stage_count = len(record.stages)
        progress.chunks_done = len(current.done)
        progress.chunks_total = current.total
    return progress


def _state(number: int) -> JobState:
    name = pb.JobState.Name(number) if number in pb.JobState.values() else ""
    if name in ("", "JOB_STATE_UNSPECIFIED"):
        raise InvalidArgumentError(
            f"{number} is no state to ask for; leave the states out for jobs in all states",
            reason="UNKNOWN_STATE",
            field="states",
        )
    return JobState(name.removeprefix("JOB_STATE_"))


def _moment(request: pb.ListAnalysisJobsRequest, field: str) -> datetime | None:
    if not request.HasField(field):
        return None
    try:
        moment = getattr(request, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{field} is no time between the years 1 and 9999", reason="INVALID_TIME_RANGE", field=field
        ) from None
    return moment


def timestamp(moment: datetime) -> Timestamp:
    """The moment as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
