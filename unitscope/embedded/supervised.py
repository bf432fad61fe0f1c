"""One supervised program: started, probed, restarted when it dies, ended with all its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unitscope.embedded import guardian
from unitscope.embedded.health import Probe

State = Literal["waiting", "starting", "healthy", "restarting", "failed", "stopped"]

DEATHS_BEFORE_HEALTHY = 3
"""A program that dies this often without ever being healthy is not started again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STEADY_SECONDS = 30.0
"""A program that lived this long is restarted without the pause of earlier restarts."""
MAX_LOG_BYTES = 16 << 20
_POLL = 0.1


@dataclass(frozen=True)
class Program:
    """What to run.

    Attributes:
        name: Its name, also of its log file.
        command: The command line.
        environment: Variables beside those of the supervisor.
        probe: Whether it does its work.
        address: Where it answers, if it does.
        stop_signal: What asks it to end.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probe: Probe
    address: str = ""
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class ServiceState:
    """A program as it stands: its process id (0 where none runs) and how often it was restarted."""

    name: str
    state: State
    address: str
    pid: int
    restarts: int
    log: Path


class Supervised:
    """A program with the thread that looks after it."""

    def __init__(self, program: Program, mark: str, folder: Path, log: Path) -> None:
        """Prepares; `start` runs it.

        Args:
            program: What to run.
            mark: Mark of this program's processes; ends in ``/``.
            folder: Where it runs.
            log: Where its output goes.
        """
        self.program = program
        self._mark = mark
        self._folder = folder
        self._log = log
        self._state: State = "waiting"
        self._restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._wanted = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._run, name=f"up-{program.name}", daemon=True)

    @property
    def state(self) -> ServiceState:
        """The program as it stands."""
        process = self._process
        pid = process.pid if process is not None and process.poll() is None else 0
        return ServiceState(
            self.program.name, self._state, self.program.address, pid, self._restarts, self._log
        )

    def start(self) -> None:
        """Starts it, and goes on looking after it."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Sends the stop signal; it is not restarted from now on."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                process.send_signal(self.program.stop_signal)

    def stopped(self, seconds: float) -> None:
        """Waits for the end at most that long, and ends by force what is left of it then."""
        until = time.monotonic() + seconds
        while self.state.pid and time.monotonic() < until:
            time.sleep(_POLL / 4)
        guardian.end(self._mark, terminate_seconds=0.0)
        if self._thread.is_alive():
            self._thread.join()
        self._state = "stopped"

    def kill(self) -> None:
        """SIGKILL to the program and all its descendants, as the system might: for trials and tests."""
        for pid in guardian.marked(self._mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def processes(self) -> list[int]:
        """The ids of the program's processes, its descendants among them."""
        return guardian.marked(self._mark)

    def take_down(self) -> None:
        """Kills it, and keeps it down until `bring_up`: an outage, for trials and tests."""
        self._wanted.clear()
        self.kill()

    def bring_up(self) -> None:
        """Ends an outage."""
        self._wanted.set()

    def last_lines(self, count: int = 5) -> str:
        """The end of its log."""
        with suppress(OSError):
            lines = self._log.read_text("utf-8", errors="replace").splitlines()
            return "\n".join([line for line in lines if line.strip()][-count:])
        return ""

    def _run(self) -> None:
        pause = FIRST_PAUSE
        was_healthy = False
        while not self._stopping.is_set():
            began = time.monotonic()
            self._spawn()
            was_healthy = self._until_healthy() or was_healthy
            self._until_dead()
            # Descendants that outlive their program would hold its ports.
            guardian.end(self._mark, terminate_seconds=0.0)
            if self._stopping.is_set():
                break
            self._restarts += 1
            if not was_healthy and self._restarts >= DEATHS_BEFORE_HEALTHY:
                self._state = "failed"
                return
            self._state = "restarting"
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._stopping.wait(pause)
            while not self._wanted.wait(_POLL) and not self._stopping.is_set():
                self._state = "stopped"
            pause = min(2 * pause, LONGEST_PAUSE)

    def _spawn(self) -> None:
        self._state = "starting"
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".old.log"))
        environment = {
            **os.environ,
            **self.program.environment,
            guardian.VARIABLE: self._mark,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        if self._stopping.is_set():  # asked to stop between the look at the event and the start
            self._process.kill()

    def _until_healthy(self) -> bool:
        """Probes until the program is healthy or dead; whether it is healthy."""
        while self.state.pid and not self._stopping.is_set():
            if self.program.probe():
                self._state = "healthy"
                return True
            self._stopping.wait(_POLL)
        return False

    def _until_dead(self) -> None:
        assert self._process is not None
        self._process.wait()
