"""What workers tell of the tasks that they carry out; imported by every process of the pool."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import current_task
from celery.exceptions import Ignore
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown

from unitscope import signals
from unitscope.jobs import broker
from unitscope.settings import LogSettings
from unitscope.signals import catalogue, logs, traces

log = logging.getLogger(__name__)

PROGRAM = "worker"
OUTCOMES = ("done", "failed", "lost", "cancelled", "handed_back")


@setup_logging.connect
def _set_logs_up(**_: Any) -> None:
    """Keeps Celery from setting logs up in its own way."""
    logs.configure(PROGRAM, LogSettings())


@worker_process_init.connect
def _join(**_: Any) -> None:
    signals.join(PROGRAM)


@worker_process_shutdown.connect
def _leave(**_: Any) -> None:
    traces.end()


@contextmanager
def task(name: str, *ids: str | int) -> Iterator[None]:
    """A task: its ids for the log, and its span in the trace of its chunk; `Ignore` is no error of it.

    Args:
        name: The task's name.
        ids: Its arguments.
    """
    ignored = None
    words = broker.trace_words(name, ids)
    job_id, chunk = words[0], "/".join(words[1:])
    parent = getattr(current_task.request, traces.HEADER, None) if current_task else None
    about = {"job": job_id, "chunk": chunk}
    chosen = traces.trace_id(*words)
    with logs.bound(**about), traces.span(name, "consumer", parent or "", chosen, about):
        try:
            yield
        except Ignore as found:
            ignored = found
    if ignored is not None:
        raise ignored


@dataclass
class Tally:
    """Counts one attempt at a chunk."""

    kind: str
    stage: str
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Shows all outcomes from the first attempt on, so that the first failure is a rise."""
        for outcome in OUTCOMES:
            catalogue.CHUNKS.touch(kind=self.kind, stage=self.stage, outcome=outcome)

    def end(self, outcome: str, error: Exception | None = None) -> None:
        """Says how the attempt ended, or that one before it was lost; see `OUTCOMES`."""
        seconds = time.perf_counter() - self._began
        log.info("%s of %s: %s after %.2f s", self.stage, self.kind, outcome, seconds)
        catalogue.CHUNKS.add(kind=self.kind, stage=self.stage, outcome=outcome)
        if outcome == "done":
            catalogue.CHUNK_SECONDS.observe(seconds, kind=self.kind, stage=self.stage)
        if error is not None:
            traces.mark(error)


@contextmanager
def waiting(seconds: float) -> Iterator[None]:
    """A chunk waits so many seconds for something to come back."""
    with catalogue.WAITING.held():
        yield
    catalogue.WAITED.add(seconds)
