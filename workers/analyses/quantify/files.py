"""The artifacts of a finished `quantify` job, one after the other: pictures, tables, report."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from unitscope.jobs.specs import QuantifySpec
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.publish import REPORT, quality_table
from workers.analyses.quantify.page import quantify_report
from workers.analyses.quantify.rows import effect_rows, metadata, sharded, step_rows, unit_rows
from workers.analyses.quantify.targets import Targets
from workers.analyses.quantify.verdict import verdict
from workers.outputs import OutputFile, parquet_file, table_files, table_rows, with_metadata
from workers.report import build

ROWS_PER_SHARD = 50_000
STAGES = ("screen", "confirm")


def quantify_files(context: Job) -> Iterator[OutputFile]:
    """Tables, zips of pictures and report of a job of kind ``quantify``.

    Pictures and steps go out chunk by chunk: memory does not grow with the number of units.
    """
    spec = context.spec
    if not isinstance(spec, QuantifySpec):
        raise TypeError(f"the spec of {context.job_id} is a {type(spec).__name__}")
    linked, targets = Linked.of(context), Targets.load(context)
    yield from _pictures(context)
    tables = sharded(_steps(context, spec, targets), ROWS_PER_SHARD)
    for index, table in enumerate(tables):
        yield parquet_file(f"steps/{index:05d}", table)
    found = verdict(context, spec, linked)
    classes = context.card("classifier").classes
    about = metadata(context, spec)
    units = with_metadata(unit_rows(context, found, spec, linked), about)
    yield parquet_file("effects", with_metadata(effect_rows(found, spec, classes), about))
    yield from table_files("units", units)
    quality = quality_table(context, linked)
    yield from table_files("quality", quality)
    report = quantify_report(context, spec, found, table_rows(units), table_rows(quality))
    yield OutputFile(REPORT, "text/html", build(report))


def shard(stage: str, first: int, start: int) -> str:
    """The name of the zip with the pictures of one chunk."""
    return f"images/{stage}-{first:05d}-{start:05d}.zip"


def _stages(context: Job) -> list[str]:
    return [stage.name for stage in context.plan.stages if stage.name in STAGES]


def _pictures(context: Job) -> Iterator[OutputFile]:
    for stage in _stages(context):
        for params, chunk in context.result(stage):
            if "pictures" in chunk.tensors:
                name = shard(stage, params["first"], params["start"])
                yield OutputFile(name, "application/zip", chunk.tensors["pictures"].tobytes())


def _steps(context: Job, spec: QuantifySpec, targets: Targets) -> Iterator[pa.Table]:
    for stage in _stages(context):
        for params, chunk in context.result(stage):
            if not chunk.record.get("empty"):
                name = shard(stage, params["first"], params["start"])
                yield step_rows(context, spec, targets, stage, chunk, name)
