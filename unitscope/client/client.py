"""The client itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unitscope.client.connection import Connection
from unitscope.client.handle import JobHandle
from unitscope.client.values import Capabilities, Cost, JobStatus, cost_from_proto
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.ids import check_job_id
from unitscope.jobs.specs import AnySpec, parse_spec
from unitscope.jobs.state import JobState
from unitscope.v1 import analysis_job_pb2 as pb


class Client:
    """Speaks to one gateway. Safe to share between threads; a context manager."""

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        token_file: Path | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """Makes a client; nothing is sent before the first call.

        Args:
            address: ``host:port`` of the gateway; where None, the variable
                UNITSCOPE_ENDPOINT_GATEWAY, and else 127.0.0.1:7400.
            timeout: Deadline of one call, in seconds.
            patience: How long a gateway that answered before and then went away is waited for, in
                seconds. Each answer starts the time anew.
            token_file: A file that holds the token to show; where None, UNITSCOPE_CLIENT_TOKEN_FILE
                and UNITSCOPE_CLIENT_TOKEN are used, if set.
            ca_file: PEM certificates of the authorities that sign the gateway's, which makes the
                client speak TLS; where None, UNITSCOPE_TLS_SERVER_CA_FILE is used, if set.

        Raises:
            FailedPreconditionError: The token would go to another machine without TLS.
            InvalidArgumentError: A file cannot be used.
        """
        self._connection = Connection(address, timeout, patience, token_file, ca_file)

    @property
    def address(self) -> str:
        """``host:port`` of the gateway."""
        return self._connection.address

    def submit(
        self,
        spec: AnySpec | str,
        values: Mapping[str, Any] | None = None,
        *,
        request_id: str = "",
    ) -> JobHandle:
        """Creates a job. Sent again after a broken call, it still creates one job only.

        Args:
            spec: A spec, or the name of a kind, e.g. ``"traverse"``.
            values: The spec's fields, where a kind is named.
            request_id: Names the request, so that another process can repeat it; drawn if empty.

        Raises:
            InvalidArgumentError: The spec is wrong.
            NotFoundError: A model or linker does not exist.
            FailedPreconditionError: A pinned digest is another.
            ResourceExhaustedError: Too many jobs are active, were created of late, or take too much room;
                where the gateway says when to come again, that is waited for within the patience.
            UnavailableError: The gateway does not answer.
        """
        request = pb.CreateAnalysisJobRequest(
            spec=spec_to_proto(_parsed(spec, values)), request_id=request_id or str(uuid.uuid4())
        )
        response = self._connection.call(self._connection.stub.CreateAnalysisJob, request)
        return JobHandle(self._connection, response.job.job_id)

    def validate(self, spec: AnySpec | str, values: Mapping[str, Any] | None = None) -> Cost:
        """What a job would take, without creating it. Arguments and errors are those of `submit`."""
        request = pb.CreateAnalysisJobRequest(spec=spec_to_proto(_parsed(spec, values)), validate_only=True)
        response = self._connection.call(self._connection.stub.CreateAnalysisJob, request)
        return cost_from_proto(response.cost)

    def job(self, job_id: str) -> JobHandle:
        """A handle on a job that exists; nothing is sent.

        Raises:
            InvalidArgumentError: The text is no job id.
        """
        return JobHandle(self._connection, check_job_id(job_id))

    def jobs(
        self,
        page_size: int = 25,
        *,
        states: Iterable[JobState | str] = (),
        kinds: Iterable[str] = (),
        created_from: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[JobStatus]:
        """The project's jobs, newest first, fetched page by page; without their artifacts.

        Args:
            page_size: Jobs fetched at once, 1 to 100.
            states: Only jobs in one of these states; all where empty.
            kinds: Only jobs of one of these kinds; all where empty.
            created_from: Only jobs created then or later; with a time zone, else local time.
            created_before: Only jobs created before then; likewise.

        Raises:
            InvalidArgumentError: A kind does not exist, or the times leave no room.
            ValueError: A state does not exist.
        """
        request = pb.ListAnalysisJobsRequest(page_size=page_size, kinds=kinds)
        for state in states:
            request.states.append(getattr(pb, f"JOB_STATE_{JobState(state).value}"))
        for field, moment in (("created_from", created_from), ("created_before", created_before)):
            if moment is not None:
                getattr(request, field).FromDatetime(moment.astimezone(UTC))
        while True:
            response = self._connection.call(self._connection.stub.ListAnalysisJobs, request)
            yield from map(JobStatus.from_proto, response.jobs)
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    def capabilities(self) -> Capabilities:
        """The analyses, models and limits of the installation."""
        method = self._connection.stub.GetCapabilities
        return Capabilities.from_proto(self._connection.call(method, pb.GetCapabilitiesRequest()))

    def close(self) -> None:
        """Closes the connection; handles made by this client end with it."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _parsed(spec: AnySpec | str, values: Mapping[str, Any] | None) -> AnySpec:
    return parse_spec(spec, dict(values or {})) if isinstance(spec, str) else spec
