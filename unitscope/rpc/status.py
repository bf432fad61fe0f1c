"""The one table between our errors and ``google.rpc.Status``."""

from __future__ import annotations

import re
from urllib.parse import quote

import grpc
from google.protobuf import any_pb2, duration_pb2
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

_TLS_FAILURES = (
    ("certificate has expired", "shows a certificate that has expired"),
    (
        "Hostname Verification Check failed",
        "shows a certificate for another name than that of its address; if it is the right server, name it "
        "by UNITSCOPE_TLS_SERVER_NAME",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "shows a certificate that no authority of UNITSCOPE_TLS_SERVER_CA_FILE has signed",
    ),
    ("WRONG_VERSION_NUMBER", "does not speak TLS, which UNITSCOPE_TLS_SERVER_CA_FILE asks for"),
    ("handshake failed", "cannot agree with this client on TLS"),
)
"""What gRPC's text of a connection that failed says, and what it means."""
_CLOSED = "Socket closed"
"""What is left where the server ends the handshake, or is not asked for one."""


MAX_WIRE_BYTES = 7_000
"""What a status may take in the trailing metadata, which gRPC drops a call for from 8 KiB on."""


def to_status(error: UnitScopeError) -> status_pb2.Status:
    """The error as a status with ErrorInfo and, where they are known, field violations and a delay.

    Texts that would make it too long to be sent, e.g. because they quote the request, are cut.
    """
    limit = 2_000
    while wire_bytes(status := _status(error, limit)) > MAX_WIRE_BYTES and limit > 20:
        limit //= 2
    return status


def _status(error: UnitScopeError, limit: int) -> status_pb2.Status:
    """The status with texts of `limit` characters at most, and no more details than that has room for."""
    most = max(1, limit // 100)
    metadata = {key[:100]: _cut(value, limit) for key, value in list(error.metadata.items())[:most]}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    details = [_pack(info)]
    if error.violations:
        details.append(
            _pack(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field=_cut(field, limit), description=_cut(text, limit)
                        )
                        for field, text in error.violations[:most]
                    ]
                )
            )
        )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(1000 * error.retry_after))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    message = _cut(error.message, limit)
    return status_pb2.Status(code=code_pb2.Code.Value(error.status), message=message, details=details)


def wire_bytes(status: status_pb2.Status) -> int:
    """What the status takes in the trailing metadata: its bytes in base 64, and its message, quoted."""
    return status.ByteSize() * 4 // 3 + len(quote(status.message))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


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
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details.startswith("Concurrent RPC limit"):
        return ResourceExhaustedError(
            f"{peer} answers as many calls as it can; try again later", reason="SERVER_BUSY", retry_after=1.0
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return unavailable(peer, details)
    cls = BY_STATUS.get(code.name, InternalError)
    return cls(f"{peer}: {details}")


def unavailable(peer: str, details: str) -> UnavailableError:
    """What it means that a peer cannot be reached, from gRPC's text."""
    for sign, meaning in _TLS_FAILURES:
        if sign in details:
            return UnavailableError(f"{peer} {meaning}", reason="TLS_FAILED", peer=peer)
    closed = _CLOSED in details
    hint = "; it may ask for TLS or for a certificate, see UNITSCOPE_TLS_SERVER_CA_FILE" if closed else ""
    return UnavailableError(
        f"{peer} does not answer ({details}); is it running, and is the address right?{hint}",
        reason="SERVICE_UNAVAILABLE",
        peer=peer,
        closed=closed,
    )


def _from_status(status: status_pb2.Status) -> UnitScopeError:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry: float | None = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo()
            detail.Unpack(delay)
            retry = delay.retry_delay.ToMilliseconds() / 1000
    cls = BY_STATUS[code_pb2.Code.Name(status.code)]
    error = cls(
        status.message,
        reason=info.reason or None,
        violations=tuple((v.field, v.description) for v in bad.field_violations),
        retry_after=retry,
    )
    error.metadata = dict(info.metadata)
    return error


def _pack(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
