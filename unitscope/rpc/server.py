"""The server that every service of ours runs in.

It adds health, reflection and Info, turns our errors into statuses and everything else into
INTERNAL without details, bounds messages, binds loopback unless told otherwise, speaks TLS and asks for
tokens where it is told to, and drains on SIGTERM::

    server = Server("linker", 7402, [ServiceEntry(LINKER, add)], info, ServerSettings())
    server.run()
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from unitscope.errors import InternalError, UnitScopeError
from unitscope.rpc.access import AccessInterceptor
from unitscope.rpc.exposure import check_exposure
from unitscope.rpc.guard import GuardInterceptor
from unitscope.rpc.handlers import Behaviour, around
from unitscope.rpc.observed import ContextInterceptor, MeterInterceptor
from unitscope.rpc.status import abort
from unitscope.rpc.tls import server_credentials
from unitscope.rpc.tokens import TokenFile
from unitscope.settings import ServerSettings, TlsSettings
from unitscope.v1 import info_pb2, info_pb2_grpc

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceEntry:
    """One gRPC service: its full name, and what adds its servicer to a server."""

    full_name: str
    add: Callable[[grpc.Server], None]


class Server:
    """A gRPC server with what every service has in common."""

    def __init__(
        self,
        name: str,
        port: int,
        services: Sequence[ServiceEntry],
        info: Callable[[], info_pb2.GetInfoResponse],
        settings: ServerSettings,
        extra_threads: int = 0,
        tokens: TokenFile | None = None,
        tls: TlsSettings | None = None,
    ) -> None:
        """Builds the server; `start` opens the port.

        Args:
            name: The service's name, e.g. ``linker``.
            port: The port on loopback where the settings name no address.
            services: The services to serve.
            info: Answers GetInfo.
            settings: Address, limits and patience.
            extra_threads: Threads beyond those of the settings, e.g. for watchers.
            tokens: Whose calls are answered; None answers all.
            tls: Certificates; None takes them from the environment.
        """
        self.name = name
        self._settings = settings
        self._tokens = tokens
        self._tls = TlsSettings() if tls is None else tls
        self._stopped = threading.Event()
        limit = settings.max_message_bytes
        self._server = grpc.server(
            ThreadPoolExecutor(settings.threads + extra_threads, thread_name_prefix=name),
            interceptors=[
                MeterInterceptor(),
                *([AccessInterceptor(tokens.authenticate)] if tokens is not None else []),
                ContextInterceptor(),
                _ErrorInterceptor(),
                GuardInterceptor(settings.max_deadline_seconds),
            ],
            # Beyond these, calls are refused: the queue of a pool of threads knows no bound.
            maximum_concurrent_rpcs=2 * settings.threads + extra_threads,
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        info_pb2_grpc.add_InfoServiceServicer_to_server(_Info(info), self._server)
        names = [
            "unitscope.v1.InfoService",
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
        ]
        for service in services:
            service.add(self._server)
            names.append(service.full_name)
        reflection.enable_server_reflection(names, self._server)
        self._names = ["", *(service.full_name for service in services)]
        self.address = settings.listen or f"127.0.0.1:{port}"

    def start(self) -> str:
        """Opens the port and reports healthy; the address, with the port that was really taken.

        Raises:
            UnitScopeError: The address cannot be bound, it would be open to its network, or TLS is
                set wrongly.
        """
        tokens = self._tokens is not None
        check_exposure(self.name, self.address, self._tls, tokens, self._settings.insecure)
        credentials = server_credentials(self._tls)
        try:
            port = (
                self._server.add_insecure_port(self.address)
                if credentials is None
                else self._server.add_secure_port(self.address, credentials)
            )
        except RuntimeError as error:
            raise InternalError(
                f"{self.name}: cannot listen on {self.address}; is another server on that port?",
                reason="ADDRESS_IN_USE",
            ) from error
        self._server.start()
        for name in self._names:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.address = f"{self.address.rpartition(':')[0]}:{port}"
        how = "plaintext" if credentials is None else "TLS"
        asks = ", asks for certificates" if self._tls.client_ca_file else ""
        asks += ", asks for tokens" if tokens else ""
        log.info("%s listens on %s (%s%s)", self.name, self.address, how, asks)
        return self.address

    def stop(self) -> None:
        """Refuses new calls, lets running ones finish for the drain time, and stops."""
        self._health.enter_graceful_shutdown()
        self._server.stop(self._settings.drain_seconds).wait()
        self._stopped.set()

    def run(self) -> None:
        """Starts, and serves until SIGTERM or SIGINT."""
        ended = threading.Event()

        def end(signum: int, frame: FrameType | None) -> None:
            ended.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        self.start()
        ended.wait()
        self.stop()


class _Info(info_pb2_grpc.InfoServiceServicer):
    def __init__(self, info: Callable[[], info_pb2.GetInfoResponse]) -> None:
        self._info = info

    def GetInfo(  # noqa: N802 - gRPC's name
        self, request: info_pb2.GetInfoRequest, context: grpc.ServicerContext
    ) -> info_pb2.GetInfoResponse:
        return self._info()


class _ErrorInterceptor(grpc.ServerInterceptor):
    """Our errors become statuses; any other exception is logged and becomes INTERNAL."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method

        def unary(behaviour: Behaviour) -> Behaviour:
            def answer(request: Any, context: grpc.ServicerContext) -> Any:
                try:
                    return behaviour(request, context)
                except Exception as error:
                    return _fail(context, method, error)

            return answer

        def stream(behaviour: Behaviour) -> Behaviour:
            def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                try:
                    yield from behaviour(request, context)
                except Exception as error:
                    _fail(context, method, error)

            return answers

        return around(handler, unary, stream)


def _fail(context: grpc.ServicerContext, method: str, error: Exception) -> None:
    if isinstance(error, UnitScopeError):
        abort(context, error)
    if context.code() is not None:
        raise error
    log.exception("%s failed", method, exc_info=error)
    abort(
        context,
        InternalError(f"{method} failed by a defect of the server; its log has the details"),
    )
