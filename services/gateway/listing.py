"""Marks of jobs in the order of their creation, so that a page reads no more jobs than it needs.

A mark is an object whose name says all: ``listing/<project>/<day>/<time>-<kind>-<job>``. It is written
before the job's spec and is believed only where the spec states the same time: what a creation that
broke off, or lost against another one, left behind is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from unitscope.errors import InvalidArgumentError
from unitscope.jobs import layout
from unitscope.jobs.ids import DEFAULT_PROJECT, check_job_id
from unitscope.jobs.state import read_json
from unitscope.store import ObjectStore

_NAME = re.compile(r"(\d{12})-([a-z][a-z0-9_]*)-(job-[a-z2-7]{24})")
_DAY = re.compile(r"\d{8}")


@dataclass(frozen=True)
class Mark:
    """One job in the listing; `created` is in UTC."""

    created: datetime
    kind: str
    job_id: str

    @property
    def position(self) -> str:
        """``<day>/<time>-<kind>-<job>``; sorts as the jobs were created."""
        return f"{self.created:%Y%m%d/%H%M%S%f}-{self.kind}-{self.job_id}"

    @classmethod
    def parse(cls, day: str, name: str) -> Mark | None:
        """The mark of that name; None where it is none."""
        match = _NAME.fullmatch(name)
        if match is None or not _DAY.fullmatch(day):
            return None
        try:
            created = datetime.strptime(day + match[1], "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(created, match[2], match[3])


@dataclass(frozen=True)
class Listing:
    """The marks of all projects."""

    store: ObjectStore

    def add(self, project: str, mark: Mark) -> None:
        """Writes the mark."""
        self.store.create(layout.listing(project) + mark.position, b"{}")

    def remove(self, project: str, mark: Mark) -> None:
        """Removes the mark."""
        self.store.delete(layout.listing(project) + mark.position)

    def projects(self) -> list[str]:
        """The projects that ever had a job."""
        return self.store.children(layout.LISTING)

    def newest(
        self, project: str, after: str = "", start: datetime | None = None, end: datetime | None = None
    ) -> Iterator[Mark]:
        """Marks, newest first.

        Args:
            project: Whose.
            after: Only marks behind this position; all where empty.
            start: Only marks of this time or later.
            end: Only marks before this time.
        """
        first = f"{start:%Y%m%d}" if start else ""
        last = min(f"{end:%Y%m%d}" if end else "9", after.partition("/")[0] or "9")
        for day in reversed(self.store.children(layout.listing(project))):
            if not first <= day <= last:
                continue
            for name in reversed(self.store.children(f"{layout.listing(project)}{day}/")):
                mark = Mark.parse(day, name)
                if mark is None or (after and mark.position >= after) or (end and mark.created >= end):
                    continue
                if start and mark.created < start:
                    return
                yield mark

    def oldest(self, project: str) -> Iterator[Mark]:
        """Marks, oldest first."""
        for day in self.store.children(layout.listing(project)):
            for name in self.store.children(f"{layout.listing(project)}{day}/"):
                if (mark := Mark.parse(day, name)) is not None:
                    yield mark

    def adopt(self) -> int:
        """Marks jobs that have no mark, e.g. because an older version made them; how many they were.

        Looks at the names of all jobs, and into those that are new to it; done once, at the start.
        """
        known = {mark.job_id for mark in chain.from_iterable(map(self.oldest, self.projects()))}
        adopted = 0
        for name in self.store.children(layout.JOBS):
            if name in known:
                continue
            try:
                body = read_json(self.store, layout.spec(check_job_id(name)))
            except InvalidArgumentError:
                continue
            if body is None:
                continue
            project = body.get("project", DEFAULT_PROJECT)
            created = datetime.fromisoformat(body["created"]).astimezone(UTC)
            self.store.create(layout.active(project, name), b"{}")
            self.add(project, Mark(created, body["kind"], name))
            adopted += 1
        return adopted
