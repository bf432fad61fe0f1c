"""The client against a real server on a real port, whose jobs do what the tests say."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import quantified
from tests.support.scripted_gateway import ScriptedGateway
from unitscope.client import Client, JobState, JobStatus, SavedResult
from unitscope.embedded.ports import free_ports
from unitscope.errors import (
    DataLossError,
    DeadlineError,
    FailedPreconditionError,
    InvalidArgumentError,
    JobFailedError,
    NotFoundError,
    UnavailableError,
)
from unitscope.jobs.ids import job_id_of
from unitscope.jobs.specs import LinkSpec
from unitscope.v1 import analysis_job_pb2 as pb

SPEC = LinkSpec(classifier="a/c", generator="a/g", truncation=0.5)
JOB = job_id_of("a-job")


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    scripted = ScriptedGateway()
    # A port that no connection takes while the gateway is down.
    scripted.address = f"127.0.0.1:{free_ports(1)[0]}"
    with scripted.serving():
        yield scripted


@pytest.fixture
def client(gateway: ScriptedGateway) -> Iterator[Client]:
    with Client(gateway.address, timeout=60, patience=60) as made:
        yield made


def test_a_submitted_job_is_a_handle_that_can_be_had_again(gateway: ScriptedGateway, client: Client) -> None:
    job = client.submit(SPEC)
    status = client.job(job.id).status()
    assert status.id == job.id
    assert status.state is JobState.QUEUED
    assert status.spec == SPEC
    assert status.kind == "link"
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.id = "another"  # type: ignore[misc]


def test_a_kind_with_values_is_the_same_as_its_spec(gateway: ScriptedGateway, client: Client) -> None:
    values = {"classifier": "a/c", "generator": "a/g", "truncation": 0.5}
    assert client.submit("link", values).status().spec == SPEC


def test_an_unknown_field_is_refused_before_anything_is_sent(
    gateway: ScriptedGateway, client: Client
) -> None:
    with pytest.raises(InvalidArgumentError, match="is no field") as caught:
        client.submit("link", {"classifier": "a/c", "generator": "a/g", "colour": "red"})
    assert caught.value.violations[0][0] == "spec.link.colour"
    assert gateway.requests == []


def test_a_create_whose_answer_is_lost_creates_one_job(gateway: ScriptedGateway, client: Client) -> None:
    gateway.failures.extend([UnavailableError("broken after the deed")] * 5)
    job = client.submit(SPEC)
    assert list(gateway.history) == [job.id]
    assert len({request.request_id for request in gateway.requests}) == 1
    assert len(gateway.requests) == 6


def test_two_submits_are_two_jobs_and_one_request_id_is_one(client: Client) -> None:
    assert client.submit(SPEC).id != client.submit(SPEC).id
    assert client.submit(SPEC, request_id="r").id == client.submit(SPEC, request_id="r").id


def test_validate_states_the_cost_and_creates_nothing(gateway: ScriptedGateway, client: Client) -> None:
    cost = client.validate(SPEC)
    assert (cost.renders, cost.chunks, cost.seconds) == (1200, 7, 61.5)
    assert gateway.history == {}


def test_jobs_come_page_by_page_newest_first(gateway: ScriptedGateway, client: Client) -> None:
    ids = [job_id_of(f"job-{n}") for n in range(60)]
    for job_id in ids:
        gateway.push(job_id, "QUEUED")
    assert [job.id for job in client.jobs()] == ids[::-1]
    assert len(gateway.requests) == 3


def test_capabilities_are_plain_values(client: Client) -> None:
    found = client.capabilities()
    assert found.version == "1.2.3"
    assert found.models[0].layers[0].units == 512
    assert found.models[0].classes == ("cap", "hat")
    assert found.limits == {"max_units_per_job": 8192}


def test_watch_hands_out_every_change_once_and_ends(gateway: ScriptedGateway, client: Client) -> None:
    gateway.push(JOB, "QUEUED")
    seen: list[JobStatus] = []
    for status in client.job(JOB).watch():
        seen.append(status)
        if status.state is JobState.QUEUED:
            gateway.push(JOB, "RUNNING", progress=pb.JobProgress(stage="sample", fraction=0.5))
        elif status.state is JobState.RUNNING:
            gateway.push(JOB, "SUCCEEDED")
    assert [status.sequence for status in seen] == [1, 2, 3]
    assert [status.state for status in seen] == ["QUEUED", "RUNNING", "SUCCEEDED"]
    assert seen[1].progress.stage == "sample"
    assert seen[1].progress.fraction == 0.5


def test_watch_outlives_a_restart_of_the_gateway(gateway: ScriptedGateway, client: Client) -> None:
    gateway.push(JOB, "QUEUED")
    sequences = []
    for status in client.job(JOB).watch():
        sequences.append(status.sequence)
        if status.sequence == 1:
            gateway.stop()
            gateway.push(JOB, "RUNNING")  # while nobody listens

            def back() -> None:
                time.sleep(0.7)
                gateway.start()
                gateway.push(JOB, "SUCCEEDED")

            threading.Thread(target=back).start()
    assert sequences[0] == 1
    assert sequences[-1] == 3
    assert sorted(set(sequences)) == sequences
    assert gateway.requests[-1].after_sequence == 1


def test_watch_gives_up_when_patience_ends(gateway: ScriptedGateway) -> None:
    gateway.push(JOB, "RUNNING")
    with Client(gateway.address, patience=0.5) as client:
        watching = client.job(JOB).watch()
        next(watching)
        gateway.stop()
        with pytest.raises(UnavailableError, match="does not answer"):
            next(watching)


def test_a_gateway_that_never_answered_is_reported_at_once() -> None:
    with Client("127.0.0.1:9", patience=3600) as client:
        with pytest.raises(UnavailableError) as caught:
            client.capabilities()
        assert caught.value.reason == "SERVICE_UNAVAILABLE"
        with pytest.raises(UnavailableError):
            list(client.job(JOB).watch())


def test_watch_resumes_after_a_sequence_also_behind_the_end(gateway: ScriptedGateway, client: Client) -> None:
    for state in ("QUEUED", "RUNNING", "SUCCEEDED"):
        gateway.push(JOB, state)
    assert [s.sequence for s in client.job(JOB).watch(after_sequence=2)] == [3]


def test_watch_of_no_job_and_of_no_id(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        list(client.job(JOB).watch())
    assert caught.value.reason == "JOB_NOT_FOUND"
    with pytest.raises(InvalidArgumentError, match="is no job id"):
        client.job("../../etc/passwd")


def test_a_result_that_takes_too_long(gateway: ScriptedGateway, client: Client) -> None:
    gateway.push(JOB, "RUNNING")
    with pytest.raises(DeadlineError, match="has not ended within"):
        client.job(JOB).result(timeout=0.3)
    assert gateway.history[JOB][-1].state == pb.JOB_STATE_RUNNING


def test_a_failed_job_raises_its_error(gateway: ScriptedGateway, client: Client) -> None:
    error = pb.JobError(
        status="FAILED_PRECONDITION", reason="ACCEPTANCE_TOO_LOW", message="too few", chunk="3"
    )
    gateway.push(JOB, "FAILED", error=error)
    with pytest.raises(JobFailedError, match="too few") as caught:
        client.job(JOB).result()
    assert caught.value.reason == "ACCEPTANCE_TOO_LOW"
    assert caught.value.metadata["status"] == "FAILED_PRECONDITION"
    assert caught.value.metadata["chunk"] == "3"


def test_a_cancelled_job_has_no_result(gateway: ScriptedGateway, client: Client) -> None:
    gateway.push(JOB, "RUNNING")
    assert client.job(JOB).cancel().state is JobState.CANCELLED
    with pytest.raises(JobFailedError) as caught:
        client.job(JOB).result()
    assert caught.value.reason == "JOB_CANCELLED"


def test_artifacts_of_a_job_that_runs(gateway: ScriptedGateway, client: Client) -> None:
    gateway.push(JOB, "RUNNING")
    with pytest.raises(FailedPreconditionError, match="still running"):
        client.job(JOB).artifacts()


@pytest.fixture
def finished(gateway: ScriptedGateway) -> dict[str, bytes]:
    """The contents of a job that succeeded."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"unit": [3, 1]}), sink)
    contents = {
        "tables/units.parquet": sink.getvalue(),
        "report/index.html": bytes(range(256)) * 40,
        "images/empty.zip": b"",
    }
    artifacts = [gateway.add_artifact(JOB, name, data) for name, data in contents.items()]
    gateway.push(JOB, "SUCCEEDED", artifacts=artifacts)
    return contents


