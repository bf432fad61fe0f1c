"""What workers get from a real broker, whoever is killed or asked to end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.broker.conftest import SECONDS, Bench
from tests.broker.nodes import Node, ask_to_end
from tests.broker.probe import JOB, STAGE
from tests.broker.worker import CONCURRENCY
from unitscope.errors import UnavailableError
from unitscope.jobs import broker, layout

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

LARGE = 10**6


def test_small_and_large_jobs_travel_apart(bench: Bench) -> None:
    for number in range(3):
        bench.send(f"large{number}", renders=LARGE)
        bench.send(f"small{number}", renders=10)
    bench.worker("interactive")
    bench.until(lambda: bench.done("small0", "small1", "small2"), "the small ones are done")
    assert not any(bench.begun(f"large{number}") for number in range(3))
    bench.worker("long")
    bench.until(lambda: bench.done("large0", "large1", "large2"), "the large ones are done")


def test_what_a_killed_worker_had_goes_to_another(bench: Bench) -> None:
    """Also what it had only taken in advance."""
    names = [f"chunk{number}" for number in range(CONCURRENCY + 1)]
    for name in names:
        bench.send(name, 3600.0 if name != names[-1] else 0.0)
    first = bench.worker()
    bench.until(lambda: bench.begun("chunk0") and bench.begun("chunk1"), "the first worker is at work")
    for name in names[:-1]:
        bench.store.create(f"done/{name}", b"")  # so that the second is soon done with them
    bench.kill(first)
    bench.worker()
    bench.until(lambda: bench.done(*names), "the second worker does the rest")


def test_sigterm_hands_the_chunk_back(bench: Bench, make_bench: Callable[..., Bench]) -> None:
    # Redis must not deliver again what the first worker has while that is still starting.
    bench = make_bench(bench.node, redelivery_seconds=20)
    bench.send("endless", 3600.0)
    bench.send("short", 3.0)
    first = bench.worker(soft=9.0)
    bench.until(lambda: bench.begun("endless") and bench.begun("short"), "the first worker is at work")
    ask_to_end(first)
    first.wait(SECONDS)
    assert bench.done("short"), "what can end within the soft shutdown does"
    assert bench.store.objects(layout.attempts(JOB, STAGE, "endless")) == []
    assert bench.begun("endless") == 1
    bench.worker()
    bench.until(lambda: bench.begun("endless") == 2, "the second worker got it")
    assert bench.begun("short") == 1


def test_a_worker_that_gets_its_own_running_chunk_again_still_ends(
    redis: Node, make_bench: Callable[..., Bench]
) -> None:
    """Redis delivers again what takes longer than the time of redelivery, to the same worker too."""
    bench = make_bench(redis, redelivery_seconds=3)
    bench.send("endless", 3600.0)
    worker = bench.worker(soft=1.0)
    bench.until(lambda: bench.store.children("refused/endless/"), "the worker gets the chunk again")
    ask_to_end(worker)
    worker.wait(SECONDS)
    assert bench.begun("endless") == 1
    assert bench.store.objects(layout.attempts(JOB, STAGE, "endless")) == []


def test_an_outage_is_survived_by_both_sides(bench: Bench) -> None:
    worker = bench.worker()
    bench.send("before")
    bench.until(lambda: bench.done("before"), "a message arrives")
    bench.node.kill()
    with pytest.raises(UnavailableError) as caught:
        bench.send("amid")
    assert caught.value.reason == "BROKER_UNAVAILABLE"
    bench.node.start()
    bench.send("after")
    bench.until(lambda: bench.done("after"), "the same worker is there again")
    assert worker.poll() is None
    assert bench.begun("amid") == 0


def test_what_is_queued_outlives_rabbitmq(rabbitmq: Node, make_bench: Callable[..., Bench]) -> None:
    # Redis writes once a second; what it loses, the gateway sends again.
    bench = make_bench(rabbitmq)
    bench.send("kept")
    # RabbitMQ 3.10 that is killed within seconds of the first declaration of a queue may lose the queue itself.
    time.sleep(8)
    bench.node.kill()
    bench.node.start()
    bench.worker()
    bench.until(lambda: bench.done("kept"), "the message was kept")


def test_poison_ends_among_the_dead_letters(rabbitmq: Node, make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(rabbitmq)
    bench.worker()
    bench.send("poison")
    bench.app.send_task("unitscope.no_such_task", args=["x"], queue=broker.LONG)
    bench.until(lambda: bench.waiting(broker.DEAD) == 2, "both messages are among the dead letters")
    assert bench.begun("poison") == bench.settings.delivery_limit + 1
    bench.send("wholesome")
    bench.until(lambda: bench.done("wholesome"), "the worker goes on")
    with bench.app.connection_for_read() as connection:
        found = [connection.default_channel.basic_get(broker.DEAD, no_ack=True) for _ in range(2)]
    tasks = {message.headers["task"]: json.loads(message.body)[0] for message in found}
    assert tasks["unitscope.no_such_task"] == ["x"]
    assert tasks[broker.RUN_CHUNK][1] == "poison"
