"""Classifier, linker and generator on the tiny pack, and jobs carried out chunk by chunk, without Celery."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.classifier.__main__ import make_server
from services.linker.servicer import LinkerServicer
from services.linker.storage import LinkerStorage
from tests.support.generator import in_process_generator
from tests.support.grown import write_grown
from tests.support.tiny_pack import write_tiny_pack
from unitscope.jobs import layout, planning
from unitscope.jobs.chunks import ChunkResult, encode
from unitscope.jobs.plan import Plan
from unitscope.jobs.specs import AnySpec, LinkSpec, QuantifySpec, TraverseSpec, UnitSelection
from unitscope.models import Registry
from unitscope.models.linkers import find_linker
from unitscope.rpc import Server, ServiceEntry
from unitscope.settings import EndpointSettings, ModelSettings, ServerSettings, WorkerSettings
from unitscope.store import ObjectStore
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import info_pb2, linker_pb2_grpc
from workers.analyses import analysis_of
from workers.context import Context
from workers.outputs import OutputFile

PATIENCE = 240.0

LINK = LinkSpec(
    classifier="tiny/classifier",
    generator="tiny/generator",
    samples_per_class=60,
    heldout_per_class=12,
    folds=2,
    penalties=(0.01, 0.1, 1.0),
)
TRAVERSE = TraverseSpec(link=LINK, units=UnitSelection(top=3), seeds_per_class=3, steps=4)
QUANTIFY = QuantifySpec(link=LINK, screening_seeds=6, seeds=32, shortlist=4, steps=3, min_trust=0.0)


@dataclass
class Stack:
    """Running services over one store and one registry."""

    endpoints: EndpointSettings
    registry: Registry
    store: ObjectStore

    def context(self, job_id: str, spec: AnySpec) -> Context:
        """A job of a spec, planned; its record is in the store."""
        body = {"kind": "test", "created": "2026-01-02T03:04:05+00:00"}
        self.store.create(layout.spec(job_id), json.dumps(body).encode())
        plan = planning.make(spec, self.registry, lambda digest: find_linker(self.store, digest))
        return self.bind(job_id, plan)

    def bind(self, job_id: str, plan: Plan) -> Context:
        """A worker's view of a job."""
        settings = WorkerSettings(call_seconds=PATIENCE)
        return Context(job_id, plan, self.store, self.registry, self.endpoints, settings)

    def run(self, job_id: str, spec: AnySpec) -> Job:
        """Carries a job out, stage by stage, chunk by chunk."""
        context = self.context(job_id, spec)
        analysis = analysis_of(context.plan.kind)
        for stage in context.plan.stages:
            for params, chunk in zip(stage.chunks, context.plan.chunk_ids(stage), strict=True):
                result = analysis.run(context, stage.name, params)
                assert self.store.create(layout.chunk(job_id, stage.name, chunk), encode(result))
        return Job(context, {file.name: file for file in analysis.finalise(context)})


@dataclass
class Job:
    """A job that was carried out, and its artifacts by name."""

    context: Context
    files: dict[str, OutputFile]

    def chunks(self, stage: str) -> list[ChunkResult]:
        """The results of a stage."""
        return [result for _, result in self.context.result(stage)]


@contextlib.contextmanager
def running_stack(folder: Path, models: Path | None = None) -> Iterator[Stack]:
    """Starts the services, each a real server behind a real channel; stops them at the end.

    Their models are those of a folder, or else of the tiny pack.
    """
    root = models or write_tiny_pack(folder / "models")
    if models is None:
        write_grown(root)
    store = DirectoryStore(folder / "store")
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    linker = LinkerServicer(LinkerStorage(store))
    entry = ServiceEntry(
        "unitscope.v1.LinkerService",
        lambda server: linker_pb2_grpc.add_LinkerServiceServicer_to_server(linker, server),
    )
    servers = {
        "classifier": make_server(ModelSettings(root=root), settings),
        "linker": Server("linker", 0, [entry], info_pb2.GetInfoResponse, settings),
    }
    with contextlib.ExitStack() as stack:
        addresses = {name: server.start() for name, server in servers.items()}
        for server in servers.values():
            stack.callback(server.stop)
        generator = stack.enter_context(in_process_generator(root))
        endpoints = EndpointSettings(generator=generator.address, **addresses)
        yield Stack(endpoints, Registry(root), store)
