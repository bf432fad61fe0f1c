from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.signals.scraped import Family, families
from tests.support.collector import Collector, collecting
from unitscope import signals
from unitscope.embedded.ports import free_ports
from unitscope.settings import MetricsSettings, TracesSettings
from unitscope.signals import metrics, traces

Scrape = Callable[[], dict[str, Family]]


@pytest.fixture
def metered() -> Iterator[Callable[[str], Scrape]]:
    """Begins the metrics of a program in this process; gives what reads them."""

    def begin(program: str) -> Scrape:
        port = free_ports(1)[0]
        metrics.begin(program, MetricsSettings(port=port))

        def scrape() -> dict[str, Family]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                return families(answer.read().decode())

        return scrape

    yield begin
    signals.end()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process, as a worker, sends its spans to, and that may take its time."""
    monkeypatch.setattr(traces, "SEND_SECONDS", 25.0)
    with collecting() as running:
        traces.begin("worker", TracesSettings(endpoint=running.grpc_endpoint))
        yield running
        signals.end()
