"""What the deployment tests know: rendered manifests, the Dockerfile, and the settings classes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from services.generator.settings import GeneratorSettings
from unitscope import settings

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
COMPONENTS = tuple(sorted(path.name for path in (K8S / "components").iterdir()))
OVERLAYS = tuple(sorted(path.name for path in (K8S / "overlays").iterdir()))
FOLDERS = {"gateway": "gateway", "classifier": "classifier", "linker": "linker", "triton": "generator"}
"""The folder below ``services`` of each server of the manifests."""

Objects = tuple[dict[str, Any], ...]

SETTINGS: dict[str, type[BaseSettings]] = {
    str(cls.model_config.get("env_prefix")): cls
    for cls in [
        GeneratorSettings,
        *(
            value
            for value in vars(settings).values()
            if isinstance(value, type) and issubclass(value, BaseSettings) and value is not BaseSettings
        ),
    ]
}
"""Settings classes by the prefix of their variables."""

NOT_OURS = {
    "OMP_NUM_THREADS",
    "MC_CONFIG_DIR",
    "MINIO_ROOT_USER_FILE",
    "MINIO_ROOT_PASSWORD_FILE",
    "MINIO_BROWSER",
}
"""Variables that others read."""


@cache
def renderings() -> dict[str, Objects]:
    """What kubectl renders: the base, each overlay, and the base with each component, each two, and all."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl (Debian: kubernetes-client)")
    wanted = {"base": K8S / "base", **{f"overlay {name}": K8S / "overlays" / name for name in OVERLAYS}}
    chosen = [*combinations(COMPONENTS, 1), *combinations(COMPONENTS, 2), COMPONENTS]
    with tempfile.TemporaryDirectory() as scratch:
        for names in chosen:
            folder = Path(scratch) / "-".join(names)
            folder.mkdir()
            # kustomize takes no absolute paths.
            k8s = os.path.relpath(K8S.resolve(), folder.resolve())
            kustomization = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"{k8s}/base"],
                "components": [f"{k8s}/components/{name}" for name in names],
            }
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
            wanted[" + ".join(names)] = folder

        def render(folder: Path) -> Objects:
            done = subprocess.run(
                [str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, timeout=240
            )
            assert done.returncode == 0, f"{folder.name}: {done.stderr}"
            return tuple(yaml.load_all(done.stdout, LOADER))

        with ThreadPoolExecutor(2) as pool:
            return dict(zip(wanted, pool.map(render, wanted.values()), strict=True))


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FULL = (*(f"overlay {name}" for name in OVERLAYS), " + ".join(COMPONENTS))
"""The renderings that together hold everything."""


def of_kind(objects: Objects, kind: str) -> dict[str, dict[str, Any]]:
    """Objects of one kind by name."""
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == kind}


@dataclass(frozen=True)
class Container:
    """A container with its environment, config maps included.

    Attributes:
        workload: The name of the Deployment, StatefulSet or Job.
        service: The name of the program, e.g. ``worker``.
        pod: The pod's spec.
        labels: The pod's labels.
        raw: The container itself.
        environment: All variables.
        main: Whether it is no init container.
    """

    workload: str
    service: str
    pod: dict[str, Any]
    labels: dict[str, str]
    raw: dict[str, Any]
    environment: dict[str, str]
    main: bool

    @property
    def ours(self) -> bool:
        """Whether its image is one of ours."""
        return "unitscope/" in self.raw["image"]


def workloads(objects: Objects) -> dict[str, dict[str, Any]]:
    """Everything that has pods, by name."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return {name: found for kind in kinds for name, found in of_kind(objects, kind).items()}


def containers(objects: Objects) -> Iterator[Container]:
    """The containers of all workloads, init containers too."""
    maps = of_kind(objects, "ConfigMap")
    for name, workload in workloads(objects).items():
        template = workload["spec"]["template"]
        pod, labels = template["spec"], template["metadata"]["labels"]
        for kind in ("initContainers", "containers"):
            for raw in pod.get(kind, []):
                environment: dict[str, str] = {}
                for source in raw.get("envFrom", []):
                    environment |= maps[source["configMapRef"]["name"]]["data"]
                environment |= {item["name"]: item["value"] for item in raw.get("env", [])}
                service = labels["app.kubernetes.io/name"]
                yield Container(name, service, pod, labels, raw, environment, kind == "containers")


def check_variables(
    where: str, environment: dict[str, str], patch: pytest.MonkeyPatch
) -> dict[str, BaseSettings]:
    """Parses an environment as the programs do.

    Returns:
        The settings that it sets, by prefix.
    """
    groups: set[str] = set()
    for variable, value in environment.items():
        assert isinstance(value, str), f"{where}: {variable} must be quoted"
        patch.setenv(variable, value)
        if variable in NOT_OURS:
            continue
        prefix = next((p for p in SETTINGS if variable.startswith(p)), None)
        assert prefix is not None, f"{where}: no settings class knows {variable}"
        field = variable.removeprefix(prefix).lower()
        assert field in SETTINGS[prefix].model_fields, f"{where}: {variable} is no setting"
        assert not variable.endswith(("ACCESS_KEY", "SECRET_KEY", "PASSWORD", "TOKEN")), (
            f"{where}: {variable}"
        )
        assert "@" not in value, f"{where}: {variable} seems to hold a password"
        groups.add(prefix)
    return {prefix: SETTINGS[prefix]() for prefix in groups}  # raises where a value does not fit


@cache
def help_of(module: tuple[str, ...]) -> str:
    """What a program of ours says to ``--help``; it must be one."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UNITSCOPE_")}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", *module, "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_command(words: Sequence[str]) -> None:
    """A command of a manifest is a program of ours, and knows the options it is given."""
    if words[:2] == ["python", "-m"]:
        module, arguments = (words[2],), list(words[3:])
    else:
        assert words[0] == "unitscope", words
        groups = [word for word in words[1:3] if not word.startswith("-")]
        module, arguments = ("unitscope.cli", *groups), list(words[1 + len(groups) :])
    text = help_of(module)
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in text, f"{' '.join(module)} knows no {argument}"


@dataclass(frozen=True)
class Target:
    """A final target of the Dockerfile."""

    name: str
    base: str
    entry: list[str]
    exposed: tuple[int, ...]
    lines: tuple[str, ...]


def targets() -> dict[str, Target]:
    """The Dockerfile's targets that have an entry point."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found = {}
    for part in re.split(r"(?m)^(?=FROM )", text)[1:]:
        match = re.match(r"FROM (\S+) AS (\S+)", part)
        entry = re.search(r"(?m)^ENTRYPOINT (\[.*\])$", part)
        assert match is not None, part
        if entry:
            ports = tuple(int(p) for line in re.findall(r"(?m)^EXPOSE (.*)$", part) for p in line.split())
            lines = tuple(part.splitlines())
            found[match[2]] = Target(match[2], match[1], yaml.safe_load(entry[1]), ports, lines)
    return found


def default_port(server: str) -> int:
    """The port that a server's program takes where no address is set."""
    text = (ROOT / "services" / FOLDERS[server] / "__main__.py").read_text()
    match = re.search(r"(?m)^PORT = (\d+)$", text)
    assert match is not None, f"{server} states no PORT"
    return int(match[1])
