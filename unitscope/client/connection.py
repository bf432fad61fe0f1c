"""The connection to a gateway: calls that wait out a restart."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from unitscope.errors import ResourceExhaustedError, UnavailableError
from unitscope.rpc.bearer import token_source
from unitscope.rpc.channel import invoke, open_channel
from unitscope.settings import ClientSettings, TlsSettings
from unitscope.v1 import analysis_job_pb2_grpc

ADDRESS_VARIABLE = "UNITSCOPE_ENDPOINT_GATEWAY"
DEFAULT_ADDRESS = "127.0.0.1:7400"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

Response = TypeVar("Response")


class Connection:
    """One channel to one gateway, and how long to bear with it.

    Attributes:
        address: ``host:port``.
        timeout: Deadline of one call, in seconds.
        patience: How long a gateway that answered before is waited for, in seconds.
        answered: Whether the gateway ever answered.
        stub: The methods of the job API.
    """

    def __init__(
        self,
        address: str | None,
        timeout: float,
        patience: float,
        token_file: Path | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """Makes the connection; nothing is sent before the first call. Raises as `Client` does."""
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
        self.timeout = timeout
        self.patience = patience
        self.answered = False
        tls, settings = TlsSettings(), ClientSettings()
        if ca_file is not None:
            tls = tls.model_copy(update={"server_ca_file": ca_file})
        if token_file is not None:
            settings = settings.model_copy(update={"token_file": token_file})
        token = token_source(self.address, settings, tls)
        self._channel = open_channel(self.address, tls=tls, token=token)
        self.stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(self._channel)

    @property
    def peer(self) -> str:
        """How messages name the other side."""
        return f"the gateway at {self.address}"

    def call(self, method: Callable[..., Response], request: Any) -> Response:
        """Calls a method of the stub, which must be safe to repeat.

        Raises:
            UnitScopeError: What the gateway raised, or that it does not answer.
        """
        waiting = Waiting(self)
        while True:
            try:
                response = invoke(method, request, self.timeout, self.peer)
            except UnavailableError as error:
                waiting.after(error)
            except ResourceExhaustedError as error:
                self.answered = True
                waiting.limited(error)
            else:
                self.answered = True
                return response

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class Waiting:
    """Back-off while the gateway is away; gives up when the connection's patience is at its end."""

    def __init__(self, connection: Connection) -> None:
        """Starts patient."""
        self._connection = connection
        self._since: float | None = None
        self._pause = _FIRST_PAUSE
        self._limited = 0.0

    def reset(self) -> None:
        """The gateway answered: patience starts anew."""
        self._connection.answered = True
        self._since = None
        self._pause = _FIRST_PAUSE
        self._limited = 0.0

    def after(self, error: UnavailableError, most: float = float("inf")) -> None:
        """Sleeps, longer from time to time, but at most `most` seconds.

        Raises:
            UnavailableError: The given one, where patience is at its end, or the gateway never
                answered and so is not merely restarting.
        """
        # Every reason but these was stated by the gateway itself, e.g. that its store is away.
        if error.reason not in ("SERVICE_UNAVAILABLE", "TLS_FAILED"):
            self._connection.answered = True
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not self._connection.answered or now - self._since >= self._connection.patience:
            raise error
        time.sleep(max(0.0, min(self._pause, most)))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def limited(self, error: ResourceExhaustedError, most: float = float("inf")) -> None:
        """Sleeps for as long as the server asks, a little more for spreading callers, within the patience.

        Raises:
            ResourceExhaustedError: The given one, where the server names no time, or so long a one that
                all the sleeping would pass the connection's patience or `most` seconds.
        """
        if error.retry_after is None:
            raise error
        pause = max(_FIRST_PAUSE, error.retry_after) * random.uniform(1.0, 1.2)
        self._limited += pause
        if self._limited > self._connection.patience or pause > most:
            raise error
        time.sleep(pause)
