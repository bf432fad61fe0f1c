"""The report of a quantify job in a real browser: can a person find the units of a part?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import browser
from tests.workers.report import quantify_sample as sample
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.parts import PARTS
from workers.report import ReportData, build
from workers.report.quantify.findings import Findings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def report() -> ReportData:
    return sample.report(units=120, confirmed=24, strips=4)


@pytest.fixture(scope="module")
def path(report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("quantify") / "report.html"
    file.write_bytes(build(report))
    return file


def finds(opened: browser.Opened) -> list[str]:
    return list(opened.page.locator(".find:visible .deed").all_inner_texts())


def overlay(opened: browser.Opened, selector: str) -> int:
    """How many pixels of a strip's mask are drawn."""
    return int(
        opened.page.evaluate(
            """(selector) => {
              const canvas = document.querySelector(selector);
              if (!canvas) return 0;
              const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
              return data.filter((v, k) => k % 4 === 3 && v > 0).length;
            }""",
            selector,
        )
    )


def test_it_opens_clean(opened: browser.Opened) -> None:
    for section in ("find", "unit-pages", "map", "classes", "units", "linker", "provenance", "methods"):
        assert opened.page.locator(f"#{section}").is_visible()
    images = "[...document.images].every((i) => !i.checkVisibility() || i.naturalWidth)"
    opened.until(images)
    for fragment in ("part-glasses", "unit-37", "unit-74", "map", "classes", "units"):
        opened.go(fragment)
        assert opened.overflow() <= 0, fragment
    assert opened.problems == []
    assert opened.requests == []


def test_the_overview_shows_every_part_that_something_changes(opened: browser.Opened) -> None:
    shown = opened.page.locator(".part-block:visible h3").all_inner_texts()
    assert {"glasses", "hat", "hair", "facial hair", "clothes"} <= {text.strip() for text in shown}
    assert any("makes glasses appear" in text for text in finds(opened))


def test_a_part_filters_the_list_and_can_be_linked_to(opened: browser.Opened) -> None:
    opened.follow(opened.page.locator(".part-chip", has_text="glasses").click)
    assert opened.page.url.endswith("#part-glasses")
    assert opened.page.locator(".part-block:visible h3").all_inner_texts() == ["glasses"]
    texts = finds(opened)
    assert len(texts) >= 2
    assert all("glasses" in text for text in texts)
    assert opened.page.locator(".part-chip[aria-current]").inner_text().startswith("glasses")
    opened.page.reload()
    assert finds(opened) == texts
    opened.follow(opened.page.go_back)
    assert opened.page.locator(".part-block:visible").count() > 3


def test_the_list_is_that_of_the_data(desktop: browser.Opened, report: ReportData) -> None:
    assert report.quantify is not None
    findings = Findings(report.quantify)
    for name in ("glasses", "hat", "hair", "clothes"):
        desktop.go(f"part-{name}")
        found = [f for f in findings.of_part(PARTS.index(name)) if findings.shown(f, trusted_only=True)]
        wanted = [f"Unit {findings.rows[f.row]['unit']} {findings.sentence(f)[0]}" for f in found]
        assert finds(desktop) == wanted[:12]
        numbers = desktop.page.locator(".find:visible .evidence").first.inner_text()
        assert numbers == findings.sentence(found[0])[1]


def test_the_numbers_of_the_page_are_those_of_the_data(desktop: browser.Opened, report: ReportData) -> None:
    assert report.quantify is not None
    effects = Findings(report.quantify).effects
    for name in ("effect", "standardised"):
        values = np.array(
            desktop.page.evaluate(
                "(name) => Array.from({length: Q.count}, (_, r) => Q.columns.map((_, c) => "
                "{ const v = Q[name](r, c); return Number.isNaN(v) ? null : v; }))",
                name,
            ),
            float,
        )
        truth = np.asarray(getattr(effects, name))
        assert np.array_equal(np.isnan(values), np.isnan(truth))
        largest = np.nanmax(np.abs(truth), axis=0, where=np.isfinite(truth), initial=0)
        assert np.nanmax(np.abs(values - truth) - largest / 25_000) <= 0
    found = desktop.page.evaluate(
        "Array.from({length: Q.count}, (_, r) => Q.columns.map((_, c) => Q.q(r, c).found))"
    )
    with np.errstate(invalid="ignore"):
        assert np.array_equal(np.array(found), effects.q < 0.05)


def test_filters_for_direction_measure_trust_and_class(opened: browser.Opened) -> None:
    page = opened.page
    opened.go("part-glasses")
    everything = finds(opened)
    page.locator("#filters [name=measure]").select_option("area")
    page.get_by_label("Direction").select_option("decrease")
    assert all("vanish" in text for text in finds(opened))
    assert 0 < len(finds(opened)) < len(everything)
    page.get_by_label("Direction").select_option("either")
    page.locator("#filters [name=measure]").select_option("lightness")
    assert all("darker" in text or "lighter" in text for text in finds(opened))
    assert finds(opened)
    page.locator("#filters [name=measure]").select_option("any")
    page.get_by_label("confirmed only").uncheck()
    assert len(finds(opened)) > len(everything)
    page.get_by_label("confirmed only").check()
    opened.go("part-hat")
    trusted = len(finds(opened))
    page.get_by_label("trusted only").uncheck()
    assert len(finds(opened)) > trusted
    page.get_by_label("Also moves class").select_option("bun")
    assert finds(opened) == []
    opened.go("part-glasses")
    assert finds(opened)
    assert page.locator(".find:visible .evidence", has_text="bun ").count() == len(finds(opened))


