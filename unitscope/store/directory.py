"""The embedded store: a folder on one host.

An object is written to a temporary file, synced, and *linked* into place: a link fails where the
name is taken, which makes `create` atomic and create-only among all processes of the host.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from unitscope.errors import (
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from unitscope.store.base import ObjectInfo, check_key, check_prefix

_TEMPORARY = ".tmp"


class DirectoryStore:
    """Objects as files below one folder. See `unitscope.store.ObjectStore`."""

    def __init__(self, root: Path) -> None:
        """Opens the store, making the folder where it is missing.

        Args:
            root: An absolute folder; its parent must exist or be creatable.
        """
        self.root = root.absolute()
        with self._errors("open"):
            (self.root / _TEMPORARY).mkdir(parents=True, exist_ok=True)

    def create(self, key: str, data: bytes) -> bool:
        """Stores the bytes unless the key is taken; whether this call stored them."""
        path = self._path(key)
        if path.exists():
            return False
        with self._errors(key), self._written(data) as temporary:
            if not _in_folder(self.root, path, lambda: _linked(temporary, path)):
                return False
            with suppress(FileNotFoundError):  # Deleted again already.
                _sync_folder(path.parent)
        return True

    def put(self, key: str, data: bytes) -> None:
        """Stores the bytes, replacing what is there."""
        path = self._path(key)
        with self._errors(key), self._written(data) as temporary:
            _in_folder(self.root, path, lambda: bool(temporary.replace(path)))

    def get(self, key: str) -> bytes:
        """The bytes of an object."""
        with self._errors(key):
            return self._path(key).read_bytes()

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of an object, piece by piece."""
        with self._errors(key):
            file = self._path(key).open("rb")

        def pieces() -> Iterator[bytes]:
            with file:
                while piece := file.read(chunk_bytes):
                    yield piece

        return pieces()

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object; None where there is none."""
        try:
            with self._errors(key):
                found = self._path(key).stat()
        except NotFoundError:
            return None
        return None if stat.S_ISDIR(found.st_mode) else _info(key, found)

    def objects(self, prefix: str) -> list[ObjectInfo]:
        """All objects below the prefix, sorted by key."""
        base = self._path(check_prefix(prefix).removesuffix("/"))
        self._require_root()
        found: list[ObjectInfo] = []
        for folder, _, names in os.walk(base):
            for name in names:
                path = Path(folder) / name
                with suppress(FileNotFoundError):
                    found.append(_info(path.relative_to(self.root).as_posix(), path.stat()))
        return sorted(found, key=lambda info: info.key)

    def children(self, prefix: str) -> list[str]:
        """Names of the next segments below the prefix, sorted."""
        base = self._path(check_prefix(prefix).removesuffix("/"))
        self._require_root()
        try:
            return sorted(os.listdir(base))
        except FileNotFoundError:
            return []

    def delete(self, key: str) -> None:
        """Removes an object, and folders that it leaves empty; nothing happens where there is none."""
        path = self._path(key)
        with suppress(NotFoundError), self._errors(key):
            path.unlink()
            with suppress(OSError):
                for folder in path.parents:
                    if folder == self.root:
                        break
                    folder.rmdir()

    def link(
        self,
        key: str,
        expires_seconds: int,
        filename: str | None = None,
        media_type: str | None = None,
    ) -> str | None:
        """None: nothing serves the folder."""
        check_key(key)
        return None

    def local_path(self, key: str) -> Path | None:
        """The object's file."""
        path = self._path(key)
        return path if path.is_file() else None

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*check_key(key).split("/"))

    def _require_root(self) -> None:
        if not (self.root / _TEMPORARY).is_dir():
            raise UnavailableError(
                "the object store's folder is gone; mount or restore it and try again",
                reason="STORE_UNAVAILABLE",
            )

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A synced temporary file with the bytes, gone afterwards whatever happens."""
        temporary = self.root / _TEMPORARY / uuid.uuid4().hex
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with suppress(OSError):
                temporary.unlink()

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turns the system's errors into ours."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise ResourceExhaustedError(
                    f"the object store is full; free space and try again (writing {key})",
                    reason="STORE_FULL",
                    key=key,
                ) from error
            self_missing = not (self.root / _TEMPORARY).is_dir()
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR) and not self_missing:
                raise NotFoundError(
                    f"there is no object {key}", reason="OBJECT_NOT_FOUND", key=key
                ) from error
            raise UnavailableError(
                f"the object store does not answer ({os.strerror(error.errno or 0)}); "
                "check that its folder is mounted and writable",
                reason="STORE_UNAVAILABLE",
                key=key,
            ) from error


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _in_folder(root: Path, path: Path, place: Callable[[], bool]) -> bool:
    """Places a file in its folder, which is made again where a deletion removes it in between."""
    for _ in range(20):
        # Making a folder fails as "it exists" where it is removed before one can look what it is.
        with suppress(FileNotFoundError, FileExistsError):
            _make_folder(root, path.parent)
            return place()
    _make_folder(root, path.parent)
    return place()


def _make_folder(root: Path, folder: Path) -> None:
    """Makes a folder below the root, but never the root: it may be a mount that is away.

    Raises:
        FileNotFoundError: The root is not there.
    """
    if folder == root:
        root.stat()
        return
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        _make_folder(root, folder.parent)
        folder.mkdir(exist_ok=True)


def _linked(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
