"""Set-up where it cannot succeed: it says what would help, and leaves no stamp."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def setup(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/setup.sh", *arguments],
        cwd=checkout,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_without_a_fitting_python_it_names_the_versions(checkout: Path) -> None:
    (checkout / "old").write_text("#!/bin/sh\nexit 1\n")
    (checkout / "old").chmod(0o755)
    done = setup(checkout, "run", PYTHON=str(checkout / "old"))
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert not list(checkout.glob(".venv/.setup-*"))


def test_a_level_that_is_none_is_refused(checkout: Path) -> None:
    done = setup(checkout, "everything")
    assert done.returncode == 2
    assert "run|test" in done.stderr


def test_pins_are_exact_and_name_no_origin() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 80
    for line in lines:
        name, _, version = line.partition("==")
        assert name, line
        assert version, line
        assert not set("+@/ ;") & set(line), line
    assert {"torch==2.13.0", "torchvision==0.28.0", "nvidia-pytriton==0.7.0"} <= set(lines)


def test_every_target_of_the_makefile_is_explained() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    for target in phony.split()[1:]:
        assert f"make {target} " in done.stdout
