"""What the answers of an S3 server, and its silence, mean to a caller of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from unitscope.errors import (
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    UnitScopeError,
)

_MISSING = frozenset({"NoSuchKey", "NoSuchObject", "NoSuchVersion", "ResourceNotFound"})
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "EntityTooLarge"})
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted"})


def code_of(body: bytes) -> str:
    """The code of an S3 error document; empty where the body is none."""
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode("ascii", "replace")


def busy(status: int, code: str) -> bool:
    """Whether the same request may succeed a little later."""
    return code in _BUSY or status == 429 or (status >= 500 and code not in _FULL and status != 507)


def refused(key: str, status: int, code: str) -> UnitScopeError:
    """The error that an answer of the server stands for.

    Args:
        key: What was asked for.
        status: The HTTP status, 300 or more.
        code: The S3 error code; empty where there is none.
    """
    if code in _MISSING:
        return NotFoundError(f"there is no object {key}", reason="OBJECT_NOT_FOUND", key=key)
    if code in _FULL or status == 507:
        return ResourceExhaustedError(
            f"the object store is full; free space and try again (writing {key})",
            reason="STORE_FULL",
            key=key,
        )
    if busy(status, code):
        return UnavailableError(
            f"the object store is not able to answer now ({code or status})",
            reason="STORE_UNAVAILABLE",
            key=key,
        )
    return FailedPreconditionError(
        f"the object store refused the request for {key} ({code or status}); check the bucket, the "
        "access key and its rights",
        reason="STORE_REFUSED",
        key=key,
        code=code or status,
    )


def silent(key: str, error: Exception) -> UnavailableError:
    """The error of a server that gave no answer."""
    return UnavailableError(
        f"the object store does not answer ({type(error).__name__}); is it running, and are "
        "UNITSCOPE_STORE_ENDPOINT, UNITSCOPE_STORE_SECURE and UNITSCOPE_STORE_CA_FILE right?",
        reason="STORE_UNAVAILABLE",
        key=key,
    )


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Turns the client library's errors into ours."""
    try:
        yield
    except S3Error as error:
        raise refused(key, error.response.status, error.code or "") from error
    except (HTTPError, MinioException, OSError) as error:
        raise silent(key, error) from error
