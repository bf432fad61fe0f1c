"""Requests that are no messages, streams that never end, and more calls than are answered."""

import threading
import time

import grpc
import pytest

from unitscope.errors import UnitScopeError
from unitscope.rpc import Server, ServiceEntry, invoke
from unitscope.rpc.channel import stream
from unitscope.settings import ServerSettings
from unitscope.v1 import analysis_job_pb2 as jobs
from unitscope.v1 import analysis_job_pb2_grpc, info_pb2, linker_pb2, linker_pb2_grpc

# Method names below are gRPC's.
# ruff: noqa: N802

PACKAGE = "/unitscope.v1"


class _Jobs(analysis_job_pb2_grpc.AnalysisJobServiceServicer):
    def __init__(self):
        self.free = threading.Event()

    def GetAnalysisJob(self, request, context):
        self.free.wait(20)
        return jobs.GetAnalysisJobResponse()

    def WatchAnalysisJob(self, request, context):
        while True:
            yield jobs.WatchAnalysisJobResponse()
            time.sleep(0.05)


class _Linker(linker_pb2_grpc.LinkerServiceServicer):
    def Accumulate(self, requests, context):
        return linker_pb2.AccumulateResponse(pairs=sum(1 for _ in requests))


@pytest.fixture
def serving():
    servicer = _Jobs()
    entries = [
        ServiceEntry("unitscope.v1.AnalysisJobService", lambda s: analysis_job_pb2_grpc.add_AnalysisJobServiceServicer_to_server(servicer, s)),
        ServiceEntry("unitscope.v1.LinkerService", lambda s: linker_pb2_grpc.add_LinkerServiceServicer_to_server(_Linker(), s)),
    ]  # fmt: skip
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0, threads=2, max_deadline_seconds=0.5)
    server = Server("guarded", 0, entries, info_pb2.GetInfoResponse, settings)
    channel = grpc.insecure_channel(server.start())
    yield channel, servicer
    servicer.free.set()
    channel.close()
    server.stop()


def raised(call, *arguments):
    with pytest.raises(UnitScopeError) as caught:
        call(*arguments)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["tag", "length", "text"])
def test_bytes_that_are_no_message_are_an_invalid_argument(serving, data):
    channel, _ = serving
    wanted = ("INVALID_ARGUMENT", "UNDECODABLE_REQUEST")
    get = channel.unary_unary(f"{PACKAGE}.AnalysisJobService/GetAnalysisJob")
    assert raised(invoke, get, data, 5) == wanted
    watch = channel.unary_stream(f"{PACKAGE}.AnalysisJobService/WatchAnalysisJob")
    assert raised(list, stream(watch, data, 5)) == wanted
    accumulate = channel.stream_unary(f"{PACKAGE}.LinkerService/Accumulate")
    assert raised(invoke, accumulate, iter([b"", data]), 5) == wanted


def test_a_stream_ends_also_where_the_caller_sets_no_deadline(serving):
    channel, _ = serving
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
    watching = stream(stub.WatchAnalysisJob, jobs.WatchAnalysisJobRequest(), None)
    assert raised(list, watching) == ("DEADLINE_EXCEEDED", "STREAM_TOO_LONG")


def test_a_stream_of_requests_that_is_held_open_is_cancelled(serving):
    channel, _ = serving
    stub = linker_pb2_grpc.LinkerServiceStub(channel)
    held = threading.Event()

    def requests():
        yield linker_pb2.AccumulateRequest()
        held.wait(20)

    began = time.monotonic()
    assert raised(invoke, stub.Accumulate, requests(), None)[0] in ("CANCELLED", "UNKNOWN")
    assert time.monotonic() - began < 10
    held.set()


def test_calls_beyond_the_limit_are_refused_at_once(serving):
    channel, servicer = serving
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
    calls = [stub.GetAnalysisJob.future(jobs.GetAnalysisJobRequest(), timeout=20) for _ in range(4)]
    time.sleep(0.3)
    assert raised(invoke, stub.GetAnalysisJob, jobs.GetAnalysisJobRequest(), 20) == (
        "RESOURCE_EXHAUSTED",
        "SERVER_BUSY",
    )
    servicer.free.set()
    for call in calls:
        assert call.result() == jobs.GetAnalysisJobResponse()
    invoke(stub.GetAnalysisJob, jobs.GetAnalysisJobRequest(), 20)
