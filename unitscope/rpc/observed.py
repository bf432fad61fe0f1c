"""What servers and channels tell of their calls, and hand on: metrics, the trace, ids for the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from unitscope.rpc.handlers import Behaviour, around, with_metadata
from unitscope.signals import catalogue, logs, traces


class MeterInterceptor(grpc.ServerInterceptor):
    """Counts calls by method and status; to stand before all others, so that it sees what they refuse."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Chooses the handler that answers the call."""
        handler = continuation(details)
        if not catalogue.RPC_CALLS.on:
            return handler
        if handler is None:
            # Anybody can think of names; each would be a metric of its own.
            catalogue.RPC_CALLS.add(method="unknown", code="UNIMPLEMENTED")
            return None
        method = details.method

        def unary(behaviour: Behaviour) -> Behaviour:
            def answer(request: Any, context: grpc.ServicerContext) -> Any:
                began = time.perf_counter()
                with catalogue.RPC_IN_FLIGHT.held(method=method):
                    try:
                        return behaviour(request, context)
                    finally:
                        catalogue.RPC_SECONDS.observe(time.perf_counter() - began, method=method)
                        catalogue.RPC_CALLS.add(method=method, code=_code(context))

            return answer

        def stream(behaviour: Behaviour) -> Behaviour:
            def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                with catalogue.RPC_IN_FLIGHT.held(method=method):
                    try:
                        yield from behaviour(request, context)
                    finally:
                        catalogue.RPC_CALLS.add(method=method, code=_code(context))

            return answers

        return around(handler, unary, stream)


def _code(context: grpc.ServicerContext) -> str:
    code = context.code()
    if code is not None:
        return str(getattr(code, "name", code))
    return "OK" if context.is_active() else "CANCELLED"


class ContextInterceptor(grpc.ServerInterceptor):
    """Takes up the caller's trace, and the ids of what the call is for; to stand behind the door.

    Streams of responses last as long as somebody watches; they are no spans.
    """

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Chooses the handler that answers the call."""
        handler = continuation(details)
        if handler is None or handler.response_streaming or details.method.startswith("/grpc."):
            return handler
        given = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
        ids = logs.from_metadata(given.get(logs.METADATA_KEY, ""))
        if not ids and not traces.on():
            return handler
        parent = given.get(traces.HEADER, "")

        def unary(behaviour: Behaviour) -> Behaviour:
            def answer(request: Any, context: grpc.ServicerContext) -> Any:
                with logs.bound(**ids), traces.span(details.method[1:], "server", parent, attributes=ids):
                    return behaviour(request, context)

            return answer

        return around(handler, unary, unary)


class HandOnInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Hands the trace and the ids for the log on to the called."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Makes a span of the call, if it is part of a trace."""
        span = traces.start_call(details.method[1:])
        extra = [*logs.to_metadata(), *traces.to_metadata(span)]
        if not extra:
            return continuation(details, request)
        call = continuation(with_metadata(details, extra), request)
        if span is not None:
            call.add_done_callback(lambda done: traces.end_call(span, done.exception()))
        return call

    intercept_stream_unary = intercept_unary_unary

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """Hands on; the stream is no span."""
        return continuation(with_metadata(details, [*logs.to_metadata(), *traces.to_metadata()]), request)

    intercept_stream_stream = intercept_unary_stream


def observed(channel: grpc.Channel) -> grpc.Channel:
    """The channel, handing on what is known of the caller's work."""
    return grpc.intercept_channel(channel, HandOnInterceptor())
