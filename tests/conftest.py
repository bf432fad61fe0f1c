"""What all tests share.

Integration tests skip, with a reason, where a program they need is absent. Where set-up has installed
everything, ``UNITSCOPE_TEST_REQUIRE_ALL=1`` (set by ``make test``) turns such a skip into a failure.

What a test finds shall not depend on who started it: settings, proxies, colours and the width of a terminal
are taken out of the environment, and hypothesis tries the same examples each time, however long they take.
``pytest --hypothesis-profile=explore`` looks for others.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import hypothesis
import pytest

REQUIRE_ALL = "UNITSCOPE_TEST_REQUIRE_ALL"
FOREIGN = (
    *(
        "FORCE_COLOR",
        "NO_COLOR",
        "PY_COLORS",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "TTY_COMPATIBLE",
        "TTY_INTERACTIVE",
    ),
    *("GITHUB_ACTIONS", "TERMINAL_WIDTH", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTEST_ADDOPTS"),
    *(f"{scheme}_proxy" for scheme in ("http", "https", "grpc", "all")),
    *(f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "GRPC", "ALL")),
)
"""Variables that change what programs write, or whom they speak to on loopback."""

_UNHURRIED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("explore", **_UNHURRIED)
hypothesis.settings.register_profile("steady", derandomize=True, **_UNHURRIED)
hypothesis.settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    # A developer's own settings must not reach the servers that tests start.
    for name in [n for n in os.environ if n.startswith("UNITSCOPE_") and n != REQUIRE_ALL]:
        del os.environ[name]
    for name in FOREIGN:
        os.environ.pop(name, None)
    # Else programs ask the terminal, if there is one, how wide it is.
    os.environ["COLUMNS"], os.environ["LINES"] = "80", "25"
    # Ignored where a script started the tests in the background, and then by all that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
