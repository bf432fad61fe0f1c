"""Whole jobs over S3, RabbitMQ and Triton, in peace and amid kills and outages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.laboratory import Laboratory, Misfortune, Tables, clean_shared_memory, missing
from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.embedded import stack
from unitscope.tables import LINKER_DIGEST, from_parquet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

TRAVERSE = {
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
COUNTERFACTUAL = {"seeds": 4, "frames": 4, "top": 4}


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
        calm = lab.run("traverse", TRAVERSE)
        assert set(calm) == {"quality", "steps", "units"}
        survive(lab, "traverse", TRAVERSE, calm, Misfortune(kills=5, outages=3, seed=5))
        # With the linker that this job fitted, whatever happens befalls searches and mean shifts.
        spec = {**COUNTERFACTUAL, "linker": linker_of(calm)}
        calm = lab.run("counterfactual", spec)
        assert set(calm) == {"quality", "counterfactuals", "pairs", "carriers", "changes"}
        assert "reached" in from_parquet(calm["counterfactuals"])["outcome"].to_pylist()
        misfortune = Misfortune(kills=4, outages=2, seed=7, pause=(0.3, 1.5))
        survive(lab, "counterfactual", spec, calm, misfortune)
        lab.settle()
    assert lab.processes() == []
    assert lab.shared_memory() == []


def survive(
    lab: Laboratory, kind: str, spec: Mapping[str, Any], calm: Tables, misfortune: Misfortune
) -> None:
    """Jobs amid misfortune have the tables of one in peace, and leave nothing behind."""
    report = lab.trial(kind, spec, misfortune)
    assert sum(report.struck.values()) == misfortune.kills + misfortune.outages
    for found in report.tables:
        assert found == calm
    assert lab.leftovers(report.jobs) == {"attempts": [], "uploads": []}


def linker_of(tables: Tables) -> str:
    """The digest of the linker that a job fitted."""
    digest: bytes = from_parquet(tables["quality"]).schema.metadata[LINKER_DIGEST.encode()]
    return digest.decode()
