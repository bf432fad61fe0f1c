from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.signals.scraped import Family
from unitscope import signals
from unitscope.embedded.home import Endpoints, home_at
from unitscope.embedded.ports import free_ports
from unitscope.embedded.programs import programs
from unitscope.errors import FailedPreconditionError, InternalError
from unitscope.settings import MetricsSettings
from unitscope.signals import catalogue, metrics

Begin = Callable[[str], Callable[[], dict[str, Family]]]


def test_nothing_is_kept_and_nothing_imported_unless_asked_for() -> None:
    code = """
import sys
from unitscope import signals
from unitscope.signals import catalogue, traces
signals.begin("gateway")
catalogue.RESENT.add(task="x"); catalogue.WATCHERS.set(3); catalogue.RECONCILE_SECONDS.observe(1)
with catalogue.WATCHERS.held(), traces.span("x"), traces.sending("x", "job-1") as headers:
    assert headers == {} and traces.to_metadata() == []
print({m.split(".")[0] for m in sys.modules} & {"prometheus_client", "opentelemetry"}, signals.metrics.on())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert (done.stdout, done.stderr) == ("set() False\n", "")


def test_a_program_keeps_its_own_metrics_and_no_others(metered: Begin) -> None:
    scrape = metered("gateway")
    catalogue.RESENT.add(2, task="unitscope.plan")
    catalogue.RENDERS.add(5)
    with catalogue.WATCHERS.held():
        found = scrape()
    assert found["unitscope_tasks_resent_total"].value(task="unitscope.plan") == 2
    assert found["unitscope_watchers"].value() == 1
    assert scrape()["unitscope_watchers"].value() == 0
    assert "unitscope_renders_total" not in found
    assert "process_resident_memory_bytes" in found


def test_a_second_run_in_one_process_counts_from_nothing(metered: Begin) -> None:
    metered("worker")
    catalogue.RENDERS.add(5)
    signals.end()
    assert metered("worker")()["unitscope_renders_total"].value() == 0


def test_durations_are_taken_however_the_block_ends(metered: Begin) -> None:
    scrape = metered("gateway")
    with pytest.raises(KeyError), catalogue.RECONCILE_SECONDS.timed():
        raise KeyError("x")
    assert scrape()["unitscope_reconcile_seconds"].value() == 1


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InternalError, match=f"127.0.0.1:{port}.*UNITSCOPE_METRICS_PORT") as raised:
            metrics.begin("linker", MetricsSettings(port=port))
    assert raised.value.reason == "ADDRESS_IN_USE"
    assert not metrics.on()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(FailedPreconditionError, match=r"unitscope\[signals\]"):
        metrics.begin("linker", MetricsSettings(port=free_ports(1)[0]))


POOL = """
import multiprocessing, os, sys, time, urllib.request
from unitscope import signals
from unitscope.signals import catalogue

def work(die):
    signals.join("worker")
    catalogue.WAITING.move(1)
    catalogue.RENDERS.add(10)  # the last: it is what is waited for
    if die:
        os._exit(1)
    print("ready", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    signals.begin("worker", pool=True)
    spawn = multiprocessing.get_context("spawn")
    dead, alive = spawn.Process(target=work, args=(True,)), spawn.Process(target=work, args=(False,))
    dead.start(); dead.join(); alive.start()
    url = f"http://127.0.0.1:{os.environ['UNITSCOPE_METRICS_PORT']}/metrics"
    until = time.monotonic() + 150
    while "renders_total 20" not in (text := urllib.request.urlopen(url).read().decode()):
        assert time.monotonic() < until, text
        time.sleep(0.05)
    alive.kill(); alive.join()
    signals.end()
    print(*sorted(line for line in text.splitlines() if line.startswith(("unitscope_re", "unitscope_waiting"))))
"""


def test_processes_of_a_pool_are_added_up_and_dead_ones_hold_nothing(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    port = free_ports(1)[0]
    left = tmp_path / f"unitscope-metrics-{port}-killed"
    left.mkdir()
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "UNITSCOPE_METRICS_PORT": str(port),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=280, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "unitscope_renders_total 20.0 unitscope_waiting_chunks 1.0"
    assert [path.name for path in tmp_path.iterdir()] == ["pool.py"]


def test_each_program_of_an_embedded_stack_gets_a_port_of_its_own(tmp_path: Path) -> None:
    def ports(variables: dict[str, str]) -> list[str | None]:
        made = programs(home_at(tmp_path), tmp_path, Endpoints(), 2, variables)
        return [program.environment.get("UNITSCOPE_METRICS_PORT") for program in made]

    assert ports({"UNITSCOPE_METRICS_PORT": "9400"}) == ["9400", "9401", "9402", "9403", "9404"]
    assert ports({}) == [None] * 5
