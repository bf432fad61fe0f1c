"""Channels and calls: every call has a deadline, and fails with our errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from unitscope import signals
from unitscope.rpc.bearer import BearerInterceptor
from unitscope.rpc.observed import observed
from unitscope.rpc.status import from_rpc_error
from unitscope.rpc.tls import channel_credentials, channel_options
from unitscope.settings import TlsSettings
from unitscope.version import package_version

DEFAULT_MESSAGE_BYTES = 64 << 20

STREAMS = (
    ("unitscope.v1.AnalysisJobService", "WatchAnalysisJob"),
    ("unitscope.v1.AnalysisJobService", "ReadArtifact"),
    ("unitscope.v1.LinkerService", "Accumulate"),
)
"""Methods that the library must not try again: a stream of responses whose server is killed before it has
answered hangs for ever then, beyond its deadline (seen with grpcio 1.81). Callers begin anew themselves."""

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {"name": [{"service": service, "method": method} for service, method in STREAMS]},
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
        ],
    }
)

Response = TypeVar("Response")


def open_channel(
    address: str,
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    *,
    tls: TlsSettings | None = None,
    token: Callable[[], str] | None = None,
) -> grpc.Channel:
    """A lazily connected channel; UNAVAILABLE alone is retried, three times at most.

    Args:
        address: ``host:port``.
        max_message_bytes: The largest message that is received or sent.
        tls: Authorities and certificate; None takes them from the environment.
        token: Gives the token that goes with each call.

    Raises:
        InvalidArgumentError: TLS is set wrongly (INVALID_TLS).
    """
    tls = TlsSettings() if tls is None else tls
    options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.primary_user_agent", f"unitscope/{package_version()}"),
        *channel_options(address, tls),
    ]
    credentials = channel_credentials(tls)
    channel = (
        grpc.insecure_channel(address, options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    )
    if signals.begun():
        channel = observed(channel)
    return channel if token is None else grpc.intercept_channel(channel, BearerInterceptor(token))


def invoke(
    method: Callable[..., Response],
    request: Any,
    timeout: float,
    peer: str = "the server",
) -> Response:
    """Calls a stub's method with a deadline in seconds.

    Raises:
        UnitScopeError: What the server raised, or that it does not answer.
    """
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise from_rpc_error(error, peer) from None


def stream(
    method: Callable[..., Iterator[Response]],
    request: Any,
    timeout: float,
    peer: str = "the server",
) -> Iterator[Response]:
    """Calls a method that streams its responses. Raises like `invoke`, at any response."""
    call = method(request, timeout=timeout)
    try:
        yield from call
    except grpc.RpcError as error:
        raise from_rpc_error(error, peer) from None
    finally:
        cancel = getattr(call, "cancel", None)
        if cancel is not None:
            cancel()
