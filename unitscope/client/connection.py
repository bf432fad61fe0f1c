"""The connection to a gateway: calls that wait out a restart."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from unitscope.errors import UnavailableError
from unitscope.rpc.channel import invoke, open_channel
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

    def __init__(self, address: str | None, timeout: float, patience: float) -> None:
        """Makes the connection; nothing is sent before the first call."""
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
        self.timeout = timeout
        self.patience = patience
        self.answered = False
        self._channel = open_channel(self.address)
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

    def reset(self) -> None:
        """The gateway answered: patience starts anew."""
        self._connection.answered = True
        self._since = None
        self._pause = _FIRST_PAUSE

    def after(self, error: UnavailableError, most: float = float("inf")) -> None:
        """Sleeps, longer from time to time, but at most `most` seconds.

        Raises:
            UnavailableError: The given one, where patience is at its end, or the gateway never
                answered and so is not merely restarting.
        """
        # Every reason but this one was stated by the gateway itself, e.g. that its store is away.
        if error.reason != "SERVICE_UNAVAILABLE":
            self._connection.answered = True
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not self._connection.answered or now - self._since >= self._connection.patience:
            raise error
        time.sleep(max(0.0, min(self._pause, most)))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
