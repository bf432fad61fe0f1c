"""Memory that a thread has freed goes back to the machine."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import threading
from pathlib import Path
from services.classifier.memory import give_back

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS"))

kept = []

def work():
    # Blocks that are too small to be mapped one by one, and one that stays above them all.
    blocks = [bytearray(b"x" * 65_536) for _ in range(4_000)]
    kept.append(bytearray(b"x" * 65_536))
    blocks.clear()

thread = threading.Thread(target=work)
thread.start()
thread.join()
before = resident()
give_back()
print(before, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_what_a_thread_has_freed_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=120
    )
    before, after = map(int, done.stdout.split())
    assert before > 250
    assert after < before - 200
