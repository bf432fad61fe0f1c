"""The Celery application that gateway and workers share: names of tasks, and how they travel.

Celery carries ids and nothing else; the truth is in the object store.
"""

from __future__ import annotations

from pathlib import Path

from celery import Celery
from kombu import Queue

from unitscope.errors import InvalidArgumentError, UnavailableError
from unitscope.settings import BrokerSettings

QUEUE = "unitscope.jobs"
PLAN = "unitscope.plan"
RUN_CHUNK = "unitscope.run_chunk"
FINALISE = "unitscope.finalise"


def create_app(settings: BrokerSettings) -> Celery:
    """The application, for sending as well as for working.

    Raises:
        InvalidArgumentError: The broker's URL has no known scheme.
    """
    url = settings.url_file.read_text().strip() if settings.url_file else settings.url
    scheme, _, rest = url.partition(":")
    app = Celery("unitscope", set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_queues=[Queue(QUEUE, durable=True)],
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_pool_start_method="spawn",
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=5,
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0.2},
    )
    if scheme == "filesystem":
        folder = Path(rest).absolute()
        for name in ("messages", "control"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        app.conf.broker_url = "filesystem://"
        app.conf.broker_transport_options = {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.05,
        }
    elif scheme in ("amqp", "amqps", "redis", "rediss"):
        app.conf.broker_url = url
        if scheme.startswith("amqp"):
            app.conf.update(
                task_default_queue_type="quorum",
                task_queues=[Queue(QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"})],
                broker_transport_options={"confirm_publish": True},
            )
    else:
        raise InvalidArgumentError(
            f"the broker's URL has the scheme {scheme!r}; filesystem:<folder>, amqp:// and redis:// "
            "are known",
            reason="INVALID_BROKER_URL",
        )
    return app


def send(app: Celery, task: str, *ids: str | int) -> None:
    """Sends a task.

    Raises:
        UnavailableError: The broker does not take it.
    """
    try:
        app.send_task(task, args=list(ids))
    except (*app.connection_for_write().connection_errors, OSError) as error:
        raise UnavailableError(
            f"the broker does not answer ({error}); the job is kept and will be sent later",
            reason="BROKER_UNAVAILABLE",
        ) from error
