"""``compose.yaml`` and the script that draws its secrets, against the code."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import ROOT, check_command, check_variables, default_port, targets
from unitscope.errors import UnauthenticatedError
from unitscope.rpc.exposure import check_exposure
from unitscope.rpc.tls import channel_credentials, server_credentials
from unitscope.rpc.tokens import TokenFile
from unitscope.settings import ServerSettings, TlsSettings

TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FOLDERS = {"gateway": "gateway", "classifier": "classifier", "linker": "linker", "triton": "generator"}


def _program(service: dict[str, Any]) -> str:
    """The target of the Dockerfile that a service runs; empty for images of others."""
    match = re.fullmatch(r"unitscope/(\w+):.*", service["image"])
    return match[1] if match and "entrypoint" not in service else ""


OURS = {name: _program(service) for name, service in SERVICES.items() if _program(service)}


def _secrets(service: dict[str, Any]) -> dict[str, str]:
    """The source of every secret of a service by the path in the container."""
    found = {}
    for item in service.get("secrets", []):
        source, target = (item, item) if isinstance(item, str) else (item["source"], item["target"])
        found[target if target.startswith("/") else f"/run/secrets/{target}"] = source
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "secrets"
    done = _draw(folder, NAMES="unitscope.lab.example 192.0.2.7")
    assert done.returncode == 0, done.stderr
    return folder


def _draw(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / "make_secrets.sh"), str(folder)]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_every_program_is_there() -> None:
    assert set(OURS.values()) == set(targets())


def test_every_variable_is_one_that_the_settings_know(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in SERVICES.items():
        with monkeypatch.context() as patch:
            check_variables(name, service.get("environment", {}), patch)
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value in _secrets(service), f"{name}: {variable}={value}"


def test_servers_would_start_and_only_under_tls(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, program in OURS.items():
        service = SERVICES[name]
        environment = dict(service["environment"])
        for variable, value in environment.items():
            if value in _secrets(service):
                environment[variable] = str(secrets / _secrets(service)[value])
        with monkeypatch.context() as patch:
            groups = check_variables(name, environment, patch)
            tls, server = TlsSettings(), ServerSettings()
        assert channel_credentials(tls) is not None  # as a client of others, or of itself in a probe
        if program == "worker":
            assert "UNITSCOPE_SERVER_" not in groups
            continue
        assert server.listen == f"0.0.0.0:{default_port(program)}"
        assert not server.insecure
        check_exposure(FOLDERS[program], server.listen, tls, program == "gateway", insecure=False)
        assert server_credentials(tls) is not None
        assert (tls.client_ca_file is None) == (program == "gateway")


def test_secrets_are_those_that_the_script_draws_and_nothing_starts_without(secrets: Path) -> None:
    declared = COMPOSE["secrets"]
    assert all(source in declared for service in SERVICES.values() for source in _secrets(service).values())
    for name, raw in declared.items():
        assert raw["file"].startswith("${UNITSCOPE_SECRETS")
        assert raw["file"].endswith(f"/{name}")
        assert stat.S_IMODE((secrets / name).stat().st_mode) == 0o644  # other users' containers read it
    # Compose refuses to go on where the variable is not set, and says what to do.
    assert "${UNITSCOPE_SECRETS:?is not set; run scripts/make_secrets.sh" in TEXT
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for private in ("token", "ca.key"):
        assert stat.S_IMODE((secrets / private).stat().st_mode) == 0o600
        assert private not in declared


def test_what_the_script_draws_is_random_and_fits_together(secrets: Path, tmp_path: Path) -> None:
    def read(name: str) -> str:
        return (secrets / name).read_text().strip()

    assert TokenFile(secrets / "tokens").authenticate(f"Bearer {read('token')}").project == "default"
    user, password = re.fullmatch(r"amqp://(\w+):(\w{40})@rabbitmq:5672//", read("broker-url")).groups()
    assert read("rabbitmq.conf").splitlines() == [f"default_user = {user}", f"default_pass = {password}"]
    again = _draw(secrets)
    assert (again.returncode, "nothing was changed" in again.stderr) == (1, True)
    assert _draw(tmp_path / "other").returncode == 0
    for name in (
        "access-key",
        "secret-key",
        "store-root-user",
        "store-root-password",
        "broker-url",
        "token",
        "ca.crt",
    ):
        assert (tmp_path / "other" / name).read_text().strip() != read(name)
    with pytest.raises(UnauthenticatedError):
        TokenFile(tmp_path / "other" / "tokens").authenticate(f"Bearer {read('token')}")
    assert not [path for path in tmp_path.iterdir() if path.name != "other"]
    shown = subprocess.run(
        [
            "openssl",
            "x509",
            "-in",
            str(secrets / "gateway.crt"),
            "-noout",
            "-ext",
            "subjectAltName,extendedKeyUsage",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    for name in (
        "DNS:gateway,",
        "DNS:unitscope.lab.example,",
        "IP Address:192.0.2.7",
        "Server Auth",
        "Client Auth",
    ):
        assert name in shown


def test_containers_have_no_rights_and_ports_are_for_this_machine() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"]
        assert ":latest" not in service["image"]
        assert re.search(r":[^/]+$", service["image"])
        # A new volume belongs to root: one command changes that, and ends.
        root = service["user"].startswith("0")
        assert (root, service.get("cap_add")) == (
            (True, ["CHOWN"]) if name == "store-owner" else (False, None)
        )
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        assert ("outside" in service["networks"]) == bool(service.get("ports"))
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert any("exec" in item.split(":")[1].split(",") for item in SERVICES["triton"]["tmpfs"])


def test_the_order_of_starting_waits_for_what_is_there() -> None:
    order: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            order.setdefault(name, set()).add(other)
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"
            elif how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] in ("no", "on-failure")
    for name, service in SERVICES.items():
        seen, ahead = set(), [name]
        while ahead:
            for other in order.get(ahead.pop(), set()) - seen:
                seen.add(other)
                ahead.append(other)
        assert name not in seen
        needs = {"UNITSCOPE_STORE_URL": "bucket", "UNITSCOPE_BROKER_URL": "rabbitmq"}
        for variable, other in needs.items():
            assert variable not in service.get("environment", {}) or other in seen, f"{name} needs {other}"


def test_commands_probes_and_endpoints_are_those_of_the_programs() -> None:
    queues = []
    for name, program in OURS.items():
        service = SERVICES[name]
        arguments = service.get("command", [])
        check_command(targets()[program].entry + arguments)
        if program == "worker":
            queues.append(arguments[arguments.index("--queues") + 1])
            soft = float(service["environment"]["UNITSCOPE_WORKER_SOFT_SHUTDOWN_SECONDS"])
            assert soft + 10 <= float(service["stop_grace_period"].removesuffix("s"))
            for part, host in (("CLASSIFIER", "classifier"), ("LINKER", "linker"), ("GENERATOR", "triton")):
                wanted = f"dns:///{host}:{default_port(host)}"
                assert service["environment"][f"UNITSCOPE_ENDPOINT_{part}"] == wanted
            continue
        test = service["healthcheck"]["test"]
        assert test[0] == "CMD"
        check_command(test[1:])
        assert test[3] == "services.generator.liveness" or test[4] == f"127.0.0.1:{default_port(program)}"
    assert sorted(queues) == ["interactive", "long"]
    link = SERVICES["gateway"]["environment"]["UNITSCOPE_STORE_PUBLIC_ENDPOINT"]
    assert [f"{link}:9000"] == SERVICES["minio"]["ports"]


def test_the_bucket_is_the_one_that_programs_use() -> None:
    script = (ROOT / "k8s/components/minio/bucket.sh").read_text()
    bucket = SERVICES["gateway"]["environment"]["UNITSCOPE_STORE_URL"].removeprefix("s3://")
    assert f"mc mb --ignore-existing store/{bucket}\n" in script
    assert f"arn:aws:s3:::{bucket}/*" in (ROOT / "k8s/components/minio/policy.json").read_text()
    assert (
        subprocess.run(["sh", "-n", str(ROOT / "k8s/components/minio/bucket.sh")], timeout=60).returncode == 0
    )
    read = set(re.findall(r"\$\(secret ([a-z-]+)\)", script))
    assert read == set(_secrets(SERVICES["bucket"]).values())
