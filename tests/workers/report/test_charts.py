from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.report import sample
from workers.report import charts

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.fixture(scope="module")
def traversals() -> Any:
    return sample.report(units=1, seeds=2, classes=4).traversals


def coordinates(points: str) -> np.ndarray:
    return np.array([[float(v) for v in pair.split(",")] for pair in points.split(" ")])


@given(FINITE, st.floats(1e-3, 1e6))
def test_ticks_are_few_and_within(low: float, span: float) -> None:
    ticks = charts.nice_ticks(low, low + span)
    slack = 1e-6 * max(1.0, abs(low), span)
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    assert len(ticks) <= 6
    assert ticks == sorted(ticks)


@given(st.lists(st.floats(14, 194), min_size=1, max_size=5))
def test_labels_do_not_overlap(wanted: list[float]) -> None:
    placed = charts._spread(wanted, 14.0, 14, 194)
    assert all(14 - 1e-9 <= place <= 194 + 1e-9 for place in placed)
    gaps = np.diff(sorted(placed))
    assert (gaps >= 14 - 1e-9).all()


def test_the_curve_of_the_strongest_class_is_the_mean_change(traversals: Any) -> None:
    classes = list(sample.CLASSES)
    plot = charts.logit_plot(traversals, classes, "bun")
    strong = next(line for line in plot.lines if line.strong)
    column = classes.index("bun")
    mean = np.mean([t.logits[:, column] - t.logits[0, column] for t in traversals], axis=0)
    drawn = coordinates(strong.points)
    assert strong.text == f"bun +{mean[-1]:.1f}"
    assert len(drawn) == len(mean)
    # Pixels fall as logits rise, in proportion: one straight line from values to places.
    slope, intercept = np.polyfit(mean, drawn[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(slope * mean + intercept, drawn[:, 1], atol=0.2)
    assert intercept == pytest.approx(plot.zero, abs=0.2)


def test_everything_drawn_lies_inside(traversals: Any) -> None:
    for plot in (charts.logit_plot(traversals, sample.CLASSES, "bun"), charts.follow_plot(traversals)):
        for line in plot.lines:
            xy = coordinates(line.points)
            assert (xy[:, 0] >= plot.left).all()
            assert (xy[:, 0] <= plot.width - plot.right).all()
            assert (xy[:, 1] >= plot.top).all()
            assert (xy[:, 1] <= plot.height - plot.bottom).all()


def test_one_wild_traversal_does_not_flatten_the_curves(traversals: Any) -> None:
    many = list(traversals) * 8
    last = np.linspace(0, 1, len(traversals[0].commanded))[:, None]
    wild = replace(traversals[0], logits=traversals[0].logits * (1 + 40 * last))
    calm, mixed = (charts.logit_plot(group, sample.CLASSES, "bun") for group in (many, [wild, *many]))
    strong = [next(c for c in plot.lines if c.strong) for plot in (calm, mixed)]
    heights = [np.ptp(coordinates(line.points)[:, 1]) for line in strong]
    assert heights[1] > heights[0] / 3


def test_a_unit_that_follows_exactly_lies_on_the_diagonal(traversals: Any) -> None:
    exact = [replace(t, reencoded=t.commanded) for t in traversals]
    plot = charts.follow_plot(exact)
    assert plot.lines[0].points == plot.reference


def test_a_unit_that_does_nothing_is_drawn_flat(traversals: Any) -> None:
    still = [replace(t, logits=np.zeros_like(t.logits)) for t in traversals]
    plot = charts.logit_plot(still, sample.CLASSES, "bun")
    assert {y for line in plot.lines for y in coordinates(line.points)[:, 1]} == {plot.zero}


def test_intervals_stand_at_their_values() -> None:
    plot = charts.interval_plots(sample.quality())[0]
    assert plot.title.startswith("R² of w, within class")
    by_name = {row.text: row for row in plot.rows}
    assert by_name["Linker"].strong
    assert by_name["Linker"].value == "0.410"
    assert by_name["Class mean"].dot == pytest.approx(plot.zero or plot.left, abs=12)
    for row in (*plot.rows, *plot.gains):
        assert row.low is not None
        assert row.high is not None
        assert plot.left <= row.low < row.dot < row.high <= plot.width - plot.right


def test_a_gain_counts_only_when_its_whole_interval_is_above_zero() -> None:
    agreement = next(p for p in charts.interval_plots(sample.quality()) if p.title == "Agreement")
    strong = {row.text: row.strong for row in agreement.gains}
    assert strong == {"Class mean": False, "Nearest neighbour": True, "Principal components": True}


def test_row_ids_hold_no_foreign_character(traversals: Any) -> None:
    name = charts.row_id(replace(traversals[0], class_name="<b>'\" é"))
    assert name.isascii()
    assert name.isalnum()
