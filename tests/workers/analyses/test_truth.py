"""Traversals along maps whose effect is known beforehand."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from unitscope.jobs import layout
from unitscope.jobs.specs import TraverseSpec, UnitSelection
from unitscope.store.base import sha256
from unitscope.tables import from_parquet
from workers.analyses.linked import Linked
from workers.analyses.select import Selection
from workers.clients import StoredObject

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def rigged(stack, traversed):
    """The fitted map with one column at zero and one a hundred times as long: units and figures."""
    linked = Linked.of(traversed.context)
    still, wild = Selection.of(traversed.context).units.tolist()[:2]
    tensors = dict(load(stack.store.get(layout.linker_weights(linked.card.digest))))
    weight = tensors["weight"].copy()
    weight[:, still] = 0
    weight[:, wild] *= 100
    data = save({**tensors, "weight": weight})
    stack.store.create("rigged/solution.safetensors", data)
    place = StoredObject("rigged/solution.safetensors", sha256(data), len(data))
    card = json.dumps(linked.card.model_dump(mode="json", exclude={"name", "files", "kind"}))
    digest = traversed.context.linker.store(place, card)
    spec = TraverseSpec(
        linker=digest,
        units=UnitSelection(indices=(still, wild)),
        classes=("birch",),
        seeds_per_class=2,
        steps=5,
    )
    job = stack.run("job-" + "e" * 24, spec)
    rows = from_parquet(job.files["tables/units.parquet"].data).to_pylist()
    return dict(zip(("still", "wild"), rows, strict=True)), job


def test_a_unit_without_a_direction_changes_nothing_and_is_not_trusted(rigged):
    still = rigged[0]["still"]
    for name in ("span", "change", "follow", "focus", "flips", "trust", "strongest_change"):
        assert still[name] == pytest.approx(0, abs=1e-6)
    # w stays where it is: all steps of a traversal are plausible, or none.
    assert still["plausible"] in (0, 0.5, 1)
    assert still["low"] < still["high"]


def test_a_unit_that_drives_w_far_away_is_implausible(rigged):
    wild = rigged[0]["wild"]
    assert wild["plausible"] <= 0.6
    assert wild["change"] > 1
    assert wild["span"] > 0


def test_w_moves_on_the_straight_line_that_the_map_says(stack, rigged, traversed):
    _, job = rigged
    linked = Linked.of(job.context)
    unit = Selection.of(job.context).units[1]
    base = job.chunks("base")[0].tensors["features"][:1]
    rows = np.repeat(base, 3, axis=0)
    rows[:, unit] = (0, 1, 2)
    w, _ = job.context.linker.apply(rows, linked.card.digest)
    column = linked.solution.weight[:, unit]
    assert w[2] - w[1] == pytest.approx(column, rel=1e-3, abs=1e-3)
    assert w[1] - w[0] == pytest.approx(column, rel=1e-3, abs=1e-3)
