"""A whole job over S3, RabbitMQ and Triton, in peace and amid kills and outages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.laboratory import Laboratory, Misfortune, clean_shared_memory, missing
from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.embedded import stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

SPEC = {
    "link": {
        "classifier": CLASSIFIER,
        "generator": GENERATOR,
        "samples_per_class": 300,
        "heldout_per_class": 20,
        "folds": 2,
    },
    "units": {"top": 4},
    "seeds_per_class": 2,
    "steps": 5,
}


def test_tables_are_the_same_whatever_befalls_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = missing()
    if lacks:
        pytest.skip(f"no {lacks}")
    # A generator that is killed before it could clean up leaves that to the next one.
    monkeypatch.setattr(stack, "SERVICE_SECONDS", 120.0)
    clean_shared_memory()
    models = write_tiny_pack(tmp_path / "models")
    lab = Laboratory(tmp_path, models)
    with lab:
        calm = lab.run("traverse", SPEC)
        assert set(calm) == {"quality", "steps", "units"}
        report = lab.trial("traverse", SPEC, Misfortune(kills=5, outages=3, seed=5))
        assert sum(report.struck.values()) == 8
        for found in report.tables:
            assert found == calm
        assert lab.leftovers(report.jobs) == {"attempts": [], "uploads": []}
        lab.settle()
    assert lab.processes() == []
    assert lab.shared_memory() == []
