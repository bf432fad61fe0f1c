"""The client and the command against a real gateway: lists, deletion, links, limits that are waited out."""

import hashlib
import http.server
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from typer.testing import CliRunner

from tests.services.gateway.conftest import until
from tests.support.gateway import LINK, PATIENCE, RunningGateway
from unitscope.cli.app import app
from unitscope.client import Client, JobState
from unitscope.client.connection import Waiting
from unitscope.errors import FailedPreconditionError, NotFoundError, ResourceExhaustedError
from unitscope.jobs.state import write_terminal
from unitscope.v1 import analysis_job_pb2 as pb


@pytest.fixture
def client(gateway):
    with Client(gateway.server.address, timeout=PATIENCE, patience=PATIENCE) as client:
        yield client


@pytest.fixture
def run(gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("UNITSCOPE_ENDPOINT_GATEWAY", gateway.server.address)
    monkeypatch.chdir(tmp_path)
    return lambda *words, **more: CliRunner().invoke(app, words, **more)


def test_lists_with_filters(gateway, client):
    done, failed = gateway.ended("a"), gateway.ended("b", JobState.FAILED)
    queued = client.submit("link", LINK).id
    listed = lambda **filters: [job.id for job in client.jobs(1, **filters)]  # noqa: E731
    assert listed() == [queued, failed, done]
    assert listed(states=["FAILED", JobState.QUEUED]) == [queued, failed]
    now = datetime.now(UTC)
    assert listed(created_from=now) == []
    assert listed(created_before=now, created_from=now - timedelta(minutes=5)) == [queued, failed, done]
    with pytest.raises(ValueError, match="PAINTED"):
        listed(states=["PAINTED"])


def test_delete_and_what_stays(gateway, client):
    job = client.job(gateway.ended(units=b"[1]"))
    assert job.read("tables/units.json") == b"[1]"
    gone = job.delete()
    assert gone == client.job(job.id).delete()
    assert (gone.id, gone.state, gone.kind) == (job.id, JobState.SUCCEEDED, "link")
    assert len(gone.manifest_sha256) == 64
    with pytest.raises(NotFoundError, match="was deleted") as caught:
        job.status()
    assert caught.value.reason == "JOB_DELETED"
    with pytest.raises(FailedPreconditionError):
        client.submit("link", LINK).delete()


def test_a_full_gateway_is_waited_for_within_the_patience(gateway, client, monkeypatch):
    monkeypatch.setattr("services.gateway.admission.SLOT_SECONDS", 1.5)
    jobs = [client.submit("link", LINK) for _ in range(3)]
    wait = Waiting.limited

    def end_one_and_wait(*arguments):
        """Once a job was refused, and not before."""
        write_terminal(gateway.store, jobs[0].id, JobState.CANCELLED)
        wait(*arguments)

    monkeypatch.setattr(Waiting, "limited", end_one_and_wait)
    began = time.monotonic()
    client.submit("link", LINK)
    assert time.monotonic() - began >= 1.5
    with Client(gateway.server.address, patience=1) as hasty, pytest.raises(ResourceExhaustedError) as caught:
        hasty.submit("link", LINK)
    assert caught.value.reason == "TOO_MANY_JOBS"


@pytest.fixture
def narrow(tmp_path, models):
    """A gateway with a place for one watcher."""
    gateway = RunningGateway(tmp_path, models, max_watchers=1)
    yield gateway
    gateway.close()


def test_a_place_to_watch_is_waited_for(narrow, monkeypatch):
    monkeypatch.setattr("services.gateway.servicer.WATCHER_SECONDS", 0.3)
    gateway, client = narrow, Client(narrow.server.address, patience=PATIENCE)
    job = client.submit("link", LINK)
    held = gateway.stub.WatchAnalysisJob(pb.WatchAnalysisJobRequest(job_id=job.id), timeout=3600)
    next(held)
    with (
        Client(gateway.server.address, patience=0.5) as hasty,
        pytest.raises(ResourceExhaustedError) as caught,
    ):
        list(hasty.job(job.id).watch())
    assert caught.value.reason == "TOO_MANY_WATCHERS"
    threading.Timer(0.7, held.cancel).start()
    with client:
        assert next(job.watch()).state is JobState.QUEUED


class _Store(http.server.BaseHTTPRequestHandler):
    served: list[str]

    def do_GET(self):
        self.served.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[1, 2]" if "broken" not in self.path else b"[1")

    def log_message(self, *arguments):
        pass


def test_direct_downloads_come_from_the_store_or_else_from_the_gateway(
    gateway, client, tmp_path, monkeypatch
):
    _Store.served = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Store))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    job = client.job(gateway.ended(units=b"[1, 2]"))
    address = f"http://127.0.0.1:{server.server_port}/units"
    # The gateway's own copy is spoilt, so that one sees where the bytes came from.
    stream = gateway.store.stream
    try:
        assert job.link("tables/units.json") is None
        (path,) = job.download(tmp_path / "none", direct=True)
        assert path.read_bytes() == b"[1, 2]"
        monkeypatch.setattr(gateway.store, "link", lambda *arguments: address)
        assert job.link("tables/units.json") == address
        monkeypatch.setattr(gateway.store, "stream", lambda key: iter([b"spoilt"]))
        (path,) = job.download(tmp_path / "direct", direct=True)
        assert path.read_bytes() == b"[1, 2]"
        assert _Store.served == ["/units"]
        monkeypatch.setattr(gateway.store, "stream", stream)
        for bad in ("http://127.0.0.1:9/none", "file:///etc/passwd"):
            monkeypatch.setattr(gateway.store, "link", lambda *arguments, bad=bad: bad)
            (path,) = job.download(tmp_path / hashlib.md5(bad.encode()).hexdigest(), direct=True)
            assert path.read_bytes() == b"[1, 2]"
    finally:
        server.shutdown()
        server.server_close()


def test_commands(gateway, run):
    done, failed = gateway.ended("a", units=b"[1]"), gateway.ended("b", JobState.FAILED)
    until(lambda: not gateway.store.objects("active/default/"))
    listed = run("list", "--state", "failed", "--since", "2020-01-01", "--output", "json")
    assert [job["id"] for job in json.loads(listed.stdout)] == [failed]
    shown = run("artifacts", done, "--links").stdout
    assert "tables/units.json" in shown
    assert "none" in shown
    (entry,) = json.loads(run("artifacts", done, "--links", "--output", "json").stdout)
    assert (entry["size"], entry["url"]) == (3, "")
    refused = run("delete", done, input="n\n")
    assert refused.exit_code != 0
    assert run("get", done).exit_code == 0
    deleted = run("delete", done, "--yes")
    assert (deleted.exit_code, "is deleted" in deleted.stdout) == (0, True)
    again = run("get", done)
    assert again.exit_code == 3
    assert "was deleted" in again.stderr
    running = gateway.create().job.job_id
    kept = run("delete", running, "--yes")
    assert (kept.exit_code, "cancel it first" in kept.stderr) == (6, True)
