"""The whole real stack on a tiny pack: processes, SIGKILL, the real store, the real Triton where it runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.client import Client, JobHandle, JobState, Result
from unitscope.embedded import Embedded, find, guardian
from unitscope.embedded.home import Home, home_at
from unitscope.errors import FailedPreconditionError, JobFailedError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SECONDS = 240.0
SPEC = {
    "link": {
        "classifier": CLASSIFIER,
        "generator": GENERATOR,
        "samples_per_class": 300,
        "heldout_per_class": 20,
        "folds": 2,
    },
    "units": {"top": 4},
    "seeds_per_class": 2,
    "steps": 5,
}
QUANTIFY = {
    "link": {**SPEC["link"], "samples_per_class": 60},  # type: ignore[dict-item]
    "screening_seeds": 6,
    "shortlist": 6,
    "min_trust": 0.0,
}
IMPATIENT = {
    "UNITSCOPE_GATEWAY_LOST_AFTER_SECONDS": "6",
    "UNITSCOPE_GATEWAY_RECONCILE_SECONDS": "0.2",
    "UNITSCOPE_WORKER_REFRESH_SECONDS": "1",
    "OMP_NUM_THREADS": "1",
    "UNITSCOPE_MODELS_THREADS": "1",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def stack(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    home = tmp_path_factory.mktemp("home")
    with Embedded(home, models, environment=IMPATIENT, start_seconds=400) as running:
        yield running
    assert guardian.marked(running.home.mark) == []


@pytest.fixture(scope="module")
def client(stack: Embedded) -> Iterator[Client]:
    with stack.client() as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(client: Client) -> Result:
    return client.submit("traverse", SPEC).result(timeout=SECONDS)


def tables(result: Result) -> dict[str, bytes]:
    """The bytes of every table by name."""
    return {name: result.read(f"tables/{name}.parquet") for name in result.tables}


def disturbed(stack: Embedded, job: JobHandle, kills: dict[str, float]) -> Result:
    """Watches the job to its end, and kills each program once that share of the work is done."""
    left = dict(kills)
    for status in job.watch(timeout=SECONDS):
        due = [name for name, share in left.items() if status.progress.fraction >= share]
        if status.state is JobState.RUNNING:
            for name in due:
                stack.kill(name)
                del left[name]
    assert left == {}, "the job ended before all were killed"
    return job.result()


def test_a_job_runs_from_the_client_to_its_report(undisturbed: Result) -> None:
    names = {artifact.name for artifact in undisturbed.artifacts}
    assert "report/index.html" in names
    assert set(undisturbed.tables) == {"quality", "steps", "units"}
    assert undisturbed.table("units").num_rows == 4
    assert undisturbed.table("steps").num_rows == 4 * 4 * 2 * 5
    assert b"<html" in undisturbed.read("report/index.html")


def test_the_same_spec_gives_the_same_tables(client: Client, undisturbed: Result) -> None:
    again = client.submit("traverse", SPEC).result(timeout=SECONDS)
    assert again.handle.id != undisturbed.handle.id
    assert tables(again) == tables(undisturbed)


@pytest.mark.parametrize(
    "kills",
    [
        {"worker": 0.1},
        {"gateway": 0.1},
        {"generator": 0.1},
        {"worker": 0.05, "classifier": 0.2, "linker": 0.4},
    ],
    ids="+".join,
)
def test_tables_are_the_same_whoever_is_killed(
    stack: Embedded, client: Client, undisturbed: Result, kills: dict[str, float]
) -> None:
    before = {state.name: state.restarts for state in stack.states()}
    result = disturbed(stack, client.submit("traverse", SPEC), kills)
    assert tables(result) == tables(undisturbed)
    after = {state.name: state.restarts for state in stack.states()}
    assert all(after[name] == before[name] + 1 for name in kills)


def test_units_are_quantified_to_the_same_tables_whoever_is_killed(stack: Embedded, client: Client) -> None:
    """Parts and pictures come from the real Triton; steps are read across their shards."""
    calm = client.submit("quantify", QUANTIFY).result(timeout=SECONDS)
    assert set(calm.tables) == {"effects", "quality", "steps", "units"}
    units, steps = calm.table("units").to_pylist(), calm.table("steps")
    assert sum(row["stage"] == "confirm" for row in units) == 6
    assert steps.num_rows == len(units) * 6 * 2 + 6 * 32 * 3
    kills = {"worker": 0.3, "generator": 0.6}
    result = disturbed(stack, client.submit("quantify", QUANTIFY), kills)
    for name in ("effects", "quality", "units"):
        assert result.read(f"tables/{name}.parquet") == calm.read(f"tables/{name}.parquet")
    assert result.table("steps").equals(steps)


def test_a_cancelled_job_ends_soon(client: Client) -> None:
    job = client.submit("traverse", SPEC)
    for status in job.watch(timeout=SECONDS):
        if status.progress.chunks_done and status.state is JobState.RUNNING:
            job.cancel()
    with pytest.raises(JobFailedError) as caught:
        job.result()
    assert caught.value.reason == "JOB_CANCELLED"


def test_a_home_holds_one_stack(stack: Embedded, models: Path) -> None:
    assert find(stack.home.root) == stack.endpoints
    with pytest.raises(FailedPreconditionError) as caught:
        Embedded(stack.home.root, models).start()
    assert caught.value.reason == "HOME_IN_USE"
    assert all(state.state == "healthy" for state in stack.states())


def up(home: Path, models: Path) -> subprocess.Popen[str]:
    """``unitscope up`` as a user runs it, once it says that it is ready."""
    words = ["up", "--home", str(home), "--models", str(models)]
    process = subprocess.Popen(
        [sys.executable, "-m", "unitscope.cli", *words],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **IMPATIENT},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("ready at"):
            return process
    raise AssertionError(f"it did not start: {said}")


def nothing_runs(home: Home, seconds: float = 15.0) -> bool:
    """Whether all processes of the home are gone, the guardian last, at the latest after that time."""
    until = time.monotonic() + seconds
    while (left := guardian.marked(home.mark) or find(home.root)) and time.monotonic() < until:
        time.sleep(0.1)
    return not left


def test_a_job_outlives_its_supervisor_and_no_process_does(
    models: Path, tmp_path: Path, undisturbed: Result
) -> None:
    home = home_at(tmp_path)
    supervisor = up(tmp_path, models)
    endpoints = find(tmp_path)
    assert endpoints is not None
    with Client(endpoints.gateway) as client:
        job = client.submit("traverse", SPEC)
        for status in job.watch(timeout=SECONDS):
            if status.progress.chunks_done:
                break
        assert status.state is JobState.RUNNING
    supervisor.kill()
    supervisor.communicate()
    assert nothing_runs(home)
    with socket.socket() as probe:
        host, port = endpoints.gateway.split(":")
        assert probe.connect_ex((host, int(port))) != 0

    second = Embedded(tmp_path, models, environment=IMPATIENT, start_seconds=400)
    with second, second.client() as client:
        assert tables(client.job(job.id).result(timeout=SECONDS)) == tables(undisturbed)
    assert guardian.marked(home.mark) == []


def test_up_ends_cleanly_by_a_signal(models: Path, tmp_path: Path) -> None:
    supervisor = up(tmp_path, models)
    supervisor.send_signal(signal.SIGTERM)
    said, _ = supervisor.communicate(timeout=60)
    assert supervisor.returncode == 0
    assert said.splitlines()[-1] == "stopped"
    assert guardian.marked(home_at(tmp_path).mark) == []
    assert not (tmp_path / "endpoints.json").exists()
