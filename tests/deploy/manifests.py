"""What the deployment tests know: the rendered manifests, the Dockerfile, and the settings classes."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from services.generator.settings import GeneratorSettings
from unitscope import settings

ROOT = Path(__file__).parents[2]
BASE = ROOT / "k8s" / "base"

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


@cache
def rendered() -> tuple[dict[str, Any], ...]:
    """All objects of ``k8s/base``, as kubectl renders them."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl (Debian: kubernetes-client)")
    done = subprocess.run([kubectl, "kustomize", str(BASE)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Rendered objects of one kind by name."""
    return {o["metadata"]["name"]: o for o in rendered() if o["kind"] == kind}


@dataclass(frozen=True)
class Container:
    """A deployment's container with its environment, config maps included."""

    name: str
    raw: dict[str, Any]
    environment: dict[str, str]


def containers() -> dict[str, Container]:
    """The one container of each deployment, by name."""
    maps = of_kind("ConfigMap")
    found = {}
    for name, deployment in of_kind("Deployment").items():
        (raw,) = deployment["spec"]["template"]["spec"]["containers"]
        environment: dict[str, str] = {}
        for source in raw.get("envFrom", []):
            environment |= maps[source["configMapRef"]["name"]]["data"]
        environment |= {item["name"]: item["value"] for item in raw.get("env", [])}
        found[name] = Container(name, raw, environment)
    return found


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


def default_port(service: str) -> int:
    """The port that a service's program takes where no address is set."""
    text = (ROOT / "services" / service / "__main__.py").read_text()
    match = re.search(r"(?m)^PORT = (\d+)$", text)
    assert match is not None, f"services/{service}/__main__.py states no PORT"
    return int(match[1])
