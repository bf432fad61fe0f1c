"""A real stack carries out a job; what its programs emit is what docs/signals.md says, both ways."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.signals.scraped import Family, families, table, words
from tests.support.collector import Collector, Span, collecting
from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.embedded import Embedded
from unitscope.embedded.ports import free_or_wanted, free_ports
from unitscope.embedded.programs import NAMES
from unitscope.jobs.state import read_plan
from unitscope.signals.traces import trace_id
from unitscope.store.directory import DirectoryStore

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

LINK = {
    "classifier": CLASSIFIER,
    "generator": GENERATOR,
    "samples_per_class": 40,
    "heldout_per_class": 12,
    "folds": 2,
}
SPEC = {"link": LINK, "units": {"top": 2}, "seeds_per_class": 2, "steps": 3}


@dataclass(frozen=True)
class Told:
    """All that a stack told during one job."""

    job: str
    chunks: list[tuple[str, int]]
    renderer: str
    metrics: dict[str, dict[str, Family]]
    triton: dict[str, Family]
    spans: list[Span]
    lines: dict[str, list[str]]


def first_port() -> int:
    """The first of ten consecutive ports that are free."""
    while True:
        first = free_ports(1)[0] // 10 * 10
        ports = [*range(first, first + 10)]
        if free_or_wanted(ports) == ports:
            return first


def scrape(port: int) -> dict[str, Family]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return families(answer.read().decode())


def counted(port: int, program: str, name: str, count: int) -> None:
    """Waits until a metric of a program, over all labels, has that value; what is more is for the tests to see."""
    until = time.monotonic() + 120
    while True:
        found = scrape(port + NAMES.index(program))[name].samples
        total = sum(found.values())
        if total >= count if count else total == 0:
            return
        assert time.monotonic() < until, f"{name} of {program} does not become {count}: {found}"
        time.sleep(0.1)


def all_spans(collector: Collector, job: str, chunks: list[tuple[str, int]], renderer: str) -> None:
    """Waits until the spans of all chunks are here, which come in batches from each program, and no more come."""
    seen, since = -1, time.monotonic()

    def whole(spans: list[Span]) -> bool:
        nonlocal seen, since
        if len(spans) != seen:
            seen, since = len(spans), time.monotonic()
            return False
        traces: dict[str, list[Span]] = {}
        for span in spans:
            traces.setdefault(span.trace, []).append(span)

        def here(*what: str | int) -> bool:
            found = traces.get(f"{trace_id(job, *what):032x}", [])
            known = {span.span for span in found}
            services = {span.service for span in found}
            return (
                any(not span.parent for span in found)
                and any(span.name.startswith("unitscope.") for span in found)
                and all(not span.parent or span.parent in known for span in found)
                and (what[0] != "sample" or {"worker", "classifier"} <= services)
            )

        # Programs send once a second. Triton overlooks some parents (docs/signals.md), so that not every chunk
        # has spans of it.
        return (
            time.monotonic() - since > 3
            and any(span.service == renderer for span in spans)
            and all(here(*what) for what in (("plan",), *chunks, ("finalise",)))
        )

    collector.wait(whole, 120)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder, port = tmp_path_factory.mktemp("signals"), first_port()
    models = write_tiny_pack(folder / "models")
    (folder / "scratch").mkdir()
    with collecting() as collector:
        environment = {
            "UNITSCOPE_METRICS_PORT": str(port),
            "UNITSCOPE_TRACES_ENDPOINT": collector.grpc_endpoint,
            "UNITSCOPE_TRACES_HTTP_ENDPOINT": collector.http_endpoint,
            "UNITSCOPE_LOG_FORMAT": "json",
            "UNITSCOPE_GATEWAY_RECONCILE_SECONDS": "0.2",
            # On a busy machine nothing is lost, and nothing sent again, only because it takes long.
            "UNITSCOPE_GATEWAY_LOST_AFTER_SECONDS": "600",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder / "scratch"),
        }
        with Embedded(folder / "home", models, environment=environment, start_seconds=600) as stack:
            with stack.client() as client:
                job = client.submit("traverse", SPEC)
                job.result(timeout=400)
            plan = read_plan(DirectoryStore(stack.home.store), job.id)
            assert plan is not None
            chunks = [(stage.name, index) for stage in plan.stages for index in range(len(stage.chunks))]
            # The gateway sees the end a moment after it; the worker counts the finaliser only then.
            counted(port, "gateway", "unitscope_jobs_ended_total", 1)
            counted(port, "gateway", "unitscope_outstanding_chunks", 0)
            counted(port, "worker", "unitscope_chunks_total", len(chunks) + 1)
            metrics = {name: scrape(port + number) for number, name in enumerate(NAMES)}
            triton_port = int(stack.endpoints.generator_metrics.rpartition(":")[2])
            renders = "triton renders" in (stack.home.logs / "generator.log").read_text("utf-8")
            renderer = "triton" if renders else "generator"
            all_spans(collector, job.id, chunks, renderer)
            told = Told(
                job.id,
                chunks,
                renderer,
                metrics,
                scrape(triton_port) if renders else {},
                collector.spans,
                {name: (stack.home.logs / f"{name}.log").read_text("utf-8").splitlines() for name in NAMES},
            )
        yield told


def test_every_documented_metric_is_there_and_no_other(told: Told) -> None:
    documented = {row[0]: row for row in table("metric") if len(row) == 5}
    for program, found in told.metrics.items():
        wanted = {name for name, row in documented.items() if program in words(row[3])}
        if program == "generator" and told.renderer == "triton":
            assert found.pop("unitscope_rpc_calls_total").samples == {}
            wanted = {name for name in wanted if "_rpc_" not in name}
            found = {name: family for name, family in found.items() if "_rpc_" not in name}
        assert {name for name in found if name.startswith("unitscope_")} == wanted, program
        for name in wanted:
            assert found[name].type == documented[name][1], name
            assert found[name].samples, f"{program}: {name} has no value"
            assert found[name].labels == words(documented[name][2]), name


def test_the_numbers_are_those_of_the_job(told: Told) -> None:
    worker, gateway = told.metrics["worker"], told.metrics["gateway"]
    attempts = worker["unitscope_chunks_total"].samples
    done = sum(value for labels, value in attempts.items() if ("outcome", "done") in labels)
    assert done == sum(attempts.values()) == len(told.chunks) + 1
    rows = told.metrics["classifier"]["unitscope_rows_total"].value(method="ExtractFeatures")
    assert worker["unitscope_renders_total"].value() == rows > 0
    assert gateway["unitscope_jobs_ended_total"].value(kind="traverse", state="SUCCEEDED") == 1
    assert set(gateway["unitscope_outstanding_chunks"].samples.values()) == {0}
    assert worker["unitscope_waiting_chunks"].value() == 0


def test_triton_tells_what_the_page_says(told: Told) -> None:
    if told.renderer != "triton":
        pytest.skip("Triton cannot run here")
    wanted = {row[0] for row in table("metric") if len(row) == 2}
    assert wanted <= {name.removesuffix("_total") for name in told.triton}


def test_all_that_is_done_for_a_chunk_is_one_trace(told: Told) -> None:
    traces: dict[str, list[Span]] = {}
    for span in told.spans:
        traces.setdefault(span.trace, []).append(span)
    services: set[str] = set()
    for stage, index in told.chunks:
        spans = traces[f"{trace_id(told.job, stage, index):032x}"]
        known = {span.span for span in spans}
        # Where the last two chunks of a stage end at once, both send the next stage.
        roots = {(span.service, span.name) for span in spans if not span.parent}
        assert roots == {("worker", "send unitscope.run_chunk")}
        assert [span for span in spans if span.parent and span.parent not in known] == []
        runs = [span.attributes for span in spans if span.name == "unitscope.run_chunk"]
        about = {"unitscope.job": told.job, "unitscope.chunk": f"{stage}/{index}"}
        assert runs == [about] * len(runs)
        assert runs
        services |= {span.service for span in spans}
        if stage == "sample":
            sure = {"worker", "classifier"} | {told.renderer} - {"triton"}
            assert sure <= {span.service for span in spans}
    assert services == {"worker", "classifier", "linker", told.renderer}
    (sent,) = [s for s in traces[f"{trace_id(told.job, 'plan'):032x}"] if not s.parent]
    assert sent.service == "gateway"
    (created,) = [s for s in told.spans if s.name.endswith("/CreateAnalysisJob")]
    assert sent.links == (created.trace,)


def test_every_documented_span_is_there_and_no_other(told: Told) -> None:
    rows = [(row[0], row[1]) for row in table("service")]
    if told.renderer != "triton":
        rows = [row for row in rows if row[0] != "triton"] + [("generator", "<method>")]
    patterns = {
        (service, name): re.compile(re.sub(r"<\w+>", r"[\\w./-]+", re.escape(name).replace(r"\ ", " ")))
        for service, name in rows
    }
    seen = {(span.service, span.name) for span in told.spans}
    for service, name in seen:
        assert any(s == service and p.fullmatch(name) for (s, _), p in patterns.items()), (service, name)
    for (service, _), pattern in patterns.items():
        assert any(s == service and pattern.fullmatch(name) for s, name in seen), (service, pattern)


def test_lines_are_json_with_the_documented_fields_and_name_job_chunk_and_trace(told: Told) -> None:
    documented = {row[0] for row in table("field")}
    found: dict[str, list[dict[str, str]]] = {}
    for program, lines in told.lines.items():
        found[program] = [json.loads(line) for line in lines if line.startswith("{")]
        assert {line["program"] for line in found[program]} == {program}
    own = [line for lines in found.values() for line in lines]
    assert {name for line in own for name in line} <= documented
    assert documented - {name for line in own for name in line} <= {"error"}
    for stage, index in told.chunks:
        (line,) = [
            line
            for line in found["worker"]
            if line.get("chunk") == f"{stage}/{index}" and "done" in line["message"]
        ]
        assert line["job"] == told.job
        assert line["trace_id"] == f"{trace_id(told.job, stage, index):032x}"
    assert any(line.get("job") == told.job for line in found["gateway"])
    # Only Triton, which is no program of ours, and Celery's banner are not JSON.
    for program in ("gateway", "classifier", "linker"):
        assert [line for line in told.lines[program] if not line.startswith("{")] == []
