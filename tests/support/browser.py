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
from collections.abc import Iterator
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

    Attributes:
        page: Playwright's page.
        problems: What the console and uncaught errors said.
        requests: Addresses that were asked for, the file itself and data URIs aside.
    """

    page: sync_api.Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

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
