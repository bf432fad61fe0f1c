"""Creating, reading, listing, cancelling and deleting jobs. Knows no protobuf and no server.

Whoever asks names a project: jobs of others do not exist for them. `read` alone looks at any job, for
the loops of the gateway itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from services.gateway.admission import Admission
from services.gateway.deletion import Deletion
from services.gateway.listing import Listing, Mark
from services.gateway.pages import Filters, check_size, make_token, read_token
from services.gateway.recent import Recent
from unitscope.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from unitscope.jobs import broker, layout, planning
from unitscope.jobs.ids import check_job_id, job_id_of
from unitscope.jobs.plan import Cost, Plan
from unitscope.jobs.specs import AnySpec, kind_of
from unitscope.jobs.state import JobRecord, JobState, create_spec, read_job
from unitscope.models import ModelCard, Registry
from unitscope.models.linkers import find_linker, list_linkers
from unitscope.names import did_you_mean
from unitscope.rpc.access import Principal
from unitscope.signals.logs import bound
from unitscope.store import ObjectStore

log = logging.getLogger(__name__)

MAX_PAGE, DEFAULT_PAGE = 100, 25
MAX_LOOKED = 400
"""Jobs that one page reads at most, where its filters pass few."""
MAX_NAMED = 30
"""Folders of images that an error names."""
KEPT_RECORDS, KEPT_PLANS = 128, 512


@dataclass
class Jobs:
    """The jobs of one installation."""

    store: ObjectStore
    registry: Registry
    app: Celery
    admission: Admission
    listing: Listing
    deletion: Deletion
    _ended: Recent[JobRecord] = field(default_factory=lambda: Recent(KEPT_RECORDS))
    _plans: Recent[Plan] = field(default_factory=lambda: Recent(KEPT_PLANS))

    def validate(self, spec: AnySpec) -> Cost:
        """What the spec would cost. Raises what is wrong with it."""
        return planning.cost(self._plan(spec), self.registry)

    def create(self, spec: AnySpec, request_id: str, caller: Principal) -> tuple[JobRecord, Cost]:
        """The job of this request, new or as it was created before; and what it costs.

        Raises:
            InvalidArgumentError: The spec or the request id is wrong.
            NotFoundError: A model, linker or folder of images does not exist.
            AlreadyExistsError: The request id was used with another spec, or for a job that was deleted
                (REQUEST_ID_REUSED).
            ResourceExhaustedError: Too many jobs are active, were created of late, or take too much
                room (TOO_MANY_JOBS, TOO_MANY_SUBMISSIONS, QUOTA_EXCEEDED).
        """
        job_id = job_id_of(request_id, caller.project)
        is_new = self.store.stat(layout.spec(job_id)) is None
        if is_new:
            if request_id and self.deletion.line(job_id):
                raise _reused(request_id, job_id, "which was deleted")
            self.admission.take(caller.project)
        cost = self.validate(spec)
        if is_new:
            self._check_images(spec)
            self._create(job_id, spec, cost, caller)
        record = self.get(job_id, caller.project)
        if record.spec != spec:
            raise _reused(request_id, job_id, "with another spec")
        if record.state is JobState.QUEUED:
            self.send(broker.PLAN, job_id)
        return record, cost

    def get(self, job_id: str, project: str) -> JobRecord:
        """The project's job as it stands.

        Raises:
            InvalidArgumentError: The id is none.
            NotFoundError: The project has no such job (JOB_NOT_FOUND), or it was deleted (JOB_DELETED).
        """
        try:
            record = self.read(job_id)
        except NotFoundError as error:
            line = self.deletion.line(job_id)
            if line is None or line["project"] != project:
                raise
            raise NotFoundError(
                f"{job_id} was deleted at {line['deleted']}; its manifest had the sha256 "
                f"{line['manifest_sha256'][:16] or 'none'}",
                reason="JOB_DELETED",
                field="job_id",
                job=job_id,
            ) from error
        if record.project != project:
            raise _missing(job_id)
        return record

    def read(self, job_id: str) -> JobRecord:
        """The job as it stands, of whatever project. Raises like `unitscope.jobs.state.read_job`."""
        ended = self._ended.get(job_id)
        if ended is not None and self.store.stat(layout.spec(job_id)) is not None:
            return ended
        record = read_job(self.store, job_id, self._plans.get(job_id))
        if record.state.terminal:
            self._plans.drop(job_id)
            self._ended.put(job_id, record)
        elif record.plan is not None:
            self._plans.put(job_id, record.plan)
        return record

    def cancel(self, job_id: str, project: str) -> JobRecord:
        """Asks the job to stop; the job as it then stands."""
        record = self.get(job_id, project)
        if not record.state.terminal:
            body = {"at": datetime.now(UTC).isoformat()}
            self.store.create(layout.cancel(job_id), json.dumps(body).encode())
        return self.get(job_id, project)

    def delete(self, job_id: str, caller: Principal) -> dict[str, Any]:
        """Deletes an ended job; the audit line that stays. Twice is once.

        Raises:
            NotFoundError: The project has and had no such job.
            FailedPreconditionError: It has not ended (JOB_NOT_ENDED).
        """
        line = self.deletion.line(check_job_id(job_id))
        if line is not None and line["project"] == caller.project:
            self.deletion.sweep(line)
            return line
        record = self.get(job_id, caller.project)
        if not record.state.terminal:
            raise FailedPreconditionError(
                f"{job_id} is {record.state.value}; only ended jobs can be deleted: cancel it first",
                reason="JOB_NOT_ENDED",
                field="job_id",
                state=record.state.value,
            )
        self._ended.drop(job_id)
        return self.deletion.delete(record, caller.name, "request")

    def page(
        self, project: str, page_size: int, page_token: str, filters: Filters | None = None
    ) -> tuple[list[JobRecord], str]:
        """A page of the project's jobs, newest first, and the token of the next page.

        Raises:
            InvalidArgumentError: The page size is negative, or the token is none of ours.
        """
        filters = filters or Filters()
        size = check_size(page_size, DEFAULT_PAGE, MAX_PAGE)
        after = read_token(page_token, filters.digest)
        found: list[JobRecord] = []
        looked = 0
        for mark in self.listing.newest(project, after, filters.start, filters.end):
            if len(found) == size or looked == MAX_LOOKED:
                return found, make_token(after, filters.digest)
            after = mark.position
            if filters.kinds and mark.kind not in filters.kinds:
                continue
            looked += 1
            record = self._readable(mark.job_id)
            if record is None or record.created != mark.created or record.project != project:
                continue
            if not filters.states or record.state in filters.states:
                found.append(record)
        return found, ""

    def active(self) -> list[tuple[str, str]]:
        """Project and id of all jobs that have not been seen to end."""
        return [
            (project, name)
            for project in self.store.children(layout.ACTIVE)
            for name in self.store.children(layout.active_jobs(project))
        ]

    def artifact(self, job_id: str, project: str, name: str) -> dict[str, Any]:
        """The manifest's entry of an artifact.

        Raises:
            FailedPreconditionError: The job has not ended well (JOB_NOT_SUCCEEDED).
            NotFoundError: It has no such artifact; the message lists those it has.
        """
        record = self.get(job_id, project)
        if record.state is not JobState.SUCCEEDED:
            raise FailedPreconditionError(
                f"{job_id} is {record.state.value}; artifacts are there once it is SUCCEEDED",
                reason="JOB_NOT_SUCCEEDED",
                field="job_id",
                state=record.state.value,
            )
        for artifact in record.artifacts:
            if artifact["name"] == name:
                return artifact
        known = ", ".join(artifact["name"] for artifact in record.artifacts[:30])
        raise NotFoundError(
            f"{job_id} has no artifact {name[:100]!r}; it has: {known}",
            reason="ARTIFACT_NOT_FOUND",
            field="artifact",
        )

    def read_artifact(self, job_id: str, project: str, name: str) -> Iterator[bytes]:
        """The bytes of an artifact, piece by piece. Raises like `artifact`."""
        self.artifact(job_id, project, name)
        return self.store.stream(layout.artifact(job_id, name))

    def models(self) -> list[ModelCard]:
        """The models of the registry and the published linkers."""
        return [*self.registry.cards(), *list_linkers(self.store)]

    def send(self, task: str, *ids: str | int, renders: int = 0) -> bool:
        """Sends a task; whether the broker took it. What it did not take is sent by the loop."""
        try:
            broker.send(self.app, task, *ids, renders=renders)
        except UnavailableError:
            return False
        return True

    def _create(self, job_id: str, spec: AnySpec, cost: Cost, caller: Principal) -> None:
        """Writes the marks, then the spec: a job that exists is always found."""
        with self.admission.admitted(caller.project, cost.stored_bytes):
            mark = Mark(datetime.now(UTC), kind_of(spec), job_id)
            self.listing.add(caller.project, mark)
            self.store.create(layout.active(caller.project, job_id), b"{}")
            created = create_spec(
                self.store, job_id, spec, mark.kind, mark.created, caller.project, caller.name
            )
        if not created:
            self.listing.remove(caller.project, mark)
        else:
            with bound(job=job_id):
                log.info("%s created: %s of project %s", job_id, mark.kind, caller.project)

    def _check_images(self, spec: AnySpec) -> None:
        """Raises NotFoundError for a folder of images that is not there; a job may learn it hours later."""
        name = getattr(spec, "image_folder", "")
        if not name or self.store.stat(layout.image_index(name)) is not None:
            return
        names = self.store.children(layout.IMAGES)[:MAX_NAMED]
        there = [name for name in names if self.store.stat(layout.image_index(name)) is not None]
        raise NotFoundError(
            f"there are no images called {name!r}; {did_you_mean(name, there)}there are: "
            f"{', '.join(there) or 'none'}; 'unitscope images add' brings some",
            reason="IMAGES_NOT_FOUND",
            field=f"spec.{kind_of(spec)}.image_folder",
            name=name,
        )

    def _plan(self, spec: AnySpec) -> Plan:
        return planning.make(spec, self.registry, lambda digest: find_linker(self.store, digest))

    def _readable(self, job_id: str) -> JobRecord | None:
        """The job; None where it is gone, or another version wrote a spec that this one cannot read."""
        try:
            return self.read(job_id)
        except NotFoundError:
            return None
        except InvalidArgumentError as error:
            log.warning("%s is left out of the list: %s", job_id, error)
            return None


def _missing(job_id: str) -> NotFoundError:
    return NotFoundError(
        f"there is no job {job_id}; 'unitscope list' shows those there are",
        reason="JOB_NOT_FOUND",
        field="job_id",
        job=job_id,
    )


def _reused(request_id: str, job_id: str, how: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"the request_id {request_id!r} was used for {job_id}, {how}; use a new request_id",
        reason="REQUEST_ID_REUSED",
        field="request_id",
        job=job_id,
    )
