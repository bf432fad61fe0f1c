import dataclasses

import numpy as np
import pytest

from tests.workers.stack import TRAVERSE
from unitscope.errors import FailedPreconditionError
from unitscope.jobs.specs import UnitSelection
from workers.analyses.linked import Linked, Solution
from workers.analyses.select import select

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def linked(traversed):
    return Linked.of(traversed.context)


def spec(low=0.0, high=1.0, **units):
    update = {"units": UnitSelection(**units), "low_quantile": low, "high_quantile": high}
    return TRAVERSE.model_copy(update=update)


def test_by_weight_is_what_the_head_says(traversed, linked):
    """The tiny classifier's head is linear: the score is the largest weight times the range."""
    context = traversed.context
    chosen = select(context, spec(top=5), linked)
    units = linked.solution.mean.shape[0]
    zero = context.classifier.head(np.zeros((1, units), np.float32))
    weight = np.abs(context.classifier.head(np.eye(units, dtype=np.float32)) - zero)
    score = weight.max(1) * (linked.solution.quantile(1.0) - linked.solution.quantile(0.0))
    assert chosen.units.tolist() == np.argsort(-score, kind="stable")[:5].tolist()
    assert chosen.score == pytest.approx(score[chosen.units], rel=1e-3)


def test_by_weight_for_one_class(traversed, linked):
    context = traversed.context
    chosen = select(context, spec(top=32, for_class="cedar"), linked)
    head = context.classifier.head
    units = len(chosen.units)
    index = context.card("classifier").classes.index("cedar")
    weight = np.abs(head(np.eye(units, dtype=np.float32)) - head(np.zeros((1, units), np.float32)))[:, index]
    expected = weight[chosen.units] * (chosen.high - chosen.low)
    assert chosen.score == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert (np.diff(chosen.score) <= 1e-6).all()


def test_by_range_is_the_way_in_w(traversed, linked):
    chosen = select(traversed.context, spec(top=4, by="range"), linked)
    solution = linked.solution
    span = solution.lengths * (solution.quantile(1.0) - solution.quantile(0.0))
    assert chosen.units.tolist() == np.argsort(-span, kind="stable")[:4].tolist()
    assert chosen.score == pytest.approx(chosen.span)


def test_named_units_keep_their_order_without_repeats(traversed, linked):
    chosen = select(traversed.context, spec(indices=(7, 2, 7, 5)), linked)
    assert chosen.units.tolist() == [7, 2, 5]


def test_quantiles_narrow_the_range(traversed, linked):
    wide = select(traversed.context, spec(top=32, by="range"), linked)
    narrow = select(traversed.context, spec(0.25, 0.75, top=10, by="range"), linked)
    low, high = (dict(zip(wide.units, ends, strict=True)) for ends in (wide.low, wide.high))
    for unit, bottom, top in zip(narrow.units, narrow.low, narrow.high, strict=True):
        assert low[unit] <= bottom < top <= high[unit]


def test_units_that_never_vary_are_never_among_the_top(traversed, linked):
    quantiles = linked.solution.quantiles.copy()
    quantiles[:, :10] = 1.5
    rigged = dataclasses.replace(linked, solution=dataclasses.replace(linked.solution, quantiles=quantiles))
    chosen = select(traversed.context, spec(top=22), rigged)
    assert set(chosen.units.tolist()) == set(range(10, 32))
    with pytest.raises(FailedPreconditionError, match="only 22 of 32 vary") as caught:
        select(traversed.context, spec(top=23), rigged)
    assert caught.value.reason == "TOO_FEW_LIVE_UNITS"
    with pytest.raises(FailedPreconditionError, match=r"it stays at 1\.5") as caught:
        select(traversed.context, spec(indices=(11, 3)), rigged)
    assert caught.value.reason == "DEAD_UNIT"


def test_quantiles_between_levels_are_interpolated():
    solution = Solution(
        weight=np.zeros((1, 2)),
        mean=np.zeros(2),
        std=np.ones(2),
        levels=np.array([0, 0.5, 1.0]),
        quantiles=np.array([[0.0, 1.0], [1.0, 1.0], [3.0, 5.0]]),
        distance_limit=1.0,
        latent_mean=np.zeros(1),
        whitener=np.eye(1),
        neighbours=np.zeros((1, 2)),
    )
    assert solution.quantile(0.0) == pytest.approx([0, 1])
    assert solution.quantile(0.25) == pytest.approx([0.5, 1])
    assert solution.quantile(0.75) == pytest.approx([2, 3])
    assert solution.quantile(1.0) == pytest.approx([3, 5])
