"""Pairs and rows of a counterfactual job, on tables whose answers are plain."""

from __future__ import annotations

import pytest

from tests.support.found import CLASSES, failure, pairs, rows, unknown_origin
from unitscope.errors import InvalidArgumentError
from unitscope.selection import counterfactuals
from unitscope.selection.counterfactuals import (
    WORDS,
    Known,
    choose_pairs,
    choose_rows,
    known_in,
    summary,
    why,
)
from workers.counterfactual.result import Outcome

PAIRS = pairs(
    {"target": "hat", "distance": 3.0},
    {"target": "cap", "distance": None, "reached": 0},
    {"target": "bald", "distance": 1.0, "reached": 5},
    {"origin": "cap", "target": "hat", "distance": 1.0, "reached": 5},
)
ROWS = rows(
    {"seed": 0, "l2": 3.0},
    failure("unreachable", seed=1),
    {"seed": 2, "l2": 1.0},
    {"origin": "cap", "seed": 0, "l2": 2.0},
    failure("unknown_class", target="hatt", seed=0),
    unknown_origin("bum"),
)


def named(table):
    return list(zip(table.column("origin").to_pylist(), table.column("target").to_pylist(), strict=True))


def test_pairs_are_ordered_by_distance_or_validity():
    near = [("bun", "bald"), ("cap", "hat"), ("bun", "hat"), ("bun", "cap")]
    assert named(choose_pairs(PAIRS)) == near
    often = [("bun", "hat"), ("bun", "bald"), ("cap", "hat"), ("bun", "cap")]
    assert named(choose_pairs(PAIRS, sort="validity")) == often
    assert named(choose_pairs(PAIRS, top=1)) == near[:1]
    assert named(choose_pairs(PAIRS, origin="cap")) == [("cap", "hat")]
    assert named(choose_pairs(PAIRS, target="hat")) == [("cap", "hat"), ("bun", "hat")]
    assert choose_pairs(PAIRS, origin="cap", target="bald").num_rows == 0


def test_rows_are_ordered_and_the_failed_ones_stand_alone():
    assert choose_rows(ROWS).column("l2").to_pylist() == [1.0, 2.0, 3.0, None, None, None]
    outcomes = choose_rows(ROWS, sort="validity").column("outcome").to_pylist()
    assert outcomes == ["reached"] * 3 + ["unreachable", "unknown_class", "unknown_class"]
    assert choose_rows(ROWS, sort="validity").column("l2").to_pylist()[:3] == [3.0, 1.0, 2.0]
    failed = choose_rows(ROWS, failed=True)
    assert failed.column("outcome").to_pylist() == outcomes[3:]
    mixed = rows(failure("same_class"), failure("unreachable"), failure("same_class"), failure("not_crossed"))
    assert choose_rows(mixed, failed=True).column("outcome").to_pylist() == [
        *("unreachable", "not_crossed", "same_class", "same_class"),
    ]
    assert named(choose_rows(ROWS, target="hatt")) == [("bun", "hatt")]
    assert choose_rows(ROWS, origin="cap", failed=True).num_rows == 0


@pytest.mark.parametrize("choose", [choose_pairs, choose_rows])
def test_a_class_that_is_not_there_is_named_with_a_near_one(choose):
    table = PAIRS if choose is choose_pairs else ROWS
    with pytest.raises(InvalidArgumentError, match="no target 'halt'; did you mean 'hat'") as caught:
        choose(table, target="halt")
    assert caught.value.reason == "UNKNOWN_CLASS"
    with pytest.raises(InvalidArgumentError, match="no origin 'zzz'; it has: bu"):
        choose(table, origin="zzz")


def test_every_outcome_has_plain_words():
    assert {*WORDS, "unknown_class"} == set(Outcome)
    for outcome in Outcome:
        (row,) = rows(failure(outcome.value, target="x")).to_pylist()
        assert why(row) not in ("", outcome.value) or outcome is Outcome.REACHED


def test_unknown_names_are_said_with_near_ones_of_the_right_model():
    known = Known(("bald", "hat"), ("bun",))
    target, origin = choose_rows(ROWS, failed=True).to_pylist()[1:]
    assert why(target, known) == "'hatt' is no class of the classifier: did you mean 'hat'?"
    assert why(origin, known) == "'bum' is no class of the generator: did you mean 'bun'?"
    assert why(origin) == "'bum' is no class of the generator"


def test_known_names_come_from_the_metadata_else_from_the_rows():
    assert known_in(ROWS) == Known(CLASSES, CLASSES)
    bare = ROWS.replace_schema_metadata(None)
    assert known_in(bare) == Known(("bun", "cap", "hat"), ("bun", "cap"))
    own = rows(
        {"image": "me.jpg", "class": None, "seed": 0, "target": "hatt"} | failure("unknown_class"),
        metadata=False,
    )
    assert known_in(own) == Known(("bun",), ())
    assert why(own.to_pylist()[0]).startswith("'hatt' is no class of the classifier")


def test_a_summary_in_one_line():
    assert summary(ROWS) == (
        "reached 3 of 6; 2 unknown_class ('hatt': did you mean 'hat'?, 'bum': did you mean 'bun'?); 1 unreachable"
    )
    assert summary(rows({}, {})) == "reached 2 of 2"
    assert summary(rows(failure("same_class"))) == "reached 0 of 1; 1 same_class"
    many = rows(*(unknown_origin(f"q{n}") for n in range(7)))
    assert summary(many).endswith("'q4', ...)")


def test_empty_tables_have_no_rows_and_no_errors():
    assert choose_pairs(pairs()).num_rows == choose_rows(rows(), failed=True).num_rows == 0
    assert choose_rows(rows(), sort="validity").num_rows == 0
    assert summary(rows()) == "reached 0 of 0"
    with pytest.raises(InvalidArgumentError, match="it has: none"):
        choose_pairs(pairs(), origin="bun")


def test_near_names_are_looked_for_once_and_for_what_is_shown(monkeypatch: pytest.MonkeyPatch):
    """Of a thousand classes each takes tens of milliseconds, and a job has up to 150,000 rows."""
    asked = []
    monkeypatch.setattr(counterfactuals, "did_you_mean", lambda name, known: asked.append(name) or "")
    many = rows(*(failure("unknown_class", target=f"p{n % 7}", seed=n) for n in range(70)))
    assert summary(many) == "reached 0 of 70; 70 unknown_class ('p0', 'p1', 'p2', 'p3', 'p4', ...)"
    assert asked == [f"p{n}" for n in range(5)]
    known = known_in(many)
    assert all(why(row, known).endswith("is no class of the classifier") for row in many.to_pylist())
    assert sorted(asked) == [f"p{n}" for n in range(7)]
