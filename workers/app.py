"""The Celery worker: ``python -m workers [--concurrency N]``.

Processes are spawned, not forked: gRPC does not survive a fork. Tasks are in `workers.tasks`; they
are imported by every pool process.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from celery import Celery

from unitscope.jobs.broker import create_app
from unitscope.settings import BrokerSettings


def worker_app(settings: BrokerSettings) -> Celery:
    """The application of a worker: that of the broker, with the tasks in it."""
    app = create_app(settings)
    app.conf.include = ["workers.tasks"]
    app.set_current()
    return app


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
    parser.add_argument("--check", action="store_true", help="check the settings and exit")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = worker_app(BrokerSettings())
    if options.check:
        app.loader.import_default_modules()
        print("the worker's settings and tasks are in order")
        return 0
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={options.concurrency}",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
    return 0
