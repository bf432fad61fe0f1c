"""One job, seen from outside."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unitscope.client.artifacts import fetch, local_target, make_link, save
from unitscope.client.connection import Connection, Waiting
from unitscope.client.saved import read_tables, table_files, table_names
from unitscope.client.values import Artifact, DeletedJob, JobStatus
from unitscope.errors import (
    CancelledError,
    DeadlineError,
    FailedPreconditionError,
    JobFailedError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from unitscope.jobs.state import JobState
from unitscope.rpc.channel import stream
from unitscope.v1 import analysis_job_pb2 as pb

if TYPE_CHECKING:
    import pyarrow as pa

STREAM_SECONDS = 60.0
"""A watch stream is opened anew this often, so that a server that hangs is noticed."""


class JobHandle:
    """A job by its id. Making one sends nothing; see `unitscope.client.Client.job`."""

    def __init__(self, connection: Connection, job_id: str) -> None:
        """Binds the id to a connection."""
        self.id = job_id
        self._connection = connection
        self._ended: JobStatus | None = None

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    def status(self) -> JobStatus:
        """The job as it stands.

        Raises:
            NotFoundError: There is no such job.
        """
        request = pb.GetAnalysisJobRequest(job_id=self.id)
        response = self._connection.call(self._connection.stub.GetAnalysisJob, request)
        return self._seen(JobStatus.from_proto(response.job))

    def watch(self, *, after_sequence: int = 0, timeout: float | None = None) -> Iterator[JobStatus]:
        """Every change of the job until it has ended; the last status is terminal.

        A broken stream, e.g. by a restart of the gateway, is opened again after the last change that
        was seen.

        Args:
            after_sequence: Only changes after this sequence number; 0 begins with the job as it is.
            timeout: Seconds to watch at most; None sets no limit.

        Raises:
            DeadlineError: The job has not ended within `timeout`.
            UnavailableError: The gateway stayed away for longer than the client's patience.
            NotFoundError: There is no such job.
            ResourceExhaustedError: Too many watch, for longer than the client's patience.
        """
        end = None if timeout is None else time.monotonic() + timeout
        waiting = Waiting(self._connection)
        last: JobStatus | None = None
        while True:
            left = self._left(end, timeout)
            request = pb.WatchAnalysisJobRequest(job_id=self.id, after_sequence=after_sequence)
            method, peer = self._connection.stub.WatchAnalysisJob, self._connection.peer
            try:
                for response in stream(method, request, min(left, STREAM_SECONDS), peer):
                    waiting.reset()
                    if not response.HasField("job"):
                        continue
                    status = self._seen(JobStatus.from_proto(response.job))
                    if status != last:
                        yield status
                    last, after_sequence = status, max(after_sequence, status.sequence)
                    if status.state.terminal:
                        return
            except DeadlineError:
                continue
            except ResourceExhaustedError as error:
                waiting.limited(error, left)
            except (CancelledError, UnavailableError) as error:
                # A server that is shut down cancels its streams.
                waiting.after(_unavailable(error), left)
            else:
                # A stream that ends before its job does: nothing was new, or the server is leaving.
                status = self.status()
                if status.state.terminal:
                    yield from () if status == last else (status,)
                    return
                time.sleep(min(left, 0.5))

    def result(self, timeout: float | None = None) -> Result:
        """Waits for the end, and answers with what came out.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            JobFailedError: The job failed (with its reason), or was cancelled (JOB_CANCELLED).
            DeadlineError: It has not ended within `timeout`.
        """
        status = self._ended or deque(self.watch(timeout=timeout), maxlen=1).pop()
        raise_for_state(status)
        return Result(self, status)

    def cancel(self) -> JobStatus:
        """Asks the job to stop; after its end, or when asked before, nothing changes."""
        request = pb.CancelAnalysisJobRequest(job_id=self.id)
        response = self._connection.call(self._connection.stub.CancelAnalysisJob, request)
        return self._seen(JobStatus.from_proto(response.job))

    def delete(self) -> DeletedJob:
        """Deletes the job, which must have ended, with all that came out; what stays is answered.

        Deleting twice answers the same.

        Raises:
            FailedPreconditionError: It has not ended (reason JOB_NOT_ENDED).
            NotFoundError: There is and was no such job.
        """
        request = pb.DeleteAnalysisJobRequest(job_id=self.id)
        response = self._connection.call(self._connection.stub.DeleteAnalysisJob, request)
        self._ended = None
        return DeletedJob.from_proto(response.deleted)

    def link(self, name: str, seconds: int = 3600) -> str | None:
        """An address to download an artifact from without a token; None where the store gives none.

        Args:
            name: The artifact's full name.
            seconds: How long the address is to work, 1 to 86400.

        Raises:
            NotFoundError: The job has no such artifact (reason ARTIFACT_NOT_FOUND).
            FailedPreconditionError: The job has not succeeded.
        """
        return make_link(self._connection, self.id, name, seconds)

    def artifacts(self) -> tuple[Artifact, ...]:
        """What came out.

        Raises:
            FailedPreconditionError: The job has not ended yet (reason JOB_NOT_ENDED).
        """
        status = self._ended or self.status()
        if not status.state.terminal:
            raise FailedPreconditionError(
                f"{self.id} is still {status.state.lower()}; its artifacts are there once it has "
                "ended: wait with result()",
                reason="JOB_NOT_ENDED",
                job=self.id,
            )
        return status.artifacts

    def read(self, name: str) -> bytes:
        """The bytes of an artifact, checked against its sha256.

        Args:
            name: Its full name, e.g. ``"tables/units.parquet"``.

        Raises:
            NotFoundError: The job has no such artifact (reason ARTIFACT_NOT_FOUND).
            DataLossError: The bytes are not those of the digest.
        """
        return b"".join(fetch(self._connection, self.id, self._artifact(name)))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A table, whole or in shards.

        Args:
            name: Its short name, e.g. ``"units"``, or its artifact's name.
            columns: Only these columns, in this order; all where None.

        Raises:
            NotFoundError: The job has no such table (reason ARTIFACT_NOT_FOUND).
            InvalidArgumentError: The table lacks a column (reason UNKNOWN_COLUMN).
            DataLossError: The bytes are not those of the digest.
        """
        names = table_files((artifact.name for artifact in self.artifacts()), name)
        return read_tables(map(self.read, names), columns)

    def download(
        self, folder: str | os.PathLike[str], names: Sequence[str] | None = None, *, direct: bool = False
    ) -> list[Path]:
        """Saves artifacts below a folder; those already there with their digest are left as they are.

        Args:
            folder: Made where it is missing.
            names: Artifacts by name; all where None.
            direct: Fetch them from the store where it gives links, past the gateway; where such a link
                does not work from here, the gateway is asked after all.

        Returns:
            The files, in the order of the artifacts.

        Raises:
            NotFoundError: The job has no artifact of a name.
            DataLossError: Bytes are not those of a digest, or a name leaves the folder.
        """
        wanted = self.artifacts() if names is None else [self._artifact(name) for name in names]
        targets = [local_target(Path(folder), artifact) for artifact in wanted]
        for artifact, target in zip(wanted, targets, strict=True):
            save(self._connection, self.id, artifact, target, direct=direct)
        return targets

    def _artifact(self, name: str) -> Artifact:
        artifacts = self.artifacts()
        for artifact in artifacts:
            if artifact.name == name:
                return artifact
        known = ", ".join(artifact.name for artifact in artifacts[:30]) or "none"
        raise NotFoundError(
            f"{self.id} has no artifact {name!r}; it has: {known}",
            reason="ARTIFACT_NOT_FOUND",
            field="artifact",
            job=self.id,
        )

    def _left(self, end: float | None, timeout: float | None) -> float:
        left = float("inf") if end is None else end - time.monotonic()
        if left <= 0:
            raise DeadlineError(
                f"{self.id} has not ended within {timeout:g} seconds; it goes on: watch it again, or "
                "cancel it",
                reason="JOB_NOT_ENDED",
                job=self.id,
            )
        return left

    def _seen(self, status: JobStatus) -> JobStatus:
        if status.state.terminal:
            self._ended = status
        return status


