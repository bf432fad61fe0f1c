"""Channels and calls: every call has a deadline, and fails with our errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from unitscope.rpc.status import from_rpc_error
from unitscope.version import package_version

DEFAULT_MESSAGE_BYTES = 64 << 20

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

Response = TypeVar("Response")


def open_channel(address: str, max_message_bytes: int = DEFAULT_MESSAGE_BYTES) -> grpc.Channel:
    """A lazily connected channel; UNAVAILABLE alone is retried, three times at most."""
    return grpc.insecure_channel(
        address,
        options=[
            ("grpc.service_config", _SERVICE_CONFIG),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.primary_user_agent", f"unitscope/{package_version()}"),
        ],
    )


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
