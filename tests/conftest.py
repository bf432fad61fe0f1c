"""What all tests share.

Integration tests skip, with a reason, where a program they need is absent. Where set-up has installed
everything, ``UNITSCOPE_TEST_REQUIRE_ALL=1`` (set by ``make test``) turns such a skip into a failure.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRE_ALL = "UNITSCOPE_TEST_REQUIRE_ALL"


def pytest_configure(config: pytest.Config) -> None:
    # A developer's own settings must not reach the servers that tests start.
    for name in [n for n in os.environ if n.startswith("UNITSCOPE_") and n != REQUIRE_ALL]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    required = os.environ.get(REQUIRE_ALL) == "1" and item.get_closest_marker("integration")
    if report.skipped and required and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"an integration test was skipped where none may be: {reason}"
    return report
