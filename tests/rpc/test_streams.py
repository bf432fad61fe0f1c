"""Streams whose server is killed end with an error; the library's own retries let them hang."""

from __future__ import annotations

import subprocess
import sys
import threading

from unitscope.errors import UnitScopeError
from unitscope.rpc.channel import STREAMS, open_channel, stream
from unitscope.v1 import analysis_job_pb2, analysis_job_pb2_grpc, classifier_pb2, linker_pb2

SERVER = """
import time
from concurrent.futures import ThreadPoolExecutor
import grpc
from unitscope.v1 import analysis_job_pb2_grpc

class Silent(analysis_job_pb2_grpc.AnalysisJobServiceServicer):
    def WatchAnalysisJob(self, request, context):
        print("called", flush=True)
        time.sleep(600)
        yield

server = grpc.server(ThreadPoolExecutor(2))
analysis_job_pb2_grpc.add_AnalysisJobServiceServicer_to_server(Silent(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def test_no_stream_of_ours_is_tried_again_by_the_library() -> None:
    files = (analysis_job_pb2, classifier_pb2, linker_pb2)
    streams = {
        (service.full_name, method.name)
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.server_streaming or method.client_streaming
    }
    assert streams == set(STREAMS)


def test_a_stream_ends_when_its_server_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        channel = open_channel(f"127.0.0.1:{port}")
        stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
        found: list[UnitScopeError] = []

        def watch() -> None:
            request = analysis_job_pb2.WatchAnalysisJobRequest(job_id="job-" + "a" * 24)
            try:
                list(stream(stub.WatchAnalysisJob, request, 240))
            except UnitScopeError as error:
                found.append(error)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        assert server.stdout.readline() == "called\n"
        server.kill()
        watcher.join(100)
    assert found
    channel.close()
