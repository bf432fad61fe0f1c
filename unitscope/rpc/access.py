"""Who calls.

The server's interceptor asks for it, and whatever the call reaches may know it::

owner = current_principal().project
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health

from unitscope.errors import UnitScopeError
from unitscope.rpc.handlers import Behaviour, around
from unitscope.rpc.status import abort

log = logging.getLogger(__name__)

METADATA_KEY = "authorization"


@dataclass(frozen=True)
class Principal:
    """Who calls: the project that the jobs belong to, and the token's name within it."""

    project: str
    name: str


ANYONE = Principal("default", "")
"""Who calls where no tokens are asked for."""

_current: ContextVar[Principal] = ContextVar("unitscope_principal", default=ANYONE)


def current_principal() -> Principal:
    """The caller on whose behalf this thread works; `ANYONE` outside calls and without tokens."""
    return _current.get()


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Makes the principal the current one for the block."""
    token = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(token)


class AccessInterceptor(grpc.ServerInterceptor):
    """Lets a call through as whom its token stands for, and refuses it otherwise.

    Health alone is open to all, for probes; it says nothing but that the server serves. Methods that do
    not exist are refused like all others.
    """

    def __init__(self, authenticate: Callable[[str | None], Principal]) -> None:
        """Asks for tokens.

        Args:
            authenticate: Gives the principal of the metadata ``authorization``, None where the call
                brought none or several; raises UnitScopeError to refuse.
        """
        self._authenticate = authenticate

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Chooses the handler that answers the call."""
        if details.method.startswith(f"/{health.SERVICE_NAME}/"):
            return continuation(details)
        try:
            principal = self._authenticate(_authorization(details))
        except UnitScopeError as error:
            return _refusal(details.method, error)
        handler = continuation(details)
        if handler is None:
            return None

        def unary(behaviour: Behaviour) -> Behaviour:
            def answer(request: Any, context: grpc.ServicerContext) -> Any:
                with acting_as(principal):
                    return behaviour(request, context)

            return answer

        def stream(behaviour: Behaviour) -> Behaviour:
            def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                responses = behaviour(request, context)
                try:
                    while True:
                        # Whatever thread asks for the next response, and whatever it did in between.
                        with acting_as(principal):
                            try:
                                response = next(responses)
                            except StopIteration:
                                return
                        yield response
                finally:
                    if hasattr(responses, "close"):
                        responses.close()

            return answers

        return around(handler, unary, stream)


def _authorization(details: grpc.HandlerCallDetails) -> str | None:
    values = [value for key, value in details.invocation_metadata or () if key == METADATA_KEY]
    return values[0] if len(values) == 1 else None


def _refusal(method: str, error: UnitScopeError) -> grpc.RpcMethodHandler:
    """Ends any call with the error, whatever its method, before a message is read."""

    def refuse(requests: Any, context: grpc.ServicerContext) -> NoReturn:
        log.info("refused %s from %s: %s", method, context.peer(), error.reason)
        abort(context, error)
        raise error

    return grpc.stream_stream_rpc_method_handler(refuse)
