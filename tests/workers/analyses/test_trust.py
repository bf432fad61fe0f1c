import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.analyses import trust

COMMANDED = np.linspace(0, 4, 5)


def test_a_unit_that_arrives_follows_entirely():
    assert trust.follow(COMMANDED, COMMANDED) == pytest.approx(1)
    assert trust.follow(COMMANDED, COMMANDED + 3) == pytest.approx(1)


def test_a_unit_that_stays_or_goes_the_other_way_does_not_follow():
    assert trust.follow(COMMANDED, np.full(5, 2.0)) == 0
    assert trust.follow(COMMANDED, -COMMANDED) == 0


@given(st.floats(0.01, 0.99))
def test_half_the_way_is_half_the_trust(slope):
    assert trust.follow(COMMANDED, slope * COMMANDED) == pytest.approx(slope)


def test_more_than_the_whole_way_is_not_more_than_one():
    assert trust.follow(COMMANDED, 7 * COMMANDED) == pytest.approx(1)


def test_noise_lowers_the_correlation():
    noise = np.array([0, 1.5, -1.5, 1.5, 0])
    assert 0 < trust.follow(COMMANDED, COMMANDED + noise) < 0.9


def test_follow_takes_units_by_seeds():
    reencoded = np.stack([[COMMANDED, 0 * COMMANDED], [0.5 * COMMANDED, -COMMANDED]])
    commanded = np.stack([COMMANDED, COMMANDED])[:, None]
    assert trust.follow(commanded, reencoded) == pytest.approx(np.array([[1, 0], [0.5, 0]]))


def features(**moves):
    """One traversal of two steps over four units; a move in standard deviations for each unit."""
    std = np.array([1.0, 2.0, 0.5, 0.0])
    moved = np.zeros((1, 2, 4), np.float32) + 3
    for name, amount in moves.items():
        index = int(name[1:])
        moved[0, 1, index] += amount * (std[index] or 1)
    return moved, std


@pytest.mark.parametrize(
    ("moves", "expected"),
    [({"u0": 2}, 1), ({"u0": 1, "u1": 2}, 0.5), ({"u0": -2, "u2": 1}, 1), ({"u1": 1}, 0), ({}, 0)],
)
def test_focus_compares_standardised_movements(moves, expected):
    moved, std = features(**moves)
    result = trust.focus(moved, std, np.array([0]))
    assert result.dtype == np.float32
    assert result[0, 0] == 0
    assert result[0, 1] == pytest.approx(expected)


def test_units_that_never_varied_do_not_blur_the_focus():
    moved, std = features(u0=1, u3=100)
    assert trust.focus(moved, std, np.array([0]))[0, 1] == pytest.approx(1)


def test_plausible_counts_steps_within_the_limit():
    distances = np.array([[0.5, 1.0, 1.1, 2.0], [0.1, 0.1, 0.1, 0.1]])
    assert trust.plausible(distances, 1.0) == pytest.approx([0.5, 1.0])


def test_trust_fails_where_one_part_fails():
    assert trust.trust(np.array(1.0), np.array(1.0), np.array(1.0)) == pytest.approx(1)
    assert trust.trust(np.array(1.0), np.array(0.0), np.array(1.0)) == 0
    assert trust.trust(np.array(0.5), np.array(0.5), np.array(0.5)) == pytest.approx(0.5)
