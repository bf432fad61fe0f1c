"""The probe of containers: every model renders, or the exit code says otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.generator.liveness import main
from tests.support.generator import RunningGenerator
from tests.support.tiny_pack import GENERATOR


def test_a_server_that_renders_is_alive(
    v2_server: RunningGenerator,
    pack: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("UNITSCOPE_MODELS_ROOT", str(pack))
    assert main(["--address", v2_server.address, "--seconds", "60"]) == 0
    assert f"{GENERATOR}: every model renders" in capsys.readouterr().out


def test_one_that_does_not_answer_or_lacks_a_model_is_not(
    v2_server: RunningGenerator,
    pack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("UNITSCOPE_MODELS_ROOT", str(pack))
    assert main(["--address", "127.0.0.1:1", "--seconds", "1"]) == 1
    assert "does not answer a small inference" in capsys.readouterr().err
    assert main(["--address", v2_server.address, "--model", "no/such"]) == 1
    assert "there is no model 'no/such'" in capsys.readouterr().err
    # A generator that the server does not serve: one of the same name with another digest.
    shutil.copytree(pack, tmp_path / "models")
    monkeypatch.setenv("UNITSCOPE_MODELS_ROOT", str(tmp_path / "models"))
    card = tmp_path / "models" / GENERATOR / "card.json"
    card.write_text(card.read_text().replace('"classes": [', '"classes": ["another", ', 1))
    assert main(["--address", v2_server.address]) == 1
    assert "does not answer a small inference" in capsys.readouterr().err
