"""The report in a real browser, at desktop and at phone width."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import browser
from tests.workers.report import sample
from workers.report import build

pytestmark = pytest.mark.integration

SECTIONS = ("gallery", "linker", "units", "provenance", "methods")

READ_FRAMES = """async (image) => {
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_bytes(build(sample.report(units=14, seeds=1, steps=5)))
    return file


def column(opened: browser.Opened, number: int, table: str = "units-table") -> list[str]:
    cells = opened.page.locator(f"#{table} tbody tr:visible td:nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_it_opens_clean(opened: browser.Opened) -> None:
    page = opened.page
    for section in SECTIONS:
        assert page.locator(f"#{section}").is_visible()
    assert page.evaluate("[...document.images].filter((i) => !i.complete || !i.naturalWidth).length") == 0
    page.locator("#linker details summary").click()
    page.locator("#provenance details summary").click()
    assert opened.overflow() <= 0
    assert opened.problems == []
    assert opened.requests == []


def test_neighbouring_frames_of_each_strip_differ(opened: browser.Opened) -> None:
    steps = 5
    images = opened.page.locator(".strip img").all()[:4]
    assert len(images) == 4
    for image in images:
        pixels = np.array(image.evaluate(READ_FRAMES), np.float32).reshape(64, 64 * steps, 4)[..., :3]
        parts = np.split(pixels, steps, axis=1)
        changes = [float(np.abs(b - a).mean()) for a, b in pairwise(parts)]
        assert min(changes) > 0.05
        assert np.abs(parts[-1] - parts[0]).mean() > 1


def test_a_heading_sorts_by_mouse_and_by_key(opened: browser.Opened) -> None:
    heading = opened.page.locator("#units-table th", has_text="Class changes")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    shares = [float(text.rstrip("%\u202f")) for text in column(opened, 5)]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) > 1
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text.rstrip("%\u202f")) for text in column(opened, 5)] == sorted(shares)
    assert opened.page.locator("#units-table th[aria-sort]").count() == 1


def test_words_are_sorted_as_words(opened: browser.Opened) -> None:
    opened.page.locator("#units-table th", has_text="Strongest class").get_by_role("button").click()
    names = column(opened, 3)
    assert names == sorted(names)


def test_the_table_is_filtered(opened: browser.Opened) -> None:
    everything = column(opened, 3)
    wanted = everything[0]
    opened.page.get_by_label("Filter").last.fill(wanted)
    shown = column(opened, 3)
    assert 0 < len(shown) < len(everything)
    assert set(shown) == {wanted}
    assert opened.page.locator("[data-count=units-table]").inner_text() == f"{len(shown)} of 14"


def test_a_unit_shows_more_strips_when_asked(opened: browser.Opened) -> None:
    card = opened.page.locator(".card").first
    assert card.locator(".strip:visible").count() == 4
    button = card.get_by_role("button")
    button.click()
    assert card.locator(".strip:visible").count() == 8
    assert button.get_attribute("aria-expanded") == "true"
    button.click()
    assert card.locator(".strip:visible").count() == 4


def test_the_gallery_shows_one_class(opened: browser.Opened) -> None:
    opened.page.get_by_label("Pictures made for").select_option("beanie")
    shown = opened.page.locator(".strip:visible")
    assert shown.count() == opened.page.locator(".card:visible").count()
    assert set(shown.evaluate_all("nodes => nodes.map((n) => n.dataset.class)")) == {"beanie"}


def test_later_units_come_by_button_and_by_link(opened: browser.Opened) -> None:
    page = opened.page
    assert page.locator(".card:visible").count() == 12
    last = page.locator(".card").last
    page.evaluate(f"location.hash = '{last.get_attribute('id')}'")
    last.wait_for(state="visible")
    assert page.locator(".card:visible").count() == 14
    page.reload()
    page.goto(page.url.split("#")[0])
    page.get_by_role("button", name="Show more units (2 left)").click()
    assert page.locator(".card:visible").count() == 14


def test_strips_scroll_inside_their_frame_on_a_phone(chromium: Any, path: Path) -> None:
    with browser.opened(chromium, path, width=390, height=844) as opened:
        film = opened.page.locator(".film").first
        inner, outer = film.evaluate("node => [node.scrollWidth, node.clientWidth]")
        assert inner > outer
        assert film.get_attribute("tabindex") == "0"
        assert film.evaluate("node => { node.scrollLeft = 20; return node.scrollLeft; }") == 20


def test_dark_is_dark(chromium: Any, path: Path) -> None:
    def brightness(*, dark: bool) -> int:
        with browser.opened(chromium, path, dark=dark) as opened:
            colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(int(part) for part in colour.strip("rgb()").split(","))

    assert brightness(dark=True) < 150
    assert brightness(dark=False) > 650


def test_without_script_everything_is_shown(chromium: Any, path: Path) -> None:
    with browser.opened(chromium, path, javascript=False) as opened:
        assert opened.page.locator(".card:visible").count() == 14
        assert opened.page.locator(".strip:visible").count() == 14 * 8
        assert opened.page.locator(".script-only:visible").count() == 0


def test_a_hostile_name_does_nothing(chromium: Any, tmp_path: Path) -> None:
    hostile = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    report = sample.report(units=1, seeds=1, classes=2)
    attacked = replace(
        report,
        title=hostile,
        units=[{**row, "strongest_class": hostile} for row in report.units],
        traversals=[replace(t, class_name=hostile, seed=k) for k, t in enumerate(report.traversals)],
        spec={"name": "</pre></script>" + hostile},
    )
    file = tmp_path / "hostile.html"
    file.write_bytes(build(attacked))
    with browser.opened(chromium, file) as opened:
        assert opened.page.title() == f"{hostile} · UnitScope"
        assert opened.page.locator("h1").inner_text() == hostile
        assert opened.problems == []
        assert opened.requests == []


def test_a_link_report_opens_clean(chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "link.html"
    file.write_bytes(build(sample.link_report()))
    with browser.opened(chromium, file, width=390, height=844) as opened:
        assert opened.page.locator(".triples img").count() == 8
        assert opened.page.locator(".panel").count() == 4
        assert opened.overflow() <= 0
        assert opened.problems == []
