"""How the command fails: one line that says what is wrong, a hint, a stable exit code, no traceback."""

from __future__ import annotations

import sys
from enum import IntEnum

from unitscope.errors import (
    AlreadyExistsError,
    CancelledError,
    DeadlineError,
    FailedPreconditionError,
    InvalidArgumentError,
    JobFailedError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnitScopeError,
)


class ExitCode(IntEnum):
    """Exit codes, part of the public interface."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    CANCELLED = 5
    REFUSED = 6
    ERROR = 7
    INTERRUPTED = 130


EXIT_CODES = (
    "exit codes: 0 done; 1 the job failed; 2 wrong usage or argument; 3 not found; 4 unavailable or "
    "too late; 5 the job was cancelled; 6 refused in this state or by a limit; 7 any other error; "
    "130 interrupted"
)

_CODES: tuple[tuple[type[UnitScopeError], ExitCode], ...] = (
    (InvalidArgumentError, ExitCode.USAGE),
    (NotFoundError, ExitCode.NOT_FOUND),
    (UnavailableError, ExitCode.UNAVAILABLE),
    (DeadlineError, ExitCode.UNAVAILABLE),
    (CancelledError, ExitCode.CANCELLED),
    (FailedPreconditionError, ExitCode.REFUSED),
    (UnauthenticatedError, ExitCode.REFUSED),
    (AlreadyExistsError, ExitCode.REFUSED),
    (ResourceExhaustedError, ExitCode.REFUSED),
)

_HINTS = {
    "SERVICE_UNAVAILABLE": "start a stack with 'unitscope up', or name a gateway with --address",
    "JOB_NOT_FOUND": "'unitscope list' shows the jobs there are",
    "INVALID_JOB_ID": "'unitscope list' shows the jobs there are",
    "MODEL_NOT_FOUND": "'unitscope models' shows the models there are",
    "INVALID_SPEC": "'unitscope capabilities --output json' holds the schema of every spec",
    "UNKNOWN_CLASS": "'unitscope models show NAME' shows the classes of a model",
    "UNIT_OUT_OF_RANGE": "'unitscope models show NAME' shows the layers and their units",
    "TOKEN_MISSING": "name the token's file: 'unitscope --token-file FILE' or UNITSCOPE_CLIENT_TOKEN_FILE",
    "SERVICE_DID_NOT_START": "the whole log is in the file named above",
}

_CLOSED_HINT = (
    "it may ask for TLS ('unitscope --ca-file FILE') or for a certificate (UNITSCOPE_TLS_CERTIFICATE_FILE "
    "and _KEY_FILE)"
)


def exit_code(error: UnitScopeError) -> ExitCode:
    """The code that the command ends with."""
    if isinstance(error, JobFailedError):
        cancelled = error.reason == "JOB_CANCELLED"
        return ExitCode.CANCELLED if cancelled else ExitCode.JOB_FAILED
    return next((code for cls, code in _CODES if isinstance(error, cls)), ExitCode.ERROR)


def report(error: UnitScopeError) -> ExitCode:
    """Says on standard error what is wrong and what may help; the exit code."""
    message = error.message
    if error.reason == "SERVICE_UNAVAILABLE" and "peer" in error.metadata:
        closed = error.metadata.get("closed") == "True"
        message = f"{error.metadata['peer']} {'closes the connection' if closed else 'does not answer'}"
    lines = [f"error: {message}"]
    # A single violation repeats the message.
    lines += [f"  {field}: {text}" for field, text in error.violations[1:] and error.violations]
    hint = _CLOSED_HINT if error.metadata.get("closed") == "True" else _HINTS.get(error.reason)
    if hint:
        lines.append(f"hint: {hint}")
    print("\n".join(lines), file=sys.stderr)
    return exit_code(error)
