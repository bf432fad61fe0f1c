from __future__ import annotations

import sys
import time

import pytest
from celery.exceptions import Ignore

from tests.support.collector import Collector, Span
from unitscope.embedded.ports import free_ports
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from unitscope.jobs import broker
from unitscope.settings import TracesSettings
from unitscope.signals import traces
from workers import observed


def sent(collector: Collector) -> dict[str, Span]:
    """All spans by name, once they are here."""
    traces.end()
    return {span.name: span for span in collector.spans}


def test_a_chunk_is_one_trace_from_its_sending_on(collector: Collector) -> None:
    with traces.span("before"), traces.sending("run", "job-1", "sample", 3) as headers:
        assert set(headers) == {"traceparent"}
    wanted = traces.trace_id("job-1", "sample", 3)
    with traces.span("run", "consumer", headers["traceparent"], wanted, {"job": "job-1"}):
        call = traces.start_call("Solve")
        ((_, parent),) = traces.to_metadata(call)
        traces.end_call(call)
    with traces.span("Solve, served", "server", parent):
        pass
    spans = sent(collector)
    before = spans.pop("before")
    assert {span.trace for span in spans.values()} == {f"{wanted:032x}"}
    assert spans["send run"].links == (before.trace,)
    assert [spans[name].parent for name in ("send run", "run", "Solve", "Solve, served")] == [
        "",
        spans["send run"].span,
        spans["run"].span,
        spans["Solve"].span,
    ]
    assert spans["run"].attributes == {"unitscope.job": "job-1"}


def test_an_attempt_that_is_sent_again_is_in_the_same_trace(collector: Collector) -> None:
    for _ in range(2):
        with traces.sending("run", "job-1", "sample", 3):
            pass
    with traces.sending("run", "job-1", "sample", 4):
        pass
    traces.end()
    assert sorted(map(len, collector.traces().values())) == [1, 2]


def test_a_task_that_came_without_a_header_is_in_the_trace_of_its_chunk(collector: Collector) -> None:
    with traces.span("run", "consumer", "", traces.trace_id("job-1", "plan")):
        pass
    assert sent(collector)["run"].trace == f"{traces.trace_id('job-1', 'plan'):032x}"


@pytest.mark.parametrize(
    ("task", "ids", "words"),
    [
        (broker.RUN_CHUNK, ("job-1", "sample", 3), ("job-1", "sample", "3")),
        (broker.PLAN, ("job-1",), ("job-1", "plan")),
        (broker.FINALISE, ("job-1",), ("job-1", "finalise")),
    ],
)
def test_the_id_of_a_trace_follows_from_the_task(
    task: str, ids: tuple[str | int, ...], words: tuple[str, ...]
) -> None:
    assert broker.trace_words(task, ids) == words
    assert traces.trace_id(*words) == traces.trace_id(ids[0], *(ids[1:] or words[1:]))  # type: ignore[arg-type]


def test_errors_are_told_by_reason_and_not_by_message(collector: Collector) -> None:
    with pytest.raises(UnavailableError), traces.span("x"):
        raise UnavailableError("the secret is 1234", reason="SERVICE_AWAY")
    with traces.span("y"):
        traces.mark(KeyError("1234"))
    spans = sent(collector)
    assert [spans[name].failed for name in "xy"] == [True, True]
    assert [spans[name].attributes for name in "xy"] == [
        {"error.type": "SERVICE_AWAY"},
        {"error.type": "KeyError"},
    ]


def test_what_is_not_sampled_is_neither_sent_nor_handed_on(collector: Collector) -> None:
    traces.end()
    traces.begin("worker", TracesSettings(endpoint=collector.grpc_endpoint, ratio=0))
    with traces.sending("run", "job-1", "sample", 3) as headers, traces.span("within"):
        assert headers == {}
        assert traces.to_metadata() == []
        assert traces.start_call("x") is None
        assert traces.current_ids() == {}
    assert sent(collector) == {}


def test_ids_for_the_log_are_those_of_the_span(collector: Collector) -> None:
    with traces.span("x"):
        ids = traces.current_ids()
    span = sent(collector)["x"]
    assert ids == {"trace_id": span.trace, "span_id": span.span}
    assert traces.current_ids() == {}


def test_a_collector_that_is_away_does_not_hold_the_program_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "SEND_SECONDS", 1.0)
    traces.begin("worker", TracesSettings(endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))
    with traces.span("x"):
        pass
    began = time.monotonic()
    traces.end()
    # Without a limit of ours it would be half a minute and more; a busy machine needs some seconds.
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("endpoint", ["collector:4317", "ftp://collector", "http://"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArgumentError, match="UNITSCOPE_TRACES_ENDPOINT"):
        traces.begin("worker", TracesSettings(endpoint=endpoint))
    assert not traces.on()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(FailedPreconditionError, match=r"unitscope\[signals\]"):
        traces.begin("worker", TracesSettings(endpoint="http://127.0.0.1:4317"))


def test_a_task_that_leaves_its_chunk_to_another_has_not_failed(collector: Collector) -> None:
    for error in (Ignore(), ValueError()):
        with pytest.raises(type(error)), observed.task(broker.RUN_CHUNK, "job-x", "sample", 1):
            raise error
    traces.end()
    assert [span.failed for span in collector.spans] == [False, True]
