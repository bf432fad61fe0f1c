"""Deleting: what stays, what goes, and what happens where a deletion breaks off anywhere."""

import hashlib
import json
import os
import threading
import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from services.gateway.deletion import Deletion
from services.gateway.housekeeping import Housekeeping, Retention
from services.gateway.listing import Listing
from tests.services.gateway.conftest import reason, until
from tests.support.gateway import RunningGateway, keys_of
from unitscope.jobs import layout
from unitscope.jobs.state import JobState, read_job, write_terminal
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import analysis_job_pb2 as pb
from workers import tasks


def delete(gateway, job_id):
    return gateway.call("DeleteAnalysisJob", job_id=job_id).deleted


def test_a_deleted_job_leaves_its_audit_line_alone(gateway):
    job_id = gateway.ended(request_id="mine", units=b"[1]", steps=b"[2]")
    manifest = gateway.store.get(layout.manifest(job_id))
    until(lambda: not gateway.store.objects("active/default/"))
    assert gateway.store.objects("usage/default/")
    objects = gateway.store.objects(layout.job(job_id))
    gone = delete(gateway, job_id)
    assert gone.manifest_sha256 == hashlib.sha256(manifest).hexdigest()
    assert (gone.objects, gone.size) == (len(objects), sum(o.size for o in objects))
    assert (gone.state, gone.cause, gone.kind) == (pb.JOB_STATE_SUCCEEDED, "request", "link")
    assert keys_of(gateway.store) == [layout.audit(job_id)]
    assert gateway.call("ListAnalysisJobs").jobs == []


def test_deleting_twice_answers_the_same(gateway):
    job_id = gateway.ended()
    assert delete(gateway, job_id) == delete(gateway, job_id)


def test_a_deleted_job_is_not_found_and_says_why(gateway):
    job_id = gateway.ended(units=b"[1]")
    assert gateway.get(job_id).state == pb.JOB_STATE_SUCCEEDED
    delete(gateway, job_id)
    gone = ("NOT_FOUND", "JOB_DELETED")
    for method in ("GetAnalysisJob", "CancelAnalysisJob", "ListArtifacts"):
        assert reason(gateway.call, method, job_id=job_id) == gone
    assert reason(gateway.call, "GetArtifactLink", job_id=job_id, artifact="tables/units.json") == gone


def test_a_request_does_not_bring_its_deleted_job_back(gateway):
    job_id = gateway.ended(request_id="once")
    delete(gateway, job_id)
    assert reason(gateway.create, request_id="once") == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert not gateway.store.objects(layout.job(job_id))


def test_only_ended_jobs_that_exist_can_be_deleted(gateway):
    job_id = gateway.create().job.job_id
    assert reason(delete, gateway, job_id) == ("FAILED_PRECONDITION", "JOB_NOT_ENDED")
    assert reason(delete, gateway, "job-" + "a" * 24) == ("NOT_FOUND", "JOB_NOT_FOUND")
    assert reason(delete, gateway, "../audit") == ("INVALID_ARGUMENT", "INVALID_JOB_ID")
    assert gateway.get(job_id).state == pb.JOB_STATE_QUEUED


@pytest.fixture
def hasty(tmp_path, models):
    gateway = RunningGateway(tmp_path / "hasty", models, lost_after_seconds=0.5)
    yield gateway
    gateway.close()


def only_the_line_stays(gateway, job_id):
    """Where the loop is at the end of the job at this moment, it takes its own mark away again."""
    until(lambda: gateway.jobs.deletion.finish() == 0 and keys_of(gateway.store) == [layout.audit(job_id)])


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_without_a_manifest_can_be_deleted(hasty, state):
    job_id = hasty.ended(state=state)
    assert delete(hasty, job_id).manifest_sha256 == ""
    assert reason(hasty.get, job_id) == ("NOT_FOUND", "JOB_DELETED")
    only_the_line_stays(hasty, job_id)