def test_order_by_share(desktop: browser.Opened) -> None:
    desktop.go("part-hair")
    desktop.page.get_by_label("trusted only").uncheck()
    desktop.page.get_by_label("confirmed only").uncheck()
    desktop.page.get_by_label("Order").select_option("most selective first")
    tags = desktop.page.locator(".find:visible .tags").all_inner_texts()
    shares = [int(text.split("·")[1].split()[0].rstrip("%\u202f")) for text in tags]
    assert len(shares) > 3
    assert shares == sorted(shares, reverse=True)


def test_the_bar_of_parts_works_by_keyboard(opened: browser.Opened) -> None:
    page = opened.page
    page.locator(".part-chip").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    name = page.evaluate("document.activeElement.querySelector('b').textContent")
    opened.follow(lambda: page.keyboard.press("Enter"))
    assert page.locator(".part-block:visible h3").all_inner_texts() == [name]


def test_masks_are_drawn_and_taken_away(opened: browser.Opened) -> None:
    page = opened.page
    opened.go("part-glasses")
    canvas = "#part-glasses .find .sprite canvas"
    page.locator("#part-glasses .find .sprite").first.scroll_into_view_if_needed()
    page.wait_for_selector(canvas)
    outline = overlay(opened, canvas)
    assert outline > 50
    buttons = page.locator("#filters .masks")
    buttons.get_by_role("button", name="part alone").click()
    browser.sync_api.expect(page.locator(canvas).first).to_have_attribute("data-mode", "alone")
    assert overlay(opened, canvas) > 5 * outline
    buttons.get_by_role("button", name="none").click()
    browser.sync_api.expect(page.locator(canvas)).to_have_count(0)
    assert buttons.get_by_role("button", name="none").get_attribute("aria-pressed") == "true"


def test_a_unit_has_its_page(opened: browser.Opened) -> None:
    page = opened.page
    opened.go("unit-37")
    assert page.locator(".unit-page:visible").count() == 1
    unit = page.locator("#unit-37")
    assert unit.locator(".headline").inner_text() == "Raising it makes glasses appear."
    assert unit.locator(".unit-strip:visible").count() == 3
    unit.get_by_role("button", name="Show all 4 strips").click()
    assert unit.locator(".unit-strip:visible").count() == 4
    first = unit.locator("[data-chart=parts] .effect-group").first
    assert first.locator(".part-button").inner_text().startswith("glasses")
    assert first.locator(".effect-row .name").first.inner_text() == "area"
    assert "found" in (first.locator(".effect-row").first.get_attribute("class") or "")
    assert unit.locator("[data-chart=logits] .effect-row").count() == len(CLASSES)
    assert unit.locator("[data-chart=logits] .name").first.inner_text() == "bun"
    assert unit.locator(".real img").count() == 6
    rows = unit.locator("[data-chart=parts] .effect-row").count()
    unit.get_by_role("button", name="Show all").last.click()
    assert unit.locator("[data-chart=parts] .effect-row").count() > rows
    assert opened.overflow() <= 0


def test_dots_lie_within_their_whiskers(desktop: browser.Opened) -> None:
    desktop.go("unit-37")
    boxes = desktop.page.evaluate(
        """[...document.querySelectorAll('#unit-37 .effect-row')].filter((r) => r.querySelector('.whisker'))
        .map((r) => { const w = r.querySelector('.whisker').getBoundingClientRect();
          const d = r.querySelector('.mark-dot').getBoundingClientRect();
          const t = r.querySelector('.track').getBoundingClientRect();
          return [t.left, w.left, d.left + d.width / 2, w.right, t.right]; })"""
    )
    assert len(boxes) > 10
    for box in boxes:
        assert box == sorted(box)


def test_units_follow_each_other_and_are_gone_to_by_number(opened: browser.Opened) -> None:
    page = opened.page
    first = page.locator(".unit-page:visible").get_attribute("id")
    opened.follow(page.get_by_role("button", name="Next unit").click)
    second = page.locator(".unit-page:visible").get_attribute("id") or ""
    assert second != first
    opened.follow(page.get_by_role("button", name="Previous unit").click)
    assert page.locator(".unit-page:visible").get_attribute("id") == first
    number = page.locator("#go-unit")
    opened.follow(lambda: [number.fill(second.removeprefix("unit-")), number.press("Enter")])
    assert page.locator(".unit-page:visible").get_attribute("id") == second
    number.fill("no such")
    number.press("Enter")
    assert number.get_attribute("aria-invalid") == "true"