@dataclass(frozen=True)
class Result:
    """What came out of a job that succeeded; reads are those of `JobHandle`."""

    handle: JobHandle
    status: JobStatus

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts."""
        return self.status.artifacts

    @property
    def tables(self) -> tuple[str, ...]:
        """The short names of the tables."""
        return table_names(artifact.name for artifact in self.artifacts)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A table; see `JobHandle.table`."""
        return self.handle.table(name, columns)

    def read(self, name: str) -> bytes:
        """An artifact's bytes; see `JobHandle.read`."""
        return self.handle.read(name)

    def download(self, folder: str | os.PathLike[str]) -> list[Path]:
        """All artifacts, as files; see `JobHandle.download`."""
        return self.handle.download(folder)


def raise_for_state(status: JobStatus) -> None:
    """Nothing for a job that succeeded.

    Raises:
        JobFailedError: It failed, with the job's reason and message, or it was cancelled.
    """
    if status.state is JobState.CANCELLED:
        raise JobFailedError(f"{status.id} was cancelled", reason="JOB_CANCELLED", job=status.id)
    if status.state is JobState.FAILED:
        error = status.error
        raise JobFailedError(
            f"{status.id} failed: {error.message if error else 'no error was stored'}",
            reason=error.reason if error else None,
            job=status.id,
            status=error.status if error else "UNKNOWN",
            chunk=error.chunk if error else "",
        )


def _unavailable(error: CancelledError | UnavailableError) -> UnavailableError:
    if isinstance(error, UnavailableError):
        return error
    return UnavailableError(error.message, reason="SERVICE_UNAVAILABLE")
