"""The part of a Celery worker that takes messages, cut to what we use.

Celery finds it by the setting ``worker_consumer``. On RabbitMQ it also declares the queue of dead letters,
so that it is there before the first message can come back too often.
"""

from __future__ import annotations

from typing import Any, ClassVar

from celery import bootsteps
from celery.worker.consumer import Consumer as CeleryConsumer

from unitscope.jobs.broker import dead_letters

_UNUSED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
"""Would declare 28 queues and exchanges for messages with a delay, of which we send none."""


class DeadLetters(bootsteps.StartStopStep):  # type: ignore[misc]
    """Declares the queue of dead letters, again after every reconnection."""

    requires: ClassVar[tuple[str, ...]] = ("celery.worker.consumer.connection:Connection",)

    def include_if(self, consumer: Any) -> bool:
        """Only RabbitMQ has dead letters."""
        return bool(consumer.app.connection_for_read().transport.driver_type == "amqp")

    def start(self, consumer: Any) -> None:
        """Declares the queue where it is missing."""
        dead_letters()(consumer.connection.default_channel).declare()


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer with our steps."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        """Its steps."""

        default_steps: ClassVar[list[Any]] = [
            *(step for step in CeleryConsumer.Blueprint.default_steps if step != _UNUSED),
            DeadLetters,
        ]
