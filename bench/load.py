"""The gateway under load: 200 watchers, 20 submissions a second, gets and lists between them.

`python -m bench.load` prints one JSON object. A gateway of its own process serves a folder; this process
calls it over a real channel, and a third one stands for the workers: it writes plans, chunks and ends
into the store. Twenty jobs advance by a chunk a second, each with ten watchers; those that are
submitted end after a second, and retention deletes them half a minute later, so that creating, ending
and deleting go on side by side. Latencies are the caller's: everything shares the machine's cores. Memory
is the gateway's resident set; its growth is that of the last quarter over the second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil

from unitscope.embedded.ports import free_ports
from unitscope.jobs import layout, planning
from unitscope.jobs.chunks import ChunkResult, encode
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.specs import parse_spec
from unitscope.jobs.state import JobState, write_terminal
from unitscope.models import ModelCard, Registry
from unitscope.rpc.status import from_rpc_error
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.v1 import analysis_job_pb2_grpc

# ruff: noqa: D102

MODELS = Path(__file__).parents[1] / "models"
SHORT = {"classifier": "avatars/shortcut", "generator": "avatars/generator", "samples_per_class": 20}
LONG = {**SHORT, "samples_per_class": 10_000, "folds": 2}
WATCHERS, SUBMISSIONS, GETS, LONG_JOBS = 200, 20, 50, 20
SHORT_SECONDS = 1.0


def no_linker(digest: str) -> ModelCard:
    raise LookupError(digest)


@dataclass
class Figures:
    """What was seen."""

    latencies: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    watching: int = 0
    most_watching: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)
    threads: int = 0
    processor: float = 0.0

    def report(self, seconds: float) -> dict[str, Any]:
        quarter = seconds / 4
        before = [size for at, size in self.memory if quarter <= at < 2 * quarter]
        after = [size for at, size in self.memory if at >= 3 * quarter]
        return {
            "seconds": seconds,
            "calls": {name: len(values) for name, values in self.latencies.items()},
            "calls a second": round(sum(map(len, self.latencies.values())) / seconds, 1),
            "watchers at once": self.most_watching,
            "messages to watchers a second": round(self.messages / seconds, 1),
            "latency in ms": {name: _quantiles(values) for name, values in self.latencies.items()},
            "errors": dict(self.errors),
            "memory of the gateway": {
                "second quarter in MiB": round(statistics.median(before), 1),
                "last quarter in MiB": round(statistics.median(after), 1),
                "growth in MiB": round(statistics.median(after) - statistics.median(before), 1),
                "most in MiB": round(max(size for _, size in self.memory), 1),
            },
            "threads of the gateway": self.threads,
            "cores used by the gateway": round(self.processor / seconds, 2),
        }


def _quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
        for name, share in (("median", 0.5), ("p99", 0.99), ("most", 1.0))
    }


class Load:
    """All callers, in one event loop."""

    def __init__(self, stub: Any, worker: subprocess.Popen[str], seconds: float) -> None:
        self.stub, self.worker = stub, worker
        self.end = time.monotonic() + seconds
        self.figures = Figures()
        self.recent: deque[str] = deque(maxlen=400)
        self.long: list[str] = []
        self.random = random.Random(5)

    async def timed(self, name: str, call: Any) -> Any:
        """The answer of a call, whose time and error are noted."""
        began = time.monotonic()
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.figures.errors[f"{name} {_reason(error)}"] += 1
            return None
        self.figures.latencies.setdefault(name, []).append(time.monotonic() - began)
        return answer

    async def submit(self, spec: dict[str, Any], kind: str) -> str:
        request = pb.CreateAnalysisJobRequest(
            spec=spec_to_proto(parse_spec("link", spec)), request_id=uuid.uuid4().hex
        )
        answer = await self.timed("create", self.stub.CreateAnalysisJob(request, timeout=10))
        if answer is None:
            return ""
        assert self.worker.stdin is not None
        self.worker.stdin.write(f"{kind} {answer.job.job_id}\n")
        self.worker.stdin.flush()
        return str(answer.job.job_id)

    async def paced(self, a_second: float, act: Any) -> None:
        """Acts at an even pace, whether or not earlier acts have ended."""
        tasks: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while due < self.end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(act())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += 1 / a_second
        await asyncio.gather(*tasks, return_exceptions=True)

    async def one_submission(self) -> None:
        if job_id := await self.submit(SHORT, "short"):
            self.recent.append(job_id)

    async def one_get(self) -> None:
        pool = [*self.long, *self.recent]
        request = pb.GetAnalysisJobRequest(job_id=self.random.choice(pool))
        await self.timed("get", self.stub.GetAnalysisJob(request, timeout=10))

    async def one_list(self) -> None:
        await self.timed("list", self.stub.ListAnalysisJobs(pb.ListAnalysisJobsRequest(), timeout=10))

    async def watch(self, job_id: str) -> None:
        """Watches until the end; opens the stream anew where it breaks."""
        figures = self.figures
        while (left := self.end - time.monotonic()) > 0:
            stream = self.stub.WatchAnalysisJob(pb.WatchAnalysisJobRequest(job_id=job_id), timeout=left)
            figures.watching += 1
            try:
                async for _ in stream:
                    figures.messages += 1
                    figures.most_watching = max(figures.most_watching, figures.watching)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    figures.errors[f"watch {_reason(error)}"] += 1
                    await asyncio.sleep(0.5)
            finally:
                figures.watching -= 1

    async def measure(self, process: psutil.Process, began: float) -> None:
        while time.monotonic() < self.end:
            size = process.memory_info().rss / 2**20
            self.figures.memory.append((time.monotonic() - began, size))
            self.figures.threads = max(self.figures.threads, process.num_threads())
            await asyncio.sleep(0.5)

    async def run(self, process: psutil.Process) -> Figures:
        self.long = [await self.submit(LONG, "long") for _ in range(LONG_JOBS)]
        self.figures.latencies.clear()
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        watchers = [self.watch(self.long[index % LONG_JOBS]) for index in range(WATCHERS)]
        await asyncio.gather(
            self.measure(process, began),
            self.paced(SUBMISSIONS, self.one_submission),
            self.paced(GETS, self.one_get),
            self.paced(1, self.one_list),
            *watchers,
        )
        self.figures.processor = sum(process.cpu_times()[:2]) - before
        return self.figures


def _reason(error: grpc.aio.AioRpcError) -> str:
    found = from_rpc_error(error) if isinstance(error, grpc.Call) else None
    return found.reason if found else error.code().name


def work(folder: Path) -> None:
    """Stands for the workers: carries out what is named on standard input, and takes in messages."""
    store = DirectoryStore(folder / "store")
    plans = {
        name: planning.make(parse_spec("link", spec), Registry(MODELS), no_linker)
        for name, spec in (("short", SHORT), ("long", LONG))
    }
    texts = {name: plan.model_dump_json().encode() for name, plan in plans.items()}
    chunks = {
        name: [(plan.stages[0].name, chunk) for chunk in plan.chunk_ids(plan.stages[0])]
        for name, plan in plans.items()
    }
    result = encode(ChunkResult())
    manifest = json.dumps({"artifacts": []}).encode()
    os.set_blocking(0, False)
    due: list[tuple[float, str, str, int]] = []
    buffer = ""
    while True:
        buffer += os.read(0, 1 << 16).decode() if _readable() else ""
        *lines, buffer = buffer.split("\n")
        now = time.monotonic()
        due += [(now, *line.split(" ", 1), -1) for line in lines]  # type: ignore[misc]
        waiting = []
        for at, kind, job_id, step in due:
            if at > now:
                waiting.append((at, kind, job_id, step))
            elif step < 0:
                store.create(layout.plan(job_id), texts[kind])
                waiting.append((now + SHORT_SECONDS, kind, job_id, 0))
            elif kind == "short":
                store.create(layout.manifest(job_id), manifest)
                write_terminal(store, job_id, JobState.SUCCEEDED)
            elif step < len(chunks[kind]):
                store.create(layout.chunk(job_id, *chunks[kind][step]), result)
                waiting.append((at + 1, kind, job_id, step + 1))
        due = waiting
        for message in (folder / "broker" / "messages").glob("*.msg"):
            message.unlink(missing_ok=True)
        time.sleep(0.05)


def _readable() -> bool:
    import select

    return bool(select.select([0], [], [], 0)[0])


def serve(folder: Path, address: str) -> subprocess.Popen[bytes]:
    """A gateway in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNITSCOPE_")}
    environment |= {
        "UNITSCOPE_STORE_URL": f"directory:{folder / 'store'}",
        "UNITSCOPE_BROKER_URL": f"filesystem:{folder / 'broker'}",
        "UNITSCOPE_MODELS_ROOT": str(MODELS),
        "UNITSCOPE_SERVER_LISTEN": address,
        "UNITSCOPE_GATEWAY_MAX_ACTIVE_JOBS": "200",
        "UNITSCOPE_GATEWAY_PROJECT_SUBMISSIONS_PER_MINUTE": "0",
        "UNITSCOPE_GATEWAY_RETENTION_DAYS": str(30 / 86_400),
        "UNITSCOPE_GATEWAY_RETENTION_SECONDS": "2",
    }
    log = (folder / "gateway.log").open("wb")
    return subprocess.Popen([sys.executable, "-m", "services.gateway"], env=environment, stderr=log)


async def load(address: str, gateway: int, worker: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 60)
        stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
        figures = await Load(stub, worker, seconds).run(psutil.Process(gateway))
    return figures.report(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long; default: %(default)s")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with tempfile.TemporaryDirectory(prefix="unitscope-load-") as name:
        folder = Path(name)
        gateway = serve(folder, address)
        worker = subprocess.Popen(
            [sys.executable, "-m", "bench.load", "--worker", name], stdin=subprocess.PIPE, text=True
        )
        try:
            figures = asyncio.run(load(address, gateway.pid, worker, options.seconds))
        finally:
            worker.kill()
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(30)
        log = (folder / "gateway.log").read_text()
        warnings = [line for line in log.splitlines() if " services." in line and " INFO " not in line]
        figures["warnings in the log"] = len(warnings)
        print(*warnings[:20], sep="\n", file=sys.stderr)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
