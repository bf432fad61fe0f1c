"""The real Triton: what its supervisor does when parts of it die, and what is left afterwards."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from services.generator.__main__ import choose
from services.generator.backend import GeneratorBackend
from services.generator.commands import app
from services.generator.parts.network import PartsNetwork
from services.generator.repository import export_repository
from services.generator.triton_server import find_triton, remove_leftovers
from tests.support.generator import RunningGenerator, generator_program, wait_until_renders
from unitscope.errors import FailedPreconditionError, UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry

W = np.random.default_rng(6).standard_normal((3, 24)).astype(np.float32)


def _processes(running: RunningGenerator, name: str) -> list[psutil.Process]:
    assert running.process is not None
    family = psutil.Process(running.process.pid).children(recursive=True)
    return [process for process in family if name in process.name()]


@pytest.mark.integration
@pytest.mark.parametrize("victim", ["stub", "tritonserver"])
def test_a_killed_process_is_replaced(
    triton: RunningGenerator,
    backend: GeneratorBackend,
    parts_card: ModelCard,
    parts_network: PartsNetwork,
    victim: str,
) -> None:
    killed = _processes(triton, victim)[0]
    killed.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while killed in _processes(triton, victim) and time.monotonic() < deadline:
        time.sleep(0.05)
    wait_until_renders(triton.address, [triton.card], parts=[parts_card])
    np.testing.assert_array_equal(triton.render(W), backend.render(W))
    labels = backend.render_parts(W, parts_network)[1]
    np.testing.assert_array_equal(triton.render_parts(W, parts_card)[1], labels)
    assert killed.pid not in {process.pid for process in _processes(triton, victim)}


@pytest.mark.integration
def test_sigterm_leaves_nothing_behind(pack: Path, triton: RunningGenerator) -> None:
    """A second Triton beside the first: its own processes, shared memory and scratch folder."""
    with generator_program(pack, "triton") as running:
        assert running.process is not None
        family = psutil.Process(running.process.pid).children(recursive=True)
        mark = f"unitscope-triton-{running.process.pid}-"
        assert len(family) == 4, "the server, and a process for each of three models"
        assert [name for name in os.listdir("/dev/shm") if name.startswith(mark)]
    assert running.process.returncode == 0
    assert not [process for process in family if process.is_running()]
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(mark)]
    assert _processes(triton, "tritonserver"), "the first one goes on"


def test_leftovers_of_dead_runs_are_removed_and_others_kept() -> None:
    shared = Path("/dev/shm")
    dead = shared / "unitscope-triton-999999999-leftover"
    earlier = shared / f"unitscope-triton-{os.getpid()}-leftover"  # our id, but no run of ours
    alive = shared / f"unitscope-triton-{os.getppid()}-test"
    for path in (dead, earlier, alive):
        path.write_bytes(b"x")
    try:
        remove_leftovers()
        assert [path.exists() for path in (dead, earlier, alive)] == [False, False, True]
    finally:
        alive.unlink()


def test_where_no_triton_is_installed_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("services.generator.triton_server._CONTAINER", tmp_path / "none")
    with pytest.raises(UnavailableError, match="pip install --no-deps nvidia-pytriton") as caught:
        find_triton()
    assert caught.value.reason == "TRITON_NOT_FOUND"
    assert choose("auto") is None
    with pytest.raises(UnavailableError):
        choose("triton")


def test_the_repository_describes_all_models(
    pack: Path, card: ModelCard, parts_card: ModelCard, tmp_path: Path
) -> None:
    names = export_repository(Registry(pack), [card], tmp_path, instances=2)
    stem = f"tiny-generator-{card.short_digest}"
    assert names == [f"{stem}-mapping", f"{stem}-synthesis", f"{stem}-parts-{parts_card.short_digest}"]
    labelled = (tmp_path / names[2] / "config.pbtxt").read_text()
    assert 'output [ { name: "image" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ] } ]' in labelled
    assert 'output [ { name: "labels" data_type: TYPE_UINT8 dims: [ 16, 16 ] } ]' in labelled
    assert "count: 2" in labelled
    assert parts_card.digest in labelled
    assert "PartsModel" in (tmp_path / names[2] / "1" / "model.py").read_text()
    assert "count: 1" in (tmp_path / names[0] / "config.pbtxt").read_text()
    config = (tmp_path / names[1] / "config.pbtxt").read_text()
    assert 'input [ { name: "w" data_type: TYPE_FP32 dims: [ -1, 24 ] } ]' in config
    assert 'output [ { name: "image" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ] } ]' in config
    assert "max_queue_delay_microseconds: 0" in config
    assert "KIND_CPU" in config
    with pytest.raises(FailedPreconditionError, match="rename one"):
        export_repository(Registry(pack), [card, card], tmp_path / "again")


def test_the_command_exports_once(pack: Path, card: ModelCard, tmp_path: Path) -> None:
    target = tmp_path / "repository"
    arguments = ["export-triton", str(target), "--model", card.name, "--root", str(pack)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in target.iterdir()) == sorted(done.output.split())
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "name a new folder" in again.output
