"""The gateway's parts, put together from its settings."""

from __future__ import annotations

from dataclasses import dataclass

from celery import Celery

from services.gateway.admission import Admission, Quotas
from services.gateway.deletion import Deletion
from services.gateway.housekeeping import Housekeeping, Retention
from services.gateway.jobs import Jobs
from services.gateway.listing import Listing
from services.gateway.loop import Loop
from services.gateway.reconcile import Reconciler
from services.gateway.servicer import AnalysisJobServicer
from unitscope.jobs.plan import MAX_CHUNKS_PER_STAGE
from unitscope.jobs.specs import MAX_RENDERS_PER_JOB, MAX_UNITS_PER_JOB
from unitscope.models import Registry
from unitscope.settings import GatewaySettings
from unitscope.store import ObjectStore


@dataclass(frozen=True)
class Gateway:
    """All that the gateway is, but for its server."""

    jobs: Jobs
    loop: Loop
    housekeeping: Housekeeping
    servicer: AnalysisJobServicer
    limits: dict[str, int]

    def start(self) -> None:
        """Begins to look after jobs."""
        self.loop.start()
        self.housekeeping.start()

    def stop(self) -> None:
        """Ends all watches, and looks after jobs no more."""
        self.loop.stop()
        self.housekeeping.stop()


def assemble(
    store: ObjectStore, registry: Registry, app: Celery, settings: GatewaySettings, message_bytes: int
) -> Gateway:
    """The gateway over a store, a registry and a broker.

    Args:
        store: Where jobs are.
        registry: The models.
        app: What sends tasks.
        settings: Limits and patience.
        message_bytes: The largest message of the server, for callers to know.
    """
    quotas = Quotas(
        settings.max_active_jobs,
        settings.project_active_jobs,
        settings.project_bytes,
        settings.project_submissions_per_minute,
    )
    listing = Listing(store)
    deletion = Deletion(store, listing, settings.lost_after_seconds)
    jobs = Jobs(store, registry, app, Admission(store, quotas), listing, deletion)
    reconciler = Reconciler(store, jobs.send, settings.lost_after_seconds)
    loop = Loop(jobs, reconciler, settings.reconcile_seconds)
    retention = Retention(settings.retention_days, settings.retention_bytes)
    housekeeping = Housekeeping(jobs, retention, settings.retention_seconds)
    limits = {
        "max_units_per_job": MAX_UNITS_PER_JOB,
        "max_renders_per_job": MAX_RENDERS_PER_JOB,
        "max_chunks_per_stage": MAX_CHUNKS_PER_STAGE,
        "max_message_bytes": message_bytes,
        "max_active_jobs": quotas.active,
        "max_watchers": settings.max_watchers,
        "project_active_jobs": quotas.project_active,
        "project_bytes": quotas.project_bytes,
        "project_submissions_per_minute": quotas.per_minute,
        "retention_days": int(settings.retention_days),
        "retention_bytes": settings.retention_bytes,
    }
    return Gateway(jobs, loop, housekeeping, AnalysisJobServicer(jobs, loop, settings, limits), limits)
