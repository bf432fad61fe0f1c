"""Pictures and charts of the counterfactual report: strips, differences, outlines, what is most telling."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.workers.report import counterfactual_sample as sample
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.parts import PARTS
from workers.report.counterfactual import CounterfactualData, pictures, plots
from workers.report.counterfactual.results import Results, by_part, surroundings, telling


@pytest.fixture(scope="module")
def data() -> CounterfactualData:
    return sample.data([("bun", "hat"), ("hat", "bun"), ("bun", "turban"), ("long_hair", "curly_hair")])


def test_the_film_strip_holds_the_counterfactual_between_its_neighbours(data: CounterfactualData) -> None:
    shown = data.shown[0]
    alphas, place, added = pictures.way(shown)
    film = pictures.film(shown)
    assert added
    assert alphas[place - 1] < alphas[place] == 1 < alphas[place + 1]
    assert len(film) == len(alphas) == len(shown.alphas) + 1
    np.testing.assert_array_equal(film[place], shown.counterfactual)
    exact = replace(shown, alphas=np.array([0, 0.5, 1, 1.5]), frames=shown.frames[:4])
    assert pictures.way(exact)[1:] == (2, False)
    assert len(pictures.film(exact)) == 4


def test_a_strip_that_ends_before_the_counterfactual_ends_with_it(data: CounterfactualData) -> None:
    short = replace(data.shown[0], alphas=np.array([0, 0.6]), frames=data.shown[0].frames[:2])
    alphas, place, added = pictures.way(short)
    assert (alphas.tolist(), place, added) == ([0, 0.6, 1], 2, True)


def test_differences_fall_where_the_pictures_differ(data: CounterfactualData) -> None:
    shown = data.shown[0]
    after = shown.start.copy()
    after[10:20, 10:20] = 255 - after[10:20, 10:20]
    labels = np.zeros_like(shown.labels)
    labels[10:20, 10:20] = PARTS.index("hat")
    one = replace(shown, counterfactual=after, start_labels=labels, labels=labels)
    shares = by_part(one, len(PARTS))
    assert shares[PARTS.index("hat")] == pytest.approx(1)
    heat = pictures.heat(shown.start, after).astype(int)
    colourful = np.ptp(heat, axis=2) > 30
    changed = np.abs(after.astype(int) - shown.start).mean(axis=2) > 32
    assert colourful[changed].all()
    outside = np.ones_like(changed)
    outside[10:20, 10:20] = False
    assert not colourful[outside].any()


def test_an_outline_runs_around_its_part_and_not_along_the_frame() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[0:3, 2:5] = 1
    steps = set(re.findall(r"M\d+ \d+[hv]\d+", pictures.outline(labels, 1)))
    assert steps == {"M2 3h3", "M2 0v3", "M5 0v3"}
    assert pictures.outline(labels, 7) == ""


def test_a_part_that_stays_is_outlined_once(data: CounterfactualData) -> None:
    shown = data.shown[0]
    labels = np.zeros((8, 8), np.uint8)
    labels[2:4, 2:5] = 1
    moved = np.roll(labels, 2, axis=0)
    assert surroundings(labels) == 0
    still = replace(shown, start_labels=labels, labels=labels)
    assert pictures.outlines(still, 1) == ("", pictures.outline(labels, 1))
    before, after = pictures.outlines(replace(still, labels=moved), 1)
    assert (before, after) == (pictures.outline(labels, 1), pictures.outline(moved, 1))
    assert before != after


def test_the_boundary_is_where_the_target_overtakes() -> None:
    assert plots.crossing(np.array([-3.0, -1.0, 1.0, 2.0])) == pytest.approx(1.5)
    assert plots.crossing(np.array([-3.0, -1.0])) is None
    assert plots.crossing(np.array([1.0, 2.0])) is None


def test_the_most_telling_picture_opens_the_report(data: CounterfactualData) -> None:
    results = Results(data)
    assert results.hero is not None
    best = data.shown[results.hero]
    same = replace(best, counterfactual=best.start, frames=best.start[None].repeat(9, axis=0))
    worse = Results(replace(data, shown=[same, *data.shown[:4]]))
    assert worse.telling[0] == min(worse.telling)
    assert worse.hero != 0
    back = best.probabilities[::-1]
    assert telling(replace(best, probabilities=back), PARTS, CLASSES) < results.telling[results.hero]
    around = replace(best, row={**best.row, "part": "background"})
    assert telling(around, PARTS, CLASSES) < results.telling[results.hero]
