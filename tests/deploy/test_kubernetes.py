"""``k8s/base`` renders, fits the schemas, and fits the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services.generator.settings import GeneratorSettings
from tests.deploy.manifests import BASE, SETTINGS, containers, default_port, of_kind, rendered, targets

pytestmark = pytest.mark.integration
SERVICES = {"gateway", "classifier", "linker", "generator"}


def test_every_file_is_part_of_the_base() -> None:
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


def test_what_is_rendered_passes_the_strict_schemas(tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(rendered()))
    tool = Path(sys.executable).with_name("kubernetes-validate")
    done = subprocess.run(
        [str(tool), "--strict", "--quiet", str(file)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    broken = yaml.safe_dump({**rendered()[0], "unknownField": 1})
    file.write_text(broken)
    assert (
        subprocess.run([str(tool), "--strict", str(file)], capture_output=True, timeout=120).returncode != 0
    )


def test_one_deployment_and_one_image_a_target() -> None:
    assert set(containers()) == set(targets()) == SERVICES | {"worker"}
    for name, container in containers().items():
        assert container.raw["image"].split(":")[0] == f"unitscope/{name}"
        assert "command" not in container.raw  # the image's entry point, which the tests of images check


def test_every_variable_is_one_that_the_settings_know(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, container in containers().items():
        groups: set[str] = set()
        for variable, value in container.environment.items():
            assert isinstance(value, str), f"{name}: {variable} must be quoted"
            if variable == "OMP_NUM_THREADS":
                continue
            prefix = next((p for p in SETTINGS if variable.startswith(p)), None)
            assert prefix is not None, f"{name}: no settings class knows {variable}"
            field = variable.removeprefix(prefix).lower()
            assert field in SETTINGS[prefix].model_fields, f"{name}: {variable} is no setting"
            groups.add(prefix)
        with monkeypatch.context() as patch:
            for variable, value in container.environment.items():
                patch.setenv(variable, value)
            for prefix in groups:
                SETTINGS[prefix]()  # raises where a value does not fit


def test_no_secret_is_in_the_manifests() -> None:
    assert not of_kind("Secret")
    for container in containers().values():
        for variable, value in container.environment.items():
            assert "@" not in value, f"{variable} seems to hold a password"
            assert not variable.endswith(("ACCESS_KEY", "SECRET_KEY", "PASSWORD", "TOKEN"))


def test_files_that_settings_name_are_mounted() -> None:
    deployments = of_kind("Deployment")
    for name, container in containers().items():
        pod = deployments[name]["spec"]["template"]["spec"]
        mounts = {m["name"]: m["mountPath"] for m in container.raw["volumeMounts"]}
        assert {v["name"] for v in pod["volumes"]} == set(mounts)
        for variable, value in container.environment.items():
            if variable.endswith("_FILE"):
                assert str(Path(value).parent) in mounts.values(), f"{name}: {variable}={value}"


def test_ports_and_probes_are_those_of_the_programs() -> None:
    services = of_kind("Service")
    assert set(services) == SERVICES
    for name in SERVICES:
        container, port = containers()[name], default_port(name)
        ports = {p["name"]: p["containerPort"] for p in container.raw["ports"]}
        assert ports["grpc"] == port
        assert container.environment["UNITSCOPE_SERVER_LISTEN"] == f"0.0.0.0:{port}"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container.raw[probe]["grpc"]["port"] == port
        offered = {p["name"]: (p["port"], p["targetPort"]) for p in services[name]["spec"]["ports"]}
        assert offered == {key: (value, key) for key, value in ports.items()}
        assert set(targets()[name].exposed) == set(ports.values())
    own = {p["name"]: p["containerPort"] for p in containers()["generator"].raw["ports"]}
    generator = GeneratorSettings()
    assert (own["http"], own["metrics"]) == (generator.http_port, generator.metrics_port)


def test_endpoints_name_services_and_their_ports() -> None:
    endpoints = {
        variable: value
        for variable, value in containers()["worker"].environment.items()
        if variable.startswith("UNITSCOPE_ENDPOINT_")
    }
    assert set(endpoints) == {f"UNITSCOPE_ENDPOINT_{n}" for n in ("CLASSIFIER", "LINKER", "GENERATOR")}
    for variable, value in endpoints.items():
        service = variable.removeprefix("UNITSCOPE_ENDPOINT_").lower()
        assert value == f"{service}:{default_port(service)}"


def test_selectors_find_their_pods() -> None:
    for name, deployment in of_kind("Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] in of_kind("ServiceAccount")
        if name in of_kind("Service"):
            assert of_kind("Service")[name]["spec"]["selector"] == labels


def test_pods_ask_for_no_more_than_the_restricted_profile_allows() -> None:
    labels = of_kind("Namespace")["unitscope"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, deployment in of_kind("Deployment").items():
        assert deployment["metadata"]["namespace"] == "unitscope"
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in pod["volumes"]:
            assert set(volume) & {"emptyDir", "secret"}, f"{name}: {volume}"
        container = containers()[name].raw
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for limit in ("cpu", "memory"):
            assert container["resources"]["requests"][limit]
            assert container["resources"]["limits"][limit]
