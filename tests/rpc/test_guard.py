"""Requests that are no messages, streams that never end, and more calls than are answered."""

import queue
import threading
import time
from contextlib import contextmanager

import grpc
import pytest

from unitscope.errors import ResourceExhaustedError, UnitScopeError
from unitscope.rpc import Server, ServiceEntry, invoke
from unitscope.rpc.channel import stream
from unitscope.rpc.status import from_rpc_error
from unitscope.settings import ServerSettings
from unitscope.v1 import analysis_job_pb2 as jobs
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2, linker_pb2, linker_pb2_grpc

# Method names below are gRPC's.
# ruff: noqa: N802

PACKAGE = "/unitscope.v1"
SECONDS = 60.0
"""For what comes at once, on a machine that may be busy."""


class _Jobs(analysis_job_pb2_grpc.AnalysisJobServiceServicer):
    def __init__(self):
        self.free = threading.Event()

    def GetAnalysisJob(self, request, context):
        self.free.wait(SECONDS)
        return jobs.GetAnalysisJobResponse()

    def WatchAnalysisJob(self, request, context):
        while True:
            yield jobs.WatchAnalysisJobResponse()
            time.sleep(0.05)


class _Linker(linker_pb2_grpc.LinkerServiceServicer):
    def Accumulate(self, requests, context):
        return linker_pb2.AccumulateResponse(pairs=sum(1 for _ in requests))


@contextmanager
def serving(max_deadline_seconds=SECONDS):
    servicer = _Jobs()
    entries = [
        ServiceEntry("unitscope.v1.AnalysisJobService", lambda s: analysis_job_pb2_grpc.add_AnalysisJobServiceServicer_to_server(servicer, s)),
        ServiceEntry("unitscope.v1.LinkerService", lambda s: linker_pb2_grpc.add_LinkerServiceServicer_to_server(_Linker(), s)),
    ]  # fmt: skip
    settings = ServerSettings(
        listen="127.0.0.1:0", drain_seconds=0, threads=2, max_deadline_seconds=max_deadline_seconds
    )
    server = Server("guarded", 0, entries, info_pb2.GetInfoResponse, settings)
    channel = grpc.insecure_channel(server.start())
    try:
        yield channel, servicer
    finally:
        servicer.free.set()
        channel.close()
        server.stop()


@pytest.fixture
def served():
    with serving() as running:
        yield running


@pytest.fixture
def hasty():
    """A server that soon ends whatever streams."""
    with serving(max_deadline_seconds=0.5) as (channel, _):
        yield channel


def raised(call, *arguments):
    with pytest.raises(UnitScopeError) as caught:
        call(*arguments)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["tag", "length", "text"])
def test_bytes_that_are_no_message_are_an_invalid_argument(served, data):
    channel, _ = served
    wanted = ("INVALID_ARGUMENT", "UNDECODABLE_REQUEST")
    get = channel.unary_unary(f"{PACKAGE}.AnalysisJobService/GetAnalysisJob")
    assert raised(invoke, get, data, SECONDS) == wanted
    watch = channel.unary_stream(f"{PACKAGE}.AnalysisJobService/WatchAnalysisJob")
    assert raised(list, stream(watch, data, SECONDS)) == wanted
    accumulate = channel.stream_unary(f"{PACKAGE}.LinkerService/Accumulate")
    assert raised(invoke, accumulate, iter([b"", data]), SECONDS) == wanted


def test_a_stream_ends_also_where_the_caller_sets_no_deadline(hasty):
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(hasty)
    watching = stream(stub.WatchAnalysisJob, jobs.WatchAnalysisJobRequest(), None)
    assert raised(list, watching) == ("DEADLINE_EXCEEDED", "STREAM_TOO_LONG")


def test_a_stream_of_requests_that_is_held_open_is_cancelled(hasty):
    stub = linker_pb2_grpc.LinkerServiceStub(hasty)
    held = threading.Event()

    def requests():
        yield linker_pb2.AccumulateRequest()
        held.wait(4 * SECONDS)  # then the stream ends by itself, and nothing is raised

    try:
        assert raised(invoke, stub.Accumulate, requests(), None)[0] in ("CANCELLED", "UNKNOWN")
    finally:
        held.set()


def test_calls_beyond_the_limit_are_refused_at_once(served):
    channel, servicer = served
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
    ended = queue.Queue()
    calls = [stub.GetAnalysisJob.future(jobs.GetAnalysisJobRequest(), timeout=2 * SECONDS) for _ in range(5)]
    for call in calls:
        call.add_done_callback(ended.put)
    # The one that came last, whichever it is; the others wait.
    refused = ended.get(timeout=SECONDS)
    error = from_rpc_error(refused.exception())
    assert (type(error), error.reason) == (ResourceExhaustedError, "SERVER_BUSY")
    servicer.free.set()
    for call in calls:
        if call is not refused:
            assert call.result() == jobs.GetAnalysisJobResponse()
    invoke(stub.GetAnalysisJob, jobs.GetAnalysisJobRequest(), SECONDS)
