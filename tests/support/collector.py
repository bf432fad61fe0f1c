"""A collector of OpenTelemetry spans in this process: OTLP over gRPC, and over HTTP as Triton speaks it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Span:
    """A span as it was sent; ids are hexadecimal, `parent` is empty for the first of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...] = ()
    failed: bool = False
    attributes: dict[str, str] = field(default_factory=dict, hash=False)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps all spans."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.grpc_endpoint = ""
        self.http_endpoint = ""

    @property
    def spans(self) -> list[Span]:
        return list(self._spans)

    def traces(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for span in self.spans:
            found.setdefault(span.trace, []).append(span)
        return found

    def wait(self, enough: Callable[[list[Span]], bool], seconds: float = 120.0) -> list[Span]:
        until = time.monotonic() + seconds
        while not enough(self.spans) and time.monotonic() < until:
            time.sleep(0.1)
        return self.spans

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self._spans.append(
                    Span(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        tuple(link.trace_id.hex() for link in span.links),
                        span.status.code == 2,
                        {a.key: a.value.string_value for a in span.attributes},
                    )
                )
        return trace_service_pb2.ExportTraceServiceResponse()

    def take_json(self, body: dict[str, Any]) -> None:
        for resource in body["resourceSpans"]:
            named = {a["key"]: a["value"].get("stringValue", "") for a in resource["resource"]["attributes"]}
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                parent = span.get("parentSpanId", "").strip("0") and span["parentSpanId"]
                self._spans.append(
                    Span(
                        named["service.name"],
                        span["name"],
                        span["traceId"].lower(),
                        span["spanId"].lower(),
                        parent.lower(),
                    )
                )


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector on two free ports of loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take_json(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.grpc_endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.http_endpoint = f"http://127.0.0.1:{http.server_port}/v1/traces"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        http.shutdown()
        http.server_close()
        server.stop(1).wait()
