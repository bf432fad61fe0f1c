"""What interceptors do to a method's handler, whichever way requests and responses come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import grpc

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""Of the request, or of an iterator of requests; returns a response, or an iterator of responses."""


def around(
    handler: grpc.RpcMethodHandler,
    unary: Callable[[Behaviour], Behaviour],
    stream: Callable[[Behaviour], Behaviour],
    deserializer: Callable[[bytes], Any] | None = None,
) -> grpc.RpcMethodHandler:
    """The handler with another behaviour.

    Args:
        handler: A method's handler.
        unary: What to make of a behaviour that returns one response.
        stream: What to make of a behaviour that returns an iterator of responses.
        deserializer: Reads requests, in place of the handler's own.
    """
    if handler.response_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        behaviour = stream(handler.stream_stream or handler.unary_stream)
    else:
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        behaviour = unary(handler.stream_unary or handler.unary_unary)
    return make(behaviour, deserializer or handler.request_deserializer, handler.response_serializer)


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


def with_metadata(details: Any, extra: Iterable[tuple[str, str]]) -> Any:
    """The details of a client's call with further metadata."""
    return _Details(
        details.method,
        details.timeout,
        [*(details.metadata or ()), *extra],
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )
