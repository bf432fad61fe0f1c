"""The gateway in this process: a real server on a real port, a real store and broker, and no worker."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from services.gateway.assembly import assemble
from unitscope.jobs import layout
from unitscope.jobs.broker import create_app
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.plan import Plan
from unitscope.jobs.planning import make
from unitscope.jobs.specs import parse_spec
from unitscope.jobs.state import JobState, write_terminal
from unitscope.models import Registry
from unitscope.rpc import Server, ServiceEntry, invoke, open_channel
from unitscope.settings import BrokerSettings, GatewaySettings, ServerSettings
from unitscope.store import ObjectStore
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2

PATIENCE = 60
"""Seconds that a call may take on a machine that is busy with other things."""

LINK = {"classifier": "tiny/classifier", "generator": "tiny/generator", "samples_per_class": 20, "folds": 2}


class RunningGateway:
    """A gateway over a folder; settings are those of `GatewaySettings`."""

    def __init__(self, root: Path, models: Path, store: ObjectStore | None = None, **settings: Any) -> None:
        defaults = {"reconcile_seconds": 0.05, "max_active_jobs": 3, "retention_seconds": 3600}
        self.settings = GatewaySettings(**(defaults | settings))
        self.store = store or DirectoryStore(root / "store")
        self.messages = root / "broker" / "messages"
        app = create_app(BrokerSettings(url=f"filesystem:{root / 'broker'}"))
        self.parts = assemble(self.store, Registry(models), app, self.settings, 64 << 20)
        self.jobs, self.loop = self.parts.jobs, self.parts.loop
        servicer = self.parts.servicer
        entry = ServiceEntry(
            "unitscope.v1.AnalysisJobService",
            lambda s: analysis_job_pb2_grpc.add_AnalysisJobServiceServicer_to_server(servicer, s),
        )
        info = lambda: info_pb2.GetInfoResponse(service="gateway")  # noqa: E731
        listen = ServerSettings(listen="127.0.0.1:0", drain_seconds=0.1)
        self.server = Server("gateway", 0, [entry], info, listen, self.settings.max_watchers)
        self.parts.start()
        self.channel = open_channel(self.server.start())
        self.stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(self.channel)

    def call(self, method: str, **fields: Any) -> Any:
        """Calls a method with the fields of its request."""
        request = getattr(pb, f"{method}Request")(**fields)
        return invoke(getattr(self.stub, method), request, PATIENCE)

    def create(self, spec: dict[str, Any] | None = None, **fields: Any) -> Any:
        message = spec_to_proto(parse_spec("link", spec or LINK))
        return self.call("CreateAnalysisJob", spec=message, **fields)

    def get(self, job_id: str) -> pb.AnalysisJob:
        return self.call("GetAnalysisJob", job_id=job_id).job

    def plan(self, job_id: str) -> Plan:
        plan = make(parse_spec("link", LINK), self.jobs.registry, lambda digest: None)  # type: ignore[arg-type]
        self.store.create(layout.plan(job_id), plan.model_dump_json().encode())
        return plan

    def succeed(self, job_id: str, **files: bytes) -> None:
        """Ends a job with artifacts ``tables/<name>.json``."""
        entries = []
        for name, data in files.items():
            artifact = f"tables/{name}.json"
            self.store.create(layout.artifact(job_id, artifact), data)
            digest = hashlib.sha256(data).hexdigest()
            media_type = "application/json"
            entries.append({"name": artifact, "sha256": digest, "size": len(data), "media_type": media_type})
        self.store.create(layout.manifest(job_id), json.dumps({"artifacts": entries}).encode())
        write_terminal(self.store, job_id, JobState.SUCCEEDED)

    def ended(self, request_id: str = "", state: JobState = JobState.SUCCEEDED, **files: bytes) -> str:
        """A new job that has ended."""
        job_id: str = self.create(request_id=request_id).job.job_id
        if state is JobState.SUCCEEDED:
            self.succeed(job_id, **files)
        else:
            write_terminal(self.store, job_id, state, {"status": "X", "reason": "X", "message": "m"})
        return job_id

    def close(self) -> None:
        self.channel.close()
        self.parts.stop()
        self.server.stop()


def keys_of(store: ObjectStore) -> list[str]:
    """The keys of all that concerns jobs."""
    prefixes = ("jobs/", "active/", "listing/", "usage/", "deleting/", "audit/")
    return [info.key for prefix in prefixes for info in store.objects(prefix)]
