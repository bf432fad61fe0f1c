"""Runs the gateway: ``python -m services.gateway``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from services.gateway.jobs import Jobs
from services.gateway.loop import Loop
from services.gateway.reconcile import Reconciler
from services.gateway.servicer import AnalysisJobServicer
from unitscope.errors import UnitScopeError
from unitscope.jobs.broker import create_app
from unitscope.jobs.plan import MAX_CHUNKS_PER_STAGE
from unitscope.jobs.specs import MAX_RENDERS_PER_JOB, MAX_UNITS_PER_JOB
from unitscope.models import Registry
from unitscope.rpc import Server, ServiceEntry
from unitscope.settings import (
    BrokerSettings,
    GatewaySettings,
    ModelSettings,
    ServerSettings,
    StoreSettings,
)
from unitscope.store import open_store
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2
from unitscope.version import package_version

PORT = 7400
SERVICE = "unitscope.v1.AnalysisJobService"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the job API until SIGTERM; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m services.gateway",
        description="Serves the job API and keeps jobs going. Settings come from UNITSCOPE_* variables.",
        epilog="example: UNITSCOPE_STORE_URL=directory:/data/store "
        "UNITSCOPE_BROKER_URL=filesystem:/data/broker python -m services.gateway",
    )
    parser.add_argument("--check", action="store_true", help="check settings and store, then exit")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings, server_settings = GatewaySettings(), ServerSettings()
    jobs = Jobs(
        store=open_store(StoreSettings()),
        registry=Registry(ModelSettings().root),
        app=create_app(BrokerSettings()),
        max_active=settings.max_active_jobs,
    )
    if options.check:
        print(f"the gateway's settings are in order; {len(jobs.models())} models are known")
        return 0
    reconciler = Reconciler(jobs.store, jobs.send, settings.lost_after_seconds)
    loop = Loop(jobs, reconciler, settings.reconcile_seconds)
    limits = {
        "max_units_per_job": MAX_UNITS_PER_JOB,
        "max_renders_per_job": MAX_RENDERS_PER_JOB,
        "max_chunks_per_stage": MAX_CHUNKS_PER_STAGE,
        "max_message_bytes": server_settings.max_message_bytes,
        "max_active_jobs": settings.max_active_jobs,
        "max_watchers": settings.max_watchers,
    }
    servicer = AnalysisJobServicer(jobs, loop, settings, limits)

    def info() -> info_pb2.GetInfoResponse:
        models = [
            info_pb2.ModelInfo(name=card.name, digest=card.digest, kind=card.kind) for card in jobs.models()
        ]
        return info_pb2.GetInfoResponse(
            service="gateway", version=package_version(), models=models, limits=limits
        )

    entry = ServiceEntry(
        SERVICE,
        lambda server: analysis_job_pb2_grpc.add_AnalysisJobServiceServicer_to_server(servicer, server),
    )
    loop.start()
    Server("gateway", PORT, [entry], info, server_settings, settings.max_watchers).run()
    loop.stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnitScopeError as error:
        sys.exit(f"gateway: {error}")
