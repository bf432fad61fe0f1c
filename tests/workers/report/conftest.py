"""A report in a real browser: a test module says with a fixture ``path`` which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import browser

SIZES = [pytest.param((1280, 900), id="desktop"), pytest.param((390, 844), id="phone")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as running:
        yield running


@pytest.fixture(params=SIZES)
def opened(request: pytest.FixtureRequest, chromium: Any, path: Path) -> Iterator[browser.Opened]:
    """The report, in a wide and in a narrow window."""
    width, height = request.param
    with browser.opened(chromium, path, width=width, height=height) as page:
        yield page


@pytest.fixture
def desktop(chromium: Any, path: Path) -> Iterator[browser.Opened]:
    """The report in a wide window."""
    with browser.opened(chromium, path) as page:
        yield page
