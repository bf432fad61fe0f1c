"""A gateway whose jobs do what a test says: a real server on a real port, with our interceptors."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from unitscope.errors import NotFoundError, UnitScopeError
from unitscope.jobs.convert import spec_from_proto, spec_to_proto
from unitscope.jobs.ids import check_job_id, job_id_of
from unitscope.rpc import Server, ServiceEntry
from unitscope.settings import ServerSettings
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2

SERVICE = "unitscope.v1.AnalysisJobService"
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


class ScriptedGateway(analysis_job_pb2_grpc.AnalysisJobServiceServicer):
    """Keeps jobs in memory across restarts of its server.

    Attributes:
        history: All states of each job, oldest first.
        contents: Bytes of artifacts by (job, name); what a state states of them may differ.
        failures: Errors that the next calls end with, after they were carried out.
        requests: Every request that came, in order.
        created: Is called with the id of each new job.
        break_reads_after: Bytes of an artifact after which the next read breaks off, once.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[pb.AnalysisJob]] = {}
        self.contents: dict[tuple[str, str], bytes] = {}
        self.failures: deque[UnitScopeError] = deque()
        self.requests: list[Any] = []
        self.created: Callable[[str], None] = lambda job_id: None
        self.break_reads_after: int | None = None
        self._changed = threading.Condition()
        self._server: Server | None = None
        self.address = "127.0.0.1:0"

    def start(self) -> str:
        """Serves, on the same port as before; the address."""
        settings = ServerSettings(listen=self.address, drain_seconds=0)

        def add(server: grpc.Server) -> None:
            analysis_job_pb2_grpc.add_AnalysisJobServiceServicer_to_server(self, server)

        entry = ServiceEntry(SERVICE, add)
        self._server = Server("gateway", 0, [entry], info_pb2.GetInfoResponse, settings)
        self.address = self._server.start()
        return self.address

    def stop(self) -> None:
        """Stops serving; open streams break."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serves within the block."""
        try:
            yield self.start()
        finally:
            self.stop()

    def push(self, job_id: str, state: str, **fields: Any) -> pb.AnalysisJob:
        """Adds a state to a job, made where it is new; who watches sees it."""
        with self._changed:
            states = self.history.setdefault(job_id, [])
            job = pb.AnalysisJob()
            if states:
                job.CopyFrom(states[-1])
            else:
                job.spec.link.classifier, job.spec.link.generator = "a/c", "a/g"
                job.create_time.GetCurrentTime()
            job.job_id, job.sequence = job_id, len(states) + 1
            job.state = pb.JobState.Value(f"JOB_STATE_{state}")
            for name, value in fields.items():
                if isinstance(value, list):
                    getattr(job, name).extend(value)
                else:
                    getattr(job, name).CopyFrom(value)
            if state in TERMINAL:
                job.end_time.GetCurrentTime()
            states.append(job)
            self._changed.notify_all()
        return job

    def add_artifact(self, job_id: str, name: str, data: bytes) -> pb.Artifact:
        """Keeps the bytes; the artifact to push with a job's last state."""
        self.contents[job_id, name] = data
        digest = hashlib.sha256(data).hexdigest()
        return pb.Artifact(name=name, sha256=digest, size=len(data), media_type="application/octet-stream")

    def CreateAnalysisJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        spec = spec_to_proto(spec_from_proto(request.spec))
        if request.validate_only:
            self._note(request)
            cost = pb.PlanCost(renders=1200, stored_bytes=5_000_000, seconds=61.5, chunks=7)
            return pb.CreateAnalysisJobResponse(job=pb.AnalysisJob(spec=spec), cost=cost)
        job_id = job_id_of(request.request_id)
        if job_id not in self.history:
            self.push(job_id, "QUEUED", spec=spec)
            self.created(job_id)
        self._note(request)
        return pb.CreateAnalysisJobResponse(job=self._states(job_id)[0])

    def GetAnalysisJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note(request)
        return pb.GetAnalysisJobResponse(job=self._states(request.job_id)[-1])

    def ListAnalysisJobs(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note(request)
        jobs = [states[-1] for states in reversed(self.history.values())]
        first = int(request.page_token or 0)
        last = first + (request.page_size or 25)
        token = str(last) if last < len(jobs) else ""
        return pb.ListAnalysisJobsResponse(jobs=jobs[first:last], next_page_token=token)

    def WatchAnalysisJob(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self._note(request)
        states, sent = self._states(request.job_id), request.after_sequence
        while context.is_active():
            with self._changed:
                if len(states) == sent:
                    self._changed.wait(0.1)
                fresh = states[sent:]
            for job in fresh:
                yield pb.WatchAnalysisJobResponse(job=job)
            if not fresh:
                yield pb.WatchAnalysisJobResponse(job=states[-1], heartbeat=True)
            sent += len(fresh)
            if pb.JobState.Name(states[sent - 1].state).removeprefix("JOB_STATE_") in TERMINAL:
                return

    def CancelAnalysisJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note(request)
        self._states(request.job_id)
        self.push(request.job_id, "CANCELLING")
        return pb.CancelAnalysisJobResponse(job=self.push(request.job_id, "CANCELLED"))

    def ReadArtifact(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self._note(request)
        data = self.contents[request.job_id, request.artifact]
        for first in range(0, len(data), 1000):
            if self.break_reads_after is not None and first >= self.break_reads_after:
                self.break_reads_after = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            yield pb.ReadArtifactResponse(data=data[first : first + 1000])

    def GetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note(request)
        layer = pb.LayerCapability(name="penultimate", units=512, nonnegative=True)
        model = pb.ModelCapability(
            model=info_pb2.ModelInfo(name="a/c", digest="ab" * 32, kind="classifier"),
            classes=["cap", "hat"],
            layers=[layer],
            description="A classifier.",
        )
        return pb.GetCapabilitiesResponse(
            version="1.2.3",
            kinds=[pb.AnalysisKind(name="link", summary="Fit.", json_schema="{}")],
            models=[model],
            limits={"max_units_per_job": 8192},
        )

    def _note(self, request: Any) -> None:
        self.requests.append(request)
        if self.failures:
            raise self.failures.popleft()

    def _states(self, job_id: str) -> list[pb.AnalysisJob]:
        if check_job_id(job_id) not in self.history:
            raise NotFoundError(f"there is no job {job_id}", reason="JOB_NOT_FOUND")
        return self.history[job_id]
