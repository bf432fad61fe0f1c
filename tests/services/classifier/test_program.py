from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.classifier.__main__ import check
from unitscope.models.registry import Registry
from unitscope.settings import ModelSettings


def test_the_self_test_reads_a_picture_with_every_classifier(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    check(ModelSettings(root=registry.root))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["mine/shuffle", "tiny/classifier"]
    assert all(line.endswith(": ok") for line in lines)


@pytest.mark.parametrize("service", ["classifier", "generator"])
def test_help_shows_an_example(service: str) -> None:
    command = [sys.executable, "-m", f"services.{service}", "--help"]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240, check=True)
    assert f"python -m services.{service}" in " ".join(done.stdout.split())
    assert "--check" in done.stdout
