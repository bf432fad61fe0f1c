"""AnalysisJobService: protobuf in, protobuf out, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from services.gateway.convert import cost_to_proto, job_to_proto, kinds_to_proto, model_to_proto
from services.gateway.jobs import Jobs
from services.gateway.loop import Loop
from unitscope.errors import ResourceExhaustedError
from unitscope.jobs.convert import refuse_unknown_fields, spec_from_proto, spec_to_proto
from unitscope.settings import GatewaySettings
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc
from unitscope.version import package_version

# Method names below are gRPC's.
# ruff: noqa: N802, D102


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
        spec = spec_from_proto(request.spec)
        cost = cost_to_proto(self._jobs.validate(spec), self._loop.renders_per_second)
        if request.validate_only:
            return pb.CreateAnalysisJobResponse(job=pb.AnalysisJob(spec=spec_to_proto(spec)), cost=cost)
        record = self._jobs.create(spec, request.request_id)
        return pb.CreateAnalysisJobResponse(job=job_to_proto(record), cost=cost)

    def GetAnalysisJob(
        self, request: pb.GetAnalysisJobRequest, context: grpc.ServicerContext
    ) -> pb.GetAnalysisJobResponse:
        return pb.GetAnalysisJobResponse(job=job_to_proto(self._jobs.get(request.job_id)))

    def ListAnalysisJobs(
        self, request: pb.ListAnalysisJobsRequest, context: grpc.ServicerContext
    ) -> pb.ListAnalysisJobsResponse:
        records, token = self._jobs.page(request.page_size, request.page_token)
        jobs = [job_to_proto(record) for record in records]
        return pb.ListAnalysisJobsResponse(jobs=jobs, next_page_token=token)

    def WatchAnalysisJob(
        self, request: pb.WatchAnalysisJobRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchAnalysisJobResponse]:
        if not self._watchers.acquire(blocking=False):
            raise ResourceExhaustedError(
                f"{self._settings.max_watchers} watchers are connected, as many as are allowed; "
                "try again later, or ask with GetAnalysisJob",
                reason="TOO_MANY_WATCHERS",
            )
        try:
            states = self._loop.watch(
                request.job_id, request.after_sequence, self._settings.heartbeat_seconds
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
        return pb.CancelAnalysisJobResponse(job=job_to_proto(self._jobs.cancel(request.job_id)))

    def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReadArtifactResponse]:
        for piece in self._jobs.read_artifact(request.job_id, request.artifact):
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
