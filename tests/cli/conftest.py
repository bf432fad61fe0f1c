"""What tests of the command share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scripted_gateway import ScriptedGateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedGateway]:
    """A gateway that the command finds, from a working folder of its own."""
    scripted = ScriptedGateway()
    monkeypatch.chdir(tmp_path)
    with scripted.serving() as address:
        monkeypatch.setenv("UNITSCOPE_ENDPOINT_GATEWAY", address)
        yield scripted
