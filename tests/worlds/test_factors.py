"""Factors, their codes, their words."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitscope.errors import InvalidArgumentError
from unitscope.worlds import factors as world
from unitscope.worlds.factors import (
    CLASSES,
    NAMES,
    VALUES,
    WEIGHTS,
    Factors,
    from_codes,
    sample_factors,
    words,
)

codes_strategy = st.tuples(*(st.integers(0, len(VALUES[name]) - 1) for name in NAMES))


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_every_factor_has_weights_that_sum_to_one() -> None:
    assert set(WEIGHTS) == set(NAMES) == set(VALUES)
    for name in NAMES:
        assert len(WEIGHTS[name]) == len(VALUES[name])
        assert sum(WEIGHTS[name]) == pytest.approx(1)


@given(st.integers(0, len(CLASSES) - 1), codes_strategy)
def test_codes_round_trip(class_index: int, codes: tuple[int, ...]) -> None:
    factors = from_codes(class_index, np.array(codes))
    assert factors.class_index == class_index
    assert factors.codes().tolist() == list(codes)


def test_a_constraint_changes_nothing_else() -> None:
    for seed in range(50):
        free = sample_factors(_rng(seed))
        bound = sample_factors(_rng(seed), glasses="sunglasses", top="bun")
        assert bound == dataclasses.replace(free, glasses=world.Glasses.SUNGLASSES, top=world.Top.BUN)


def test_sampled_values_have_the_documented_frequencies() -> None:
    rng, count = _rng(0), 4000
    drawn = np.stack([sample_factors(rng).codes() for _ in range(count)])
    for column, name in enumerate(NAMES):
        seen = np.bincount(drawn[:, column], minlength=len(VALUES[name])) / count
        # 4.5 standard errors of a share of one half.
        np.testing.assert_allclose(seen, WEIGHTS[name], atol=4.5 * 0.5 / count**0.5)


def test_words_say_what_is_visible_and_only_that() -> None:
    factors = sample_factors(_rng(1), top="hat", hat_colour="red", glasses="sunglasses")
    found = words(factors.changed(facial_hair="none", hair_colour="blonde", eyes="wide"))
    assert {"hat", "red hat", "sunglasses"} <= set(found)
    assert not any("blonde" in word or "eyes" in word or word == "hair" for word in found)
    found = words(factors.changed(facial_hair="beard", hair_colour="blonde", glasses="clear"))
    assert {"beard", "blonde beard", "glasses"} <= set(found)
    assert "sunglasses" not in found


@given(st.integers(0, len(CLASSES) - 1), codes_strategy)
def test_words_differ_wherever_a_visible_factor_does(class_index: int, codes: tuple[int, ...]) -> None:
    factors = from_codes(class_index, np.array(codes))
    found = words(factors)
    assert len(set(found)) == len(found)
    for name in ("skin", "clothes", "clothes_colour", "mouth", "background"):
        values = [value for value in VALUES[name] if value is not getattr(factors, name)]
        assert all(words(factors.changed(**{name: value})) != found for value in values)


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [({"shoes": "red"}, "UNKNOWN_FACTOR"), ({"skin": "green"}, "UNKNOWN_FACTOR_VALUE")],
)
def test_unknown_constraints_are_refused(constraint: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        sample_factors(_rng(0), **constraint)
    assert caught.value.reason == reason
    assert next(iter(constraint)) in caught.value.message


def test_factors_are_frozen() -> None:
    factors = sample_factors(_rng(0))
    assert isinstance(factors, Factors)
    with pytest.raises(dataclasses.FrozenInstanceError):
        factors.skin = world.Skin.TAN  # type: ignore[misc]
