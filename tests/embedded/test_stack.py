"""The whole real stack on a tiny pack: processes, SIGKILL, the real store, the real Triton where it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.client import Client, JobHandle, JobState, Result
from unitscope.embedded import Embedded, find, guardian
from unitscope.embedded.home import Home, home_at
from unitscope.errors import FailedPreconditionError, JobFailedError, NotFoundError, UnavailableError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

SECONDS = 400.0
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
    with Embedded(home, models, environment=IMPATIENT, start_seconds=600) as running:
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


def eventually(condition: Callable[[], object], seconds: float = 120.0) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def killed_amid(stack: Embedded, job: JobHandle, left: dict[str, float]) -> Result:
    """Watches the job to its end; kills each program, and strikes it out, once that share of the work is done."""
    for status in job.watch(timeout=SECONDS):
        due = [name for name, share in left.items() if status.progress.fraction >= share]
        if status.state is JobState.RUNNING:
            for name in due:
                stack.kill(name)
                del left[name]
    return job.result()


def disturbed(stack: Embedded, submit: Callable[[], JobHandle], kills: dict[str, float]) -> list[Result]:
    """Jobs until each program was killed amid one.

    On a busy machine the end of a job may be seen before a share of it that was waited for: then another
    one is disturbed by what is left.
    """
    left, results = dict(kills), []
    while left:
        before = len(left)
        results.append(killed_amid(stack, submit(), left))
        assert len(left) < before or len(results) < 4, f"four jobs ended and never was it time for {left}"
    return results


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
    def restarts() -> dict[str, int]:
        return {state.name: state.restarts for state in stack.states() if state.name in kills}

    wanted = {name: count + 1 for name, count in restarts().items()}
    for result in disturbed(stack, lambda: client.submit("traverse", SPEC), kills):
        assert tables(result) == tables(undisturbed)
    # What was killed late may be missed by its supervisor only after the job.
    assert eventually(lambda: restarts() == wanted), (restarts(), wanted)


def test_units_are_quantified_to_the_same_tables_whoever_is_killed(stack: Embedded, client: Client) -> None:
    """Parts and pictures come from the real Triton; steps are read across their shards."""
    calm = client.submit("quantify", QUANTIFY).result(timeout=SECONDS)
    assert set(calm.tables) == {"effects", "quality", "steps", "units"}
    units, steps = calm.table("units").to_pylist(), calm.table("steps")
    assert sum(row["stage"] == "confirm" for row in units) == 6
    assert steps.num_rows == len(units) * 6 * 2 + 6 * 32 * 3
    kills = {"worker": 0.3, "generator": 0.6}
    for result in disturbed(stack, lambda: client.submit("quantify", QUANTIFY), kills):
        for name in ("effects", "quality", "units"):
            assert result.read(f"tables/{name}.parquet") == calm.read(f"tables/{name}.parquet")
        assert result.table("steps").equals(steps)


def test_a_cancelled_job_ends_soon(client: Client) -> None:
    # So many images that it cannot have ended before it is cancelled.
    job = client.submit("traverse", {**SPEC, "seeds_per_class": 200})
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
    # Those that an earlier test killed may not have been looked at since.
    assert eventually(lambda: all(state.state == "healthy" for state in stack.states())), stack.states()


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


def nothing_runs(home: Home, seconds: float = 120.0) -> bool:
    """Whether all processes of the home are gone, the guardian last, at the latest after that time."""
    until = time.monotonic() + seconds
    while (left := guardian.marked(home.mark) or find(home.root)) and time.monotonic() < until:
        time.sleep(0.1)
    return not left


def at_work(client: Client) -> JobHandle:
    """A job of which something is done, and not all."""
    for _ in range(4):
        job = client.submit("traverse", SPEC)
        watched = job.watch(timeout=SECONDS)
        status = next(s for s in watched if s.progress.chunks_done or s.state.terminal)
        if status.state is JobState.RUNNING:
            return job
    raise AssertionError(f"four jobs ended before they were seen at work; the last one is {status.state}")


def test_a_job_outlives_its_supervisor_and_no_process_does(
    models: Path, tmp_path: Path, undisturbed: Result
) -> None:
    home = home_at(tmp_path)
    supervisor = up(tmp_path, models)
    endpoints = find(tmp_path)
    assert endpoints is not None
    with Client(endpoints.gateway) as client:
        job = at_work(client)
    supervisor.kill()
    supervisor.communicate()
    assert nothing_runs(home)
    # Another stack may have taken the port since; it knows no such job.
    with Client(endpoints.gateway) as client, pytest.raises((UnavailableError, NotFoundError)):
        client.job(job.id).status()

    second = Embedded(tmp_path, models, environment=IMPATIENT, start_seconds=600)
    with second, second.client() as client:
        assert tables(client.job(job.id).result(timeout=SECONDS)) == tables(undisturbed)
    assert guardian.marked(home.mark) == []


def test_up_ends_cleanly_by_a_signal(models: Path, tmp_path: Path) -> None:
    supervisor = up(tmp_path, models)
    supervisor.send_signal(signal.SIGTERM)
    said, _ = supervisor.communicate(timeout=300)
    assert supervisor.returncode == 0
    assert said.splitlines()[-1] == "stopped"
    assert guardian.marked(home_at(tmp_path).mark) == []
    assert not (tmp_path / "endpoints.json").exists()
