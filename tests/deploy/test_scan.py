"""The policy scanner finds nothing in Dockerfile and overlays but what ``scripts/scan.sh`` accepts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
SCANNER = ROOT / ".venv" / "checkov" / "bin" / "checkov"


@pytest.fixture(autouse=True, scope="module")
def scanner() -> None:
    if not SCANNER.exists():
        pytest.skip("the scanner is not installed; run scripts/scan.sh --set-up")


def test_the_scanner_finds_nothing_that_is_not_accepted() -> None:
    done = subprocess.run([str(ROOT / "scripts/scan.sh")], capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "nothing but what is accepted" in done.stdout


def test_the_scanner_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\n"
        "spec: {containers: [{name: a, image: a, securityContext: {privileged: true}}]}\n"
    )
    done = subprocess.run(
        [str(SCANNER), "--skip-download", "--framework", "kubernetes", "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=840,
    )
    assert done.returncode == 1
    assert "CKV_K8S_16" in done.stdout  # a privileged container
