"""Creating, reading, listing and cancelling jobs. Knows no protobuf and no server."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from celery import Celery

from unitscope.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from unitscope.jobs import broker, layout, planning
from unitscope.jobs.ids import check_job_id, job_id_of
from unitscope.jobs.plan import Cost, Plan
from unitscope.jobs.specs import AnySpec, kind_of
from unitscope.jobs.state import JobRecord, JobState, create_spec, read_job, read_json
from unitscope.models import ModelCard, Registry
from unitscope.models.linkers import find_linker, list_linkers
from unitscope.store import ObjectStore

log = logging.getLogger(__name__)

MAX_PAGE = 100
DEFAULT_PAGE = 25


@dataclass
class Jobs:
    """The jobs of one installation."""

    store: ObjectStore
    registry: Registry
    app: Celery
    max_active: int
    _created: dict[str, str] = field(default_factory=dict)
    _ended: dict[str, JobRecord] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)

    def validate(self, spec: AnySpec) -> Cost:
        """What the spec would cost. Raises what is wrong with it."""
        return planning.cost(self._plan(spec))

    def create(self, spec: AnySpec, request_id: str) -> JobRecord:
        """The job of this request, new or as it was created before.

        Raises:
            InvalidArgumentError: The spec or the request id is wrong.
            NotFoundError: A model or linker does not exist.
            AlreadyExistsError: The request id was used with another spec (REQUEST_ID_REUSED).
            ResourceExhaustedError: Too many jobs are active (TOO_MANY_JOBS).
        """
        job_id = job_id_of(request_id)
        before = read_json(self.store, layout.spec(job_id))
        if before is None:
            self._plan(spec)
            self._refuse_too_many()
            create_spec(self.store, job_id, spec, kind_of(spec))
        record = self.get(job_id)
        if record.spec != spec:
            raise AlreadyExistsError(
                f"the request_id {request_id!r} was used for {job_id} with another spec; "
                "use a new request_id",
                reason="REQUEST_ID_REUSED",
                field="request_id",
                job=job_id,
            )
        if record.state is JobState.QUEUED:
            self.send(broker.PLAN, job_id)
        return record

    def get(self, job_id: str) -> JobRecord:
        """The job as it stands. Raises like `unitscope.jobs.state.read_job`."""
        if job_id in self._ended:
            return self._ended[job_id]
        record = read_job(self.store, job_id, self._plans.get(job_id))
        if record.plan is not None:
            self._plans[job_id] = record.plan
        if record.state.terminal:
            self._plans.pop(job_id, None)
            self._ended[job_id] = record
        return record

    def cancel(self, job_id: str) -> JobRecord:
        """Asks the job to stop; the job as it then stands."""
        record = self.get(job_id)
        if not record.state.terminal:
            body = {"at": datetime.now(UTC).isoformat()}
            self.store.create(layout.cancel(job_id), json.dumps(body).encode())
        return self.get(job_id)

    def page(self, page_size: int, page_token: str) -> tuple[list[JobRecord], str]:
        """A page of jobs, newest first, and the token of the next page.

        Raises:
            InvalidArgumentError: The page size is negative, or the token is none of ours.
        """
        if page_size < 0:
            raise InvalidArgumentError(
                f"page_size is {page_size}; use 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}",
                reason="INVALID_PAGE_SIZE",
                field="page_size",
            )
        size = min(page_size or DEFAULT_PAGE, MAX_PAGE)
        names = sorted(((self._creation(job), job) for job in self.ids()), reverse=True)
        if page_token:
            last = _read_token(page_token)
            names = [name for name in names if name < last]
        page = names[:size]
        token = _make_token(page[-1]) if len(names) > size else ""
        return [record for _, job in page if (record := self._readable(job)) is not None], token

    def _readable(self, job_id: str) -> JobRecord | None:
        """The job; None where another version of UnitScope wrote a spec that this one cannot read."""
        try:
            return self.get(job_id)
        except InvalidArgumentError as error:
            log.warning("%s is left out of the list: %s", job_id, error)
            return None

    def ids(self) -> list[str]:
        """The ids of all jobs."""
        return [
            name for name in self.store.children(layout.JOBS) if name in self._created or self._creation(name)
        ]

    def active(self) -> list[str]:
        """The ids of all jobs that have not ended."""
        return [
            name
            for name in self.ids()
            if name not in self._ended and self.store.stat(layout.terminal(name)) is None
        ]

    def read_artifact(self, job_id: str, name: str) -> Iterator[bytes]:
        """The bytes of an artifact, piece by piece.

        Raises:
            FailedPreconditionError: The job has not ended well (JOB_NOT_SUCCEEDED).
            NotFoundError: It has no such artifact; the message lists those it has.
        """
        record = self.get(job_id)
        if record.state is not JobState.SUCCEEDED:
            raise FailedPreconditionError(
                f"{job_id} is {record.state.value}; artifacts are there once it is SUCCEEDED",
                reason="JOB_NOT_SUCCEEDED",
                field="job_id",
                state=record.state.value,
            )
        known = [artifact["name"] for artifact in record.artifacts]
        if name not in known:
            raise NotFoundError(
                f"{job_id} has no artifact {name[:100]!r}; it has: {', '.join(known[:30])}",
                reason="ARTIFACT_NOT_FOUND",
                field="artifact",
            )
        return self.store.stream(layout.artifact(job_id, name))

    def models(self) -> list[ModelCard]:
        """The models of the registry and the published linkers."""
        return [*self.registry.cards(), *list_linkers(self.store)]

    def send(self, task: str, *ids: str | int) -> bool:
        """Sends a task; whether the broker took it. What it did not take is sent by the loop."""
        try:
            broker.send(self.app, task, *ids)
        except UnavailableError:
            return False
        return True

    def _plan(self, spec: AnySpec) -> Plan:
        return planning.make(spec, self.registry, lambda digest: find_linker(self.store, digest))

    def _refuse_too_many(self) -> None:
        active = len(self.active())
        if active >= self.max_active:
            raise ResourceExhaustedError(
                f"{active} jobs are active, as many as are allowed; wait for one to end, or cancel one",
                reason="TOO_MANY_JOBS",
                limit=self.max_active,
            )

    def _creation(self, job_id: str) -> str:
        """When the job was created, as sortable text; empty where the name is no job's."""
        if job_id not in self._created:
            try:
                body = read_json(self.store, layout.spec(check_job_id(job_id)))
            except InvalidArgumentError:
                body = None
            if body is None:
                return ""
            self._created[job_id] = body["created"]
        return self._created[job_id]


def _make_token(last: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode("/".join(last).encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        created, job_id = base64.urlsafe_b64decode(token.encode()).decode().split("/")
        return created, check_job_id(job_id)
    except (ValueError, binascii.Error, InvalidArgumentError):
        raise InvalidArgumentError(
            "page_token is none that this server gave; use next_page_token as it came",
            reason="INVALID_PAGE_TOKEN",
            field="page_token",
        ) from None
