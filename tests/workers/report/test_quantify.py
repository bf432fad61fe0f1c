"""The report of a quantify job as a file: what it says, what it leaves out, and what names cannot do."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.workers.report import quantify_sample as sample
from tests.workers.report.sample import link_report
from tests.workers.report.test_build import HOSTILE, Tags
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.parts import PARTS
from workers.report import ReportData, build
from workers.report.quantify import Column, EffectArrays, QuantifyData
from workers.report.quantify.findings import Findings
from workers.report.quantify.phrases import MeasureWords, amount, deed


@pytest.fixture(scope="module")
def report() -> ReportData:
    return sample.report(units=20, confirmed=10, strips=2)


@pytest.fixture(scope="module")
def page(report: ReportData) -> bytes:
    return build(report)


def quantify(report: ReportData) -> QuantifyData:
    assert report.quantify is not None
    return report.quantify


def changed(report: ReportData, **values: object) -> ReportData:
    return replace(report, quantify=replace(quantify(report), **values))  # type: ignore[arg-type]


def payload(page: bytes) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page.decode(), re.S)
    assert found
    return dict(json.loads(found[1]))


def shuffled(data: QuantifyData) -> QuantifyData:
    order = np.random.default_rng(0).permutation(len(data.units))
    back = np.argsort(order)
    e = data.effects
    assert data.similar is not None
    assert data.similarity is not None
    names = ("effect", "lower", "upper", "standardised", "same_sign", "q", "selectivity", "seeds")
    return replace(
        data,
        units=[data.units[k] for k in order],
        effects=EffectArrays(e.columns, **{name: getattr(e, name)[order] for name in names}),
        strips=list(reversed(data.strips)),
        similar=back[data.similar[order]],
        similarity=data.similarity[order],
    )


def test_equal_data_give_equal_bytes_in_any_order(report: ReportData, page: bytes) -> None:
    assert build(sample.report(units=20, confirmed=10, strips=2)) == page
    assert build(replace(report, quantify=shuffled(quantify(report)))) == page


def test_every_id_is_unique_and_every_inner_link_leads_somewhere(page: bytes) -> None:
    tags = Tags(page)
    ids = [attrs["id"] for _, attrs in tags.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    screened = {f"unit-{unit}" for unit in np.asarray(sample_units(page))}
    targets = {(attrs.get("href") or "")[1:] for tag, attrs in tags.tags if tag == "a"}
    assert targets
    # Units without pictures have no page until the script makes it.
    assert targets <= tags.ids() | screened


def sample_units(page: bytes) -> list[int]:
    units = payload(page)["units"]
    assert isinstance(units, dict)
    return list(units["unit"])


def test_without_script_each_part_has_its_units_and_each_unit_its_strips(page: bytes) -> None:
    text = page.decode()
    block = text[text.index('id="part-glasses"') : text.index('id="part-background"')]
    assert "makes glasses appear" in block
    assert re.search(r'class="sprite s\d+" role="img" aria-label="Unit 37 from ', block)
    assert text.count('class="card unit-page"') == 10
    own = text[text.index('id="unit-37"') :]
    own = own[: own.index("</article>")]
    assert "Raising it makes glasses appear." in own
    assert "in 32 of 32 images" in own
    assert own.count('class="sprite ') == 2
    assert "Units like this one" in own
    assert own.count('src="data:image/webp') == 6


def test_the_headlines_are_of_different_parts(page: bytes) -> None:
    text = page.decode()
    block = text[text.index('class="headlines"') : text.index('<nav class="sections"')]
    found = re.findall(r"</a> (\w+ [\w ]+):", block)
    assert len(found) == 6
    assert len(set(found)) == 6


def test_a_sentence_gives_measure_interval_and_images(report: ReportData) -> None:
    findings = Findings(quantify(report))
    row = findings.row_of[37]
    main = findings.main(row)
    assert main is not None
    assert findings.columns[main.column] == Column("glasses", "area")
    what, numbers = findings.sentence(main)
    assert what == "makes glasses appear"
    effect, low, high = (
        100 * values[row, main.column]
        for values in (findings.effects.effect, findings.effects.lower, findings.effects.upper)
    )
    assert numbers == (
        f"area +{effect:.1f}\u202f% of the picture [+{low:.1f}, +{high:.1f}], in 32 of 32 images"
    )


def test_units_of_a_part_come_by_strength_times_share(report: ReportData) -> None:
    findings = Findings(quantify(report))
    strength, share, _ = findings.by_part
    part = PARTS.index("hat")
    found = findings.of_part(part)
    assert len(found) >= 2
    clear = [strength[f.row, part] * share[f.row, part] for f in found]
    assert clear == sorted(clear, reverse=True)
    assert {findings.columns[f.column].part for f in found} == {"hat"}


def test_what_is_not_significant_or_has_no_direction_is_not_found(report: ReportData) -> None:
    data = quantify(report)
    nothing = np.where(np.isfinite(data.effects.q), 0.5, np.nan)
    findings = Findings(replace(data, effects=replace(data.effects, q=nothing)))
    assert not findings.found[findings.confirmed].any()
    assert not [f for k in range(len(PARTS) + 1) for f in findings.of_part(k) if findings.confirmed[f.row]]
    assert findings.main(findings.row_of[37]) is None
    undirected = [k for k, c in enumerate(data.effects.columns) if c.measure in ("delta_e", "motion")]
    assert not Findings(data).found[:, undirected].any()


def test_a_screened_unit_is_listed_by_its_own_part_alone(report: ReportData) -> None:
    findings = Findings(quantify(report))
    screened = np.flatnonzero(~findings.confirmed)
    assert len(screened) == 10
    for row in screened:
        parts = {findings.columns[k].part for k in np.flatnonzero(findings.found[row]).tolist()}
        assert parts == {findings.rows[row]["part"]}
        main = findings.main(int(row))
        assert main is not None
        assert not findings.shown(main, trusted_only=False)


def test_a_report_in_which_nothing_was_found_says_so(report: ReportData) -> None:
    data = quantify(report)
    text = build(
        changed(report, effects=replace(data.effects, q=np.full(data.effects.q.shape, np.nan)))
    ).decode()
    assert "What was found" not in text
    assert "unit that was confirmed changes glasses." in text
    assert "changes no part that could be measured" in text


def test_where_no_unit_is_trusted_the_lists_start_with_all(report: ReportData, page: bytes) -> None:
    rows = [{**row, "trusted": False} for row in quantify(report).units]
    text = build(changed(report, units=rows)).decode()
    assert "No unit that was confirmed is trusted (trust of 0.30 or more)" in text
    assert 'name="trusted">' in text
    assert "makes glasses appear" in text
    assert 'name="trusted" checked>' in page.decode()


def test_a_group_goes_by_its_name(report: ReportData) -> None:
    data = quantify(report)
    rows = [
        {**row, "unit": -1, "group": "shades & <b>"} if k == 0 else row for k, row in enumerate(data.units)
    ]
    strips = [replace(s, unit=-1) if s.unit == 37 else s for s in data.strips]
    text = build(changed(report, units=rows, strips=strips)).decode()
    assert 'id="group-0"' in text
    assert "shades &amp; &lt;b&gt;" in text
    assert "shades & <b>" not in text


@pytest.mark.parametrize("share", [0.75, 0.9])
def test_strips_are_left_out_to_keep_the_limit(report: ReportData, page: bytes, share: float) -> None:
    limit = int(share * len(page))
    smaller = build(report, max_bytes=limit)
    assert len(smaller) <= limit
    rules = len(re.findall(rb"\.s\d+\{background-image", page))
    left = rules - len(re.findall(rb"\.s\d+\{background-image", smaller))
    assert 0 < left < rules
    assert f"{left} film strips were left out" in smaller.decode()


def test_numbers_of_screened_units_give_way_to_pictures(report: ReportData) -> None:
    many = sample.report(units=600, confirmed=4, strips=1)
    full = build(many)
    small = build(many, max_bytes=int(len(full) * 0.8))
    assert "single effects of units that were only screened are in tables/effects alone" in small.decode()
    assert len(payload(full)["rows"]) == 600  # type: ignore[arg-type]
    assert len(payload(small)["rows"]) == 4  # type: ignore[arg-type]
    assert small.count(b"{background-image:url(data:image/webp") == 4


def test_thousands_of_units_stay_under_the_limit() -> None:
    report = sample.report(units=4_096, confirmed=6, strips=1)
    page = build(report)
    assert len(page) < 12_000_000
    assert len(payload(page)["rows"]) == 4_096  # type: ignore[arg-type]


def test_hostile_names_stay_text(report: ReportData, page: bytes) -> None:
    data = quantify(report)
    evil = HOSTILE + "{part}{x}"
    renamed = {"glasses": evil}
    columns = [
        Column(renamed.get(c.part, c.part), evil if c.measure in ("a", "bun") else c.measure)
        for c in data.effects.columns
    ]
    measures = [
        replace(m, name=evil, unit=evil, meaning=evil) if m.name == "a" else m  # type: ignore[type-var]
        for m in data.measures
    ]
    attacked = changed(
        report,
        parts=[renamed.get(name, name) for name in data.parts],
        part_colours=("red;} body{display:none", *data.part_colours[1:]),
        measures=measures,
        classes=[evil if name == "bun" else name for name in data.classes],
        effects=replace(data.effects, columns=columns),
        units=[
            {**row, "layer": evil, "part": evil, "strongest_class": evil, "group": evil} for row in data.units
        ],
        strips=[replace(s, class_name=evil) for s in data.strips],
        perturbation=evil,
        real={unit: [replace(i, name=evil) for i in images] for unit, images in data.real.items()},
    )
    after = build(attacked)
    assert Tags(after).count("script") == Tags(page).count("script") == 2
    assert Tags(after).count("style") == Tags(page).count("style") == 2
    assert not [a for _, a in Tags(after).tags if any(name.startswith("on") for name in a)]
    assert b"alert(1)</script>" not in after
    assert b"display:none;" not in after.split(b"</head>")[1]
    assert evil in [part["name"] for part in payload(after)["parts"]]  # type: ignore[attr-defined]


def test_values_that_were_not_measured_are_dashes(report: ReportData) -> None:
    data = quantify(report)
    nothing = {"part": None, "part_share": None, "measure": None, "cluster": None, "x": None, "y": None}
    unknown = {"trust": float("nan"), "follow": None, "focus": None, "plausible": None, "flips": float("nan")}
    rows = [{**row, **nothing, **unknown, "trusted": False} for row in data.units]
    bare = changed(
        report,
        units=rows,
        strips=[replace(s, labels=None) for s in data.strips],
        example=None,
        association=None,
        similar=None,
        similarity=None,
        seconds=None,
        real={},
        part_colours=(),
    )
    page = build(bare)
    assert "Trust –" in page.decode()
    assert 'id="heat"' not in page.decode()
    assert not re.search(r">\s*(nan|None|inf)\s*<", page.decode())
    assert payload(page)["units"]["trust"] == [None] * 20  # type: ignore[index]


def test_the_heat_map_names_its_strongest_cell(report: ReportData, page: bytes) -> None:
    text = page.decode()
    assert "What raises “bun” makes glasses larger (correlation 0.86)." in text
    assert text.count(' top" style="--v:86.0%"') == 1
    data = quantify(report)
    assert data.association is not None
    uncertain = replace(data.association, q=np.full((len(CLASSES), len(PARTS)), 0.4))
    text = build(changed(report, association=uncertain)).decode()
    assert "No cell stands out" in text
    assert "(correlation" not in text[text.index('id="classes"') : text.index('id="units"')]


def test_correlations_whose_q_is_unknown_are_never_certain(report: ReportData) -> None:
    data = quantify(report)
    assert data.association is not None
    unknown = replace(data.association, q=np.full((len(CLASSES), len(PARTS)), np.nan))
    text = build(changed(report, association=unknown)).decode()
    assert "No cell stands out" in text
    assert ' certain"' not in text


def test_without_a_screening_there_is_no_word_of_it(report: ReportData) -> None:
    text = build(changed(report, screening_images=0)).decode()
    assert "All of them were measured on the same 32 base images." in text
    assert "confirmed on other images" not in text
    assert "Screened, confirmed" not in text


def test_other_reports_carry_nothing_of_it() -> None:
    page = build(link_report())
    assert b'id="numbers"' not in page
    assert b"part-bar" not in page


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("share of picture", 0.0312, "+3.1\u202f% of the picture"),
        ("share of width", -0.004, "−0.40\u202f% of the width"),
        ("degree", 123.4, "+123°"),
        ("L*", 12.34, "+12.3\u202fL*"),
        ("count", 0.5, "+0.50"),
        ("", float("nan"), "–"),
    ],
)
def test_values_are_written_in_their_unit(unit: str, value: float, text: str) -> None:
    words = MeasureWords.of(sample.Measure("m", unit, "", "size"))
    assert amount(value, words.scale) + (words.suffix if text != "–" else "") == text


def test_a_deed_says_which_way() -> None:
    words = {m.name: MeasureWords.of(m) for m in sample.MEASURES}
    assert deed(words["luminance"], "hair", -1, False) == "makes hair darker"
    assert deed(words["area"], "facial_hair", -1, True) == "makes facial hair vanish"
    assert deed(words["centre_y"], "glasses", 1, False) == "moves glasses down"
    assert deed(words["b"], "picture", 1, False) == "turns the whole picture yellower"


@pytest.mark.parametrize("units", [0, 1])
def test_a_report_of_hardly_any_unit_is_still_one(report: ReportData, units: int) -> None:
    data = quantify(report)
    e = data.effects
    names = ("effect", "lower", "upper", "standardised", "same_sign", "q", "selectivity", "seeds")
    few = changed(
        report,
        units=data.units[:units],
        effects=EffectArrays(e.columns, **{name: getattr(e, name)[:units] for name in names}),
        similar=np.full((units, 2), -1),
        similarity=np.zeros((units, 2)),
        strips=[],
    )
    page = build(few)
    assert sample_units(page) == [37][:units]
    assert ("No pictures of this unit are in this file." in page.decode()) == bool(units)
