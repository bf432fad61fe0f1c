"""Options that several commands share, and what they lead to."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.errors import FailedPreconditionError

if TYPE_CHECKING:
    from unitscope.client import Client, JobHandle


class Output(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The gateway. Else UNITSCOPE_ENDPOINT_GATEWAY, else the stack that runs in --home, "
        "else 127.0.0.1:7400.",
        show_default=False,
    ),
]
HomeOption = Annotated[Path, typer.Option("--home", help="The folder of the embedded stack.")]
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models",
        help="The folder of model packs. Else UNITSCOPE_MODELS_ROOT, else ./models, else the packs "
        "that came with the code.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people, JSON for programs.")
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]

DEFAULT_HOME = Path(".unitscope")
QUICK_SECONDS, LONG_SECONDS = 5.0, 120.0
"""How long a gateway that goes away is waited for, in a short command and while watching."""


@dataclass(frozen=True)
class AccessFiles:
    """What options before the command say of the way to the gateway."""

    token_file: Path | None = None
    ca_file: Path | None = None


ACCESS: ContextVar[AccessFiles | None] = ContextVar("unitscope_access_files", default=None)


def connect(address: str, home: Path, patience: float = QUICK_SECONDS) -> Client:
    """A client of the gateway that the options mean."""
    from unitscope.client import ADDRESS_VARIABLE, Client
    from unitscope.embedded import find

    if not address and not os.environ.get(ADDRESS_VARIABLE):
        endpoints = find(home)
        address = endpoints.gateway if endpoints else ""
    files = ACCESS.get() or AccessFiles()
    return Client(address or None, patience=patience, token_file=files.token_file, ca_file=files.ca_file)


def ended(client: Client, job: str) -> JobHandle:
    """A job that has succeeded.

    Raises:
        NotFoundError: There is no such job.
        FailedPreconditionError: It has not ended (reason JOB_NOT_ENDED).
        JobFailedError: It failed or was cancelled.
    """
    from unitscope.client.handle import raise_for_state

    handle = client.job(job)
    status = handle.status()
    raise_for_state(status)
    if not status.state.terminal:
        raise FailedPreconditionError(
            f"{job} is still {status.state.lower()}; 'unitscope watch {job}' follows it to its end",
            reason="JOB_NOT_ENDED",
        )
    return handle


def example(line: str) -> dict[str, Any]:
    """The arguments of a command whose help ends with an example."""
    return {"epilog": f"example: {line}"}
