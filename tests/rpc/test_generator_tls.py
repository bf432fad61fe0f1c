"""Mutual TLS on the way to the generator: our own V2 server, and the real Triton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as v2
from tritonclient.utils import InferenceServerException

from services.generator.triton_server import find_triton, tls_flags
from tests.support.certificates import Authority, Pair
from tests.support.generator import RunningGenerator, generator_program, in_process_generator
from tests.support.tiny_pack import write_tiny_pack
from unitscope.errors import InvalidArgumentError, UnavailableError
from unitscope.rpc import probe
from unitscope.rpc.tls import channel_credentials
from unitscope.settings import TlsSettings
from workers.clients import GeneratorClient

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

W = np.random.default_rng(2).standard_normal((2, 24)).astype(np.float32)


class Files:
    """Certificates of the lab and of strangers."""

    def __init__(self, folder: Path) -> None:
        self.authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.program = self.authority.issue("program")
        self.strange = stranger.issue("strange")
        self.expired = self.authority.issue("expired", days=-2)

    def settings(self, pair: Pair | None = None) -> TlsSettings:
        """A client's, with a certificate or without."""
        # What is None here is not looked for in the environment.
        return TlsSettings(
            server_ca_file=self.authority.certificate,
            certificate_file=pair.certificate if pair else None,
            key_file=pair.key if pair else None,
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def environment(files: Files) -> Iterator[dict[str, str]]:
    """The settings of every program of the lab, this one included."""
    values = {
        "UNITSCOPE_TLS_CERTIFICATE_FILE": str(files.program.certificate),
        "UNITSCOPE_TLS_KEY_FILE": str(files.program.key),
        "UNITSCOPE_TLS_CLIENT_CA_FILE": str(files.authority.certificate),
        "UNITSCOPE_TLS_SERVER_CA_FILE": str(files.authority.certificate),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield values


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pack(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=["v2", "triton"])
def running(
    request: pytest.FixtureRequest, pack: Path, environment: dict[str, str]
) -> Iterator[RunningGenerator]:
    if request.param == "v2":
        with in_process_generator(pack) as server:
            yield server
        return
    try:
        find_triton()
    except UnavailableError as error:
        pytest.skip(error.message)
    # An HTTP port is asked for: under TLS there must be none.
    with generator_program(pack, "triton", UNITSCOPE_GENERATOR_HTTP_PORT="7413") as server:
        yield server


def test_the_worker_renders_over_tls_and_nobody_else_does(running: RunningGenerator, files: Files) -> None:
    client = GeneratorClient(running.address, running.card, 60)
    assert client.render(W).shape == (2, 16, 16, 3)
    client.close()
    for settings in (files.settings(), files.settings(files.strange), files.settings(files.expired)):
        assert not _answers(running.address, channel_credentials(settings))
    assert not _answers(running.address, None)
    assert _answers(running.address, channel_credentials(files.settings(files.program)))
    # What a container's probe runs, with the program's own certificate.
    assert probe.main([running.address, "--seconds", "60"]) == 0


def test_triton_has_no_http_port_beside_tls(running: RunningGenerator) -> None:
    if running.process is None:
        assert running.address.startswith("127.0.0.1:")
        return
    family = [psutil.Process(running.process.pid)]
    family += family[0].children(recursive=True)
    listening = {
        connection.laddr.port
        for process in family
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {int(running.address.rpartition(":")[2])}


def test_a_server_that_the_worker_does_not_trust(
    running: RunningGenerator, files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    monkeypatch.setenv("UNITSCOPE_TLS_SERVER_CA_FILE", str(other.certificate))
    client = GeneratorClient(running.address, running.card, 60)
    with pytest.raises(UnavailableError, match="no authority") as caught:
        client.render(W)
    assert caught.value.reason == "TLS_FAILED"
    client.close()


def test_triton_needs_to_trust_itself(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CERTIFICATE", "KEY", "CLIENT_CA", "SERVER_CA"):
        monkeypatch.delenv(f"UNITSCOPE_TLS_{name}_FILE", raising=False)
    own = {"certificate_file": files.program.certificate, "key_file": files.program.key}
    with pytest.raises(InvalidArgumentError, match="UNITSCOPE_TLS_SERVER_CA_FILE"):
        tls_flags(TlsSettings(**own))
    assert tls_flags(TlsSettings()) == []
    one_way = tls_flags(TlsSettings(**own, server_ca_file=files.authority.certificate))
    assert "--grpc-use-ssl=true" in one_way
    assert not any("mutual" in flag for flag in one_way)


def _answers(address: str, credentials: object) -> bool:
    client = v2.InferenceServerClient(address, creds=credentials)
    try:
        return bool(client.is_server_ready(client_timeout=60))
    except InferenceServerException:
        return False
    finally:
        client.close()
