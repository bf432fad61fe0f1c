"""Artifacts on their way to this side: resumed as a whole, and checked against their digests."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import urlopen

from unitscope.client.connection import Connection, Waiting
from unitscope.client.values import Artifact
from unitscope.errors import DataLossError, UnavailableError
from unitscope.rpc.channel import stream
from unitscope.v1 import analysis_job_pb2 as pb

READ_SECONDS = 600.0
DIRECT_SECONDS = 10.0
"""How long a store that is asked directly may stay silent before the gateway is asked."""


def fetch(
    connection: Connection, job_id: str, artifact: Artifact, *, direct: bool = False
) -> Iterator[bytes]:
    """The bytes of an artifact, piece by piece; the last piece comes only if the digest is right.

    A broken stream is opened again; pieces that were handed out before are skipped. With `direct` the
    first try goes to the store itself, where that gives links.

    Raises:
        DataLossError: The bytes are not those of the digest.
        UnavailableError: The gateway stayed away for longer than the client's patience.
    """
    digest = hashlib.sha256()
    waiting = Waiting(connection)
    given = 0
    held = b""
    while True:
        position = 0
        try:
            for data in (_direct if direct else _through)(connection, job_id, artifact.name):
                waiting.reset()
                fresh = data[max(0, given - position) :]
                position += len(data)
                if fresh:
                    digest.update(fresh)
                    given += len(fresh)
                    yield held
                    held = fresh
            break
        except UnavailableError as error:
            waiting.after(error)
        except (OSError, HTTPException):
            # The store is often on a network that only the gateway reaches.
            if not direct:
                raise
            direct = False
    if digest.hexdigest() != artifact.sha256:
        raise DataLossError(
            f"the artifact {artifact.name} of {job_id} does not have its sha256 "
            f"{artifact.sha256[:16]}...: {given} bytes came, {artifact.size} are stated; run the job "
            "again",
            job=job_id,
            artifact=artifact.name,
        )
    yield held


def make_link(connection: Connection, job_id: str, name: str, seconds: int) -> str | None:
    """An address of the artifact in the store that lasts so long; None where the store gives none."""
    request = pb.GetArtifactLinkRequest(job_id=job_id, artifact=name, lifetime_seconds=seconds)
    return connection.call(connection.stub.GetArtifactLink, request).url or None


def _through(connection: Connection, job_id: str, name: str) -> Iterator[bytes]:
    """The artifact as the gateway streams it."""
    request = pb.ReadArtifactRequest(job_id=job_id, artifact=name)
    for response in stream(connection.stub.ReadArtifact, request, READ_SECONDS, connection.peer):
        yield response.data


def _direct(connection: Connection, job_id: str, name: str) -> Iterator[bytes]:
    """The artifact from the store. Raises OSError or HTTPException where that does not work."""
    url = make_link(connection, job_id, name, int(READ_SECONDS))
    if url is None or urlsplit(url).scheme not in ("http", "https"):
        raise OSError("the store gives no link")
    with urlopen(url, timeout=DIRECT_SECONDS) as response:
        while data := response.read(1 << 20):
            yield data


def local_target(folder: Path, artifact: Artifact) -> Path:
    """The artifact's file below the folder.

    Raises:
        DataLossError: The name leaves the folder (reason UNSAFE_ARTIFACT_NAME): no honest server
            sends one.
    """
    path = PurePosixPath(artifact.name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in artifact.name:
        raise DataLossError(
            f"the artifact's name {artifact.name[:80]!r} leaves the folder; it is not saved",
            reason="UNSAFE_ARTIFACT_NAME",
        )
    return folder.joinpath(*path.parts)


def save(
    connection: Connection, job_id: str, artifact: Artifact, target: Path, *, direct: bool = False
) -> None:
    """Writes the artifact to a file, whole or not at all. Raises like `fetch`, and `OSError`."""
    if target.is_file() and _sha256(target) == artifact.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            for piece in fetch(connection, job_id, artifact, direct=direct):
                file.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
