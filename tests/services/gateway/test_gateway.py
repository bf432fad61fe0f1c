"""The gateway over a real channel, with a real store and broker, before any worker has come."""

import json
import os
import threading
import time
import uuid
from contextlib import suppress

import grpc
import pytest

from tests.services.gateway.conftest import reason, until
from tests.support.gateway import LINK, PATIENCE, RunningGateway
from unitscope.errors import UnitScopeError
from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult, encode
from unitscope.jobs.state import JobState, write_terminal
from unitscope.rpc import invoke, open_channel
from unitscope.rpc.channel import stream
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2, info_pb2_grpc


def test_the_same_request_creates_one_job(gateway):
    first = gateway.create(request_id="a").job
    assert gateway.create(request_id="a").job.job_id == first.job_id
    assert first.state == pb.JOB_STATE_QUEUED
    assert gateway.create(request_id="b").job.job_id != first.job_id
    other = {**LINK, "seed": 5}
    assert reason(gateway.create, other, request_id="a") == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_validating_creates_nothing(gateway):
    response = gateway.create(validate_only=True)
    assert response.job.job_id == ""
    assert response.cost.renders > 80
    assert gateway.store.children(layout.JOBS) == []


def test_a_job_that_cannot_be_planned_is_refused_before_it_exists(gateway):
    bad = {**LINK, "classifier": "no/such"}
    assert reason(gateway.create, bad) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert gateway.store.children(layout.JOBS) == []


def test_too_many_jobs_are_refused(gateway):
    for _ in range(3):
        gateway.create(request_id=uuid.uuid4().hex)
    assert reason(gateway.create) == ("RESOURCE_EXHAUSTED", "TOO_MANY_JOBS")


def test_pages_hold_every_job_once_newest_first(gateway):
    made = []
    for _ in range(3):
        made.append(gateway.create(request_id=uuid.uuid4().hex).job.job_id)
        time.sleep(0.002)
    found, token = [], ""
    while True:
        request = pb.ListAnalysisJobsRequest(page_size=2, page_token=token)
        page = invoke(gateway.stub.ListAnalysisJobs, request, PATIENCE)
        found += [job.job_id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]
    for bad in ({"page_size": -1}, {"page_token": "%%%"}, {"page_token": "Li4vLi4="}):
        request = pb.ListAnalysisJobsRequest(**bad)
        assert reason(invoke, gateway.stub.ListAnalysisJobs, request, PATIENCE)[0] == "INVALID_ARGUMENT"


def test_a_job_of_another_version_does_not_hide_the_others(gateway):
    job_id = gateway.create(request_id="readable").job.job_id
    until(lambda: gateway.loop.looks)  # Its first look takes in such jobs as well.
    other = {"kind": "link", "spec": {"colour": "red"}, "created": "2026-01-01T00:00:00+00:00"}
    gateway.store.create(layout.spec("job-" + "b" * 24), json.dumps(other).encode())
    assert gateway.jobs.listing.adopt() == 1
    page = invoke(gateway.stub.ListAnalysisJobs, pb.ListAnalysisJobsRequest(), PATIENCE)
    assert [job.job_id for job in page.jobs] == [job_id]


def test_watch_follows_to_the_end_and_resumes(gateway):
    job_id = gateway.create().job.job_id
    seen = []

    def follow():
        request = pb.WatchAnalysisJobRequest(job_id=job_id)
        for response in stream(gateway.stub.WatchAnalysisJob, request, 2 * PATIENCE):
            if not response.heartbeat:
                seen.append(response.job)

    watcher = threading.Thread(target=follow)
    watcher.start()
    plan = gateway.plan(job_id)
    stage = plan.stages[0]
    for done, chunk in enumerate(plan.chunk_ids(stage)[:2], start=1):
        gateway.store.create(layout.chunk(job_id, stage.name, chunk), encode(ChunkResult()))
        until(lambda done=done: [job.progress.chunks_done for job in seen][-1:] == [done])
    write_terminal(
        gateway.store, job_id, JobState.FAILED, {"status": "INTERNAL", "reason": "X", "message": "m"}
    )
    watcher.join(PATIENCE)
    assert not watcher.is_alive()
    sequences = [job.sequence for job in seen]
    assert sequences == sorted(set(sequences))
    assert seen[-1].state == pb.JOB_STATE_FAILED
    assert seen[-1].error.reason == "X"
    later = pb.WatchAnalysisJobRequest(job_id=job_id, after_sequence=sequences[-2])
    resumed = [r.job.sequence for r in stream(gateway.stub.WatchAnalysisJob, later, PATIENCE)]
    assert resumed == sequences[-1:]


