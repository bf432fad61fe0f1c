"""The one table between our errors and ``google.rpc.Status``."""

from __future__ import annotations

import re

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from unitscope.errors import (
    BY_STATUS,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
    UnitScopeError,
)

DOMAIN = "unitscope"
_TOO_LARGE = re.compile(r"larger than max \((\d+) vs\. (\d+)\)")


def to_status(error: UnitScopeError) -> status_pb2.Status:
    """The error as a status with ErrorInfo and, for invalid arguments, field violations."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata))
    details = [_pack(info)]
    if error.violations:
        details.append(
            _pack(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
                        for field, text in error.violations
                    ]
                )
            )
        )
    return status_pb2.Status(code=code_pb2.Code.Value(error.status), message=error.message, details=details)


def abort(context: grpc.ServicerContext, error: UnitScopeError) -> None:
    """Ends the call with the error's status. Does not return."""
    context.abort_with_status(rpc_status.to_status(to_status(error)))


def from_rpc_error(error: grpc.RpcError, peer: str = "the server") -> UnitScopeError:
    """The error that a failed call stands for, as the class that the server raised."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    if status is not None and code_pb2.Code.Name(status.code) in BY_STATUS:
        return _from_status(status)
    code: grpc.StatusCode = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and (match := _TOO_LARGE.search(details)):
        return ResourceExhaustedError(
            f"the message has {match[1]} bytes; {peer} takes at most {match[2]}: send less at once",
            reason="MESSAGE_TOO_LARGE",
            size=match[1],
            limit=match[2],
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(
            f"{peer} does not answer ({details}); is it running, and is the address right?",
            reason="SERVICE_UNAVAILABLE",
            peer=peer,
        )
    cls = BY_STATUS.get(code.name, InternalError)
    return cls(f"{peer}: {details}")


def _from_status(status: status_pb2.Status) -> UnitScopeError:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
    cls = BY_STATUS[code_pb2.Code.Name(status.code)]
    error = cls(
        status.message,
        reason=info.reason or None,
        violations=tuple((v.field, v.description) for v in bad.field_violations),
    )
    error.metadata = dict(info.metadata)
    return error


def _pack(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
