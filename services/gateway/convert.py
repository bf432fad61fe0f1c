"""Jobs, costs and capabilities as protobuf messages."""

from __future__ import annotations

import json
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.plan import Cost
from unitscope.jobs.specs import KINDS, SUMMARIES
from unitscope.jobs.state import JobRecord
from unitscope.models import ModelCard
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import info_pb2


def job_to_proto(record: JobRecord) -> pb.AnalysisJob:
    """The job as a message."""
    job = pb.AnalysisJob(
        job_id=record.job_id,
        spec=spec_to_proto(record.spec),
        state=f"JOB_STATE_{record.state.value}",
        create_time=_timestamp(record.created),
        plan_digest=record.plan_digest,
        sequence=record.sequence,
        progress=_progress(record),
        artifacts=[pb.Artifact(**artifact) for artifact in record.artifacts],
    )
    if record.ended is not None:
        job.end_time.CopyFrom(_timestamp(record.ended))
    if record.error:
        job.error.CopyFrom(pb.JobError(**record.error))
    if record.plan is not None:
        job.models.extend(
            info_pb2.ModelInfo(name=m.name, digest=m.digest, kind=m.kind) for m in record.plan.models
        )
    return job


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


def kinds_to_proto() -> list[pb.AnalysisKind]:
    """The kinds of analysis with the JSON schema of their specs."""
    return [
        pb.AnalysisKind(name=kind, summary=SUMMARIES[kind], json_schema=json.dumps(cls.model_json_schema()))
        for kind, cls in KINDS.items()
    ]


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


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
