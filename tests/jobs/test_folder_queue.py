"""Queues in a folder, between real processes."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from pathlib import Path
from queue import Empty

import pytest
from kombu import Exchange, Queue
from kombu.exceptions import ChannelError

from unitscope.jobs import broker
from unitscope.settings import BrokerSettings

MESSAGES = 300
SPAWN = multiprocessing.get_context("spawn")


def app_in(folder: Path) -> broker.Celery:
    return broker.create_app(BrokerSettings(url=f"filesystem:{folder}", interactive_renders=0))


def queue_of(app: broker.Celery, name: str) -> Queue:
    return next(queue for queue in app.conf.task_queues if queue.name == name)


def send(folder: Path, sender: int) -> None:
    app = app_in(folder)
    for number in range(MESSAGES):
        broker.send(app, broker.RUN_CHUNK, "job-x", "sample", sender * MESSAGES + number, renders=1)


def receive(folder: Path, found: multiprocessing.Queue[int]) -> None:
    """Takes until a message says that it is the last one; says -1 after it."""
    app = app_in(folder)
    app.conf.broker_transport_options["polling_interval"] = 0  # Looks all the time.
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(queue_of(app, broker.LONG))
        while True:
            message = queue.get(timeout=240)
            message.ack()
            if message.headers["task"] == broker.FINALISE:
                found.put(-1)
                return
            found.put(message.payload[0][2])


def test_each_message_is_taken_once_and_whole_while_others_are_written(tmp_path: Path) -> None:
    found: multiprocessing.Queue[int] = SPAWN.Queue()
    readers = [SPAWN.Process(target=receive, args=(tmp_path, found), daemon=True) for _ in range(2)]
    writers = [SPAWN.Process(target=send, args=(tmp_path, number), daemon=True) for number in range(2)]
    for process in (*readers, *writers):
        process.start()
    for process in writers:
        process.join(240)
        assert process.exitcode == 0
    for _ in readers:
        broker.send(app_in(tmp_path), broker.FINALISE, "job-x", renders=1)
    taken = [found.get(timeout=240) for _ in range(2 * MESSAGES + len(readers))]
    assert sorted(taken) == [-1, -1, *range(2 * MESSAGES)]
    assert list((tmp_path / "messages").iterdir()) == []


def test_messages_come_in_order_and_what_is_none_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, folder = app_in(tmp_path), tmp_path / "messages"
    (folder / f"0_a.{broker.LONG}.msg").write_text("{")
    (folder / f"0_b.{broker.LONG}.partial").write_text("{")
    for number in range(12):
        broker.send(app, broker.RUN_CHUNK, "job-x", "sample", number, renders=1)
    with (
        app.connection_for_read() as connection,
        closing(connection.SimpleQueue(queue_of(app, broker.LONG))) as queue,
    ):
        messages = [queue.get(timeout=60) for _ in range(12)]
        assert [message.payload[0][2] for message in messages] == [*range(12)]
        with pytest.raises(Empty):
            queue.get(block=False)
        for message in messages:
            message.ack()
    (warning,) = [record.getMessage() for record in caplog.records if "is no message" in record.getMessage()]
    assert f"0_a.{broker.LONG}.msg" in warning


def test_a_queue_is_bound_to_the_exchange_of_its_name_alone(tmp_path: Path) -> None:
    with app_in(tmp_path).connection_for_write() as connection:
        other = Queue("other", Exchange("elsewhere", "direct"), "other", channel=connection.channel())
        with pytest.raises(ChannelError, match="'other' cannot be bound to exchange 'elsewhere'"):
            other.declare()
