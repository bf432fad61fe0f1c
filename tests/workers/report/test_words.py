from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.workers.report import sample
from workers.report import words

ROW: dict[str, Any] = {
    "unit": 137, "low": 0.0, "high": 4.2, "strongest_class": "winter_hat", "strongest_change": 3.14,
    "flips": 0.58, "traversals": 32, "trust": 0.5, "follow": 0.4, "focus": 0.9, "plausible": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def traversal() -> Any:
    return sample.report(units=1, seeds=1, classes=1).traversals[0]


def test_the_headline_says_range_logit_and_flips() -> None:
    assert words.headline(ROW, []) == (
        "Raising unit 137 from 0.0 to 4.2 raises “winter hat” by 3.1 logits and changes the predicted "
        "class in 58\u202f% of 32 traversals."
    )


def test_the_headline_names_the_most_frequent_flip(traversal: Any) -> None:
    flips = [
        replace(traversal, predicted=route) for route in (["hat", "bun"], ["hat", "bun"], ["bun", "hat"])
    ]
    assert words.headline(ROW, flips).endswith("Most often from “hat” to “bun”, twice.")


def test_a_single_flip_is_an_instance(traversal: Any) -> None:
    text = words.headline(ROW, [replace(traversal, predicted=["hat", "bun"])])
    assert text.endswith("For instance from “hat” to “bun”.")


@pytest.mark.parametrize(
    ("given", "text"),
    [("2026-11-21T06:12:10.565337+00:00", "2026-11-21 06:12 UTC"), ("soon", "soon"),
     ("2026-11-21T08:12:10+02:00", "2026-11-21 06:12 UTC"), ("2026-11-21T06:12", "2026-11-21 06:12")],
)  # fmt: skip
def test_times_are_told_to_the_minute(given: str, text: str) -> None:
    assert words.moment(given) == text


def test_a_unit_can_lower_a_class_and_change_nothing() -> None:
    text = words.headline({**ROW, "strongest_change": -2.0, "flips": 0.0}, [])
    assert "lowers “winter hat” by 2.0 logits and never changes the predicted class (32" in text


@pytest.mark.parametrize(
    ("trust", "word"),
    [(1.0, "high"), (0.6, "high"), (0.59, "medium"), (0.3, "medium"), (0.29, "low"), (0.0, "low"),
     (None, "unknown"), (float("nan"), "unknown")],
)  # fmt: skip
def test_trust_has_a_word(trust: float | None, word: str) -> None:
    assert words.trust_level(trust).word == word


@pytest.mark.parametrize("weakest", ["follow", "focus", "plausible"])
def test_the_caution_is_of_the_weakest_part(weakest: str) -> None:
    row = {**ROW, "follow": 0.9, "focus": 0.9, "plausible": 0.9, weakest: 0.2}
    assert words.caution(row).endswith(f"({weakest} 0.20)")


def test_no_caution_where_trust_is_high() -> None:
    assert words.caution({**ROW, "trust": 0.8}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234.50"), (-0.5, "−0.50"), (-0.001, "0.00"), (None, "–"), (float("inf"), "–")],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


def test_methods_and_their_differences_have_names() -> None:
    assert words.method_label("linker - class_mean") == "Linker − Class mean"
    assert words.method_label("some_other") == "some other"