def test_cancel_ends_a_job_that_nobody_works_on_and_may_be_asked_twice(gateway):
    job_id = gateway.create().job.job_id
    for _ in range(2):
        invoke(gateway.stub.CancelAnalysisJob, pb.CancelAnalysisJobRequest(job_id=job_id), PATIENCE)
    until(lambda: gateway.get(job_id).state == pb.JOB_STATE_CANCELLED)
    job = invoke(gateway.stub.CancelAnalysisJob, pb.CancelAnalysisJobRequest(job_id=job_id), PATIENCE).job
    assert job.state == pb.JOB_STATE_CANCELLED


@pytest.mark.parametrize("bad", ["../secrets", "", "job-" + "a" * 24])
def test_ids_that_are_none(gateway, bad):
    status, _ = reason(gateway.get, bad)
    assert status == ("NOT_FOUND" if bad.startswith("job-") else "INVALID_ARGUMENT")
    watch = pb.WatchAnalysisJobRequest(job_id=bad)
    assert reason(lambda: list(stream(gateway.stub.WatchAnalysisJob, watch, PATIENCE)))[0] == status


def test_artifacts_are_read_whole_and_only_by_their_names(gateway):
    job_id = gateway.create().job.job_id
    read = lambda name: b"".join(  # noqa: E731
        r.data
        for r in stream(
            gateway.stub.ReadArtifact, pb.ReadArtifactRequest(job_id=job_id, artifact=name), PATIENCE
        )
    )
    assert reason(read, "tables/x.json") == ("FAILED_PRECONDITION", "JOB_NOT_SUCCEEDED")
    data = bytes(range(256)) * 9000
    entry = {"name": "tables/x.json", "sha256": "0", "size": len(data), "media_type": "application/json"}
    gateway.store.create(layout.artifact(job_id, "tables/x.json"), data)
    gateway.store.create(layout.manifest(job_id), json.dumps({"artifacts": [entry]}).encode())
    write_terminal(gateway.store, job_id, JobState.SUCCEEDED)
    assert read("tables/x.json") == data
    assert reason(read, "../spec.json") == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")
    assert reason(read, "spec.json") == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")


def test_capabilities_name_kinds_models_and_limits(gateway):
    answer = invoke(gateway.stub.GetCapabilities, pb.GetCapabilitiesRequest(), PATIENCE)
    assert [kind.name for kind in answer.kinds] == ["link", "traverse", "quantify", "counterfactual"]
    assert "truncation" in json.loads(answer.kinds[0].json_schema)["properties"]
    models = {model.model.name: model for model in answer.models}
    assert models["tiny/classifier"].layers[0].units == 32


