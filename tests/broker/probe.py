"""A task whose chunks say when they begin and end. See `tests.broker.worker`."""

import os
import signal
import time
import uuid
from pathlib import Path

from celery import shared_task
from celery.exceptions import Ignore

from unitscope.jobs import broker
from unitscope.store.directory import DirectoryStore
from workers.attempts import Attempt

JOB, STAGE = "job-" + "a" * 24, "probe"


@shared_task(name=broker.RUN_CHUNK)
def run_chunk(folder: str, what: str, seconds: float) -> None:
    """Takes so many seconds, or dies where it is called poison."""
    store = DirectoryStore(Path(folder))
    if store.stat(f"done/{what}") is not None:
        return
    attempt = Attempt(store, JOB, STAGE, what, 0.5)
    if not attempt.claim(60):
        store.create(f"refused/{what}/{uuid.uuid4().hex}", b"")
        raise Ignore  # as workers/tasks.py
    with attempt:
        store.create(f"begun/{what}/{uuid.uuid4().hex}", str(os.getppid()).encode())
        if what == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.05)
        store.create(f"done/{what}", b"")
