"""What no method should have to think of: requests that are no messages, and calls that never end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from unitscope.errors import DeadlineError, InvalidArgumentError
from unitscope.rpc.handlers import Behaviour, around


@dataclass(frozen=True)
class _Undecodable:
    """Stands for a request whose bytes are no message of its type."""

    size: int


class GuardInterceptor(grpc.ServerInterceptor):
    """Refuses what cannot be read as INVALID_ARGUMENT, where gRPC would say INTERNAL; ends long streams.

    To be used within the interceptor that turns our errors into statuses.
    """

    def __init__(self, max_seconds: float) -> None:
        """Limits streams.

        Args:
            max_seconds: How long a stream of requests or responses may go on.
        """
        self._max_seconds = max_seconds

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Chooses the handler that answers the call."""
        handler = continuation(details)
        if handler is None:
            return None

        def requests_of(request: Any, context: grpc.ServicerContext) -> Any:
            return self._each(request, context) if handler.request_streaming else _readable(request)

        def unary(behaviour: Behaviour) -> Behaviour:
            def answer(request: Any, context: grpc.ServicerContext) -> Any:
                return behaviour(requests_of(request, context), context)

            return answer

        def stream(behaviour: Behaviour) -> Behaviour:
            def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                end = time.monotonic() + self._max_seconds
                responses = behaviour(requests_of(request, context), context)
                try:
                    for response in responses:
                        yield response
                        if time.monotonic() > end:
                            raise _too_long(self._max_seconds)
                finally:
                    if hasattr(responses, "close"):
                        responses.close()

            return answers

        deserializer = handler.request_deserializer
        return around(handler, unary, stream, _tolerant(deserializer) if deserializer else None)

    def _each(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """The requests of a stream, which is cancelled where its sender holds it open for too long."""
        timer = threading.Timer(self._max_seconds, context.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield from map(_readable, requests)
        finally:
            timer.cancel()


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except (DecodeError, UnicodeDecodeError):
            return _Undecodable(len(data))

    return read


def _readable(request: Any) -> Any:
    if isinstance(request, _Undecodable):
        raise InvalidArgumentError(
            f"the request's {request.size} bytes are no message of this method; use this server's protos",
            reason="UNDECODABLE_REQUEST",
        )
    return request


def _too_long(seconds: float) -> DeadlineError:
    return DeadlineError(
        f"the stream has gone on for {seconds:g} seconds, as long as is allowed; open it again",
        reason="STREAM_TOO_LONG",
    )
