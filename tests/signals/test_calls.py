"""Servers and channels: what is counted of calls, and what goes along with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.signals.scraped import Family
from tests.support.collector import Collector
from unitscope import signals
from unitscope.errors import NotFoundError, UnauthenticatedError, UnitScopeError
from unitscope.rpc import Server
from unitscope.rpc.channel import invoke, open_channel
from unitscope.rpc.tokens import TokenFile
from unitscope.settings import ServerSettings
from unitscope.signals import logs, traces
from unitscope.v1 import info_pb2, info_pb2_grpc

METHOD = "/unitscope.v1.InfoService/GetInfo"
Begin = Callable[[str], Callable[[], dict[str, Family]]]


@contextmanager
def asking(
    answer: Callable[[], Any], program: str = "linker", tokens: TokenFile | None = None
) -> Iterator[Callable[[], Any]]:
    """A server whose Info answers so; gives what asks it."""
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    server = Server(program, 0, [], answer, settings, tokens=tokens)
    channel = open_channel(server.start())
    stub = info_pb2_grpc.InfoServiceStub(channel)
    try:
        yield lambda: invoke(stub.GetInfo, info_pb2.GetInfoRequest(), 60)
    finally:
        channel.close()
        server.stop()


def missing() -> info_pb2.GetInfoResponse:
    raise NotFoundError("there is none")


def defect() -> info_pb2.GetInfoResponse:
    raise KeyError("a defect")


@pytest.mark.parametrize(
    ("answer", "code"),
    [(info_pb2.GetInfoResponse, "OK"), (missing, "NOT_FOUND"), (defect, "INTERNAL")],
)
def test_calls_are_counted_by_how_they_end(metered: Begin, answer: Callable[[], Any], code: str) -> None:
    scrape = metered("linker")
    with asking(answer) as ask:
        for _ in range(2):
            if code == "OK":
                ask()
            else:
                with pytest.raises(UnitScopeError):
                    ask()
        found = scrape()
    assert found["unitscope_rpc_calls_total"].samples == {frozenset({("method", METHOD), ("code", code)}): 2}
    assert found["unitscope_rpc_seconds"].value(method=METHOD) == 2
    assert found["unitscope_rpc_in_flight"].value(method=METHOD) == 0


def test_a_call_is_in_flight_while_it_is_answered(metered: Begin) -> None:
    scrape = metered("linker")
    seen: list[float] = []

    def answer() -> info_pb2.GetInfoResponse:
        seen.append(scrape()["unitscope_rpc_in_flight"].value(method=METHOD))
        return info_pb2.GetInfoResponse()

    with asking(answer) as ask:
        ask()
    assert seen == [1]


def test_refused_calls_are_counted_and_tell_nothing_to_the_log(metered: Begin, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    scrape = metered("gateway")
    with asking(missing, tokens=TokenFile(tmp_path / "tokens")) as ask, pytest.raises(UnauthenticatedError):
        ask()
    assert scrape()["unitscope_rpc_calls_total"].value(method=METHOD, code="UNAUTHENTICATED") == 1


def test_names_that_callers_think_of_are_one_label(metered: Begin) -> None:
    scrape = metered("linker")
    server = Server("linker", 0, [], missing, ServerSettings(listen="127.0.0.1:0", drain_seconds=0))
    with grpc.insecure_channel(server.start()) as channel:
        for number in range(3):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"/made.up/Method{number}")(b"", timeout=60)
    server.stop()
    found = scrape()["unitscope_rpc_calls_total"].samples
    assert found == {frozenset({("method", "unknown"), ("code", "UNIMPLEMENTED")}): 3}


def test_ids_and_trace_go_along_with_a_call(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_begun", True)
    seen: list[dict[str, str]] = []

    def answer() -> info_pb2.GetInfoResponse:
        seen.append({**logs.current(), **traces.current_ids()})
        return info_pb2.GetInfoResponse()

    with asking(answer) as ask, logs.bound(job="job-1", chunk="sample/3"), traces.span("chunk"):
        ask()
    traces.end()
    chunk, call, served = (
        next(span for span in collector.spans if (span.name, bool(span.attributes)) == wanted)
        for wanted in (("chunk", False), (METHOD[1:], False), (METHOD[1:], True))
    )
    assert (call.parent, served.parent) == (chunk.span, call.span)
    assert seen == [{"job": "job-1", "chunk": "sample/3", "trace_id": chunk.trace, "span_id": served.span}]
    assert served.attributes == {"unitscope.job": "job-1", "unitscope.chunk": "sample/3"}
    assert logs.current() == {}


def test_a_failed_call_is_a_failed_span_on_both_sides(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_begun", True)
    with asking(missing) as ask, traces.span("chunk"), pytest.raises(NotFoundError):
        ask()
    traces.end()
    assert [span.failed for span in collector.spans if span.name == METHOD[1:]] == [True, True]


def test_scripts_of_users_hand_nothing_on() -> None:
    seen: list[dict[str, str]] = []

    def answer() -> info_pb2.GetInfoResponse:
        seen.append(dict(logs.current()))
        return info_pb2.GetInfoResponse()

    with asking(answer) as ask, logs.bound(job="job-1"):
        ask()
    assert seen == [{}]
