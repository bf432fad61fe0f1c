"""The real Triton over a model repository that was exported, as somebody else would run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import tritonclient.grpc as v2
from tritonclient.utils import InferenceServerException

from services.generator.settings import GeneratorSettings
from services.generator.triton_server import command_line, environment, find_triton, lay_backends
from tests.support.generator import PATIENCE
from unitscope.embedded.ports import free_ports


@contextlib.contextmanager
def triton_over(repository: Path, scratch: Path, *flags: str) -> Iterator[str]:
    """Runs Triton without our supervisor, and gives its gRPC address.

    Args:
        repository: A model repository.
        scratch: A folder for its backends.
        flags: Further options of the command line.
    """
    binary, address = find_triton(), f"127.0.0.1:{free_ports(1)[0]}"
    lay_backends(binary, scratch / "backends")
    settings = GeneratorSettings(http_port=0, metrics_port=0)
    shared = f"unitscope-test-{os.getpid()}-"
    line = command_line(binary, scratch / "backends", repository, shared, settings, address)
    process = subprocess.Popen([*line, *flags], env=environment(binary))
    try:
        _wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            for path in Path("/dev/shm").glob(f"{shared}*"):
                path.unlink(missing_ok=True)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    # A channel that fails backs off for long: each look takes a new one.
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"triton ended with code {process.returncode}")
        client = v2.InferenceServerClient(address)
        with contextlib.closing(client), contextlib.suppress(InferenceServerException):
            if client.is_server_ready(client_timeout=2.0):
                return
        time.sleep(0.2)
    raise TimeoutError(f"triton is not ready after {PATIENCE} s")
