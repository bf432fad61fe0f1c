"""Runs the linker: ``python -m services.linker``."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence

import numpy as np

from services.linker.servicer import LinkerServicer
from services.linker.statistics import MAX_FEATURES
from services.linker.storage import LinkerStorage
from unitscope import signals
from unitscope.errors import UnitScopeError
from unitscope.models.linkers import list_linkers
from unitscope.rpc import Server, ServiceEntry
from unitscope.rpc.exposure import check_server
from unitscope.settings import ServerSettings, StoreSettings
from unitscope.store import open_store
from unitscope.v1 import info_pb2, linker_pb2_grpc
from unitscope.version import package_version

PORT = 7402
SERVICE = "unitscope.v1.LinkerService"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves linkers until SIGTERM; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m services.linker",
        description="Fits, judges and applies linkers. Settings come from UNITSCOPE_* variables.",
        epilog="example: UNITSCOPE_STORE_URL=directory:/data/store python -m services.linker",
    )
    parser.add_argument("--check", action="store_true", help="check settings and store, then exit")
    options = parser.parse_args(arguments)
    signals.begin("linker", serves=not options.check)
    storage, settings = LinkerStorage(open_store(StoreSettings())), ServerSettings()
    if options.check:
        check_server("linker", settings)
        print(f"the linker's settings are in order; {len(list_linkers(storage.store))} linkers are published")
        return 0
    servicer = LinkerServicer(storage)

    def info() -> info_pb2.GetInfoResponse:
        models = [
            info_pb2.ModelInfo(name=card.name, digest=card.digest, kind=card.kind)
            for card in list_linkers(storage.store)
        ]
        return info_pb2.GetInfoResponse(
            service="linker",
            version=package_version(),
            models=models,
            limits={"max_features": MAX_FEATURES, "max_message_bytes": settings.max_message_bytes},
            runtime={"numpy": np.__version__, "machine": platform.machine()},
        )

    entry = ServiceEntry(
        SERVICE, lambda server: linker_pb2_grpc.add_LinkerServiceServicer_to_server(servicer, server)
    )
    Server("linker", PORT, [entry], info, settings).run()
    signals.end()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnitScopeError as error:
        sys.exit(f"linker: {error}")