def test_many_at_once_agree_on_one_line(gateway):
    job_id = gateway.ended(units=b"[1]")
    lines = []
    threads = [threading.Thread(target=lambda: lines.append(delete(gateway, job_id))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines) == 6
    assert all(line == lines[0] for line in lines)
    only_the_line_stays(gateway, job_id)


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


class DyingStore(DirectoryStore):
    """Dies before its n-th change."""

    def __init__(self, root, changes):
        super().__init__(root)
        self.changes = changes

    def _change(self):
        if self.changes == 0:
            raise Killed
        self.changes -= 1

    def create(self, key, data):
        self._change()
        return super().create(key, data)

    def delete(self, key):
        self._change()
        super().delete(key)


def test_a_deletion_killed_anywhere_is_finished_by_the_next_gateway(gateway):
    store, step = gateway.store, 0
    while True:
        job_id = gateway.ended(request_id=f"step-{step}", units=b"[1]")
        until(lambda: not store.objects("active/default/"))
        dying = DyingStore(store.root, step)
        died = False
        try:
            Deletion(dying, Listing(dying), 60).delete(read_job(store, job_id), "me", "request")
        except Killed:
            died = True
        deletion = Deletion(store, Listing(store), 60)
        if step:
            # The decision was stored: whoever comes goes on, and the line is the one that was decided.
            assert deletion.line(job_id)["by"] == "me"
            assert deletion.finish() == 0
            assert [key for key in keys_of(store) if job_id in key] == [layout.audit(job_id)]
        else:
            assert read_job(store, job_id).state is JobState.SUCCEEDED
        if not died:
            break
        step += 1
    assert step > 6


def test_a_worker_that_still_writes_is_waited_for(hasty):
    job_id = hasty.ended(state=JobState.FAILED)
    attempt = layout.attempts(job_id, "sample", "0000-aa") + "000"

    def write():
        """A sign of life that stays fresh, however long this machine takes."""
        hasty.store.put(attempt, b"{}")
        os.utime(hasty.store.local_path(attempt), (time.time() + 3600,) * 2)

    write()
    delete(hasty, job_id)
    # Terminal stays, so that a task that comes late sees that nothing is to be done.
    assert hasty.store.stat(layout.terminal(job_id))
    time.sleep(2 * hasty.settings.lost_after_seconds)
    for _ in range(4):
        write()
        assert hasty.jobs.deletion.finish() == 1
    hasty.store.create(layout.chunk(job_id, "sample", "0000-aa"), b"late")
    only_the_line_stays(hasty, job_id)


def age(gateway, job_id, days):
    """Makes a job look older, as if an older gateway had made it."""
    for info in gateway.store.objects("listing/default/"):
        if job_id in info.key:
            gateway.store.delete(info.key)
    for key, field in ((layout.spec(job_id), "created"), (layout.terminal(job_id), "ended")):
        body = json.loads(gateway.store.get(key))
        body[field] = (datetime.fromisoformat(body[field]) - timedelta(days=days)).isoformat()
        gateway.store.delete(key)
        gateway.store.create(key, json.dumps(body).encode())
    gateway.jobs._ended.drop(job_id)
    assert gateway.jobs.listing.adopt() == 1


def test_retention_by_age_deletes_the_old_alone(gateway):
    old, new = gateway.ended(request_id="old"), gateway.ended(request_id="new")
    until(lambda: not gateway.store.objects("active/default/"))
    age(gateway, old, 31)
    keeper = Housekeeping(gateway.jobs, Retention(days=30), 1)
    assert keeper.look() == 1
    assert keeper.look() == 0
    line = json.loads(gateway.store.get(layout.audit(old)))
    assert (line["by"], line["cause"]) == ("retention", "age")
    assert gateway.get(new).state == pb.JOB_STATE_SUCCEEDED


def test_retention_by_space_deletes_the_oldest_first(gateway):
    jobs = [gateway.ended(request_id=f"{n}", units=os.urandom(100_000)) for n in range(3)]
    until(lambda: not gateway.store.objects("active/default/"))
    keeper = Housekeeping(gateway.jobs, Retention(size=150_000), 1)
    assert keeper.look() == 2
    assert [job.job_id for job in gateway.call("ListAnalysisJobs").jobs] == jobs[2:]


def test_without_retention_nothing_is_deleted(gateway):
    gateway.ended(units=os.urandom(1000))
    until(lambda: not gateway.store.objects("active/default/"))
    assert Housekeeping(gateway.jobs, Retention(), 1).look() == 0


def test_another_gateway_does_not_go_on_showing_a_deleted_job(gateway, models, tmp_path):
    job_id = gateway.ended(units=b"[1]")
    other = RunningGateway(tmp_path / "other", models, gateway.store)
    try:
        assert other.get(job_id).state == pb.JOB_STATE_SUCCEEDED
        delete(gateway, job_id)
        assert reason(other.get, job_id) == ("NOT_FOUND", "JOB_DELETED")
        watch = lambda: list(other.loop.watch(job_id, "default", 0, 1))  # noqa: E731
        assert reason(watch) == ("NOT_FOUND", "JOB_DELETED")
        only_the_line_stays(gateway, job_id)
    finally:
        other.close()


def test_a_deletion_while_the_loop_looks_leaves_no_usage(gateway, monkeypatch):
    job_id = gateway.ended(units=b"[1]")
    until(lambda: not gateway.store.objects("active/default/"))
    record = gateway.jobs.read(job_id)
    delete(gateway, job_id)
    gateway.loop._end("default", record)
    assert keys_of(gateway.store) == [layout.audit(job_id)]


def test_a_late_task_finds_nothing_to_do(gateway):
    here = SimpleNamespace(store=gateway.store)
    job_id = gateway.create().job.job_id
    assert not tasks._over(here, job_id)
    write_terminal(gateway.store, job_id, JobState.FAILED, {"status": "X", "reason": "X", "message": "m"})
    delete(gateway, job_id)
    assert tasks._over(here, job_id)


def test_the_mark_of_a_job_that_was_never_created_goes(gateway, monkeypatch):
    job_id = "job-" + "c" * 24
    gateway.store.create(layout.active("default", job_id), b"{}")
    looks = gateway.loop.looks
    until(lambda: gateway.loop.looks > looks + 2)
    assert gateway.store.stat(layout.active("default", job_id))
    monkeypatch.setattr("services.gateway.loop.STILLBORN_SECONDS", 0.0)
    until(lambda: gateway.store.stat(layout.active("default", job_id)) is None)
