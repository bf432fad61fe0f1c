"""How jobs stand, as numbers for Prometheus: from what the loop reads anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from unitscope.jobs.broker import QUEUES
from unitscope.jobs.state import JobRecord, JobState
from unitscope.signals import catalogue


class Gauges:
    """Counts the jobs of one look; `show` publishes it."""

    def __init__(self, queue_of: Callable[[int], str]) -> None:
        """Counts from nothing.

        Args:
            queue_of: The queue of a job that renders so many images.
        """
        self._queue_of = queue_of
        self._states: Counter[str] = Counter()
        self._chunks: Counter[str] = Counter()

    def count(self, record: JobRecord) -> None:
        """Takes a job in."""
        if record.state.terminal:
            return
        self._states[record.state.value] += 1
        if record.state is not JobState.CANCELLING:
            renders = record.plan.renders if record.plan is not None else 0
            self._chunks[self._queue_of(renders)] += outstanding(record)

    def show(self) -> None:
        """Sets the metrics."""
        for state in JobState:
            if not state.terminal:
                catalogue.JOBS.set(self._states[state.value], state=state.value)
        for queue in QUEUES:
            catalogue.OUTSTANDING.set(self._chunks[queue], queue=queue)


def outstanding(record: JobRecord) -> int:
    """Tasks of the job that could be worked on now: planning, chunks of its stage, or its end."""
    stage = record.current
    if stage is None or stage.complete:
        return 1
    return stage.total - len(stage.done)
