"""The Celery worker: ``python -m workers [--concurrency N] [--queues interactive,long]``.

Processes are spawned, not forked: gRPC does not survive a fork. Tasks are in `workers.tasks`; they
are imported by every pool process.

SIGTERM asks for a *soft shutdown*: nothing new is taken, running chunks get
UNITSCOPE_WORKER_SOFT_SHUTDOWN_SECONDS to finish, and what is not finished then is handed back: its pool
process leaves the chunk (see `workers.attempts`), and the broker gives the message to another worker.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from celery import Celery

from unitscope import signals
from unitscope.errors import InvalidArgumentError, UnitScopeError
from unitscope.jobs.broker import QUEUES, create_app
from unitscope.settings import BrokerSettings, WorkerSettings


def worker_app(settings: BrokerSettings, soft_shutdown_seconds: float = 0.0) -> Celery:
    """The application of a worker: that of the broker, with the tasks in it."""
    app = create_app(settings)
    app.conf.update(
        include=["workers.tasks"],
        worker_consumer="workers.consumer:Consumer",
        worker_soft_shutdown_timeout=soft_shutdown_seconds,
    )
    app.set_current()
    return app


def queue_names(words: str) -> list[str]:
    """The broker's names of the queues of a list like ``interactive,long``.

    Raises:
        InvalidArgumentError: One of them is no queue (reason UNKNOWN_QUEUE).
    """
    wanted = [word.strip() for word in words.split(",")]
    for word in wanted:
        if word not in QUEUES:
            raise InvalidArgumentError(
                f"--queues names {word!r}; there are: {', '.join(QUEUES)}",
                reason="UNKNOWN_QUEUE",
                field="queues",
            )
    return [QUEUES[word] for word in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a worker until SIGTERM.

    Args:
        arguments: The command line; that of the process where None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m workers",
        description="Carries analysis jobs out. Settings come from UNITSCOPE_* variables.",
        epilog="example: UNITSCOPE_STORE_URL=directory:/data/store "
        "UNITSCOPE_BROKER_URL=filesystem:/data/broker python -m workers --concurrency 2",
    )
    parser.add_argument("--concurrency", type=int, default=2, help="chunks at once (default: 2)")
    parser.add_argument(
        "--queues",
        default=",".join(QUEUES),
        help="what to take: interactive (small jobs, and planning), long, or both (default: both)",
    )
    parser.add_argument("--check", action="store_true", help="check the settings and exit")
    options = parser.parse_args(arguments)
    try:
        signals.begin("worker", pool=True, serves=not options.check)
        queues = queue_names(options.queues)
        app = worker_app(BrokerSettings(), WorkerSettings().soft_shutdown_seconds)
    except UnitScopeError as error:
        parser.error(error.message)
    if options.check:
        app.loader.import_default_modules()
        print("the worker's settings and tasks are in order")
        return 0
    try:
        run(app, options.concurrency, queues)
    finally:
        # Celery leaves by SystemExit.
        signals.end()
    return 0


def run(app: Celery, concurrency: int, queues: Sequence[str]) -> None:
    """Takes messages until SIGTERM.

    Args:
        app: The application, with its tasks.
        concurrency: Pool processes.
        queues: The broker's names of the queues to take from.
    """
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={concurrency}",
            f"--queues={','.join(queues)}",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