def test_a_unit_without_pictures_shows_its_numbers(opened: browser.Opened, report: ReportData) -> None:
    assert report.quantify is not None
    unit = next(row["unit"] for row in report.quantify.units if row["stage"] == "screen")
    opened.go(f"unit-{unit}")
    own = opened.page.locator(f"#unit-{unit}")
    assert own.is_visible()
    assert "only screened" in own.inner_text()
    assert own.locator(".effect-row").count() > 10
    opened.go("unit-37")
    assert opened.page.locator(f"#unit-{unit}").count() == 0


def test_the_map_is_walked_by_key_and_opened_by_click(opened: browser.Opened) -> None:
    page = opened.page
    canvas = page.locator("#map-canvas")
    canvas.scroll_into_view_if_needed()
    canvas.focus()
    page.keyboard.press("ArrowRight")
    tip, heading = page.locator("#map-tip b"), page.locator(".unit-page:visible h3")
    first = tip.inner_text()
    page.keyboard.press("ArrowLeft")
    second = tip.inner_text()
    assert first != second
    x, y = (float(page.locator("#map-tip").get_attribute(f"data-{axis}") or 0) for axis in "xy")
    page.keyboard.press("Enter")
    browser.sync_api.expect(heading).to_have_text(second)
    opened.go("unit-37")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + x, box["y"] + y)
    browser.sync_api.expect(tip).to_have_text(second)
    page.mouse.click(box["x"] + x, box["y"] + y)
    browser.sync_api.expect(heading).to_have_text(second)


def test_the_map_zooms_and_its_legend_hides_parts(desktop: browser.Opened) -> None:
    page = desktop.page
    ink = """() => { const c = document.getElementById('map-canvas');
      return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, k) => k % 4 === 3 && v).length; }"""
    page.locator("#map-canvas").scroll_into_view_if_needed()
    desktop.until(f"({ink})() > 500")
    before = page.evaluate(ink)
    for button in page.locator("[data-map-legend] button").all():
        button.click()
    assert page.evaluate(ink) == 0
    button.click()
    assert 0 < page.evaluate(ink) < before
    page.get_by_role("button", name="Zoom in").click()
    zoomed = page.evaluate(ink)
    page.get_by_role("button", name="Show all", exact=True).click()
    assert page.evaluate(ink) != zoomed


def test_the_heat_map_leads_to_the_units_behind_a_cell(opened: browser.Opened) -> None:
    page = opened.page
    strongest = page.locator(".heat td.top")
    assert strongest.inner_text() == "0.86"
    opened.follow(strongest.get_by_role("link").click)
    assert page.url.endswith("#part-glasses")
    assert page.get_by_label("Also moves class").input_value() == str(CLASSES.index("bun"))
    assert any("makes glasses appear" in text for text in finds(opened))


def test_the_table_sorts_searches_and_turns_pages(opened: browser.Opened) -> None:
    page = opened.page
    rows = page.locator("#all-units tbody tr")
    assert rows.count() == 50
    heading = page.locator("#all-units th", has_text="Trust")
    heading.get_by_role("button").click()
    trust = [float(text) for text in page.locator("#all-units tbody td:nth-child(10)").all_inner_texts()]
    assert trust == sorted(trust, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Next rows").click()
    assert page.locator("#units-page").inner_text() == "51–100"
    page.locator("#units-search").fill("confirmed glasses named")
    assert 0 < rows.count() < 20
    assert set(page.locator("#all-units tbody td:nth-child(2)").all_inner_texts()) == {"glasses"}
    assert page.locator("#units-count").inner_text() == f"{rows.count()} of 120 units"
    opened.follow(page.locator("#all-units tbody a").first.click)
    assert "glasses" in page.locator(".unit-page:visible .headline").inner_text()


def test_without_script_the_essentials_are_there(chromium: Any, path: Path) -> None:
    with browser.opened(chromium, path, javascript=False) as opened:
        assert opened.page.locator(".unit-page:visible").count() == 24
        assert opened.page.locator("#part-glasses .find:visible").count() == 3
        assert opened.page.locator(".script-only:visible").count() == 0
        sprite = opened.page.locator("#part-glasses .sprite").first
        background = sprite.evaluate("node => getComputedStyle(node).backgroundImage")
        assert background.startswith('url("data:image/webp')


def test_hostile_names_do_nothing(chromium: Any, tmp_path: Path, report: ReportData) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'</script>"
    data = sample.data(units=12, confirmed=8, strips=1)
    columns = [replace(c, part=hostile) if c.part == "glasses" else c for c in data.effects.columns]
    attacked = replace(
        data,
        parts=[hostile if name == "glasses" else name for name in data.parts],
        effects=replace(data.effects, columns=columns),
        units=[{**row, "layer": hostile, "part": hostile} for row in data.units],
        strips=[replace(s, class_name=hostile) for s in data.strips],
        perturbation=hostile,
    )
    file = tmp_path / "hostile.html"
    file.write_bytes(build(replace(report, quantify=attacked)))
    with browser.opened(chromium, file, width=390, height=844) as opened:
        opened.page.locator(".part-chip").nth(8).click()
        opened.go("unit-37")
        opened.go("units")
        assert opened.page.title() == f"{report.title} · UnitScope"
        assert opened.problems == []
        assert opened.requests == []
        assert opened.overflow() <= 0
