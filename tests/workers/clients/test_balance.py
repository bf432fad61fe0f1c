"""Several generators behind one name share the requests."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from unitscope.models import Registry
from workers.clients.generator import GeneratorClient


def test_requests_go_to_every_address_of_a_name() -> None:
    seen: Counter[str] = Counter()

    class Server(service_pb2_grpc.GRPCInferenceServiceServicer):
        def __init__(self, name: str) -> None:
            self.name = name

        def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            seen[self.name] += 1
            return service_pb2.ServerMetadataResponse(name=self.name)

    servers, ports = [], []
    for name in ("first", "second"):
        server = grpc.server(ThreadPoolExecutor(2))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Server(name), server)
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        server.start()
        servers.append(server)
    card = Registry(Path(__file__).parents[3] / "models").resolve("avatars/generator")
    client = GeneratorClient(f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}", card)
    try:
        deadline = time.monotonic() + 120
        while len(seen) < 2 and time.monotonic() < deadline:  # until both connections are there
            client.renderer()
        assert len(seen) == 2, seen
        seen.clear()
        for _ in range(20):
            client.renderer()
        assert set(seen.values()) == {10}
    finally:
        client.close()
        for server in servers:
            server.stop(0)
