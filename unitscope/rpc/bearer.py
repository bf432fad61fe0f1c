"""The token that a client shows with each call."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.rpc.access import METADATA_KEY
from unitscope.rpc.addresses import is_loopback
from unitscope.rpc.handlers import with_metadata
from unitscope.rpc.watched import Watched
from unitscope.settings import ClientSettings, TlsSettings

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,512}=*")


def token_source(address: str, settings: ClientSettings, tls: TlsSettings) -> Callable[[], str] | None:
    """Gives the token for calls to the address; None where the settings have none.

    Raises:
        FailedPreconditionError: The token would be readable on its way (reason PLAINTEXT_TOKEN).
        InvalidArgumentError: There is no token where one should be (reason INVALID_TOKEN).
    """
    if settings.token_file is None and settings.token is None:
        return None
    if not (tls.server_ca_file or settings.plaintext_token or is_loopback(address)):
        raise FailedPreconditionError(
            f"the connection to {address} is not encrypted, so that the token could be read on its way: set "
            "UNITSCOPE_TLS_SERVER_CA_FILE or, where something else guards the network, "
            "UNITSCOPE_CLIENT_PLAINTEXT_TOKEN=yes",
            reason="PLAINTEXT_TOKEN",
            address=address,
        )
    if settings.token_file is not None:
        source = _from_file(settings.token_file)
        source()
        return source
    assert settings.token is not None
    token = _checked(settings.token.get_secret_value(), "UNITSCOPE_CLIENT_TOKEN")
    return lambda: token


def _from_file(path: Path) -> Callable[[], str]:
    watched = Watched(
        [path], lambda: _checked(path.read_text("utf-8", "replace"), f"the token's file {path}")
    )

    def current() -> str:
        try:
            return watched.current()
        except OSError as error:
            raise InvalidArgumentError(
                f"the token's file {path} cannot be read: {error.strerror}", reason="INVALID_TOKEN"
            ) from error

    return current


def _checked(text: str, place: str) -> str:
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidArgumentError(
            f"{place} holds no token: it must be one word, as 'unitscope tokens create' printed it",
            reason="INVALID_TOKEN",
        )
    return token


class BearerInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to each call, in plaintext on loopback as well as over TLS."""

    def __init__(self, token: Callable[[], str]) -> None:
        """Binds the source of the token, which is asked at each call."""
        self._token = token

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Adds the token."""
        shown = [(METADATA_KEY, f"Bearer {self._token()}")]
        return continuation(with_metadata(details, shown), request)

    intercept_unary_stream = intercept_unary_unary
    intercept_stream_unary = intercept_unary_unary
    intercept_stream_stream = intercept_unary_unary
