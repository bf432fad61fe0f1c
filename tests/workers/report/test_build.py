"""The report as a file: its size, its bytes, what it leaves out, and that names cannot break it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.workers.report import sample
from unitscope.errors import InvalidArgumentError
from workers.report import ReportData, build
from workers.report.charts import row_id

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Tags(HTMLParser):
    """Counts the tags and keeps the attributes of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def ids(self) -> set[str]:
        return {attrs["id"] or "" for _, attrs in self.tags if "id" in attrs}


@pytest.fixture(scope="module")
def report() -> ReportData:
    return sample.report(units=4, seeds=2)


@pytest.fixture(scope="module")
def page(report: ReportData) -> bytes:
    return build(report)


def strips(page: bytes) -> set[str]:
    return set(re.findall(r'class="strip" id="(t[0-9a-f]+)"', page.decode()))


def test_equal_data_give_equal_bytes(page: bytes) -> None:
    assert build(sample.report(units=4, seeds=2)) == page


def test_order_of_units_and_traversals_does_not_matter(report: ReportData, page: bytes) -> None:
    shuffled = replace(
        report, units=list(reversed(report.units)), traversals=list(reversed(report.traversals))
    )
    assert build(shuffled) == page


def test_every_id_is_unique_and_every_inner_link_leads_somewhere(page: bytes) -> None:
    tags = Tags(page)
    ids = [attrs["id"] for _, attrs in tags.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {(attrs.get("href") or "")[1:] for tag, attrs in tags.tags if tag == "a"}
    assert targets
    assert targets <= tags.ids()


def test_the_page_states_what_was_analysed(report: ReportData, page: bytes) -> None:
    text = page.decode()
    for model in report.models:
        assert model.name in text
        assert model.digest in text
    for word in (report.renderer, report.job_id, "2026-11-21 04:12 UTC", report.plan_digest):
        assert word in text
    assert report.notes[0] in text


def test_nothing_is_loaded_from_elsewhere(page: bytes) -> None:
    for tag, attrs in Tags(page).tags:
        assert tag not in ("link", "iframe", "object", "embed")
        source = attrs.get("src")
        assert source is None or source.startswith("data:image/webp;base64,")
        assert not re.search(r"url\(|@import", attrs.get("style") or "")
    assert not re.search(rb"https?://", page)


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_strips_are_left_out_to_keep_the_limit(report: ReportData, page: bytes, share: float) -> None:
    limit = int(share * len(page))
    smaller = build(report, max_bytes=limit)
    assert len(smaller) <= limit
    left = len(strips(page)) - len(strips(smaller))
    assert 0 < left < len(strips(page))
    assert f"{left} film strips were left out" in smaller.decode()


def test_each_unit_keeps_a_strip_before_any_keeps_two(report: ReportData, page: bytes) -> None:
    few = strips(build(report, max_bytes=len(page) // 2))
    kept = {row["unit"]: 0 for row in report.units}
    for traversal in report.traversals:
        kept[traversal.unit] += row_id(traversal) in few
    assert min(kept.values()) >= 1
    assert max(kept.values()) - min(kept.values()) <= 1


def test_a_limit_that_cannot_be_kept_is_refused(report: ReportData) -> None:
    with pytest.raises(InvalidArgumentError, match="allow more") as caught:
        build(report, max_bytes=10_000)
    assert caught.value.reason == "REPORT_TOO_LARGE"


def test_hostile_names_stay_text(report: ReportData, page: bytes) -> None:
    attacked = replace(
        report,
        title=HOSTILE,
        job_id=HOSTILE,
        renderer=HOSTILE,
        created=HOSTILE,
        plan_digest=HOSTILE,
        spec={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
        tables=(HOSTILE, "units", "steps"),
        models=tuple(replace(m, name=HOSTILE, digest=HOSTILE, description=HOSTILE) for m in report.models),
        classes=(HOSTILE, *report.classes[1:]),
        quality=[{**row, "scope": HOSTILE, "method": HOSTILE} for row in report.quality[:20]]
        + list(report.quality),
        units=[{**row, "strongest_class": HOSTILE} for row in report.units],
        survivors=[replace(s, class_name=HOSTILE) for s in report.survivors],
        traversals=[
            replace(t, class_name=HOSTILE, seed=k, predicted=[HOSTILE] * len(t.predicted))
            for k, t in enumerate(report.traversals)
        ],
    )
    before, after = Tags(page), Tags(build(attacked))
    assert after.count("script") == before.count("script") == 1
    assert not [attrs for _, attrs in after.tags if any(name.startswith("on") for name in attrs)]
    images = [attrs["src"] or "" for tag, attrs in after.tags if tag == "img"]
    assert images
    assert all(source.startswith("data:image/webp;base64,") for source in images)


def test_a_link_report_has_no_gallery() -> None:
    page = build(sample.link_report())
    ids = Tags(page).ids()
    assert {"linker", "provenance", "methods"} <= ids
    assert not {"gallery", "units"} & ids
    assert b"film strip" not in page


def test_without_pictures_the_curves_stay(report: ReportData) -> None:
    bare = replace(report, traversals=[replace(t, frames=None) for t in report.traversals])
    text = build(bare).decode()
    assert 'class="strip"' not in text
    assert text.count('class="plot logits"') == len(report.units)
    assert "16 traversals are in the numbers and curves but not among the pictures" in text


def test_figures_that_could_not_be_measured_are_dashes(report: ReportData) -> None:
    nothing = {"trust": float("nan"), "follow": None, "focus": float("nan"), "score": None}
    unknown = [{**row, **nothing} for row in report.units]
    quality = [{**row, "lower": None, "upper": None} for row in report.quality]
    text = build(replace(report, units=unknown, quality=quality)).decode()
    assert "Trust –" in text
    assert "Too little was measured to say." in text
    assert not re.search(r">\s*(nan|None|inf)\s*<", text)


def test_a_large_job_stays_readable_and_says_what_it_leaves_out(report: ReportData) -> None:
    row, traversal = report.units[0], replace(report.traversals[0], frames=None)
    many = replace(
        report,
        units=[{**row, "unit": k, "rank": k} for k in range(2_500)],
        traversals=[replace(traversal, unit=k) for k in range(2_500)],
        survivors=(),
    )
    page = build(many)
    text = page.decode()
    assert len(page) < 5_000_000
    assert "The gallery shows the first 120 of 2,500 units." in text
    assert "The table of units shows the first 2,000; tables/units has all." in text


def test_a_unit_without_traversals_is_a_card_of_numbers(report: ReportData) -> None:
    text = build(replace(report, traversals=())).decode()
    assert text.count('class="card"') == len(report.units)
    assert 'class="plot logits"' not in text
