"""The counterfactual report as a file: what it says of every pair and of every row that failed."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.workers.report import counterfactual_sample as sample
from tests.workers.report.test_build import HOSTILE, Tags
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.parts import PARTS
from workers.counterfactual.result import Outcome
from workers.report import ReportData, build
from workers.report.counterfactual import CounterfactualData, rest
from workers.report.counterfactual.phrases import OUTCOMES, distance
from workers.report.words import label


@pytest.fixture(scope="module")
def report() -> ReportData:
    return sample.report()


@pytest.fixture(scope="module")
def data(report: ReportData) -> CounterfactualData:
    assert report.counterfactual is not None
    return report.counterfactual


@pytest.fixture(scope="module")
def page(report: ReportData) -> bytes:
    return build(report)


@pytest.fixture(scope="module")
def text(page: bytes) -> str:
    return page.decode()


@pytest.fixture(scope="module")
def small() -> ReportData:
    """Few pairs, where a test builds several pages."""
    return sample.report([("bun", "hat"), ("hat", "bun"), ("bun", "turban"), ("turban", "bun")], own=1)


def altered(report: ReportData, **changes: Any) -> ReportData:
    assert report.counterfactual is not None
    return replace(report, counterfactual=replace(report.counterfactual, **changes))


def anchor(origin: str, target: str) -> str:
    return f"pair-{CLASSES.index(origin)}-{CLASSES.index(target)}"


def article(text: str, origin: str, target: str) -> str:
    return next(
        part
        for part in re.findall(r"<article.*?</article>", text, re.DOTALL)
        if f'id="{anchor(origin, target)}"' in part
    )


def test_equal_data_give_equal_bytes(page: bytes) -> None:
    assert build(sample.report()) == page


def test_the_opening_counts_what_was_found(data: CounterfactualData, text: str) -> None:
    searched = [r for r in data.rows if r["outcome"] in ("reached", "unreachable", "not_crossed")]
    reached = [r for r in searched if r["outcome"] == "reached"]
    assert f"In {len(reached):,} of {len(searched):,} searches a change was found" in text
    units = float(np.median([r["units_for_90"] for r in reached]))
    assert f"the median one needs {units:.0f} units for nine tenths of its way" in text
    assert "hat is what changes most in" in text


def test_every_pair_has_its_distance_and_interval(data: CounterfactualData, text: str) -> None:
    assert len(data.pairs) == 56
    for pair in data.pairs:
        origin, target = label(pair["origin"]), label(pair["target"])
        cell = re.search(rf'title="{origin} to {target}: ([^"]*)"[^>]*><span class="far">([^<]*)<', text)
        assert cell, (origin, target)
        counts = f"{pair['reached']} of {pair['images']} reached"
        if not pair["reached"]:
            assert cell.groups() == (counts, "none")
            continue
        assert cell.group(2) == distance(pair["distance"])
        bounds = f"[{distance(pair['distance_lower'])}, {distance(pair['distance_upper'])}]"
        assert cell.group(1).startswith(counts)
        assert f"distance {cell.group(2)} {bounds}" in cell.group(1)
        mine = article(text, pair["origin"], pair["target"])
        assert f"<b>{cell.group(2)} {bounds}</b>" in mine


def test_every_reason_is_told_with_its_count(data: CounterfactualData, text: str) -> None:
    assert set(OUTCOMES) == {o.value for o in Outcome} - {"reached"}
    counts = {name: sum(r["outcome"] == name for r in data.rows) for name in OUTCOMES}
    assert min(counts.values()) > 0
    for name, (title, meaning) in OUTCOMES.items():
        row = re.search(rf"<tr [^>]*><th[^>]*><b>{title}</b> <code>{name}</code>.*?</tr>", text, re.DOTALL)
        assert row, name
        assert f">{counts[name]}</td>" in row.group()
        assert meaning in row.group()
    assert "“bunn” is no class; did you mean “bun”?" in text


def test_a_pair_page_tells_units_parts_and_the_mean_shift(data: CounterfactualData, text: str) -> None:
    mine = article(text, "bun", "hat")
    assert "All 20 pictures read as “bun” were made to read as “hat”" in mine
    assert "The change makes hat appear and makes hair vanish." in mine
    rows = [r for r in data.carriers if (r["origin"], r["target"]) == ("bun", "hat")]
    for row in rows[:10]:
        assert f"Unit {row['unit']}</span>" in mine
    assert "95\u202f% <small>[75, 100]</small>" in mine
    assert "−2.06 <small>sd</small>" in mine
    assert "+16.0\u202f% of the picture" in mine
    assert "[+14.8, +17.2]" in mine
    assert "The mean shift of the other images takes 70\u202f% [48, 85] of images to “hat”" in mine
    assert "and 95\u202f% when it is applied twice over" in mine


def test_what_is_not_certain_is_not_shown_beside_what_is(text: str) -> None:
    changes = re.search(r'<figure class="cf-changes">.*?</figure>', article(text, "bun", "hat"), re.DOTALL)
    assert changes
    assert re.findall(r"</i>(\w+) <em>", changes.group()) != []
    assert set(re.findall(r"</i>(\w+) <em>", changes.group())) == {"hat", "hair"}


def test_failed_images_of_a_pair_are_told_on_its_page(text: str) -> None:
    assert "Without a counterfactual: no picture crosses (6)." in article(text, "turban", "bun")
    never = article(text, *sample.NEVER)
    assert "None of 20 pictures read as “winter hat” could be made to read as “short hair”." in never
    assert "no picture crosses (10), no way in the features (10)" in never
    assert "No pictures of this pair are in this file." in never


def test_ids_are_unique_and_links_lead_somewhere(page: bytes) -> None:
    tags = Tags(page)
    ids = [attrs["id"] for _, attrs in tags.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {(attrs.get("href") or "")[1:] for tag, attrs in tags.tags if tag == "a"}
    assert {anchor(*pair) for pair in sample.PAIRS} <= targets
    assert targets <= tags.ids()


def test_nothing_is_loaded_from_elsewhere(page: bytes, text: str) -> None:
    assert not re.search(rb"https?://", page)
    assert not re.search(r"url\((?!data:image/)", text)
    assert all(tag not in ("link", "iframe", "object", "embed") for tag, _ in Tags(page).tags)


def test_the_policy_allows_the_script_of_the_page_alone(text: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_pictures_are_stored_once_and_all_are_used(data: CounterfactualData, text: str) -> None:
    rules = re.findall(r"\.s(\d+)\{background-image:url\((data:[^)]*)\)\}", text)
    assert len(rules) == 2 * len(data.shown) + len(data.inverted)
    assert len({uri for _, uri in rules}) == len(rules)
    used = set(re.findall(r'(?:sprite|cf-pic) s(\d+)"', text))
    assert used == {number for number, _ in rules}


def words_of(page: bytes) -> int:
    """Bytes of a page without its pictures."""
    return len(page) - sum(map(len, re.findall(rb"data:image/[^)\"]*", page)))


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_small_file_drops_strips_and_no_words(small: ReportData, share: float) -> None:
    page, data = build(small), small.counterfactual
    assert data is not None
    limit = int(words_of(page) + share * (len(page) - words_of(page)))
    smaller = build(small, max_bytes=limit)
    assert len(smaller) <= limit
    text = smaller.decode()
    kept, every = text.count("data:image/"), page.decode().count("data:image/")
    assert 0 < kept < every
    assert '<figure class="cf-hero">' in text
    assert f"{every - kept} film strips and pictures were left out to keep this file small." in text
    for pair in data.pairs:
        assert distance(pair["distance"]) in article(text, pair["origin"], pair["target"])
    assert "The pairs in numbers" in text


def test_the_opening_strip_is_the_last_to_go(small: ReportData) -> None:
    words = words_of(build(small))
    for room in range(2_000, 60_000, 4_000):
        text = build(small, max_bytes=words + room).decode()
        if "data:image/" in text:
            assert '<figure class="cf-hero">' in text
            assert text.count("data:image/") <= 2
            return
    pytest.fail("no picture fitted into any of these sizes")


def test_own_images_say_how_close_they_are(report: ReportData, text: str) -> None:
    assert "me-0.jpg" in text
    assert "41.7 grey levels off" in text
    assert "22.4 grey levels off, reads curly hair" in text
    warned = "The inverted image looks clearly different from the photo and is read as another class"
    assert warned in text
    two = build(sample.report([("bun", "hat")], own=2)).decode()
    assert two.count("a counterfactual from here is one of the inverted image") == 1
    assert "Of 1 of 2 images the inverted picture is not close enough" in two


@pytest.mark.parametrize(
    ("error", "read", "wanted"),
    [
        (15.0, "bun", ""),
        (15.1, "bun", "looks clearly different"),
        (3.0, "hat", "is read as another class"),
        (float("nan"), "bun", ""),
    ],
)
def test_a_caution_goes_with_a_large_error_or_another_class(error: float, read: str, wanted: str) -> None:
    said = rest.caution({"error": error, "read_as": "bun", "inverted_as": read})
    assert (wanted in said) if wanted else said == ""


def test_an_own_image_leads_to_its_counterfactuals(small: ReportData) -> None:
    assert small.counterfactual is not None
    rows = [
        {**r, "image": "me-0.jpg", "class": None} if (r["origin"], r["target"]) == ("bun", "hat") else r
        for r in small.counterfactual.rows
    ]
    text = build(altered(small, rows=rows)).decode()
    own = re.search(r'<article class="panel cf-own".*?</article>', text, re.DOTALL)
    assert own
    assert f'<a href="#{anchor("bun", "hat")}">hat</a>' in own.group()


def test_a_job_that_found_nothing_is_a_page_that_says_why(
    report: ReportData, data: CounterfactualData
) -> None:
    rows = [r for r in data.rows if r["outcome"] not in ("reached", "unreachable", "not_crossed")]
    bare = altered(report, rows=rows, pairs=(), carriers=(), changes=(), shown=(), inverted=())
    page = build(bare)
    text = page.decode()
    assert f"Nothing could be searched for: of {len(rows)} rows" in text
    assert {"failures", "methods", "provenance"} <= Tags(page).ids()
    assert not {"matrix", "pairs", "own"} & Tags(page).ids()
    for outcome in ("same_class", "unknown_class", "already_target"):
        assert f"<code>{outcome}</code>" in text
    none = build(altered(bare, rows=(), unknown={})).decode()
    assert "there was no base image to start from" in none


def test_thousands_of_unknown_names_do_not_fill_the_page(small: ReportData) -> None:
    rows = [{**row, "outcome": "unknown_class", "target": "x"} for row in small.counterfactual.rows[:2]]
    page = build(altered(small, rows=rows, unknown={"x": ["y"]}, more_unknown=1_999)).decode()
    assert "and 1,999 other names" in page
    assert "Asked for, but no class: “x” and 1,999 more." in page
    assert "1,999" not in build(altered(small, rows=rows, unknown={"x": ["y"]})).decode()


def test_a_pair_without_any_search_is_not_called_a_failure(small: ReportData) -> None:
    assert small.counterfactual is not None
    data = small.counterfactual
    pairs = [
        {**data.pairs[0], "images": 0, "reached": 0, "validity": None, "distance": None},
        *data.pairs[1:],
    ]
    rows = [
        {**r, "outcome": "starts_as_target"} if (r["origin"], r["target"]) == ("bun", "hat") else r
        for r in data.rows
    ]
    text = build(altered(small, pairs=pairs, rows=rows, shown=())).decode()
    mine = article(text, "bun", "hat")
    assert "No picture read as “bun” could be searched from." in mine
    assert "not searched" in mine
    assert "starts as the target (20)" in mine
    assert 'class="blank" title="bun to hat: no image could be searched from"' in text


def test_searches_without_any_success_say_so(report: ReportData, data: CounterfactualData) -> None:
    rows = [r for r in data.rows if (r["origin"], r["target"]) == sample.NEVER]
    pairs = [p for p in data.pairs if (p["origin"], p["target"]) == sample.NEVER]
    text = build(altered(report, rows=rows, pairs=pairs, shown=(), unknown={})).decode()
    assert "No change was found that makes avatars/shortcut say the other class: none of 20" in text
    assert 'id="matrix"' not in text


def test_one_image_is_not_told_as_many(report: ReportData, data: CounterfactualData) -> None:
    only = sample.report([("bun", "hat")], own=0)
    assert only.counterfactual is not None
    few = only.counterfactual
    row = next(r for r in few.rows if r["outcome"] == "reached")
    pair = {**few.pairs[0], "images": 1, "reached": 1, "alike": None, "mean_flips": None}
    changes = [{**c, "q": None, "lower": None, "upper": None, "images": 1} for c in few.changes]
    text = build(altered(only, rows=[row], pairs=[pair], changes=changes, unknown={})).decode()
    assert "In 1 of 1 searches a change was found that makes avatars/shortcut say “hat”" in text
    mine = article(text, "bun", "hat")
    assert "The one picture read as “bun” was made to read as “hat”" in mine
    assert "though with so few images none of it is certain." in mine
    assert "None is certain (q below 0.05)" in mine
    assert "One shift for all?" not in mine
    assert "cf-distances" not in mine
    assert "Nothing: every one of the 1 rows has its counterfactual." in text


def test_missing_numbers_are_dashes(report: ReportData, data: CounterfactualData) -> None:
    gone = ("alpha", "head_distance", "plausible", "part", "part_share", "units_for_90", "alike")
    pairs = [{**p, **dict.fromkeys(gone)} for p in data.pairs]
    rows = [{**r, "head_distance": float("nan"), "plausible": None, "part": None} for r in data.rows]
    text = build(altered(report, pairs=pairs, rows=rows, carriers=(), changes=(), shown=())).decode()
    words = re.sub(r"<[^>]*>", " ", text.split("</style>")[-1].split("<script>")[0])
    assert not re.search(r"\b(nan|inf)\b|(?<!\S)None(?! of )(?!\S)", words)


def test_many_classes_keep_the_page_small(report: ReportData, data: CounterfactualData) -> None:
    names = [f"class_{k}" for k in range(70)]
    keys = [(a, b) for a in names for b in names if a != b]
    pairs = [{**data.pairs[0], "origin": a, "target": b} for a, b in keys]
    page = build(altered(report, classes=names, pairs=pairs, rows=data.rows[:20], shown=(), unknown={}))
    text = page.decode()
    assert len(page) < 6_000_000
    assert "Of 70 origins and 70 targets the 60 and 60 with the most counterfactuals are shown here" in text
    assert text.count('<th scope="row" title="class') == 60
    assert "240 of 4,830 pairs have a page of their own" in text
    assert "The table of pairs shows the first 2,000; tables/pairs has all." in text
    tags = Tags(page)
    assert {(a.get("href") or "")[1:] for tag, a in tags.tags if tag == "a"} <= tags.ids()


def test_of_very_many_targets_the_matrix_shows_those_that_are_reached(
    small: ReportData, data: CounterfactualData
) -> None:
    names = [f"class_{k}" for k in range(200)]
    far = {"reached": 0, "validity": 0.0, **dict.fromkeys(("distance", "distance_lower", "distance_upper"))}
    pairs = [
        {**data.pairs[0], "origin": names[0], "target": name, **({} if k % 50 == 49 else far)}
        for k, name in enumerate(names[1:], 1)
    ]
    text = build(
        altered(small, classes=names, pairs=pairs, rows=data.rows[:20], shown=(), unknown={})
    ).decode()
    assert "Of 199 targets the 60 with the most counterfactuals are shown here; the table" in text
    columns = re.findall(r'<th scope="col"[^>]*title="(class[^"]*)"', text)
    assert len(columns) == 60
    assert {f"class {k}" for k in (49, 99, 149, 199)} < set(columns)


def test_hostile_names_stay_text(small: ReportData, page: bytes) -> None:
    report, data = small, small.counterfactual
    assert data is not None

    def renamed(row: Any) -> Any:
        return {
            key: HOSTILE if value in ("bun", "hat", "hair") or key == "image" else value
            for key, value in row.items()
        }

    classes = [HOSTILE if name == "bun" else name for name in CLASSES]
    pairs = [(p, renamed(p)) for p in data.pairs if (p["origin"], p["target"]) != ("bun", "hat")]
    attacked = replace(
        altered(
            report,
            classes=classes,
            parts=[HOSTILE if part == "hat" else part for part in PARTS],
            rows=[renamed(r) for r in data.rows],
            pairs=[p for o, p in pairs if "hat" not in (o["origin"], o["target"])],
            carriers=[renamed(r) for r in data.carriers],
            changes=[renamed(r) for r in data.changes],
            shown=[
                replace(s, row=renamed(s.row))
                for s in data.shown
                if "hat" not in (s.row["origin"], s.row["target"])
            ],
            inverted=[replace(i, row=renamed(i.row)) for i in data.inverted],
            unknown={HOSTILE: [HOSTILE]},
        ),
        title=HOSTILE,
    )
    after = Tags(build(attacked))
    assert after.count("script") == Tags(page).count("script") == 1
    assert not [attrs for _, attrs in after.tags if any(name.startswith("on") for name in attrs)]
    assert all((a.get("src") or "").startswith("data:") for tag, a in after.tags if tag == "img")


@pytest.mark.parametrize(("method", "norm", "start"), [("path", "l1", "own"), ("descent", "l2", "linked")])
def test_the_method_told_is_the_method_used(small: ReportData, method: str, norm: str, start: str) -> None:
    text = build(altered(small, method=method, norm=norm, start=start)).decode()
    assert ("smallest sum of moves (L1)" in text) == (norm == "l1")
    assert ("Gradient descent on a shift" in text) == (method == "descent")
    assert ("DeepFool" in text) == (method == "path")
    assert ("with a weight of 1, the least unusual" in text) == (method == "path")
    plain = build(altered(small, method=method, norm=norm, start=start, plausibility=0.0)).decode()
    assert "the least unusual" not in plain
    assert ("w(r′) = A r′ + b" in text) == (start == "linked")
    for source in ("arXiv 2409.16865", "Wachter", "Verma"):
        assert source in text
