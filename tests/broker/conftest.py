"""Real brokers, one node each for all tests, and workers that take from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import kombu.pools
import pytest
from celery import Celery

from tests.broker.nodes import RABBITMQ, Node, kill_marked, rabbitmq_node, redis_node, running
from unitscope.embedded import guardian
from unitscope.jobs import broker
from unitscope.settings import BrokerSettings
from unitscope.store.directory import DirectoryStore

ROOT = Path(__file__).parents[2]
SECONDS = 150.0
"""Two starts of Python, one after another, on a machine that is busy with other things."""


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if not RABBITMQ.exists():
        pytest.skip("no RabbitMQ: apt-get install --no-install-recommends rabbitmq-server")
    with running(rabbitmq_node(tmp_path_factory.mktemp("rabbitmq"))) as node:
        yield node


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if shutil.which("redis-server") is None:
        pytest.skip("no Redis: apt-get install --no-install-recommends redis-server")
    with running(redis_node(tmp_path_factory.mktemp("redis"))) as node:
        yield node


@dataclass
class Bench:
    """A broker, a store to look at, and workers that all end with the test."""

    node: Node
    app: Celery
    settings: BrokerSettings
    store: DirectoryStore
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def send(self, what: str, seconds: float = 0.0, renders: int = 0) -> None:
        """Sends a probe; see `tests.broker.probe`."""
        broker.send(self.app, broker.RUN_CHUNK, str(self.store.root), what, seconds, renders=renders)

    def worker(self, queues: str = "interactive,long", soft: float = 0.0) -> subprocess.Popen[bytes]:
        """Starts a worker."""
        environment = {
            **os.environ,
            guardian.VARIABLE: f"workers-{self.folder}/{len(self.workers)}/",
            "PYTHONPATH": str(ROOT),
            "UNITSCOPE_BROKER_URL": self.settings.url,
            "UNITSCOPE_BROKER_REDELIVERY_SECONDS": str(self.settings.redelivery_seconds),
            "UNITSCOPE_BROKER_DELIVERY_LIMIT": str(self.settings.delivery_limit),
            "UNITSCOPE_BROKER_CA_FILE": str(self.settings.ca_file or ""),
        }
        if self.settings.ca_file is None:
            del environment["UNITSCOPE_BROKER_CA_FILE"]
        with (self.folder / f"worker{len(self.workers)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.broker.worker", queues, str(soft)],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to a worker with its pool."""
        number = self.workers.index(process)
        kill_marked(f"workers-{self.folder}/{number}/")
        process.wait()

    def until(self, true: Callable[[], object], what: str) -> None:
        """Waits until something is true."""
        end = time.monotonic() + SECONDS
        while not true():
            if time.monotonic() > end:
                logs = [path.read_text(errors="replace")[-1500:] for path in self.folder.glob("worker*.log")]
                raise AssertionError(f"it did not come to pass that {what}:\n" + "\n---\n".join(logs))
            time.sleep(0.05)

    def begun(self, what: str) -> int:
        """How often a probe began."""
        return len(self.store.children(f"begun/{what}/"))

    def done(self, *names: str) -> bool:
        """Whether the probes have ended."""
        return all(self.store.stat(f"done/{what}") is not None for what in names)

    def waiting(self, queue: str) -> int:
        """Messages in a queue of RabbitMQ that no worker holds."""
        with self.app.connection_for_read() as connection, suppress(*connection.channel_errors):
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
        return 0


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:

        def make(node: Node, **settings: object) -> Bench:
            values = {"redelivery_seconds": 4, "delivery_limit": 4} | settings
            chosen = BrokerSettings(url=node.url, **values)  # type: ignore[arg-type]
            app = broker.create_app(chosen)
            _empty(app)
            made = Bench(node, app, chosen, DirectoryStore(tmp_path / "store"), tmp_path)
            stack.callback(lambda: [made.kill(process) for process in made.workers])
            stack.callback(kombu.pools.reset)
            return made

        yield make


def _empty(app: Celery) -> None:
    """Removes what earlier tests left in the queues, and on Redis what their killed workers held."""
    with app.connection_for_write() as connection:
        if connection.transport.driver_type == "redis":
            # Purging a queue leaves these, which come back to it after the time of redelivery.
            connection.default_channel.client.flushdb()
            return
    for name in (broker.INTERACTIVE, broker.LONG, broker.DEAD):
        with app.connection_for_write() as connection:
            errors = (*connection.channel_errors, *connection.connection_errors)
            with suppress(*errors):  # RabbitMQ's answer where the queue is not declared yet
                connection.default_channel.queue_purge(name)


@pytest.fixture(params=["rabbitmq", "redis"])
def bench(request: pytest.FixtureRequest, make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(request.getfixturevalue(request.param))
