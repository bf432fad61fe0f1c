"""What the tasks of one worker process share: store, registry, sender of tasks, plans already read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from celery import Celery

from unitscope.jobs import layout, planning
from unitscope.jobs.broker import create_app
from unitscope.jobs.plan import Plan
from unitscope.jobs.state import read_job, read_plan
from unitscope.models import ModelCard, Registry
from unitscope.models.linkers import find_linker
from unitscope.rpc.tls import files_stamp
from unitscope.rpc.watched import Stamp
from unitscope.settings import (
    BrokerSettings,
    EndpointSettings,
    GatewaySettings,
    ModelSettings,
    StoreSettings,
    TlsSettings,
    WorkerSettings,
)
from unitscope.store import ObjectStore, open_store
from workers.context import Context

MAX_PLANS = 64


@dataclass
class Runtime:
    """One process's connections."""

    store: ObjectStore
    registry: Registry
    app: Celery
    endpoints: EndpointSettings
    settings: WorkerSettings
    lost_after: float
    _contexts: dict[str, Context] = field(default_factory=dict)
    _tls_files: Stamp | None = None

    def context(self, job_id: str) -> Context | None:
        """The job's context; None where it has no plan yet. Plans never change, so they are kept."""
        # Channels keep the certificates that they were opened with.
        files = files_stamp(TlsSettings())
        if files is not None and files != self._tls_files:
            self._contexts.clear()
            self._tls_files = files
        if job_id not in self._contexts:
            plan = read_plan(self.store, job_id)
            if plan is None:
                return None
            if len(self._contexts) >= MAX_PLANS:
                self._contexts.clear()
            self._contexts[job_id] = self._bind(job_id, plan)
        return self._contexts[job_id]

    def linker(self, digest: str) -> ModelCard:
        """The card of a published linker."""
        return find_linker(self.store, digest)

    def make_plan(self, job_id: str) -> Plan:
        """The plan of the job's spec, stored unless another planner was first; the stored one."""
        plan = planning.make(read_job(self.store, job_id).spec, self.registry, self.linker)
        self.store.create(layout.plan(job_id), plan.model_dump_json(indent=1).encode())
        stored = read_plan(self.store, job_id)
        return stored or plan

    def _bind(self, job_id: str, plan: Plan) -> Context:
        return Context(job_id, plan, self.store, self.registry, self.endpoints, self.settings)


@cache
def runtime() -> Runtime:
    """This process's runtime, made from the environment at the first task."""
    return Runtime(
        store=open_store(StoreSettings()),
        registry=Registry(ModelSettings().root),
        app=create_app(BrokerSettings()),
        endpoints=EndpointSettings(),
        settings=WorkerSettings(),
        lost_after=GatewaySettings().lost_after_seconds,
    )
