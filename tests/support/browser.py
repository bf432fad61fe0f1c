"""A headless Chromium for tests of pages.

A test that uses it is marked ``integration``: it skips where there is no Chromium, and fails there when
``UNITSCOPE_TEST_REQUIRE_ALL=1`` (``tests/conftest.py``)::

    @pytest.fixture(scope="module")
    def chromium():
        with browser.chromium() as running:
            yield running

    def test_page(chromium, tmp_path):
        with browser.opened(chromium, tmp_path / "page.html", width=390, height=844) as opened:
            assert opened.page.title() == "…"
            assert opened.problems == []
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PATIENCE_MS = 120_000
"""How long a page may take; tests share machines with heavy work."""

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Opened:
    """A page, and what went on while it was open.

    A page acts in its own time: after what has to lead to something, `go`, `follow`, `until` or
    Playwright's `expect` wait for it.

    Attributes:
        page: Playwright's page.
        problems: What the console and uncaught errors said.
        requests: Addresses that were asked for, the file itself and data URIs aside.
    """

    page: sync_api.Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def go(self, fragment: str) -> None:
        """Goes to a place of the page, and waits until the page has followed."""
        self.page.evaluate(
            """(fragment) => new Promise((done) => {
              if (location.hash === `#${fragment}`) { done(); return; }
              // Called after the listeners of the page, which were there before.
              addEventListener("hashchange", () => done(), { once: true });
              location.hash = fragment;
            })""",
            fragment,
        )

    def follow(self, act: Callable[[], object]) -> None:
        """Does what leads to another place of the page, and waits until the page has followed."""
        self.page.evaluate(
            """() => {
              window.followed = false;
              addEventListener("hashchange", () => { window.followed = true; }, { once: true });
            }"""
        )
        act()
        self.until("window.followed")

    def until(self, condition: str, arg: object = None) -> None:
        """Waits until an expression, in which `arg` may occur, is true in the page.

        Playwright's own `wait_for_function` looks again by means that the policy of our pages forbids.
        """
        self.page.evaluate(
            f"""async (arg) => {{
              const end = performance.now() + {PATIENCE_MS};
              while (!({condition})) {{
                if (performance.now() > end) throw new Error("it did not come to pass");
                await new Promise((next) => setTimeout(next, 20));
              }}
            }}""",
            arg,
        )

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            self.page.evaluate(
                "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
            )
        )


def program() -> str | None:
    """The path of an installed Chromium, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[sync_api.Browser]:
    """A running browser; skips the test, with the reason, where none is installed."""
    path = program()
    if path is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(PROGRAMS)}): install chromium")
    # Chromium's sandbox refuses to run as root, which containers do.
    sandbox = os.geteuid() != 0
    # Else five seconds, whatever a page's own patience is.
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            chromium_sandbox=sandbox,
            args=["--disable-dev-shm-usage"],
            timeout=PATIENCE_MS,
        )
        try:
            yield running
        finally:
            running.close()


@contextmanager
def opened(
    browser: sync_api.Browser,
    path: Path,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    javascript: bool = True,
) -> Iterator[Opened]:
    """A file, opened from disk in a window of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=javascript,
    )
    try:
        context.set_default_timeout(PATIENCE_MS)
        address = path.resolve().as_uri()
        result = Opened(context.new_page())
        result.page.on("console", lambda message: result.problems.append(message.text))
        result.page.on("pageerror", lambda error: result.problems.append(str(error)))
        result.page.on(
            "request",
            lambda request: (
                None
                if request.url.split("#")[0] == address or request.url.startswith("data:")
                else result.requests.append(request.url)
            ),
        )
        result.page.goto(address)
        yield result
    finally:
        context.close()
