"""Quotas and projects: who may create what, and who sees it."""

import os
import threading

import pytest

from services.gateway.admission import Admission, Quotas
from tests.services.gateway.conftest import reason, until
from tests.support.gateway import LINK, PATIENCE, RunningGateway
from unitscope.errors import ResourceExhaustedError, UnitScopeError
from unitscope.jobs.specs import parse_spec
from unitscope.jobs.state import JobState, write_terminal
from unitscope.rpc import invoke
from unitscope.rpc.access import Principal
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import analysis_job_pb2 as pb

SPEC = parse_spec("link", LINK)
ALICE, BOB = Principal("lab", "alice"), Principal("other", "bob")


def gateway_with(tmp_path, models, **settings):
    return RunningGateway(tmp_path, models, **({"max_active_jobs": 50} | settings))


def refused(call, *arguments):
    with pytest.raises(ResourceExhaustedError) as caught:
        call(*arguments)
    return caught.value


def test_a_refusal_says_over_the_wire_when_to_come_again(gateway):
    jobs = [gateway.create(request_id=f"{n}").job.job_id for n in range(3)]
    error = refused(gateway.create)
    assert (error.reason, error.retry_after) == ("TOO_MANY_JOBS", 5)
    write_terminal(gateway.store, jobs[0], JobState.CANCELLED)
    until(lambda: len(gateway.store.children("active/default/")) == 2)
    gateway.create()


def test_submissions_a_minute(tmp_path):
    now = [0.0]
    admission = Admission(DirectoryStore(tmp_path), Quotas(0, per_minute=60), lambda: now[0])
    for _ in range(60):
        admission.take("lab")
    error = refused(admission.take, "lab")
    assert error.reason == "TOO_MANY_SUBMISSIONS"
    assert error.retry_after == pytest.approx(1)
    admission.take("other")
    now[0] += error.retry_after
    admission.take("lab")
    assert refused(admission.take, "lab").retry_after == pytest.approx(1)


def test_repeating_a_request_is_no_submission(tmp_path, models):
    gateway = gateway_with(tmp_path, models, project_submissions_per_minute=1)
    try:
        job_id = gateway.create(request_id="a").job.job_id
        assert gateway.create(request_id="a").job.job_id == job_id
        assert reason(gateway.create, request_id="b") == ("RESOURCE_EXHAUSTED", "TOO_MANY_SUBMISSIONS")
        gateway.create(request_id="b", validate_only=True)
    finally:
        gateway.close()


def test_active_jobs_of_a_project(tmp_path, models):
    gateway = gateway_with(tmp_path, models, project_active_jobs=2)
    try:
        for name in "ab":
            gateway.jobs.create(SPEC, name, ALICE)
        assert "project 'lab'" in refused(gateway.jobs.create, SPEC, "c", ALICE).message
        gateway.jobs.create(SPEC, "c", BOB)
    finally:
        gateway.close()


def test_bytes_of_a_project(tmp_path, models):
    gateway = gateway_with(tmp_path, models, project_bytes=9_000_000)
    try:
        job_id = gateway.ended(units=os.urandom(2_900_000))
        until(lambda: not gateway.store.objects("active/default/"))
        error = refused(gateway.create)
        assert (error.reason, error.retry_after) == ("QUOTA_EXCEEDED", None)
        gateway.jobs.create(SPEC, "a", ALICE)
        gateway.call("DeleteAnalysisJob", job_id=job_id)
        gateway.create()
    finally:
        gateway.close()


def test_two_at_once_do_not_pass_a_limit(tmp_path, models):
    gateway = gateway_with(tmp_path, models, max_active_jobs=4, reconcile_seconds=5)
    outcomes = []

    def submit(n):
        try:
            outcomes.append(gateway.jobs.create(SPEC, f"{n}", ALICE)[0].job_id)
        except ResourceExhaustedError:
            outcomes.append(None)

    try:
        threads = [threading.Thread(target=submit, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([job for job in outcomes if job]) == 4
        assert len(outcomes) == 12
    finally:
        gateway.close()


def test_more_watchers_than_allowed_are_told_when_to_come_again(tmp_path, models):
    # No heartbeat comes meanwhile: a watcher that leaves is noticed at once.
    gateway = gateway_with(tmp_path, models, max_watchers=2, heartbeat_seconds=3600)
    try:
        request = pb.WatchAnalysisJobRequest(job_id=gateway.create().job.job_id)
        watching = [gateway.stub.WatchAnalysisJob(request, timeout=3600) for _ in range(2)]
        for stream in watching:
            next(stream)
        watch_once = lambda r, timeout: next(gateway.stub.WatchAnalysisJob(r, timeout=timeout))  # noqa: E731
        error = refused(invoke, watch_once, request, PATIENCE)
        assert (error.reason, error.retry_after) == ("TOO_MANY_WATCHERS", 5)
        watching[0].cancel()

        def free():
            try:
                next(gateway.stub.WatchAnalysisJob(request, timeout=PATIENCE))
            except Exception:
                return False
            return True

        until(free)
        watching[1].cancel()
        until(lambda: len(gateway.loop._feeds) == 0)
    finally:
        gateway.close()


def test_jobs_of_another_project_do_not_exist(tmp_path, models):
    gateway = gateway_with(tmp_path, models)
    jobs = gateway.jobs
    try:
        record, _ = jobs.create(SPEC, "same", ALICE)
        assert (record.project, record.creator) == ("lab", "alice")
        assert jobs.create(SPEC, "same", BOB)[0].job_id != record.job_id
        assert jobs.create(SPEC, "same", Principal("lab", "carol"))[0].job_id == record.job_id
        missing = "job-" + "a" * 24
        calls = (
            lambda job_id: jobs.get(job_id, "other"),
            lambda job_id: jobs.cancel(job_id, "other"),
            lambda job_id: jobs.delete(job_id, BOB),
            lambda job_id: jobs.artifact(job_id, "other", "tables/units.json"),
            lambda job_id: jobs.read_artifact(job_id, "other", "tables/units.json"),
            lambda job_id: next(gateway.loop.watch(job_id, "other", 0, 1)),
        )

        def told(call, job_id):
            with pytest.raises(UnitScopeError) as caught:
                call(job_id)
            return caught.value.status, caught.value.reason, caught.value.message.replace(job_id, "")

        for state in ("active", "ended", "deleted"):
            if state == "ended":
                gateway.succeed(record.job_id, units=b"[1]")
            if state == "deleted":
                jobs.delete(record.job_id, ALICE)
            for call in calls:
                assert told(call, record.job_id) == told(call, missing)
            assert [r.project for r in jobs.page("other", 0, "")[0]] == ["other"]
        assert jobs.page("lab", 0, "")[0] == []
    finally:
        gateway.close()
