"""Deleting jobs: decided by one object, carried out by whoever comes, and never half.

::

    deleting/<job>.json    the audit line; create-only: the deletion is decided
    audit/<job>.json       the same line, for good
    jobs/<job>/spec.json   goes first: from now on there is no such job
    jobs/<job>/...         goes; terminal.json last, so that late workers see that nothing is to be done
    marks of the job       go
    deleting/<job>.json    goes, once no worker is left that could still write

A gateway that is killed at any point leaves ``deleting/<job>.json``, and the next one goes on from it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.gateway.listing import Listing, Mark
from unitscope.errors import NotFoundError, UnitScopeError
from unitscope.jobs import layout
from unitscope.jobs.state import JobRecord, JobState, read_json
from unitscope.store import ObjectInfo, ObjectStore
from unitscope.store.base import sha256

log = logging.getLogger(__name__)

MANY = 500
"""Objects that a call still removes itself; more are left to the housekeeping."""


@dataclass(frozen=True)
class Deletion:
    """Deletes ended jobs.

    Attributes:
        store: The store.
        listing: The marks of jobs.
        lost_after: Seconds without a sign of life after which a worker is lost.
    """

    store: ObjectStore
    listing: Listing
    lost_after: float

    def line(self, job_id: str) -> dict[str, Any] | None:
        """The audit line of a deleted job; None where it was not deleted."""
        return read_json(self.store, layout.audit(job_id)) or read_json(self.store, layout.deleting(job_id))

    def delete(self, record: JobRecord, by: str, cause: str) -> dict[str, Any]:
        """Deletes an ended job; its audit line, of whoever deleted it first.

        Args:
            record: The job.
            by: The name of who deletes it.
            cause: "request", "age" or "space".
        """
        body = json.dumps(self._describe(record, by, cause), indent=1).encode()
        self.store.create(layout.deleting(record.job_id), body)
        line = self.line(record.job_id) or json.loads(body)
        log.info("%s is deleted (%s, by %s)", record.job_id, line["cause"], line["by"] or "anyone")
        self._decide(line)
        if line["objects"] <= MANY:
            self.sweep(line)
        return line

    def finish(self) -> int:
        """Goes on with deletions that are under way; how many are left."""
        names = self.store.children(layout.DELETING)
        left = 0
        for name in names:
            try:
                line = read_json(self.store, layout.deleting(name.removesuffix(".json")))
                left += line is not None and not self.sweep(line)
            except UnitScopeError as error:
                log.warning("the deletion %s waits: %s", name, error)
                left += 1
        return left

    def sweep(self, line: dict[str, Any]) -> bool:
        """Removes what is there of the job; whether nothing can come any more."""
        job_id = line["job_id"]
        self._decide(line)
        objects = self.store.objects(layout.job(job_id))
        last = layout.terminal(job_id)
        busy = self._is_busy(line, objects)
        for info in objects:
            if info.key != last:
                self.store.delete(info.key)
        for name in self.store.children(layout.usage(line["project"])):
            if name.startswith(job_id):
                self.store.delete(layout.usage(line["project"]) + name)
        if busy:
            return False
        self.store.delete(last)
        self.store.delete(layout.deleting(job_id))
        return True

    def _is_busy(self, line: dict[str, Any], objects: list[ObjectInfo]) -> bool:
        """Whether a worker may still be at a chunk of the job.

        Where the job failed or was cancelled lately, signs of life that are missing prove nothing: they were
        removed at its end, and come again only after a while.
        """
        now = datetime.now(UTC)
        if line["state"] != JobState.SUCCEEDED and line["ended"]:
            ended = datetime.fromisoformat(line["ended"])
            if (now - ended).total_seconds() < self.lost_after:
                return True
        return any(
            info.key.startswith(layout.job(line["job_id"]) + "attempts/")
            and (now - info.modified).total_seconds() < self.lost_after
            for info in objects
        )

    def _decide(self, line: dict[str, Any]) -> None:
        """Makes the job one that is no more."""
        job_id, project = line["job_id"], line["project"]
        self.store.create(layout.audit(job_id), json.dumps(line, indent=1).encode())
        self.store.delete(layout.spec(job_id))
        self.listing.remove(project, Mark(datetime.fromisoformat(line["created"]), line["kind"], job_id))
        self.store.delete(layout.active(project, job_id))

    def _describe(self, record: JobRecord, by: str, cause: str) -> dict[str, Any]:
        objects = self.store.objects(layout.job(record.job_id))
        return {
            "schema_version": 1,
            "job_id": record.job_id,
            "project": record.project,
            "creator": record.creator,
            "kind": record.kind,
            "state": record.state.value,
            "created": record.created.astimezone(UTC).isoformat(),
            "ended": record.ended.isoformat() if record.ended else "",
            "deleted": datetime.now(UTC).isoformat(),
            "by": by,
            "cause": cause,
            "plan_digest": record.plan_digest,
            "manifest_sha256": self._digest(layout.manifest(record.job_id)),
            "spec_sha256": self._digest(layout.spec(record.job_id)),
            "objects": len(objects),
            "size": sum(info.size for info in objects),
        }

    def _digest(self, key: str) -> str:
        try:
            return sha256(self.store.get(key))
        except NotFoundError:
            return ""
