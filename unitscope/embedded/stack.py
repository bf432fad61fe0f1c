"""The embedded stack as one thing: a context manager that starts, watches and stops all programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from unitscope.client import Client
from unitscope.embedded import guardian
from unitscope.embedded.home import DEFAULT_HOME, Endpoints, code_root, home_at, models_root
from unitscope.embedded.programs import programs
from unitscope.embedded.supervised import ServiceState, Supervised
from unitscope.errors import FailedPreconditionError, NotFoundError, UnavailableError

WORKER_SECONDS, SERVICE_SECONDS = 1.0, 8.0
"""How long the worker, and then the services, may take to end before they are killed. A worker loses
nothing by it: it would throw away the chunk it is on in any case."""

Listener = Callable[[tuple[ServiceState, ...]], None]
"""Is told the states of all programs, again and again while they start."""


class Embedded:
    """A whole installation on this machine, in one folder.

    What the folder holds outlives the stack: jobs that were running go on when it starts again.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] = DEFAULT_HOME,
        models: str | os.PathLike[str] | None = None,
        *,
        concurrency: int = 2,
        environment: Mapping[str, str] | None = None,
        start_seconds: float = 180.0,
    ) -> None:
        """Prepares a stack; `start`, or entering the context, starts it.

        Args:
            home: The folder for store, broker and logs; made where it is missing.
            models: The folder of model packs; see `unitscope.embedded.models_root`.
            concurrency: Chunks that are worked on at once.
            environment: Variables for all programs, e.g. settings of `unitscope.settings`.
            start_seconds: How long the programs may take until all are healthy.
        """
        self.home = home_at(home)
        self.models = models_root(models)
        self.endpoints = Endpoints()
        self._concurrency = concurrency
        self._environment = dict(environment or {})
        self._start_seconds = start_seconds
        self._programs: list[Supervised] = []
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    def start(self, listener: Listener | None = None) -> None:
        """Starts all programs and waits until each is healthy; stops all again where one is not.

        Args:
            listener: Is told the states, several times a second.

        Raises:
            FailedPreconditionError: Another stack runs in this home (HOME_IN_USE), the folder of
                models is missing (MODELS_NOT_FOUND), or a part is not installed (NOT_INSTALLED).
            UnavailableError: A program did not become healthy (reason SERVICE_DID_NOT_START).
        """
        if not self.models.is_dir():
            raise FailedPreconditionError(
                f"there is no folder of models at {self.models}; name one with --models or "
                "UNITSCOPE_MODELS_ROOT",
                reason="MODELS_NOT_FOUND",
            )
        self.home.prepare()
        self._lock = self.home.lock()
        try:
            # Only a stack whose guardian was killed as well leaves anything here.
            guardian.end(self.home.mark)
            self._guardian = _start_guardian(self.home.mark, self._lock)
            self._start_programs()
            self._wait(listener)
        except BaseException:
            self.stop()
            raise
        self.home.publish(self.endpoints)

    def stop(self) -> None:
        """Ends all programs; nothing of them is left when this returns. May be called twice."""
        if self._lock is None:
            return
        self.home.withdraw()
        workers = [p for p in self._programs if p.program.name == "worker"]
        services = [p for p in self._programs if p.program.name != "worker"]
        for group, seconds in ((workers, WORKER_SECONDS), (services, SERVICE_SECONDS)):
            until = time.monotonic() + seconds
            for program in group:
                program.ask_to_stop()
            for program in group:
                program.stopped(max(0.0, until - time.monotonic()))
        self._programs = []
        if self._guardian is not None:
            assert self._guardian.stdin is not None
            self._guardian.stdin.close()
            self._guardian.wait()
            self._guardian = None
        os.close(self._lock)
        self._lock = None

    def states(self) -> tuple[ServiceState, ...]:
        """All programs as they stand."""
        return tuple(program.state for program in self._programs)

    def client(self, *, timeout: float = 30.0, patience: float = 60.0) -> Client:
        """A client of this stack; arguments are those of `unitscope.Client`."""
        return Client(self.endpoints.gateway, timeout=timeout, patience=patience)

    def kill(self, name: str) -> None:
        """SIGKILL to one program with all its descendants, as the system might; it is restarted.

        Raises:
            NotFoundError: The stack runs no program of that name.
        """
        self.supervised(name).kill()

    def supervised(self, name: str) -> Supervised:
        """One program, to be looked at, killed or taken down for a while.

        Raises:
            NotFoundError: The stack runs no program of that name.
        """
        for program in self._programs:
            if program.program.name == name:
                return program
        known = ", ".join(program.program.name for program in self._programs) or "none"
        raise NotFoundError(f"no program {name!r} runs in this stack; there are: {known}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_programs(self) -> None:
        self.endpoints = Endpoints.allocate()
        for program in programs(self.home, self.models, self.endpoints, self._concurrency, self._environment):
            log = self.home.logs / f"{program.name}.log"
            mark = f"{self.home.mark}{program.name}/"
            self._programs.append(Supervised(program, mark, code_root(), log))
        for supervised in self._programs:
            supervised.start()

    def _wait(self, listener: Listener | None) -> None:
        until = time.monotonic() + self._start_seconds
        while True:
            states = self.states()
            if listener is not None:
                listener(states)
            if all(state.state == "healthy" for state in states):
                return
            late = time.monotonic() > until
            for supervised, state in zip(self._programs, states, strict=True):
                if state.state == "failed" or (late and state.state != "healthy"):
                    raise _did_not_start(supervised, state, self._start_seconds)
            time.sleep(0.1)


def _start_guardian(mark: str, lock: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (sys.executable, "-I", "-S", Path(guardian.__file__), mark),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(lock,),
        start_new_session=True,
    )


def _did_not_start(program: Supervised, state: ServiceState, seconds: float) -> UnavailableError:
    how = (
        f"ended {state.restarts} times before it was healthy"
        if state.state == "failed"
        else f"was not healthy within {seconds:g} seconds"
    )
    return UnavailableError(
        f"the {state.name} {how}; the end of its log {state.log}:\n{program.last_lines()}",
        reason="SERVICE_DID_NOT_START",
        service=state.name,
        log=state.log,
    )
