"""S3 requests that the client library has no function for: conditional ones, signed header by header.

They are tried again, with pauses that grow, while the server is silent or busy. Whoever sends a request
that must not be done twice learns from `Answer.tries` that an earlier try may have been heard.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

import urllib3
from minio import Minio
from minio.credentials import Credentials
from minio.signer import sign_v4_s3
from minio.time import to_amz_date
from urllib3.exceptions import HTTPError

from unitscope.store.answers import busy, code_of, refused, silent

PAUSES = (0.2, 0.4, 0.8, 1.6)
"""Seconds between tries, each up to a half longer by chance, so that many callers do not come at once."""


@dataclass(frozen=True)
class Answer:
    """An answer, and on which try it came."""

    status: int
    body: bytes
    etag: str
    tries: int

    @property
    def code(self) -> str:
        """The S3 error code; empty where there is none."""
        return code_of(self.body)


class SignedRequests:
    """Signed requests for the objects of one bucket."""

    def __init__(
        self,
        client: Minio,
        http: urllib3.PoolManager,
        bucket: str,
        region: str,
        credentials: tuple[str, str] | None,
    ) -> None:
        """Prepares; nothing is sent.

        Args:
            client: Knows where an object's address is.
            http: The connections.
            bucket: The bucket.
            region: What the signatures are for.
            credentials: Access key and secret key; None where the bucket is open to all.
        """
        self._client = client
        self._http = http
        self._bucket = bucket
        self._region = region
        self._credentials = Credentials(*credentials) if credentials else None

    def send(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Sends a request until an answer other than "busy" comes.

        Args:
            method: The HTTP method.
            name: The object's whole name in the bucket; empty for the bucket itself.
            query: Parameters.
            headers: Headers beside those of the signature.
            body: What to send.

        Raises:
            UnavailableError: No answer came, or "busy" on every try (reason STORE_UNAVAILABLE).
        """
        for tries in range(1, len(PAUSES) + 2):
            last = tries > len(PAUSES)
            try:
                answer = self._once(method, name, query or {}, headers or {}, body, tries)
            except (HTTPError, OSError) as error:
                if last:
                    raise silent(name, error) from error
            else:
                if not busy(answer.status, answer.code):
                    return answer
                if last:
                    raise refused(name, answer.status, answer.code)
            time.sleep(PAUSES[tries - 1] * random.uniform(1.0, 1.5))
        raise AssertionError("the last try returns or raises")

    def _once(
        self,
        method: str,
        name: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        tries: int,
    ) -> Answer:
        # The library knows whether the bucket stands in the host's name or in the path. A bucket alone
        # has no presigned address there, so any object's is cut short.
        known = urlsplit(self._client.get_presigned_url("GET", self._bucket, name or "_"))
        path = known.path if name else known.path.removesuffix("_").rstrip("/") or "/"
        url = known._replace(path=path, query=urlencode(sorted(query.items())))
        now, digest = datetime.now(UTC), hashlib.sha256(body).hexdigest()
        signed = {
            **headers,
            "Host": url.netloc,
            "x-amz-content-sha256": digest,
            "x-amz-date": to_amz_date(now),
        }
        if self._credentials is not None:
            signed = sign_v4_s3(
                method=method,
                url=url,
                region=self._region,
                headers=signed,
                credentials=self._credentials,
                content_sha256=digest,
                date=now,
            )
        found = self._http.request(
            method, url.geturl(), headers=signed, body=body, retries=False, redirect=False
        )
        return Answer(found.status, found.data, found.headers.get("ETag", ""), tries)
