"""The one tree of errors that services raise and clients receive.

An error carries a gRPC status by name, a stable ``reason`` in UPPER_SNAKE case, the fields it speaks
of, and metadata. `unitscope.rpc.status` turns it into ``google.rpc.Status`` and back, so that a
caller catches the same class whether the code ran in its process or behind a channel::

    raise InvalidArgumentError(
        "unit 600 is out of range: the layer 'penultimate' has units 0 to 511",
        reason="UNIT_OUT_OF_RANGE", field="units", unit=600, units=512,
    )

A message says what was wrong, with the value, and what would be right. Stable: classes and reasons
are part of the public interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class UnitScopeError(Exception):
    """Base of all errors.

    Attributes:
        status: Name of the gRPC status code.
        reason: Stable UPPER_SNAKE name of what went wrong.
        violations: Pairs of field path and description, for invalid arguments.
        metadata: Every dynamic value of the message, as text.
        retry_after: Seconds after which the same request may succeed; None where waiting alone does not help.
    """

    status: ClassVar[str] = "UNKNOWN"
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        violations: tuple[tuple[str, str], ...] = (),
        retry_after: float | None = None,
        **metadata: object,
    ) -> None:
        """Keeps the message and its machine-readable parts."""
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.violations = violations or (((field, message),) if field else ())
        self.retry_after = retry_after
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}


class InvalidArgumentError(UnitScopeError):
    """The request is wrong whatever the state of the system."""

    status = "INVALID_ARGUMENT"
    default_reason = "INVALID_ARGUMENT"


class NotFoundError(UnitScopeError):
    """What the request names does not exist."""

    status = "NOT_FOUND"
    default_reason = "NOT_FOUND"


class AlreadyExistsError(UnitScopeError):
    """A create-only name is taken by something else."""

    status = "ALREADY_EXISTS"
    default_reason = "ALREADY_EXISTS"


class FailedPreconditionError(UnitScopeError):
    """The system is not in the state that the request needs; retrying alone will not help."""

    status = "FAILED_PRECONDITION"
    default_reason = "FAILED_PRECONDITION"


class UnauthenticatedError(UnitScopeError):
    """The server does not know who calls."""

    status = "UNAUTHENTICATED"
    default_reason = "UNAUTHENTICATED"


class ResourceExhaustedError(UnitScopeError):
    """A limit, a quota or the disk is exhausted."""

    status = "RESOURCE_EXHAUSTED"
    default_reason = "RESOURCE_EXHAUSTED"


class UnavailableError(UnitScopeError):
    """A dependency does not answer at present; the same request may succeed later."""

    status = "UNAVAILABLE"
    default_reason = "UNAVAILABLE"


class DeadlineError(UnitScopeError):
    """The deadline passed before the answer was there."""

    status = "DEADLINE_EXCEEDED"
    default_reason = "DEADLINE_EXCEEDED"


class CancelledError(UnitScopeError):
    """The caller, or the job's owner, withdrew the request."""

    status = "CANCELLED"
    default_reason = "CANCELLED"


class UnimplementedError(UnitScopeError):
    """The server does not offer this method."""

    status = "UNIMPLEMENTED"
    default_reason = "UNIMPLEMENTED"


class DataLossError(UnitScopeError):
    """Stored data does not match its digest."""

    status = "DATA_LOSS"
    default_reason = "DIGEST_MISMATCH"


class InternalError(UnitScopeError):
    """A defect of ours; details are in the server's log, never in the message."""

    status = "INTERNAL"
    default_reason = "INTERNAL"


class JobFailedError(UnitScopeError):
    """An analysis job ended as FAILED or CANCELLED where a result was asked for."""

    status = "ABORTED"
    default_reason = "JOB_FAILED"


BY_STATUS: Mapping[str, type[UnitScopeError]] = {
    cls.status: cls
    for cls in (
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        FailedPreconditionError,
        UnauthenticatedError,
        ResourceExhaustedError,
        UnavailableError,
        DeadlineError,
        CancelledError,
        UnimplementedError,
        DataLossError,
        InternalError,
        JobFailedError,
    )
}
"""The class that a status of that name is raised as on the client's side."""
