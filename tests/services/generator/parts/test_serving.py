"""Which parts models a server has, and how the probe looks after them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from services.generator.probe import Probe
from tests.support.generator import RunningGenerator
from unitscope.errors import UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry

W = np.random.default_rng(6).standard_normal((3, 24)).astype(np.float32)


def test_a_parts_model_that_is_not_served_is_not_found(
    running: RunningGenerator, parts_card: ModelCard
) -> None:
    """The status that a client turns into advice; a killed server has another."""
    later = parts_card.model_copy(update={"classes": ("a", "b", "c", "d")})
    with pytest.raises(InferenceServerException) as caught:
        running.render_parts(W, later)
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_the_probe_asks_all_models_first_and_then_one_at_a_time(
    v2_server: RunningGenerator, parts_card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Probe(v2_server.address, [v2_server.card], parts=[parts_card])) as probe:
        asked: list[str] = []
        infer = probe._client.infer

        def record(name: str, *args: object, **options: object) -> object:
            asked.append(name.split("-")[3])
            if name in broken:
                raise InferenceServerException("stub is not healthy")
            return infer(name, *args, **options)

        broken: set[str] = set()
        monkeypatch.setattr(probe._client, "infer", record)
        probe.check()
        assert asked == ["mapping", "synthesis", "parts"]
        asked.clear()
        for _ in range(4):
            probe.check()
        assert sorted(asked[:3]) == ["mapping", "parts", "synthesis"]
        assert asked[3] == asked[0]
        broken.add(probe._requests[1][0])
        failures = 0
        for _ in range(4):
            try:
                probe.check()
            except UnavailableError:
                failures += 1
        assert failures >= 2, "it stays with what failed"
        broken.clear()
        asked.clear()
        probe.check()
        assert len(asked) == 3, "after a failure, all are asked"
        assert probe.ready()


def test_a_server_with_a_model_that_it_lacks_is_not_ready(
    v2_server: RunningGenerator, parts_card: ModelCard, pack: Path
) -> None:
    later = parts_card.model_copy(update={"classes": ("a", "b", "c", "d")})
    assert Registry(pack).cards("parts") == [parts_card]
    with contextlib.closing(Probe(v2_server.address, [v2_server.card], parts=[later])) as probe:
        assert not probe.ready()
