"""What the programs of an embedded stack are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from unitscope.embedded.home import Endpoints, home_at
from unitscope.embedded.programs import programs

GRADIENTS = "UNITSCOPE_GENERATOR_GRADIENTS"


def told(tmp_path: Path, **extra: str) -> set[str]:
    found = programs(home_at(tmp_path), tmp_path, Endpoints(), 1, extra)
    return {program.environment[GRADIENTS] for program in found}


def test_gradients_are_served_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(GRADIENTS, raising=False)
    assert told(tmp_path) == {"true"}
    monkeypatch.setenv(GRADIENTS, "false")
    assert told(tmp_path) == {"false"}
    assert told(tmp_path, **{GRADIENTS: "true"}) == {"true"}
