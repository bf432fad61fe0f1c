"""Opens the store that the settings name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from unitscope.errors import InvalidArgumentError
from unitscope.settings import StoreSettings
from unitscope.store.base import ObjectStore
from unitscope.store.observed import observed


def open_store(settings: StoreSettings) -> ObjectStore:
    """The store behind ``directory:<path>`` or ``s3://<bucket>[/<prefix>]``.

    Raises:
        InvalidArgumentError: The URL has another scheme.
        UnavailableError: The store does not answer.
    """
    return observed(_open(settings))


def _open(settings: StoreSettings) -> ObjectStore:
    url = urlsplit(settings.url)
    if url.scheme == "directory":
        from unitscope.store.directory import DirectoryStore

        return DirectoryStore(Path(url.path))
    if url.scheme == "s3":
        from unitscope.store.s3 import S3Store

        return S3Store.open(settings)
    raise InvalidArgumentError(
        f"UNITSCOPE_STORE_URL is {settings.url!r}; write directory:<path> or s3://<bucket>",
        reason="INVALID_STORE_URL",
    )