def test_results_are_read_and_checked(client: Client, finished: dict[str, bytes]) -> None:
    result = client.job(JOB).result()
    assert {a.name: result.read(a.name) for a in result.artifacts} == finished
    assert result.tables == ("units",)
    assert result.table("units").column("unit").to_pylist() == [3, 1]
    assert client.job(JOB).table("tables/units.parquet") == result.table("units")
    with pytest.raises(NotFoundError, match=r"it has: tables/units\.parquet"):
        result.table("steps")


def test_a_read_that_breaks_off_goes_on(
    gateway: ScriptedGateway, client: Client, finished: dict[str, bytes]
) -> None:
    gateway.break_reads_after = 3000
    assert client.job(JOB).read("report/index.html") == finished["report/index.html"]
    assert gateway.break_reads_after is None


def test_a_download_is_whole_and_comes_once(
    gateway: ScriptedGateway, client: Client, finished: dict[str, bytes], tmp_path
) -> None:
    job = client.job(JOB)
    paths = job.download(tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in paths}
    assert found == finished
    before = len(gateway.requests)
    job.download(tmp_path / "out", ["report/index.html"])
    assert len(gateway.requests) == before
    paths[1].write_bytes(b"spoilt")
    job.download(tmp_path / "out")
    assert paths[1].read_bytes() == finished["report/index.html"]


