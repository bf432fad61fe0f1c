"""The rule that a skipped integration test is a failure where everything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CASES = """
import os
import pytest

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
"""


@pytest.mark.parametrize(
    ("value", "counts"), [("1", "1 failed, 1 passed, 1 skipped, 1 error"), ("0", "1 passed, 3 skipped")]
)
def test_a_skip_counts_where_it_must_not_happen(tmp_path: Path, value: str, counts: str) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_cases.py").write_text(_CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = integration\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "UNITSCOPE_TEST_REQUIRE_ALL": value, "UNITSCOPE_STORE_URL": "directory:/nowhere"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert counts in done.stdout, done.stdout
