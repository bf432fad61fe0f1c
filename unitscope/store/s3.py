"""The deployed store: a bucket of any S3 server, spoken to with the ``minio`` client.

`create` is a *conditional put*: ``If-None-Match: *`` lets the server decide, atomically among all
writers, who stored an object first. MinIO, SeaweedFS and Amazon's S3 know it. The client library has
no argument for that header, so the request goes out through a presigned URL.

The bucket must exist: who may create buckets is the operator's decision.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from unitscope.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    UnitScopeError,
)
from unitscope.settings import StoreSettings
from unitscope.store.base import ObjectInfo, check_key, check_prefix

_MISSING = frozenset({"NoSuchKey", "NoSuchObject", "NoSuchVersion", "ResourceNotFound"})
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "EntityTooLarge"})
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"})
_TAKEN = frozenset({409, 412})
_TIMEOUT = urllib3.Timeout(connect=5, read=60)
_SIGNED_FOR = timedelta(minutes=5)
_LOOK_FIRST = 1 << 20
"""From this size on, asking whether the key is taken is cheaper than sending the body in vain."""


class S3Store:
    """Objects below one prefix of a bucket. See `unitscope.store.ObjectStore`."""

    def __init__(self, client: Minio, http: urllib3.PoolManager, bucket: str, prefix: str) -> None:
        """Wraps a client that is set up already; `open` makes one from settings.

        Args:
            client: Speaks to the server.
            http: The connections that conditional puts go through.
            bucket: An existing bucket.
            prefix: What all keys begin with: empty, or ending in ``/``.
        """
        self._client = client
        self._http = http
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def open(cls, settings: StoreSettings) -> S3Store:
        """The store that the settings name.

        Raises:
            InvalidArgumentError: No bucket, no endpoint, or half a pair of keys is given.
            FailedPreconditionError: The bucket does not exist, or the keys are refused.
            UnavailableError: The server does not answer.
        """
        url = urlsplit(settings.url)
        if not url.netloc or not settings.endpoint:
            raise InvalidArgumentError(
                f"UNITSCOPE_STORE_URL is {settings.url!r} and UNITSCOPE_STORE_ENDPOINT is "
                f"{settings.endpoint!r}; write s3://<bucket>[/<prefix>] and <host>:<port>",
                reason="INVALID_STORE_URL",
            )
        prefix = url.path.strip("/")
        http = urllib3.PoolManager(
            maxsize=32,
            timeout=_TIMEOUT,
            retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        )
        try:
            client = Minio(
                settings.endpoint,
                access_key=_secret(settings.access_key, settings.access_key_file),
                secret_key=_secret(settings.secret_key, settings.secret_key_file),
                region=settings.region,
                secure=settings.secure,
                http_client=http,
            )
        except ValueError as error:
            raise InvalidArgumentError(
                f"the settings of the S3 store do not fit together: {error}",
                reason="INVALID_STORE_URL",
            ) from error
        store = cls(client, http, url.netloc, check_prefix(f"{prefix}/") if prefix else "")
        store._require_bucket()
        return store

    def create(self, key: str, data: bytes) -> bool:
        """Stores the bytes unless the key is taken; whether this call stored them.

        It is sent once, not retried: a repeated request would find the first one's object and could
        not tell it from another writer's.
        """
        name = self._name(key)
        if len(data) > _LOOK_FIRST and self.stat(key) is not None:
            return False
        with self._errors(key):
            url = self._client.get_presigned_url("PUT", self._bucket, name, expires=_SIGNED_FOR)
            answer = self._http.request(
                "PUT",
                url,
                body=data,
                headers={"If-None-Match": "*", "Content-Type": "application/octet-stream"},
                retries=False,
                redirect=False,
            )
        if answer.status in _TAKEN:
            return False
        if answer.status >= 300:
            raise _refused(key, answer.status, _code(answer.data))
        return True

    def put(self, key: str, data: bytes) -> None:
        """Stores the bytes, replacing what is there."""
        name = self._name(key)
        with self._errors(key):
            self._client.put_object(self._bucket, name, io.BytesIO(data), len(data))

    def get(self, key: str) -> bytes:
        """The bytes of an object."""
        return b"".join(self.stream(key))

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of an object, piece by piece."""
        name = self._name(key)
        with self._errors(key):
            answer = self._client.get_object(self._bucket, name)

        def pieces() -> Iterator[bytes]:
            try:
                with self._errors(key):
                    yield from answer.stream(chunk_bytes)
            finally:
                answer.close()
                answer.release_conn()

        return pieces()

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object; None where there is none."""
        name = self._name(key)
        try:
            with self._errors(key):
                found = self._client.stat_object(self._bucket, name)
        except NotFoundError:
            return None
        return ObjectInfo(key, found.size or 0, found.last_modified or _EPOCH)

    def objects(self, prefix: str) -> list[ObjectInfo]:
        """All objects below the prefix, sorted by key."""
        start = self._prefix + check_prefix(prefix)
        with self._errors(prefix):
            found = [
                ObjectInfo(
                    str(item.object_name).removeprefix(self._prefix),
                    item.size or 0,
                    item.last_modified or _EPOCH,
                )
                for item in self._client.list_objects(self._bucket, start, recursive=True)
                if not item.is_dir
            ]
        return sorted(found, key=lambda info: info.key)

    def children(self, prefix: str) -> list[str]:
        """Names of the next segments below the prefix, sorted."""
        start = self._prefix + check_prefix(prefix)
        with self._errors(prefix):
            items = list(self._client.list_objects(self._bucket, start))
        names = {str(item.object_name).removeprefix(start).strip("/") for item in items}
        return sorted(names - {""})

    def delete(self, key: str) -> None:
        """Removes an object; nothing happens where there is none."""
        name = self._name(key)
        with self._errors(key):
            self._client.remove_object(self._bucket, name)

    def local_path(self, key: str) -> Path | None:
        """None: objects lie on the server."""
        check_key(key)
        return None

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _require_bucket(self) -> None:
        with self._errors(self._bucket):
            exists = self._client.bucket_exists(self._bucket)
        if not exists:
            raise FailedPreconditionError(
                f"the bucket {self._bucket!r} does not exist; create it first",
                reason="BUCKET_NOT_FOUND",
                bucket=self._bucket,
            )

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turns the client's errors into ours."""
        try:
            yield
        except S3Error as error:
            raise _refused(key, error.response.status, error.code or "") from error
        except (HTTPError, MinioException, OSError) as error:
            raise UnavailableError(
                f"the object store does not answer ({type(error).__name__}); is it running, and are "
                "UNITSCOPE_STORE_ENDPOINT and UNITSCOPE_STORE_SECURE right?",
                reason="STORE_UNAVAILABLE",
                key=key,
            ) from error


_EPOCH = datetime.fromtimestamp(0, UTC)


def _secret(value: SecretStr | None, file: Path | None) -> str | None:
    """A secret from its file, or else from the settings; None where neither is given."""
    if file is not None:
        try:
            return file.read_text().strip()
        except OSError as error:
            raise InvalidArgumentError(
                f"the key file {file} cannot be read ({error.strerror}); mount it, readable for this user",
                reason="SECRET_UNREADABLE",
            ) from error
    return value.get_secret_value() if value else None


def _code(body: bytes) -> str:
    """The code of an S3 error document."""
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode("ascii", "replace")


def _refused(key: str, status: int, code: str) -> UnitScopeError:
    """What an error answer of the server means to a caller of ours."""
    if code in _MISSING:
        return NotFoundError(f"there is no object {key}", reason="OBJECT_NOT_FOUND", key=key)
    if code in _FULL or status == 507:
        return ResourceExhaustedError(
            f"the object store is full; free space and try again (writing {key})",
            reason="STORE_FULL",
            key=key,
        )
    if code in _BUSY or status >= 500 or status == 429:
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