def test_info_health_and_reflection_answer(gateway):
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    info = info_pb2_grpc.InfoServiceStub(gateway.channel).GetInfo(info_pb2.GetInfoRequest(), timeout=PATIENCE)
    assert info.service == "gateway"
    health = health_pb2_grpc.HealthStub(gateway.channel)
    for name in ("", "unitscope.v1.AnalysisJobService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    names = ProtoReflectionDescriptorDatabase(gateway.channel).get_services()
    assert "unitscope.v1.AnalysisJobService" in names


def test_a_message_over_the_limit_is_refused_with_both_numbers(gateway):
    request = pb.CreateAnalysisJobRequest(request_id="x" * (70 << 20))
    channel = open_channel(gateway.server.address, 100 << 20)
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
    assert reason(invoke, stub.CreateAnalysisJob, request, PATIENCE) == (
        "RESOURCE_EXHAUSTED",
        "MESSAGE_TOO_LARGE",
    )
    channel.close()


def test_a_defect_is_internal_and_tells_nothing(gateway, monkeypatch):
    def defect(job_id, project):
        raise ZeroDivisionError("the secret")

    monkeypatch.setattr(gateway.jobs, "get", defect)
    with pytest.raises(UnitScopeError) as caught:
        gateway.get("job-" + "a" * 24)
    assert caught.value.status == "INTERNAL"
    assert "secret" not in str(caught.value)


def test_a_dead_server_is_unavailable(gateway):
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(grpc.insecure_channel("127.0.0.1:1"))
    request = pb.GetAnalysisJobRequest(job_id="job-" + "a" * 24)
    assert reason(invoke, stub.GetAnalysisJob, request, PATIENCE)[0] == "UNAVAILABLE"


class TestReconcile:
    """What is sent again, and when: nothing within an hour, however slow this machine is."""

    @pytest.fixture
    def gateway(self, tmp_path, models):
        gateway = RunningGateway(tmp_path, models, lost_after_seconds=3600)
        yield gateway
        gateway.close()

    @staticmethod
    def sent(gateway):
        """Names of the tasks that were sent, but for messages that are being written."""
        found = []
        for file in gateway.messages.glob("*"):
            with suppress(ValueError):
                found.append(json.loads(file.read_text())["headers"]["task"].removeprefix("unitscope."))
        return sorted(found)

    def sent_after_some_looks(self, gateway):
        looks = gateway.loop.looks
        until(lambda: gateway.loop.looks > looks + 2)
        return self.sent(gateway)

    @staticmethod
    def hurry(gateway):
        """From now on what shows no life for a moment is lost."""
        gateway.loop._reconciler.lost_after = 0.05

    def test_a_lost_plan_is_sent_again(self, gateway):
        gateway.create()
        assert self.sent_after_some_looks(gateway) == ["plan"]
        self.hurry(gateway)
        until(lambda: self.sent(gateway)[:2] == ["plan", "plan"])

    def test_a_lost_attempt_is_sent_again_once_it_is_stale(self, gateway):
        job_id = gateway.create().job.job_id
        plan = gateway.plan(job_id)
        stage, chunks = plan.stages[0], plan.chunk_ids(plan.stages[0])
        key = layout.attempts(job_id, stage.name, chunks[0]) + "000"
        gateway.store.put(key, b"{}")
        assert self.sent_after_some_looks(gateway) == ["plan"]
        os.utime(gateway.store.local_path(key), (time.time() - 3601,) * 2)
        until(lambda: self.sent(gateway) == ["plan", "run_chunk"])
        assert self.sent_after_some_looks(gateway) == ["plan", "run_chunk"]

    def test_a_quiet_job_gets_all_its_missing_chunks_again(self, gateway):
        job_id = gateway.create().job.job_id
        plan = gateway.plan(job_id)
        assert self.sent_after_some_looks(gateway) == ["plan"]
        self.hurry(gateway)
        until(lambda: self.sent(gateway).count("run_chunk") >= len(plan.stages[0].chunks))

    def test_a_job_with_all_chunks_gets_its_finaliser(self, gateway):
        job_id = gateway.create().job.job_id
        plan = gateway.plan(job_id)
        for stage in plan.stages:
            for chunk in plan.chunk_ids(stage):
                gateway.store.create(layout.chunk(job_id, stage.name, chunk), encode(ChunkResult()))
        assert self.sent_after_some_looks(gateway) == ["plan"]
        self.hurry(gateway)
        until(lambda: "finalise" in self.sent(gateway))
