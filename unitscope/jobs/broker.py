"""The Celery application that gateway and workers share: names of tasks, and how they travel.

Celery carries ids and nothing else; the truth is in the object store. Small jobs and large ones travel in
queues of their own, so that a small one does not wait behind a thousand chunks. On RabbitMQ all queues
are quorum queues: a message that comes back too often goes to the queue `DEAD`, where an operator finds
it; the job itself is looked after by the gateway.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from unitscope.errors import InvalidArgumentError, UnavailableError
from unitscope.settings import BrokerSettings
from unitscope.signals import catalogue, traces

INTERACTIVE = "unitscope.interactive"
LONG = "unitscope.long"
DEAD = "unitscope.dead"
QUEUES = {"interactive": INTERACTIVE, "long": LONG}
"""Queues that workers take from, by the names that ``--queues`` knows."""

PLAN = "unitscope.plan"
RUN_CHUNK = "unitscope.run_chunk"
FINALISE = "unitscope.finalise"

CONFIRM_SECONDS = 10.0
"""How long RabbitMQ may take to say that it keeps a message."""


def create_app(settings: BrokerSettings) -> Celery:
    """The application, for sending as well as for working.

    Raises:
        InvalidArgumentError: The broker's URL has no known scheme, or a file cannot be read.
    """
    url = _read_url(settings)
    scheme, _, rest = url.partition(":")
    app = Celery("unitscope", set_as_current=False)
    app.conf.update(
        unitscope_interactive_renders=settings.interactive_renders,
        task_default_queue=INTERACTIVE,
        task_queues=[_queue(name) for name in QUEUES.values()],
        task_create_missing_queues=False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_pool_start_method="spawn",
        # A spawned process imports for seconds on a busy machine; Celery would kill it after four.
        worker_proc_alive_timeout=120.0,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0.2},
    )
    if scheme == "filesystem":
        _use_folder(app, Path(rest).absolute())
    elif scheme in ("amqp", "amqps"):
        _use_rabbitmq(app, url, settings)
    elif scheme in ("redis", "rediss"):
        _use_redis(app, url, settings)
    else:
        raise InvalidArgumentError(
            f"the broker's URL has the scheme {scheme!r}; set UNITSCOPE_BROKER_URL, or a file that "
            "UNITSCOPE_BROKER_URL_FILE names, to filesystem:<folder>, amqp[s]://... or redis[s]://...",
            reason="INVALID_BROKER_URL",
        )
    return app


def send(app: Celery, task: str, *ids: str | int, renders: int = 0) -> None:
    """Sends a task.

    Args:
        app: The application.
        task: The task's name.
        ids: Its arguments.
        renders: How many images the job's plan renders, which decides about the queue; 0 where there is
            no plan yet.

    Raises:
        UnavailableError: The broker does not take it (reason BROKER_UNAVAILABLE).
    """
    name = queue_of(app, renders)
    try:
        with traces.sending(task, *trace_words(task, ids)) as headers:
            app.send_task(
                task, args=list(ids), queue=QUEUES[name], headers=headers, confirm_timeout=CONFIRM_SECONDS
            )
        catalogue.SENT.add(task=task, queue=name, outcome="OK")
    except Exception as error:
        catalogue.SENT.add(task=task, queue=name, outcome="FAILED")
        connection = app.connection_for_write()
        # OperationalError is what kombu makes of a connection that is refused.
        away = (*connection.connection_errors, *connection.channel_errors, OSError, OperationalError)
        if not isinstance(error, away):
            raise
        raise UnavailableError(
            f"the broker does not answer ({error}); the job is kept and will be sent later",
            reason="BROKER_UNAVAILABLE",
        ) from error


def queue_of(app: Celery, renders: int) -> str:
    """The name, as `QUEUES` knows it, of the queue for a task of a plan that renders so many images."""
    return "interactive" if renders <= app.conf.unitscope_interactive_renders else "long"


def trace_words(task: str, ids: Sequence[str | int]) -> tuple[str, ...]:
    """Job and chunk of a task, as `unitscope.signals.traces.trace_id` takes them."""
    job_id, *chunk = map(str, ids)
    return (job_id, *(chunk or [task.rpartition(".")[2]]))


def dead_letters() -> Queue:
    """The queue of messages that came back too often, on RabbitMQ."""
    return Queue(DEAD, Exchange(""), DEAD, durable=True, queue_arguments={"x-queue-type": "quorum"})


def _read_url(settings: BrokerSettings) -> str:
    if settings.url_file is None:
        return settings.url
    try:
        return settings.url_file.read_text().strip()
    except OSError as error:
        raise InvalidArgumentError(
            f"UNITSCOPE_BROKER_URL_FILE {settings.url_file} cannot be read ({error.strerror}); mount it, "
            "readable for this user",
            reason="SECRET_UNREADABLE",
        ) from error


def _queue(name: str, arguments: dict[str, Any] | None = None) -> Queue:
    return Queue(name, Exchange(name, "direct"), name, durable=True, queue_arguments=arguments)


def _use_folder(app: Celery, folder: Path) -> None:
    messages = folder / "messages"
    messages.mkdir(parents=True, exist_ok=True)
    app.conf.broker_url = "filesystem://"
    app.conf.broker_transport = "unitscope.jobs.folder_queue:Transport"
    app.conf.broker_transport_options = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "polling_interval": 0.05,
    }


def _use_rabbitmq(app: Celery, url: str, settings: BrokerSettings) -> None:
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": settings.delivery_limit,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": DEAD,
    }
    app.conf.update(
        broker_url=url,
        task_default_queue_type="quorum",
        task_queues=[_queue(name, arguments) for name in QUEUES.values()],
        broker_transport_options={"confirm_publish": True},
        broker_heartbeat=30,
    )
    if url.startswith("amqps:"):
        app.conf.broker_use_ssl = {
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": _file(settings.ca_file),
            "certfile": _file(settings.certificate_file),
            "keyfile": _file(settings.key_file),
            "server_hostname": urlsplit(url).hostname,
        }


def _use_redis(app: Celery, url: str, settings: BrokerSettings) -> None:
    app.conf.update(
        broker_url=url,
        broker_transport_options={
            # The chunk may still run: the second worker sees that and drops the message.
            "visibility_timeout": settings.redelivery_seconds,
            "unacked_restore_interval": min(10.0, settings.redelivery_seconds),
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            # Also how soon a consumer is missed whose connection ended unnoticed: twice this, and a second.
            "health_check_interval": 5,
            "socket_connect_timeout": 5,
        },
    )
    if url.startswith("rediss:"):
        app.conf.broker_use_ssl = {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_ca_certs": _file(settings.ca_file),
            "ssl_certfile": _file(settings.certificate_file),
            "ssl_keyfile": _file(settings.key_file),
            "ssl_check_hostname": True,
        }


def _file(path: Path | None) -> str | None:
    """The path as text, checked to be a file.

    Raises:
        InvalidArgumentError: It is none (reason CERTIFICATE_UNREADABLE).
    """
    if path is not None and not path.is_file():
        raise InvalidArgumentError(
            f"{path}, which UNITSCOPE_BROKER_CA_FILE, _CERTIFICATE_FILE or _KEY_FILE names, is no file that "
            "can be read",
            reason="CERTIFICATE_UNREADABLE",
        )
    return str(path) if path else None
