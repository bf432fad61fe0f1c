"""Supervision of small real programs: restarts, failures, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unitscope.embedded import find, guardian
from unitscope.embedded.home import Endpoints, home_at, models_root
from unitscope.embedded.stack import Embedded
from unitscope.embedded.supervised import Program, Supervised
from unitscope.errors import FailedPreconditionError, NotFoundError, UnitScopeError

ROOT = Path(__file__).parents[2]
# A program with a child in a session of its own: no signal to a process group reaches it.
FAMILY = (
    "import subprocess, sys, time\n"
    "child = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
    "print('up', flush=True)\n"
    "subprocess.Popen(child, start_new_session=True)\n"
    "time.sleep(600)\n"
)


def eventually(condition: Callable[[], object], seconds: float = 120.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    text = home_at(tmp_path).mark
    yield text
    guardian.end(text, terminate_seconds=0)


def supervise(tmp_path: Path, mark: str, code: str, healthy: int = 1) -> Supervised:
    program = Program(
        name="small",
        command=(sys.executable, "-c", code),
        environment={},
        probe=lambda: len(guardian.marked(mark)) >= healthy,
    )
    return Supervised(program, mark, tmp_path, tmp_path / "small.log")


def test_a_killed_program_is_restarted_and_its_descendants_are_ended(tmp_path: Path, mark: str) -> None:
    small = supervise(tmp_path, mark, FAMILY, healthy=2)
    small.start()
    assert eventually(lambda: small.state.state == "healthy")
    first = set(guardian.marked(mark))
    assert len(first) == 2
    os.kill(small.state.pid, signal.SIGKILL)
    assert eventually(lambda: small.state.restarts == 1 and small.state.state == "healthy")
    assert not first & set(guardian.marked(mark))
    small.kill()
    assert eventually(lambda: small.state.restarts == 2 and small.state.state == "healthy")
    small.ask_to_stop()
    small.stopped(10)
    assert guardian.marked(mark) == []
    assert small.state.state == "stopped"
    assert small.last_lines().splitlines()[-1] == "up"


def test_an_outage_lasts_until_it_is_ended(tmp_path: Path, mark: str) -> None:
    small = supervise(tmp_path, mark, "import time; time.sleep(600)")
    small.start()
    assert eventually(lambda: small.state.state == "healthy")
    assert small.processes == [small.state.pid]
    small.take_down()
    assert eventually(lambda: small.state.state == "stopped")
    time.sleep(0.5)
    assert small.processes == []
    small.bring_up()
    assert eventually(lambda: small.state.state == "healthy")
    small.take_down()
    assert eventually(lambda: small.state.state == "stopped")
    small.ask_to_stop()
    small.stopped(5)
    assert guardian.marked(mark) == []


def test_a_program_that_ignores_its_signal_is_killed(tmp_path: Path, mark: str) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    small = supervise(tmp_path, mark, code)
    small.start()
    assert eventually(lambda: small.state.state == "healthy")
    small.ask_to_stop()
    small.stopped(0.2)
    assert guardian.marked(mark) == []


def test_a_program_that_cannot_start_is_given_up(tmp_path: Path, mark: str) -> None:
    small = supervise(tmp_path, mark, "raise SystemExit('no such setting')", healthy=99)
    small.start()
    assert eventually(lambda: small.state.state == "failed")
    assert small.state.restarts == 3
    assert "no such setting" in small.last_lines()
    small.stopped(1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_guardian_ends_all_when_the_supervisor_is_gone(
    tmp_path: Path, mark: str, number: signal.Signals
) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from unitscope.embedded import stack\n"
        "from tests.embedded.test_supervised import FAMILY, home_at, supervise\n"
        f"home = home_at({str(tmp_path)!r}); home.prepare(); lock = home.lock()\n"
        "guard = stack._start_guardian(home.mark, lock)\n"
        f"supervise(Path({str(tmp_path)!r}), home.mark, FAMILY).start()\n"
        "print(guard.pid, flush=True); time.sleep(600)\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert supervisor.stdout is not None
        guard = int(supervisor.stdout.readline())
        assert eventually(lambda: len(guardian.marked(mark)) == 2)
        with pytest.raises(FailedPreconditionError) as caught:
            home_at(tmp_path).lock()
        assert caught.value.reason == "HOME_IN_USE"
    finally:
        supervisor.send_signal(number)
        supervisor.wait()
        supervisor.stdout.close()
    assert eventually(lambda: guardian.marked(mark) == [])
    assert eventually(lambda: not Path(f"/proc/{guard}").exists() or _is_zombie(guard))
    os.close(home_at(tmp_path).lock())  # the home is free again


def test_a_stack_is_found_only_while_its_home_is_locked(tmp_path: Path) -> None:
    home = home_at(tmp_path / "home")
    assert find(home.root) is None
    home.prepare()
    endpoints = Endpoints(gateway="127.0.0.1:1234")
    home.publish(endpoints)
    lock = home.lock()
    assert find(home.root) == endpoints
    os.close(lock)
    assert find(home.root) is None  # what a killed stack left behind is not believed
    home.withdraw()
    lock = home.lock()
    assert find(home.root) is None
    os.close(lock)


def test_models_are_looked_for_here_and_beside_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNITSCOPE_MODELS_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert models_root() == ROOT / "models"
    (tmp_path / "models").mkdir()
    assert models_root() == tmp_path / "models"
    monkeypatch.setenv("UNITSCOPE_MODELS_ROOT", "elsewhere")
    assert models_root() == tmp_path / "elsewhere"
    assert models_root("named") == tmp_path / "named"


def test_a_stack_without_models_does_not_start(tmp_path: Path) -> None:
    stack = Embedded(tmp_path / "home", tmp_path / "no-models")
    with pytest.raises(UnitScopeError, match="no folder of models") as caught:
        stack.start()
    assert caught.value.reason == "MODELS_NOT_FOUND"
    assert not (tmp_path / "home").exists()
    stack.stop()


def test_only_what_runs_can_be_killed(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no program 'gateway'"):
        Embedded(tmp_path, tmp_path).kill("gateway")


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
