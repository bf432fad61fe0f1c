"""What makes sure that no process of an embedded stack outlives its supervisor.

Every process of a stack carries a mark in its environment, and so do its descendants, whatever session
or group they moved to. The guardian is a small process beside the supervisor. It waits for the end of
its standard input, which the kernel closes when the supervisor ends, however it ends; then it ends
everything that still carries the mark. It shares the lock of the stack's home, so that no other stack
starts there before all is gone.

Run by file, isolated, and so on the standard library alone: ``python -I -S guardian.py MARK``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

VARIABLE = "UNITSCOPE_EMBEDDED_MARK"
TERMINATE_SECONDS = 3.0
KILL_SECONDS = 5.0


def marked(mark: str) -> list[int]:
    """The ids of all running processes, but this one, whose mark begins with `mark`.

    Zombies do not count. Empty where the system has no ``/proc``.
    """
    wanted = f"{VARIABLE}={mark}".encode()
    found: list[int] = []
    with suppress(FileNotFoundError):
        names = os.listdir("/proc")
        found = [int(n) for n in names if n.isdigit() and int(n) != os.getpid() and _has(n, wanted)]
    return found


def end(mark: str, terminate_seconds: float = TERMINATE_SECONDS) -> None:
    """Ends all processes with the mark: SIGTERM, and SIGKILL for what is still there after a while."""
    if _signal(mark, signal.SIGTERM, terminate_seconds):
        _signal(mark, signal.SIGKILL, KILL_SECONDS)


def _signal(mark: str, number: signal.Signals, seconds: float) -> bool:
    """Sends a signal to each marked process once; whether any is left after that time."""
    told: set[int] = set()
    until = time.monotonic() + seconds
    while left := marked(mark):
        for pid in set(left) - told:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        told.update(left)
        if time.monotonic() >= until:
            return True
        time.sleep(0.05)
    return False


def _has(pid: str, wanted: bytes) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return any(entry.startswith(wanted) for entry in file.read().split(b"\0"))
    return False


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(4096):
        pass
    end(sys.argv[1])


if __name__ == "__main__":
    _main()
