"""AnalysisJobService: protobuf in, protobuf out, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc

from services.gateway.convert import (
    cost_to_proto,
    deleted_to_proto,
    filters_from_proto,
    job_to_proto,
    kinds_to_proto,
    model_to_proto,
    timestamp,
)
from services.gateway.jobs import Jobs
from services.gateway.loop import Loop
from services.gateway.pages import check_size, make_token, read_token
from unitscope.errors import InvalidArgumentError, ResourceExhaustedError
from unitscope.jobs import layout
from unitscope.jobs.convert import refuse_unknown_fields, spec_from_proto, spec_to_proto
from unitscope.rpc.access import current_principal
from unitscope.settings import GatewaySettings
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc
from unitscope.version import package_version

# Method names below are gRPC's.
# ruff: noqa: N802, D102

MAX_ARTIFACTS, DEFAULT_ARTIFACTS = 1000, 100
MAX_LINK_SECONDS, DEFAULT_LINK_SECONDS = 86_400, 3_600
WATCHER_SECONDS = 5.0
"""What a watcher is told to wait where all places are taken."""


class AnalysisJobServicer(analysis_job_pb2_grpc.AnalysisJobServiceServicer):
    """Serves the job API."""

    def __init__(self, jobs: Jobs, loop: Loop, settings: GatewaySettings, limits: dict[str, int]) -> None:
        """Binds the service to jobs, loop and settings; `limits` is what capabilities state."""
        self._jobs = jobs
        self._loop = loop
        self._settings = settings
        self._limits = limits
        self._watchers = threading.BoundedSemaphore(settings.max_watchers)

    def CreateAnalysisJob(
        self, request: pb.CreateAnalysisJobRequest, context: grpc.ServicerContext
    ) -> pb.CreateAnalysisJobResponse:
        refuse_unknown_fields(request, "request")
        spec, rate = spec_from_proto(request.spec), self._loop.renders_per_second
        if request.validate_only:
            cost = cost_to_proto(self._jobs.validate(spec), rate)
            return pb.CreateAnalysisJobResponse(job=pb.AnalysisJob(spec=spec_to_proto(spec)), cost=cost)
        record, planned = self._jobs.create(spec, request.request_id, current_principal())
        return pb.CreateAnalysisJobResponse(job=job_to_proto(record), cost=cost_to_proto(planned, rate))

    def GetAnalysisJob(
        self, request: pb.GetAnalysisJobRequest, context: grpc.ServicerContext
    ) -> pb.GetAnalysisJobResponse:
        record = self._jobs.get(request.job_id, current_principal().project)
        return pb.GetAnalysisJobResponse(job=job_to_proto(record))

    def ListAnalysisJobs(
        self, request: pb.ListAnalysisJobsRequest, context: grpc.ServicerContext
    ) -> pb.ListAnalysisJobsResponse:
        refuse_unknown_fields(request, "request")
        records, token = self._jobs.page(
            current_principal().project, request.page_size, request.page_token, filters_from_proto(request)
        )
        jobs = [job_to_proto(record, artifacts=False) for record in records]
        return pb.ListAnalysisJobsResponse(jobs=jobs, next_page_token=token)

    def WatchAnalysisJob(
        self, request: pb.WatchAnalysisJobRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchAnalysisJobResponse]:
        if not self._watchers.acquire(blocking=False):
            raise ResourceExhaustedError(
                f"{self._settings.max_watchers} watchers are connected, as many as are allowed; "
                "try again later, or ask with GetAnalysisJob",
                reason="TOO_MANY_WATCHERS",
                retry_after=WATCHER_SECONDS,
            )
        try:
            states = self._loop.watch(
                request.job_id,
                current_principal().project,
                request.after_sequence,
                self._settings.heartbeat_seconds,
                context.add_callback,
            )
            for record, heartbeat in states:
                if not context.is_active():
                    return
                yield pb.WatchAnalysisJobResponse(job=job_to_proto(record), heartbeat=heartbeat)
        finally:
            self._watchers.release()

    def CancelAnalysisJob(
        self, request: pb.CancelAnalysisJobRequest, context: grpc.ServicerContext
    ) -> pb.CancelAnalysisJobResponse:
        record = self._jobs.cancel(request.job_id, current_principal().project)
        return pb.CancelAnalysisJobResponse(job=job_to_proto(record))

    def DeleteAnalysisJob(
        self, request: pb.DeleteAnalysisJobRequest, context: grpc.ServicerContext
    ) -> pb.DeleteAnalysisJobResponse:
        line = self._jobs.delete(request.job_id, current_principal())
        return pb.DeleteAnalysisJobResponse(deleted=deleted_to_proto(line))

    def ListArtifacts(
        self, request: pb.ListArtifactsRequest, context: grpc.ServicerContext
    ) -> pb.ListArtifactsResponse:
        size = check_size(request.page_size, DEFAULT_ARTIFACTS, MAX_ARTIFACTS)
        after = read_token(request.page_token, request.job_id)
        record = self._jobs.get(request.job_id, current_principal().project)
        left = sorted((a for a in record.artifacts if a["name"] > after), key=lambda a: str(a["name"]))
        token = make_token(left[size - 1]["name"], request.job_id) if len(left) > size else ""
        artifacts = [pb.Artifact(**artifact) for artifact in left[:size]]
        return pb.ListArtifactsResponse(artifacts=artifacts, next_page_token=token)

    def GetArtifactLink(
        self, request: pb.GetArtifactLinkRequest, context: grpc.ServicerContext
    ) -> pb.GetArtifactLinkResponse:
        if not 0 <= request.lifetime_seconds <= MAX_LINK_SECONDS:
            raise InvalidArgumentError(
                f"lifetime_seconds is {request.lifetime_seconds}; use 1 to {MAX_LINK_SECONDS}, or 0 for "
                f"{DEFAULT_LINK_SECONDS}",
                reason="INVALID_LIFETIME",
                field="lifetime_seconds",
            )
        entry = self._jobs.artifact(request.job_id, current_principal().project, request.artifact)
        seconds = request.lifetime_seconds or DEFAULT_LINK_SECONDS
        url = self._jobs.store.link(
            layout.artifact(request.job_id, request.artifact),
            seconds,
            request.artifact.rpartition("/")[2],
            entry["media_type"],
        )
        response = pb.GetArtifactLinkResponse(artifact=pb.Artifact(**entry), url=url or "")
        if url:
            response.expire_time.CopyFrom(timestamp(datetime.now(UTC) + timedelta(seconds=seconds)))
        return response

    def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReadArtifactResponse]:
        project = current_principal().project
        for piece in self._jobs.read_artifact(request.job_id, project, request.artifact):
            yield pb.ReadArtifactResponse(data=piece)

    def GetCapabilities(
        self, request: pb.GetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> pb.GetCapabilitiesResponse:
        return pb.GetCapabilitiesResponse(
            version=package_version(),
            kinds=kinds_to_proto(),
            models=[model_to_proto(card) for card in self._jobs.models()],
            limits=self._limits,
        )
