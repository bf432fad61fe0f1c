"""The rule that a skipped integration test is a failure where everything is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

_CASES = """
import os
import signal
import time
import pytest
from hypothesis import given
from hypothesis import strategies as st

@pytest.mark.integration
def test_marked():
    pytest.skip("no such program")

@pytest.mark.integration
@pytest.mark.skipif(True, reason="not here")
def test_marked_by_condition():
    pass

def test_plain():
    pytest.skip("may be skipped anywhere")

def test_settings_of_a_developer_do_not_reach_tests():
    assert "UNITSCOPE_STORE_URL" not in os.environ
    assert not {"FORCE_COLOR", "GITHUB_ACTIONS", "PYTEST_ADDOPTS", "http_proxy"} & set(os.environ)
    assert os.environ["COLUMNS"] == "80"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

seen = []

@given(st.integers())
def look(number):
    seen.append(number)
    if len(seen) == 1:
        time.sleep(0.3)  # beyond the deadline that hypothesis sets

def test_examples_are_the_same_and_have_time():
    look()
    first = list(seen)
    seen.clear()
    look()
    assert first == seen
"""


@pytest.mark.parametrize(
    ("value", "counts"), [("1", "1 failed, 2 passed, 1 skipped, 1 error"), ("0", "2 passed, 3 skipped")]
)
def test_a_skip_counts_where_it_must_not_happen(tmp_path: Path, value: str, counts: str) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_cases.py").write_text(_CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = integration\n")
    foreign = {
        "FORCE_COLOR": "1",
        "GITHUB_ACTIONS": "true",
        "http_proxy": "http://proxy.invalid",
        "COLUMNS": "20",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            **foreign,
            "UNITSCOPE_TEST_REQUIRE_ALL": value,
            "UNITSCOPE_STORE_URL": "directory:/nowhere",
        },
        # As a script does that starts the tests in the background.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert counts in done.stdout, done.stdout + done.stderr
