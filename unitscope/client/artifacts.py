"""Artifacts on their way to this side: resumed as a whole, and checked against their digests."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from unitscope.client.connection import Connection, Waiting
from unitscope.client.values import Artifact
from unitscope.errors import DataLossError, UnavailableError
from unitscope.rpc.channel import stream
from unitscope.v1 import analysis_job_pb2 as pb

READ_SECONDS = 600.0


def fetch(connection: Connection, job_id: str, artifact: Artifact) -> Iterator[bytes]:
    """The bytes of an artifact, piece by piece; the last piece comes only if the digest is right.

    A broken stream is opened again; pieces that were handed out before are skipped.

    Raises:
        DataLossError: The bytes are not those of the digest.
        UnavailableError: The gateway stayed away for longer than the client's patience.
    """
    request = pb.ReadArtifactRequest(job_id=job_id, artifact=artifact.name)
    digest = hashlib.sha256()
    waiting = Waiting(connection)
    given = 0
    held = b""
    while True:
        position = 0
        try:
            for response in stream(connection.stub.ReadArtifact, request, READ_SECONDS, connection.peer):
                waiting.reset()
                fresh = response.data[max(0, given - position) :]
                position += len(response.data)
                if fresh:
                    digest.update(fresh)
                    given += len(fresh)
                    yield held
                    held = fresh
            break
        except UnavailableError as error:
            waiting.after(error)
    if digest.hexdigest() != artifact.sha256:
        raise DataLossError(
            f"the artifact {artifact.name} of {job_id} does not have its sha256 "
            f"{artifact.sha256[:16]}...: {given} bytes came, {artifact.size} are stated; run the job "
            "again",
            job=job_id,
            artifact=artifact.name,
        )
    yield held


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


def save(connection: Connection, job_id: str, artifact: Artifact, target: Path) -> None:
    """Writes the artifact to a file, whole or not at all. Raises like `fetch`, and `OSError`."""
    if target.is_file() and _sha256(target) == artifact.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            for piece in fetch(connection, job_id, artifact):
                file.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
