"""Counters, gauges and histograms: declared once, used anywhere, idle where no metrics are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INSTRUMENTS: dict[str, Instrument] = {}
"""All that were declared, by name."""


class Instrument:
    """One metric; does nothing until its program begins to keep metrics."""

    def __init__(
        self, name: str, text: str, programs: tuple[str, ...], labels: tuple[str, ...] = (), **options: Any
    ) -> None:
        """Declares the metric.

        Args:
            name: Its name, e.g. ``unitscope_watchers``.
            text: What it counts.
            programs: Which programs keep it.
            labels: Names of its labels.
            options: What prometheus_client shall know beside.
        """
        self.name, self.text, self.programs, self.labels = name, text, programs, labels
        self._options = options
        self._metric: Any = None
        INSTRUMENTS[name] = self

    @property
    def on(self) -> bool:
        """Whether it is kept here."""
        return self._metric is not None

    def open(self, registry: Any) -> None:
        """Begins to keep it."""
        import prometheus_client

        kind = getattr(prometheus_client, type(self).__name__)
        self._metric = kind(self.name, self.text, self.labels, registry=registry, **self._options)

    def close(self) -> None:
        """Keeps it no more."""
        self._metric = None

    def touch(self, **labels: str) -> None:
        """Lets it be seen with these labels before there is anything to count."""
        if self._metric is not None:
            self._labelled(labels)

    def _labelled(self, labels: dict[str, str]) -> Any:
        return self._metric.labels(**labels) if self.labels else self._metric


class Counter(Instrument):
    """A number that grows."""

    def add(self, value: float = 1, **labels: str) -> None:
        """Adds at least 0."""
        if self._metric is not None:
            self._labelled(labels).inc(value)


class Gauge(Instrument):
    """A number that rises and falls."""

    def set(self, value: float, **labels: str) -> None:
        """Says how it stands."""
        if self._metric is not None:
            self._labelled(labels).set(value)

    def move(self, by: float, **labels: str) -> None:
        """Lets it rise or fall."""
        if self._metric is not None:
            self._labelled(labels).inc(by)

    @contextmanager
    def held(self, **labels: str) -> Iterator[None]:
        """One higher for as long as the block lasts."""
        self.move(1, **labels)
        try:
            yield
        finally:
            self.move(-1, **labels)


class Histogram(Instrument):
    """Durations in seconds, or other amounts."""

    def observe(self, value: float, **labels: str) -> None:
        """Takes one amount in."""
        if self._metric is not None:
            self._labelled(labels).observe(value)

    @contextmanager
    def timed(self, **labels: str) -> Iterator[None]:
        """Takes in the seconds that the block lasts, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - began, **labels)
