"""Does `quantify` find what was put in? Directions of the avatars that are known, among others that are not.

``bench/planted.py`` does this for every value of every factor, and states the figures.
"""

from dataclasses import replace

import numpy as np
import pytest

from bench import planted as truth
from packs.avatars.paths import MODELS
from tests.workers.stack import running_stack
from unitscope.jobs.specs import LinkSpec, QuantifySpec
from unitscope.models import Registry
from unitscope.tables import from_parquet
from workers.analyses.linked import Linked

pytestmark = pytest.mark.timeout(900)
EVERY = 5
"""Of the values of factors every fifth is planted."""
RANDOMS = 8
LINK = LinkSpec(
    classifier="avatars/clean",
    generator="avatars/generator",
    samples_per_class=30,
    heldout_per_class=5,
    folds=2,
    penalties=(0.001, 0.01),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory, monkeypatch_module):
    """Rows of the planted and random units, and what each is."""
    monkeypatch_module.setattr(truth, "READINGS", 400)
    with running_stack(tmp_path_factory.mktemp("truth"), MODELS.parent) as stack:
        linked = stack.run("job-" + "l" * 24, LINK)
        digest = Linked.of(linked.context).card.digest
        w, readings, columns = truth.read_latents(Registry(MODELS.parent), seed=5)
        every = truth.plant(w, readings, columns, RANDOMS, seed=6)
        values = every.names.index("random")
        chosen = [*range(0, values, EVERY), *range(values, values + RANDOMS)]
        planted = replace(
            every,
            names=tuple(every.names[k] for k in chosen),
            directions=every.directions[chosen],
        )
        linker, units = truth.publish(stack.store, digest, planted)
        spec = QuantifySpec(linker=linker, units=tuple(units), steps=2, keep="none", seed=9)
        job = stack.run("job-" + "m" * 24, spec)
    rows = {row["unit"]: row for row in from_parquet(job.files["tables/units.parquet"].data).to_pylist()}
    return planted.names, [rows[unit] for unit in units]


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_planted_units_change_their_own_part_most(found):
    names, rows = found
    planted = [(name, row) for name, row in zip(names, rows, strict=True) if name != "random"]
    wrong = [
        (name, row["part"])
        for name, row in planted
        if row["part"] not in truth.FACTOR_PARTS[name.partition(":")[0]]
    ]
    assert len(wrong) <= len(planted) / 6, wrong


def test_they_are_more_selective_than_random_directions(found):
    names, rows = found
    selectivity = {
        kind: np.array(
            [row["selectivity"] for name, row in zip(names, rows, strict=True) if (name == "random") == kind]
        )
        for kind in (True, False)
    }
    assert (selectivity[False] > np.quantile(selectivity[True], 0.95)).mean() >= 0.7
    assert np.median(selectivity[False]) > 2 * np.median(selectivity[True])
