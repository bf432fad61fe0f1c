"""The deployed store: a bucket of any S3 server, spoken to with the ``minio`` client.

`create` is a *conditional put*: ``If-None-Match: *`` lets the server decide, atomically among all
writers, who stored an object first; large objects go up in parts, and the completion is conditional.
MinIO, SeaweedFS and Amazon's S3 know both. Each writer marks what it sends with a word of its own
(metadata ``writer``): where an answer was lost and the request repeated, "taken" may mean "by you".

The bucket must exist: who may create buckets is the operator's decision.
"""

from __future__ import annotations

import io
import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

import urllib3
from minio import Minio
from pydantic import SecretStr

from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from unitscope.settings import StoreSettings
from unitscope.store.answers import refused, translated
from unitscope.store.base import MAX_LINK_SECONDS, ObjectInfo, check_key, check_prefix
from unitscope.store.multipart import TAKEN, Multipart
from unitscope.store.signed import SignedRequests

_TIMEOUT = urllib3.Timeout(connect=5, read=60)
_LOOK_FIRST = 1 << 20
"""From this size on, asking whether the key is taken is cheaper than sending the body in vain."""
_WRITER = "x-amz-meta-writer"
_EPOCH = datetime.fromtimestamp(0, UTC)


class S3Store:
    """Objects below one prefix of a bucket. See `unitscope.store.ObjectStore`."""

    def __init__(
        self,
        client: Minio,
        links: Minio,
        requests: SignedRequests,
        bucket: str,
        prefix: str,
        part_bytes: int,
    ) -> None:
        """Wraps clients that are set up already; `open` makes them from settings.

        Args:
            client: Speaks to the server.
            links: Signs download links, which may name the server otherwise. Sends nothing.
            requests: Signed requests for the bucket.
            bucket: An existing bucket.
            prefix: What all keys begin with: empty, or ending in ``/``.
            part_bytes: Objects beyond this size are created in parts of it.
        """
        self._client = client
        self._links = links
        self._requests = requests
        self._multipart = Multipart(requests, part_bytes)
        self._bucket = bucket
        self._prefix = prefix
        self._part_bytes = part_bytes

    @classmethod
    def open(cls, settings: StoreSettings) -> Self:
        """The store that the settings name.

        Raises:
            InvalidArgumentError: No bucket, no endpoint, or half a pair of keys is given, or a file that
                is named cannot be read.
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
        keys = _keys(settings)
        http = _connections(settings.ca_file)
        # It would write a line a retry; what retries could not mend is raised.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        client = _client(settings, settings.endpoint, settings.secure, keys, http)
        public_secure = settings.secure if settings.public_secure is None else settings.public_secure
        links = client
        if settings.public_endpoint:
            links = _client(settings, settings.public_endpoint, public_secure, keys, http)
        requests = SignedRequests(client, http, url.netloc, settings.region, keys)
        named = check_prefix(f"{prefix}/") if prefix else ""
        store = cls(client, links, requests, url.netloc, named, settings.part_bytes)
        store._require_bucket()
        return store

    def create(self, key: str, data: bytes) -> bool:
        """Stores the bytes unless the key is taken; whether this call stored them."""
        name = self._name(key)
        if len(data) > _LOOK_FIRST and self.stat(key) is not None:
            return False
        writer = uuid.uuid4().hex
        headers = {"Content-Type": "application/octet-stream", _WRITER: writer}
        if len(data) > self._part_bytes:
            answer = self._multipart.create(name, data, headers)
        else:
            answer = self._requests.send("PUT", name, headers={**headers, "If-None-Match": "*"}, body=data)
        if answer.status < 300:
            # Some servers look and complete in two steps: of writers at once, the last one's bytes stand.
            return len(data) <= self._part_bytes or self._is_mine(key, writer)
        if answer.status not in TAKEN:
            raise refused(key, answer.status, answer.code)
        if answer.tries == 1 and answer.status == 412:
            return False
        return self._is_mine(key, writer)

    def _is_mine(self, key: str, writer: str) -> bool:
        """Whether the object that stands there was stored by that writer."""
        try:
            with translated(key):
                found = self._client.stat_object(self._bucket, self._name(key))
        except NotFoundError as error:
            raise UnavailableError(
                f"the object store had a conflict about {key} and holds no such object; try again",
                reason="STORE_CONFLICT",
                key=key,
            ) from error
        return bool((found.metadata or {}).get(_WRITER) == writer)

    def put(self, key: str, data: bytes) -> None:
        """Stores the bytes, replacing what is there."""
        name = self._name(key)
        with translated(key):
            self._client.put_object(self._bucket, name, io.BytesIO(data), len(data))

    def get(self, key: str) -> bytes:
        """The bytes of an object."""
        return b"".join(self.stream(key))

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of an object, piece by piece."""
        name = self._name(key)
        with translated(key):
            answer = self._client.get_object(self._bucket, name)

        def pieces() -> Iterator[bytes]:
            try:
                with translated(key):
                    yield from answer.stream(chunk_bytes)
            finally:
                answer.close()
                answer.release_conn()

        return pieces()

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object; None where there is none."""
        name = self._name(key)
        try:
            with translated(key):
                found = self._client.stat_object(self._bucket, name)
        except NotFoundError:
            return None
        return ObjectInfo(key, found.size or 0, found.last_modified or _EPOCH)

    def objects(self, prefix: str) -> list[ObjectInfo]:
        """All objects below the prefix, sorted by key."""
        start = self._prefix + check_prefix(prefix)
        with translated(prefix):
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
        with translated(prefix):
            items = list(self._client.list_objects(self._bucket, start))
        names = {str(item.object_name).removeprefix(start).strip("/") for item in items}
        return sorted(names - {""})

    def delete(self, key: str) -> None:
        """Removes an object; nothing happens where there is none."""
        name = self._name(key)
        with translated(key):
            self._client.remove_object(self._bucket, name)

    def link(
        self,
        key: str,
        expires_seconds: int,
        filename: str | None = None,
        media_type: str | None = None,
    ) -> str | None:
        """An address that anybody can read the object at, without keys, until it expires.

        Whether the object exists is not looked at. The link names UNITSCOPE_STORE_PUBLIC_ENDPOINT where
        that is set. See `unitscope.store.ObjectStore`.
        """
        name = self._name(key)
        if not 1 <= expires_seconds <= MAX_LINK_SECONDS:
            raise InvalidArgumentError(
                f"a link cannot last {expires_seconds} seconds; S3 signs for 1 to {MAX_LINK_SECONDS}",
                reason="INVALID_EXPIRY",
            )
        wanted: dict[str, str | list[str] | tuple[str]] = {}
        if filename is not None:
            wanted["response-content-disposition"] = (
                f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
            )
        if media_type is not None:
            wanted["response-content-type"] = media_type
        lifetime = timedelta(seconds=expires_seconds)
        return str(self._links.presigned_get_object(self._bucket, name, lifetime, response_headers=wanted))

    def local_path(self, key: str) -> Path | None:
        """None: objects lie on the server."""
        check_key(key)
        return None

    def unfinished_uploads(self) -> list[str]:
        """Keys of uploads that were begun and neither completed nor removed (the first 1,000)."""
        return sorted(name.removeprefix(self._prefix) for name, _ in self._multipart.uploads(self._prefix))

    def abort_uploads(self) -> int:
        """Removes all unfinished uploads; how many. Only for stores that nobody writes to meanwhile."""
        found = self._multipart.uploads(self._prefix)
        for name, upload in found:
            self._multipart.abort(name, upload)
        return len(found)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _require_bucket(self) -> None:
        with translated(self._bucket):
            exists = self._client.bucket_exists(self._bucket)
        if not exists:
            raise FailedPreconditionError(
                f"the bucket {self._bucket!r} does not exist; create it first",
                reason="BUCKET_NOT_FOUND",
                bucket=self._bucket,
            )


def _connections(ca_file: Path | None) -> urllib3.PoolManager:
    """Connections that trust the system's authorities, or those of the file alone."""
    if ca_file is not None and not ca_file.is_file():
        raise InvalidArgumentError(
            f"UNITSCOPE_STORE_CA_FILE is {ca_file}, which is no file that can be read; name a file of PEM "
            "certificates",
            reason="CA_UNREADABLE",
        )
    return urllib3.PoolManager(
        maxsize=32,
        timeout=_TIMEOUT,
        retries=urllib3.Retry(total=4, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504)),
        ca_certs=str(ca_file) if ca_file else None,
    )


def _client(
    settings: StoreSettings,
    endpoint: str,
    secure: bool,
    keys: tuple[str, str] | None,
    http: urllib3.PoolManager,
) -> Minio:
    access, secret = keys or (None, None)
    try:
        return Minio(
            endpoint,
            access_key=access,
            secret_key=secret,
            region=settings.region,
            secure=secure,
            http_client=http,
        )
    except ValueError as error:
        raise InvalidArgumentError(
            f"the settings of the S3 store do not fit together: {error}", reason="INVALID_STORE_URL"
        ) from error


def _keys(settings: StoreSettings) -> tuple[str, str] | None:
    """Access key and secret key; None where neither is given."""
    access = _secret(settings.access_key, settings.access_key_file)
    secret = _secret(settings.secret_key, settings.secret_key_file)
    if (access is None) != (secret is None):
        raise InvalidArgumentError(
            "only one of the S3 access key and the S3 secret key is given; give both, or neither for a "
            "bucket that is open to all",
            reason="INVALID_STORE_URL",
        )
    return (access, secret) if access is not None and secret is not None else None


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