def test_wrong_bytes_are_refused_and_not_saved(
    gateway: ScriptedGateway, client: Client, finished: dict[str, bytes], tmp_path
) -> None:
    gateway.contents[JOB, "report/index.html"] = finished["report/index.html"][:-1] + b"x"
    with pytest.raises(DataLossError, match="does not have its sha256"):
        client.job(JOB).read("report/index.html")
    with pytest.raises(DataLossError):
        client.job(JOB).download(tmp_path, ["report/index.html"])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\\..\\b"])
def test_an_artifact_does_not_leave_the_folder(
    gateway: ScriptedGateway, client: Client, tmp_path, name: str
) -> None:
    gateway.push(JOB, "SUCCEEDED", artifacts=[gateway.add_artifact(JOB, name, b"x")])
    with pytest.raises(DataLossError, match="leaves the folder"):
        client.job(JOB).download(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_spec_from_a_newer_client_does_not_hide_its_job(gateway: ScriptedGateway, client: Client) -> None:
    job = gateway.push(JOB, "RUNNING")
    job.spec.ParseFromString(b"\xfa\x01\x03new")  # field 31, which this version does not know
    status = client.job(JOB).status()
    assert status.state is JobState.RUNNING
    assert status.spec is None


def test_importing_the_package_loads_neither_grpc_nor_torch() -> None:
    code = "import unitscope, sys; print({'grpc', 'torch', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_table_in_shards_is_read_as_one(gateway: ScriptedGateway, client: Client, tmp_path) -> None:
    contents = quantified.files(
        {"units": quantified.units([3, 4])}, [quantified.steps([3]), quantified.steps([4])]
    )
    # An artifact of another shape below tables/ is no table.
    contents |= {"tables/notes.json": b"{}", "tables/deep/er/x.parquet": b""}
    artifacts = [
        gateway.add_artifact(JOB, name, data) for name, data in sorted(contents.items(), reverse=True)
    ]
    gateway.push(JOB, "SUCCEEDED", artifacts=artifacts)
    result = client.job(JOB).result()
    assert sorted(result.tables) == ["steps", "units"]
    steps = result.table("steps")
    assert steps == pa.concat_tables([quantified.steps([3]), quantified.steps([4])])
    assert result.table("steps", ["step", "glasses.area"]).column_names == ["step", "glasses.area"]
    assert result.table("tables/steps/00001.parquet") == quantified.steps([4])
    with pytest.raises(InvalidArgumentError, match=r"no column glass\.area"):
        result.table("steps", ["glass.area"])
    with pytest.raises(NotFoundError, match=r"it has: .*steps/00000\.parquet"):
        result.table("effects")

    client.job(JOB).download(tmp_path / "out")
    saved = SavedResult(tmp_path / "out")
    assert sorted(saved.tables) == ["steps", "units"]
    assert saved.table("steps") == steps
    assert saved.table("units") == quantified.units([3, 4])


def test_a_folder_without_tables_is_no_result(tmp_path) -> None:
    with pytest.raises(NotFoundError, match="holds no folder 'tables'"):
        SavedResult(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "units.parquet").write_bytes(b"half")
    with pytest.raises(DataLossError, match="no Parquet file"):
        SavedResult(tmp_path).table("units")
    with pytest.raises(NotFoundError):
        SavedResult(tmp_path).read("report/index.html")
