"""Runs the gateway: ``python -m services.gateway``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from services.gateway.assembly import assemble
from unitscope import signals
from unitscope.errors import UnitScopeError
from unitscope.jobs.broker import create_app
from unitscope.models import Registry
from unitscope.rpc import Server, ServiceEntry
from unitscope.rpc.exposure import check_server
from unitscope.rpc.tokens import TokenFile
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
    signals.begin("gateway", serves=not options.check)
    settings, server_settings = GatewaySettings(), ServerSettings()
    tokens = TokenFile(settings.tokens_file) if settings.tokens_file else None
    gateway = assemble(
        open_store(StoreSettings()),
        Registry(ModelSettings().root),
        create_app(BrokerSettings()),
        settings,
        server_settings.max_message_bytes,
    )
    jobs, limits, servicer = gateway.jobs, gateway.limits, gateway.servicer
    if options.check:
        check_server("gateway", server_settings, tokens is not None)
        print(f"the gateway's settings are in order; {len(jobs.models())} models are known")
        return 0

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
    gateway.start()
    Server("gateway", PORT, [entry], info, server_settings, settings.max_watchers, tokens).run()
    gateway.stop()
    signals.end()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnitScopeError as error:
        sys.exit(f"gateway: {error}")
