"""The counterfactual report in a real browser: can a person find a pair, and read it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import browser
from tests.workers.report import counterfactual_sample as sample
from unitscope.worlds.factors import CLASSES
from workers.report import build

pytestmark = pytest.mark.integration

PAIRS = [(o, t) for o in CLASSES[:5] for t in CLASSES[:5] if o != t]

SPRITE = """(node) => {
  const style = getComputedStyle(node);
  return [style.backgroundImage.slice(0, 15), node.getBoundingClientRect().width];
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("counterfactual") / "report.html"
    file.write_bytes(build(sample.report(PAIRS, own=2)))
    return file


def pairs(opened: browser.Opened) -> list[tuple[str, str]]:
    found = opened.page.locator(".cf-pair:visible").evaluate_all(
        "nodes => nodes.map((n) => [n.dataset.origin, n.dataset.target])"
    )
    return [(origin, target) for origin, target in found]


def unfolded(opened: browser.Opened) -> int:
    return opened.page.locator(".cf-pair > details[open]").count()


def test_it_opens_clean_and_fits_its_window(opened: browser.Opened) -> None:
    for section in ("matrix", "own", "pairs", "pairs-numbers", "failures", "linker", "methods"):
        assert opened.page.locator(f"#{section}").is_visible(), section
    assert unfolded(opened) == 12
    assert opened.overflow() <= 0
    opened.page.get_by_role("button", name="Open all").click()
    assert unfolded(opened) == len(PAIRS)
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert opened.overflow() <= 0
    for node in opened.page.locator(".cf-hero .sprite, .cf-trio .cf-pic").all()[:4]:
        image, width = node.evaluate(SPRITE)
        assert image.startswith('url("data:image')
        assert width > 60
    assert opened.problems == []
    assert opened.requests == []


def test_pairs_are_filtered_by_class(opened: browser.Opened) -> None:
    form = opened.page.locator("#pair-filter")
    form.get_by_label("From").select_option("bun")
    wanted = {pair for pair in PAIRS if pair[0] == "bun"}
    assert set(pairs(opened)) == wanted
    assert opened.page.locator("#pair-count").inner_text() == f"{len(wanted)} of {len(PAIRS)} pairs"
    form.get_by_label("To").select_option("hat")
    assert pairs(opened) == [("bun", "hat")]
    assert opened.page.locator(".cf-pair:visible > details[open]").count() == 1
    form.get_by_label("From").select_option("")
    assert set(pairs(opened)) == {pair for pair in PAIRS if pair[1] == "hat"}


def test_a_cell_of_the_matrix_opens_its_pair(desktop: browser.Opened) -> None:
    desktop.page.get_by_role("button", name="Close all").click()
    assert unfolded(desktop) == 0
    desktop.page.locator("#pair-filter").get_by_label("From").select_option("hat")
    anchor = f"pair-{CLASSES.index('bun')}-{CLASSES.index('long_hair')}"
    desktop.page.locator(f".cf-heat a[href='#{anchor}']").click()
    body = desktop.page.locator(f"#{anchor}")
    body.wait_for(state="visible")
    assert len(pairs(desktop)) == len(PAIRS)
    # The page glides there.
    top = "arg.getBoundingClientRect().top"
    desktop.until(f"0 <= {top} && {top} < 200", body.locator("xpath=ancestor::article").element_handle())
    # The very same link again, after its pair was closed.
    desktop.page.get_by_role("button", name="Close all").click()
    desktop.page.locator(f".cf-heat a[href='#{anchor}']").click()
    body.wait_for(state="visible")


@pytest.mark.parametrize("javascript", [True, False])
def test_the_matrix_is_switched_with_and_without_script(chromium: Any, path: Path, javascript: bool) -> None:
    with browser.opened(chromium, path, javascript=javascript) as opened:
        cell = opened.page.locator(".cf-heat td.found").first
        far = cell.inner_text()
        opened.page.get_by_text("through which part", exact=True).click()
        part = cell.inner_text()
        opened.page.get_by_role("radio", name="how often").focus()
        opened.page.keyboard.press("Space")
        often = cell.inner_text()
        assert float(far.split()[0]) > 0
        assert part.split()[0] in ("hair", "hat")
        assert often == "100\u202f%"


def test_a_link_opens_a_folded_pair_without_script(chromium: Any, path: Path) -> None:
    with browser.opened(chromium, path, javascript=False) as opened:
        assert opened.page.locator(".script-only:visible").count() == 0
        assert unfolded(opened) == 12
        folded = opened.page.locator(".cf-pair > details:not([open]) .cf-body").first
        anchor = folded.get_attribute("id")
        opened.page.locator(f".cf-heat a[href='#{anchor}']").click()
        opened.page.locator(f"#{anchor}").wait_for(state="visible")
        assert unfolded(opened) == 13


def test_the_chart_stands_below_its_frames(opened: browser.Opened) -> None:
    """The point of every frame lies below the middle of its picture."""
    off = opened.page.locator(".cf-hero").evaluate(
        """(hero) => {
          const frames = [...hero.querySelectorAll(".cf-frames li")].map((n) => n.getBoundingClientRect());
          const line = hero.querySelector("polyline.cf-target");
          const matrix = line.getScreenCTM();
          const points = [...line.points].map((p) => p.matrixTransform(matrix).x);
          return points.map((x, k) => Math.abs(x - (frames[k].left + frames[k].right) / 2));
        }"""
    )
    assert len(off) == sample.FRAMES + 1
    assert max(off) < 2


def test_strips_scroll_inside_their_own_box_on_a_phone(chromium: Any, path: Path) -> None:
    with browser.opened(chromium, path, width=390, height=844) as opened:
        for selector in (".cf-hero .cf-film", ".cf-scroll"):
            box = opened.page.locator(selector).first
            inner, outer = box.evaluate("node => [node.scrollWidth, node.clientWidth]")
            assert inner > outer, selector
            assert box.get_attribute("tabindex") == "0"
        heading = opened.page.locator(".cf-heat tbody th").first
        opened.page.locator(".cf-scroll").evaluate("node => { node.scrollLeft = 120; }")
        assert heading.evaluate("node => node.getBoundingClientRect().left") >= 16


def test_the_table_of_pairs_is_sorted_and_filtered(desktop: browser.Opened) -> None:
    heading = desktop.page.locator("#pairs-table th", has_text="Distance")
    heading.get_by_role("button").click()
    cells = desktop.page.locator("#pairs-table tbody tr:visible td:nth-child(5)")
    far = [float(text.split()[0]) for text in cells.all_inner_texts()]
    assert far == sorted(far, reverse=True)
    assert len(set(far)) > 3
    desktop.page.locator("[data-filter=pairs-table]").fill("bun curly")
    assert desktop.page.locator("#pairs-table tbody tr:visible").count() == 2


def test_paper_shows_folded_pairs(desktop: browser.Opened) -> None:
    desktop.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert unfolded(desktop) == len(PAIRS)
    desktop.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert unfolded(desktop) == 12


def test_a_hostile_name_does_nothing(chromium: Any, tmp_path: Path) -> None:
    hostile = "</style></script><img src=x onerror=\"document.title='taken'\">.svg"
    report = sample.report([("bun", "hat"), ("hat", "bun")], own=0)
    assert report.counterfactual is not None

    def renamed(row: Any) -> Any:
        return {key: hostile if value == "hat" else value for key, value in row.items()}

    data = report.counterfactual
    attacked = sample.replace(
        report,
        title=hostile,
        counterfactual=sample.replace(
            data,
            classes=[hostile if name == "hat" else name for name in CLASSES],
            rows=[renamed(row) for row in data.rows],
            pairs=[renamed(row) for row in data.pairs],
            shown=[sample.replace(s, row=renamed(s.row)) for s in data.shown],
            unknown={hostile: [hostile]},
        ),
    )
    file = tmp_path / "hostile.html"
    file.write_bytes(build(attacked))
    with browser.opened(chromium, file) as opened:
        assert opened.page.title() == f"{hostile} · UnitScope"
        assert opened.page.locator(".cf-pair").count() == 2
        assert opened.problems == []
        assert opened.requests == []
