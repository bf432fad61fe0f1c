"""``k8s/``: everything renders, fits the schemas, and fits the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.generator.settings import GeneratorSettings
from tests.deploy.manifests import (
    COMPONENTS,
    FOLDERS,
    FULL,
    K8S,
    OVERLAYS,
    ROOT,
    Container,
    Objects,
    check_command,
    check_variables,
    containers,
    default_port,
    of_kind,
    renderings,
    targets,
    workloads,
)
from unitscope.jobs.broker import QUEUES
from unitscope.rpc.exposure import check_exposure
from unitscope.settings import ServerSettings, TlsSettings, WorkerSettings
from unitscope.signals.catalogue import OUTSTANDING

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
CUSTOM = {"ScaledObject", "PodMonitor"}
"""Kinds that the schemas of Kubernetes do not have; see the tests of KEDA and of monitoring."""


def _every() -> list[tuple[str, Container]]:
    return [(name, container) for name in FULL for container in containers(renderings()[name])]


def test_every_file_is_part_of_something() -> None:
    for folder in [K8S / "base", *(K8S / "components").iterdir(), *(K8S / "overlays").iterdir()]:
        kustomization = (folder / "kustomization.yaml").read_text()
        for path in folder.iterdir():
            assert (
                path.name in (kustomization, "README.md", "kustomization.yaml") or path.name in kustomization
            )
    for name in COMPONENTS:
        assert (K8S / "components" / name / "README.md").is_file()
        assert f"components/{name}" in (K8S / "README.md").read_text()
    for name in OVERLAYS:
        assert f"overlays/{name}" in (K8S / "README.md").read_text()


def test_every_combination_renders() -> None:
    assert len(renderings()) == 2 + len(OVERLAYS) + len(COMPONENTS) * (len(COMPONENTS) + 1) // 2
    for name, objects in renderings().items():
        found = [(o["kind"], o["metadata"]["name"]) for o in objects]
        assert len(found) == len(set(found)), name
        assert all(o["metadata"].get("namespace", "unitscope") == "unitscope" for o in objects), name
        for workload, raw in workloads(objects).items():
            pod = raw["spec"]["template"]["spec"]
            for items in (pod["volumes"], *(c["volumeMounts"] for c in pod["containers"])):
                keys = [item.get("mountPath", item["name"]) for item in items]
                assert len(keys) == len(set(keys)), f"{name}: {workload}"


def test_what_is_rendered_passes_the_strict_schemas(tmp_path: Path) -> None:
    tool = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "--quiet"]
    different = {
        json.dumps(o) for objects in renderings().values() for o in objects if o["kind"] not in CUSTOM
    }
    file = tmp_path / "rendered.yaml"
    file.write_text("\n".join(f"---\n{text}" for text in sorted(different)))
    done = subprocess.run([*tool, str(file)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    file.write_text(json.dumps({**renderings()["base"][0], "unknownField": 1}))
    assert subprocess.run([*tool, str(file)], capture_output=True, timeout=240).returncode != 0


def test_one_program_an_image() -> None:
    used = set()
    for where, container in _every():
        image = container.raw["image"]
        assert re.search(r":[^/]+$", image), f"{where}: {image} has no tag"
        assert not image.endswith(":latest")
        if container.ours:
            used.add(name := re.sub(r":.*", "", image).rpartition("/")[2])
            if container.main:
                # The image's own entry point, which the tests of images check.
                assert (name, "command" in container.raw) == (container.service, False)
    assert used == set(targets())


def test_every_variable_is_one_that_the_settings_know(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, container in _every():
        with monkeypatch.context() as patch:
            for variable in [v for v in os.environ if v.startswith("UNITSCOPE_")]:
                patch.delenv(variable)
            check_variables(f"{where}: {container.workload}", container.environment, patch)


def test_no_secret_is_in_the_manifests_and_files_are_mounted() -> None:
    for where, container in _every():
        assert not of_kind(renderings()[where], "Secret")
        mounts = {m["mountPath"]: m["name"] for m in container.raw["volumeMounts"]}
        claims = workloads(renderings()[where])[container.workload]["spec"].get("volumeClaimTemplates", [])
        volumes = {v["name"] for v in container.pod["volumes"]} | {c["metadata"]["name"] for c in claims}
        assert set(mounts.values()) <= volumes
        for variable, value in container.environment.items():
            if variable.endswith("_FILE"):
                assert str(Path(value).parent) in mounts, f"{where}: {container.workload}: {variable}={value}"


def _secrets(objects: Objects) -> set[str]:
    found = set()
    for workload in workloads(objects).values():
        for volume in workload["spec"]["template"]["spec"]["volumes"]:
            projected = volume.get("projected", {}).get("sources", [])
            for source in (volume, *projected):
                secret = source.get("secret", {})
                found.add(secret.get("secretName") or secret.get("name"))
    return found - {None}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_guide_makes_every_secret(overlay: str) -> None:
    text = (ROOT / "docs" / "lab.md").read_text()
    needed = _secrets(renderings()[f"overlay {overlay}"])
    assert "unitscope-tokens" in needed
    for name in needed:
        made = name if not name.startswith("tls-") else "tls-$name"
        assert re.search(rf"create secret generic {re.escape(made)}(\s|$)", text), name


def _probes(container: Container) -> dict[str, dict[str, Any]]:
    return {key: value for key, value in container.raw.items() if key.endswith("Probe")}


def test_ports_probes_and_commands_are_those_of_the_programs() -> None:
    for where, container in _every():
        if not container.ours:
            continue
        entry = targets()[container.raw["image"].split(":")[0].rpartition("/")[2]].entry
        check_command(container.raw.get("command", entry) + container.raw.get("args", []))
        if container.service not in FOLDERS or not container.main:
            assert not _probes(container)
            continue
        port = default_port(container.service)
        assert container.environment["UNITSCOPE_SERVER_LISTEN"] == f"0.0.0.0:{port}"
        ports = {p["name"]: p["containerPort"] for p in container.raw["ports"]}
        assert ports["grpc"] == port
        assert set(_probes(container)) == {"startupProbe", "readinessProbe", "livenessProbe"}
        for probe in _probes(container).values():
            if "grpc" in probe:
                assert probe["grpc"]["port"] == port, where
                assert "UNITSCOPE_TLS_CERTIFICATE_FILE" not in container.environment, where
            else:
                command = probe["exec"]["command"]
                check_command(command)
                assert command[2] == "services.generator.liveness" or command[3] == f"127.0.0.1:{port}"
                assert probe["timeoutSeconds"] >= 10  # a start of Python, on a busy node
        service = of_kind(renderings()[where], "Service")[container.service]["spec"]
        assert {p["name"]: p["port"] for p in service["ports"]}.items() <= ports.items()
        assert (service.get("clusterIP") == "None") == (container.service != "gateway")


def test_triton_lives_by_inferences() -> None:
    for where, container in _every():
        if container.service == "triton" and container.main:
            assert container.raw["livenessProbe"]["exec"]["command"][2] == "services.generator.liveness", (
                where
            )
            ports = {p["name"]: p["containerPort"] for p in container.raw["ports"]}
            assert ports["metrics"] == GeneratorSettings().metrics_port
            (shared,) = (v for v in container.pod["volumes"] if v["name"] == "shared-memory")
            assert shared["emptyDir"]["medium"] == "Memory"


def test_servers_would_start_with_their_access_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for where, container in _every():
        if container.service not in FOLDERS or not container.main:
            continue
        with monkeypatch.context() as patch:
            groups = check_variables(where, container.environment, patch)
            server, tls = groups["UNITSCOPE_SERVER_"], TlsSettings()
        assert isinstance(server, ServerSettings)
        tokens = "UNITSCOPE_GATEWAY_TOKENS_FILE" in container.environment
        assert tokens == (container.service == "gateway")  # plaintext or not: callers show who they are
        check_exposure(FOLDERS[container.service], server.listen, tls, tokens, server.insecure)
        # In plaintext something else must guard the network.
        assert server.insecure == (tls.certificate_file is None)
        assert not server.insecure or of_kind(renderings()[where], "NetworkPolicy"), where
        seen.add(server.insecure)
    assert seen == {True, False}


def test_endpoints_name_services_and_their_ports() -> None:
    names = {"CLASSIFIER": "classifier", "LINKER": "linker", "GENERATOR": "triton"}
    for _, container in _every():
        if container.service == "worker" and container.main:
            found = {k: v for k, v in container.environment.items() if k.startswith("UNITSCOPE_ENDPOINT_")}
            wanted = {f"UNITSCOPE_ENDPOINT_{k}": f"dns:///{n}:{default_port(n)}" for k, n in names.items()}
            assert found == wanted


def test_workers_take_every_queue_and_may_finish() -> None:
    for name in FULL:
        queues = []
        for container in containers(renderings()[name]):
            if container.service == "worker" and container.main:
                arguments = container.raw["args"]
                queues += arguments[arguments.index("--queues") + 1].split(",")
                soft = float(container.environment["UNITSCOPE_WORKER_SOFT_SHUTDOWN_SECONDS"])
                assert soft + 10 <= container.pod["terminationGracePeriodSeconds"]
                assert soft >= WorkerSettings().soft_shutdown_seconds
        assert sorted(queues) == sorted(QUEUES)


def test_selectors_find_their_pods() -> None:
    for name in FULL:
        objects = renderings()[name]
        pods = {w: o["spec"]["template"]["metadata"]["labels"].items() for w, o in workloads(objects).items()}
        for workload, raw in workloads(objects).items():
            if raw["kind"] != "Job":
                selector = raw["spec"]["selector"]["matchLabels"].items()
                assert [w for w, labels in pods.items() if selector <= labels] == [workload]
            assert raw["spec"]["template"]["spec"]["serviceAccountName"] in of_kind(objects, "ServiceAccount")
        selectors = [s["spec"]["selector"] for s in of_kind(objects, "Service").values()]
        selectors += [
            s["spec"]["selector"]["matchLabels"] for s in of_kind(objects, "PodDisruptionBudget").values()
        ]
        for selector in selectors:
            assert any(selector.items() <= labels for labels in pods.values()), selector
        budgets = of_kind(objects, "PodDisruptionBudget")
        assert {
            raw["spec"]["template"]["spec"]["serviceAccountName"] for raw in workloads(objects).values()
        } == set(budgets)


def test_pods_ask_for_no_more_than_the_restricted_profile_allows() -> None:
    for where, container in _every():
        labels = of_kind(renderings()[where], "Namespace")["unitscope"]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        pod = container.pod
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert min(security["runAsUser"], security["runAsGroup"]) > 0
        assert not container.ours or security["runAsUser"] == security["runAsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in pod["volumes"]:
            assert set(volume) & {"emptyDir", "secret", "configMap", "projected"}, f"{where}: {volume}"
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]
        assert container.raw["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for limit in ("cpu", "memory"):
            assert container.raw["resources"]["requests"][limit]
            assert container.raw["resources"]["limits"][limit]


def test_network_policies_let_through_what_is_needed_and_no_more() -> None:
    for name in FULL:
        objects = renderings()[name]
        policies = of_kind(objects, "NetworkPolicy")
        assert policies["default-deny"]["spec"]["podSelector"] == {}
        ports = {
            c.service: {p["name"]: p["containerPort"] for p in c.raw.get("ports", [])}
            for c in containers(objects)
            if c.main
        }
        # Every call of a worker may leave it, and may reach the service.
        egress = {
            (rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], rule["ports"][0]["port"])
            for rule in policies["workers-to-services"]["spec"]["egress"]
        }
        assert egress == {(service, default_port(service)) for service in FOLDERS if service != "gateway"}
        for service, _ in egress:
            (rule,) = policies[f"{service}-from-workers"]["spec"]["ingress"]
            assert [p["port"] for p in rule["ports"]] == ["grpc"]
            assert "grpc" in ports[service]
        using = {
            use: {c.workload for c in containers(objects) if f"UNITSCOPE_{use.upper()}_URL" in c.environment}
            for use in ("store", "broker")
        }
        for use, workloads_of in using.items():
            for workload, raw in workloads(objects).items():
                labelled = f"unitscope/uses-{use}" in raw["spec"]["template"]["metadata"]["labels"]
                assert labelled == (workload in workloads_of) or workload == "bucket", f"{workload}: {use}"


def test_keda_scales_on_a_gauge_of_ours() -> None:
    objects = renderings()["overlay lab-gpu"]
    scaled = of_kind(objects, "ScaledObject")
    assert set(scaled) == {f"worker-{queue}" for queue in QUEUES}
    for name, raw in scaled.items():
        spec = raw["spec"]
        assert spec["scaleTargetRef"] == {"name": name}
        assert "replicas" not in of_kind(objects, "Deployment")[name]["spec"]
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "prometheus"
        metric, labels = re.fullmatch(r"max\((\w+)\{(.*)\}\)", trigger["metadata"]["query"]).groups()
        assert (metric, OUTSTANDING.labels) == (OUTSTANDING.name, ("queue",))
        assert f'queue="{name.removeprefix("worker-")}"' in labels
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]


def test_prometheus_finds_every_port_of_metrics() -> None:
    objects = renderings()["overlay lab-gpu"]
    spec = of_kind(objects, "PodMonitor")["unitscope"]["spec"]
    ports = {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]}
    policy = of_kind(objects, "NetworkPolicy")["metrics"]["spec"]["ingress"][0]["ports"]
    assert {p["port"] for p in policy} == ports
    for container in containers(objects):
        if not container.main:
            continue
        named = {p["name"]: p["containerPort"] for p in container.raw["ports"]}
        assert str(named["own-metrics"]) == container.environment["UNITSCOPE_METRICS_PORT"]
        assert container.environment["UNITSCOPE_METRICS_ADDRESS"] == "0.0.0.0"
        assert spec["selector"]["matchLabels"].items() <= container.labels.items()
        assert named.keys() & ports
    (board,) = of_kind(objects, "ConfigMap")["unitscope-dashboard"]["data"].values()
    assert json.loads(board)["panels"]


def test_gpu_pods_ask_for_gpus_and_render_on_nothing_else() -> None:
    for container in containers(renderings()["overlay lab-gpu"]):
        if container.service in ("triton", "classifier") and container.main:
            for kind in ("requests", "limits"):
                assert container.raw["resources"][kind]["nvidia.com/gpu"] == "1"
            assert any(t["key"] == "nvidia.com/gpu" for t in container.pod["tolerations"])
            assert [c["command"][:3] for c in container.pod["initContainers"]] == [
                ["unitscope", "models", "sync"]
            ]
        device = container.environment.get("UNITSCOPE_GENERATOR_DEVICE")
        assert device == ("cuda" if container.service == "triton" and container.main else None)


def test_kustomizations_are_found_by_their_readme() -> None:
    text = yaml.safe_load((K8S / "overlays/lab-gpu/kustomization.yaml").read_text())
    assert {image["name"] for image in text["images"]} == {f"unitscope/{name}" for name in targets()}
