"""Selection on tables whose answers can be told by hand."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import quantified
from unitscope.errors import InvalidArgumentError
from unitscope.selection import SELECTED, choose, clusters, explain, resembling, select

AREA, SHADE, HAIR = ("glasses", "area"), ("glasses", "luminance"), ("hair", "area")
WHOLE, BUN, CAP = ("picture", "luminance"), ("logit", "bun"), ("logit", "cap")

UNITS: dict[int, quantified.Cells] = {
    0: {AREA: 2.0, SHADE: 1.0, HAIR: 1.0, BUN: 1.5, CAP: -0.5},  # selectivity of area 0.5
    3: {AREA: -1.8, WHOLE: 0.1, HAIR: 0.1},  # nearly all on the area
    5: {AREA: 3.0, HAIR: -3.0, SHADE: 3.0, CAP: 0.8},  # strong, not selective
    7: {AREA: 0.4},  # not trusted
    8: {AREA: 1.0},  # screened only
    9: {AREA: {"standardised": 0.3, "q": 0.2}, HAIR: None, SHADE: None},
}


def tables(
    cells: dict[int, quantified.Cells] = UNITS, **columns: dict[int, Any]
) -> tuple[pa.Table, pa.Table]:
    columns = {"trusted": {7: False}, "trust": {7: 0.02}, "stage": {8: "screen"}} | columns
    return quantified.effects(cells, screened=[8]), quantified.units(list(cells), **columns)


def found(**options: Any) -> list[int]:
    return select(*tables(), **options).column("unit").to_pylist()


def test_the_order_is_strength_times_selectivity() -> None:
    chosen = select(*tables(), part="glasses", measure="area").to_pylist()
    # 1.8 * 0.9, then 2 * 0.5 and 3 * 1/3, of which the lower number comes first.
    assert [(row["unit"], round(row["score"], 6)) for row in chosen] == [(3, 1.62), (0, 1.0), (5, 1.0)]
    row = chosen[1]
    assert (row["effect"], row["lower"], row["upper"]) == pytest.approx((0.2, 0.18, 0.22))
    assert row["selectivity"] == pytest.approx(0.5)
    assert row["share"] == pytest.approx(0.75)
    assert (row["also_part"], row["also_measure"], row["also_standardised"]) == ("hair", "area", 1.0)
    assert row["logit_effect"] is None
    assert (row["trust"], row["trusted"], row["strongest_class"]) == (pytest.approx(0.8), True, "bun")


def test_each_rule_can_be_lifted() -> None:
    asked = {"part": "glasses", "measure": "area"}
    assert set(found(**asked)) == {0, 3, 5}
    assert set(found(**asked, include_untrusted=True)) == {0, 3, 5, 7}
    assert set(found(**asked, confirmed_only=False)) == {0, 3, 5, 8}
    assert set(found(**asked, q=0.25)) == {0, 3, 5, 9}
    assert found(**asked, increase=True) == [0, 5]
    assert found(**asked, increase=False) == [3]
    assert found(**asked, top=1) == [3]


def test_a_part_alone_counts_its_share_and_takes_its_strongest_measure() -> None:
    chosen = select(*tables(), part="glasses").to_pylist()
    assert [row["unit"] for row in chosen] == [5, 3, 0]  # 3 * 2/3, 1.8 * 0.9, 2 * 0.75
    assert [round(row["score"], 6) for row in chosen] == [2.0, 1.62, 1.5]
    assert {row["measure"] for row in chosen} == {"area"}


def test_a_measure_alone_is_sought_in_every_part() -> None:
    chosen = {row["unit"]: row for row in select(*tables(), measure="luminance").to_pylist()}
    assert (chosen[0]["part"], chosen[5]["part"], chosen[3]["part"]) == ("glasses", "glasses", "picture")


def test_a_class_alone_and_beside_a_part() -> None:
    chosen = select(*tables(), logit="cap").to_pylist()
    assert [row["unit"] for row in chosen] == [5, 0]
    assert (chosen[0]["part"], chosen[0]["measure"], chosen[0]["share"]) == ("logit", "cap", None)
    assert (chosen[0]["also_part"], chosen[0]["also_measure"]) == ("glasses", "area")
    assert found(logit="cap", increase=False) == [0]
    both = select(*tables(), part="glasses", measure="area", logit="bun").to_pylist()
    assert [(row["unit"], row["measure"], row["logit_effect"]) for row in both] == [
        (0, "area", pytest.approx(0.15))
    ]


def test_a_change_without_direction_is_taken_where_it_is_named() -> None:
    effects, units = tables({1: {("hair", "delta_e"): 2.0, HAIR: 0.1}})
    assert select(effects, units, part="hair").column("measure").to_pylist() == ["area"]
    assert select(effects, units, measure="delta_e").column("part").to_pylist() == ["hair"]
    never = {1: {("glasses", "delta_e"): None, ("hair", "delta_e"): 1.0}}
    for pair in ((effects, units), tables(never)):
        with pytest.raises(InvalidArgumentError, match="without direction") as caught:
            select(*pair, part="glasses", measure="delta_e", increase=True)
    assert caught.value.reason == "NO_DIRECTION"


def test_a_group_of_units_is_selected_by_its_number() -> None:
    cells = {-1: {AREA: 2.0}, 4: {AREA: 1.0}}
    chosen = select(
        quantified.effects(cells, groups=["shades"]), quantified.units([-1, 4], ["shades"]), part="glasses"
    )
    assert chosen.column("group").to_pylist() == ["shades", None]


def test_a_unit_measured_twice_counts_as_confirmed() -> None:
    first = quantified.effects({4: {AREA: -9.0}}, screened=[4])
    second = quantified.effects({4: {AREA: 1.0}})
    units = quantified.units([4])
    for both in (pa.concat_tables([first, second]), pa.concat_tables([second, first])):
        assert select(both, units, part="glasses").column("standardised").to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"part": "glases"}, "UNKNOWN_PART", "did you mean 'glasses'.*background, glasses, hair, picture"),
        ({"part": "logit"}, "UNKNOWN_PART", "there are"),
        ({"measure": "volume"}, "UNKNOWN_MEASURE", "area, delta_e, luminance"),
        ({"part": "picture", "measure": "area"}, "UNKNOWN_MEASURE", "there are: delta_e, luminance"),
        ({"logit": "Bun"}, "UNKNOWN_CLASS", "did you mean 'bun'"),
        ({"top": 0}, "OUT_OF_RANGE", "top is 0"),
        ({"q": 0.0}, "OUT_OF_RANGE", "above 0"),
    ],
)
def test_what_is_unknown_is_refused_with_what_there_is(
    options: dict[str, Any], reason: str, words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        select(*tables(), **options)
    assert caught.value.reason == reason


def test_tables_of_another_kind_or_job_are_refused() -> None:
    effects, units = tables()
    with pytest.raises(InvalidArgumentError, match="lacks") as caught:
        select(effects, units.drop_columns(["trusted"]))
    assert caught.value.reason == "NOT_QUANTIFIED"
    with pytest.raises(InvalidArgumentError) as caught:
        select(effects, units.slice(1))
    assert caught.value.reason == "TABLES_DIFFER"


def test_no_units_is_an_empty_selection() -> None:
    effects, units = tables()
    chosen = choose(effects.slice(0, 0), units.slice(0, 0))
    assert chosen.table.num_rows == 0
    assert chosen.table.schema == SELECTED.schema
    assert "moved no unit" in chosen.explanation


@pytest.mark.parametrize(
    ("cells", "columns", "options", "words"),
    [
        ({1: {AREA: None}}, {}, {}, "too small"),
        ({8: {AREA: 2.0}}, {}, {}, "--screened"),
        ({1: {AREA: 2.0}}, {}, {"increase": False}, "None of 1 unit decreases glasses area.*--increase"),
        ({1: {AREA: {"standardised": 1.0, "q": 0.2}}}, {}, {}, "smallest q is 0.2; --q 0.22"),
        ({7: {AREA: 2.0}}, {}, {}, "Of 1 unit that would fit, none is trusted.*--all"),
        ({1: {AREA: 2.0}}, {}, {"logit": "cap"}, "none changes the logit too"),
    ],
)
def test_nothing_selected_says_which_rule_and_which_flag(
    cells: dict[int, quantified.Cells], columns: Any, options: dict[str, Any], words: str
) -> None:
    effects, units = tables(cells, **columns)
    asked = {"part": "glasses", "measure": "area"} | options
    assert select(effects, units, **asked).num_rows == 0
    assert re.search(words, explain(effects, units, **asked))


def test_the_flag_that_is_named_does_widen() -> None:
    effects, units = tables({1: {AREA: {"standardised": 1.0, "q": 0.2}}})
    assert select(effects, units, part="glasses", measure="area", q=0.22).num_rows == 1


def test_what_was_left_out_is_told() -> None:
    text = explain(*tables(), part="glasses", measure="area", top=2)
    assert text.startswith("3 of 6 units change glasses area; the best 2 are shown, --top shows more.")
    assert text.endswith(
        "Not trusted: 1 unit more, which --all shows. Only screened: 1 unit more, which --screened shows."
    )

    # Unit 8 was only screened, but it does not decrease the area: no flag brings it back.
    assert "screened" not in explain(*tables(), part="glasses", measure="area", increase=False)


def test_units_that_resemble_another() -> None:
    cells: dict[int, quantified.Cells] = {
        1: {AREA: 2.0, HAIR: 1.0},
        2: {AREA: 0.4, HAIR: 0.2, BUN: 5.0},
        3: {AREA: -2.0, HAIR: -1.0},
        4: {WHOLE: 1.0},
        5: {},
        7: {AREA: 2.0},
    }
    effects, units = tables(cells)
    chosen = resembling(effects, units, 1).to_pylist()
    assert [row["unit"] for row in chosen] == [2, 4, 3]
    assert [row["cosine"] for row in chosen] == pytest.approx([1, 0, -1])
    first = chosen[0]
    assert (first["common_part"], first["common_measure"]) == AREA
    assert (first["common_standardised"], first["common_reference"]) == (0.4, 2.0)
    assert chosen[1]["common_part"] is None
    assert resembling(effects, units, 1, 1).num_rows == 1
    assert 7 in resembling(effects, units, 1, include_untrusted=True).column("unit").to_pylist()
    with pytest.raises(InvalidArgumentError) as caught:
        resembling(effects, units, 5)
    assert caught.value.reason == "NO_EFFECTS"
    with pytest.raises(InvalidArgumentError, match="nearest are 2, 3, 4, 5, 7") as caught:
        resembling(effects, units, 6)
    assert caught.value.reason == "UNKNOWN_UNIT"


def test_clusters_say_what_their_members_have_in_common() -> None:
    cells: dict[int, quantified.Cells] = {
        1: {AREA: 2.0, HAIR: -0.5},
        2: {AREA: 4.0, HAIR: -1.0, BUN: 9.0},
        3: {AREA: 3.0, SHADE: 2.0},
        4: {HAIR: 1.0},
        7: {HAIR: 1.0},
        9: {WHOLE: 1.0},
    }
    effects, units = tables(cells, cluster={1: 0, 2: 0, 3: 0, 4: 1, 7: 1})
    first, second = clusters(units, effects).to_pylist()
    assert (first["cluster"], first["size"]) == (0, 3)
    assert first["members"][-1] == 3
    assert (first["part"], first["measure"], first["same_sign"]) == ("glasses", "area", 1.0)
    assert first["standardised"] == pytest.approx(3.0)
    assert (first["also_part"], first["also_standardised"]) == ("hair", pytest.approx(-0.5))
    assert (second["members"], second["also_part"], second["cohesion"]) == ([4], None, pytest.approx(1.0))
    everyone = clusters(units, effects, include_untrusted=True).to_pylist()
    assert everyone[1]["members"] == [4, 7]


@given(st.permutations(range(len(UNITS))), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(order: list[int], random: Any) -> None:
    effects, units = tables()
    shuffled = list(range(effects.num_rows))
    random.shuffle(shuffled)
    for options in ({"part": "glasses"}, {"logit": "cap"}, {}):
        expected = select(effects, units, **options)
        assert select(effects.take(shuffled), units.take(order), **options) == expected
