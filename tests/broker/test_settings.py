"""What the broker's settings mean, and TLS to the real brokers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import kombu.pools
import pytest

from tests.broker.nodes import RABBITMQ, Node, rabbitmq_node, redis_node, running
from tests.support.certificates import Authority
from unitscope.errors import InvalidArgumentError, UnavailableError
from unitscope.jobs import broker
from unitscope.settings import BrokerSettings
from workers.app import queue_names


def test_the_size_of_a_job_decides_about_its_queue(tmp_path: Path) -> None:
    app = broker.create_app(BrokerSettings(url=f"filesystem:{tmp_path}", interactive_renders=100))
    for renders in (0, 100, 101):
        broker.send(app, broker.FINALISE, "job-x", renders=renders)
    with app.connection_for_read() as connection:
        for name, count in ((broker.INTERACTIVE, 2), (broker.LONG, 1)):
            queue = connection.SimpleQueue(next(q for q in app.conf.task_queues if q.name == name))
            for _ in range(count):
                message = queue.get(timeout=60)
                assert message.headers["task"] == broker.FINALISE
                message.ack()
            with pytest.raises(queue.Empty):
                queue.get(block=False)


def test_queues_of_a_worker() -> None:
    assert queue_names("long") == [broker.LONG]
    assert queue_names("interactive, long") == [broker.INTERACTIVE, broker.LONG]
    with pytest.raises(InvalidArgumentError, match="'fast'; there are: interactive, long") as caught:
        queue_names("long,fast")
    assert caught.value.reason == "UNKNOWN_QUEUE"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"url": "kafka://x"}, "INVALID_BROKER_URL"),
        ({"url": "", "url_file": "/no/such/file"}, "SECRET_UNREADABLE"),
        ({"url": "amqps://x", "ca_file": "/no/such/file"}, "CERTIFICATE_UNREADABLE"),
        ({"url": "rediss://x", "certificate_file": "/no/such/file"}, "CERTIFICATE_UNREADABLE"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        broker.create_app(BrokerSettings(**values))
    assert caught.value.reason == reason


@pytest.fixture(params=["rabbitmq", "redis"])
def tls_node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Node, Path]]:
    if request.param == "rabbitmq" and not RABBITMQ.exists():
        pytest.skip("no RabbitMQ: apt-get install --no-install-recommends rabbitmq-server")
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("broker")
    files = (authority.certificate, pair.certificate, pair.key)
    node = rabbitmq_node(tmp_path, files) if request.param == "rabbitmq" else redis_node(tmp_path, files)
    if not node.command[0]:
        pytest.skip("no Redis: apt-get install --no-install-recommends redis-server")
    with running(node):
        yield node, authority.certificate
    kombu.pools.reset()


@pytest.mark.integration
def test_tls_is_spoken_and_the_broker_must_prove_who_it_is(
    tls_node: tuple[Node, Path], tmp_path: Path
) -> None:
    node, authority = tls_node
    trusting = broker.create_app(BrokerSettings(url=node.url, ca_file=authority))
    broker.send(trusting, broker.PLAN, "job-x")
    with trusting.connection_for_read() as connection:
        queue = connection.SimpleQueue(next(iter(trusting.conf.task_queues)))
        assert queue.get(timeout=60).headers["task"] == broker.PLAN
    stranger = Authority(tmp_path, "stranger").certificate
    for wrong in (BrokerSettings(url=node.url), BrokerSettings(url=node.url, ca_file=stranger)):
        kombu.pools.reset()  # they know connections by their addresses alone
        with pytest.raises(UnavailableError) as caught:
            broker.send(broker.create_app(wrong), broker.PLAN, "job-x")
        assert caught.value.reason == "BROKER_UNAVAILABLE"
