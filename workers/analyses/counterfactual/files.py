"""The artifacts of a finished `counterfactual` job, one after the other: pictures, tables, report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses.columns import Columns
from workers.analyses.counterfactual.changes import change_rows, changes_of
from workers.analyses.counterfactual.gather import Rows, no_rows, of_base, pairs_of, rows_of, searches
from workers.analyses.counterfactual.inversions import inversion_rows, own_pictures
from workers.analyses.counterfactual.page import Tables, counterfactual_report
from workers.analyses.counterfactual.pairs import carrier_rows, carriers_of, pair_rows
from workers.analyses.counterfactual.rows import counterfactual_rows, fixed, metadata
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.publish import REPORT, quality_table
from workers.outputs import (
    MAX_JSON_ROWS,
    OutputFile,
    parquet_file,
    table_files,
    table_json,
    with_metadata,
)
from workers.report import build


def counterfactual_files(context: Job) -> Iterator[OutputFile]:
    """Zips of pictures, tables and report of a job of kind ``counterfactual``.

    Pictures go out chunk by chunk, and shifts stay in the chunks: of a row no more than its numbers and its
    carriers is held.
    """
    spec = context.spec
    if not isinstance(spec, CounterfactualSpec):
        raise TypeError(f"the spec of {context.job_id} is a {type(spec).__name__}")
    linked, columns = Linked.of(context), Columns.of(context.card("parts").classes)
    yield from own_pictures(context, spec)
    parts, shards = [no_rows(linked.solution, columns, spec.top)], {}
    for index, params, chunk in searches(context):
        if "pictures" in chunk.tensors:
            shards[index] = shard(params)
            yield OutputFile(shards[index], "application/zip", chunk.tensors["pictures"].tobytes())
        parts.append(rows_of(index, params, chunk, linked.solution, columns, spec.top))
        context.beat()
    found, about = Rows.joined(parts), metadata(context, spec)
    wide, tables = _tables(context, spec, linked, found, shards)
    yield parquet_file("counterfactuals", with_metadata(wide, about))
    if wide.num_rows <= MAX_JSON_ROWS:
        yield OutputFile("tables/counterfactuals.json", "application/json", table_json(tables.rows))
    for name, table in tables.others():
        context.beat()
        yield from table_files(name, with_metadata(table, about))
    report = counterfactual_report(context, spec, found, tables)
    yield OutputFile(REPORT, "text/html", build(report))


def shard(params: dict[str, Any]) -> str:
    """The name of the zip with the pictures of one chunk of searches."""
    of = "own" if params["class"] < 0 else f"{params['class']:04d}"
    return f"images/search-{of}-{params['first']:05d}-{params['targets'][0]:04d}.zip"


def _tables(
    context: Job, spec: CounterfactualSpec, linked: Linked, found: Rows, shards: dict[int, str]
) -> tuple[pa.Table, Tables]:
    """The table of rows with its columns of parts and measures, and all tables."""
    columns, solution = Columns.of(context.card("parts").classes), linked.solution
    classes, base = context.card("classifier").classes, of_base(context, columns)
    wide = counterfactual_rows(context, spec, found, columns, base, solution.distance_limit, shards)
    pairs = pairs_of(found)
    carriers = carriers_of(context, found, pairs, solution.std)
    changes = changes_of(found, pairs, columns, base.scale, context.beat)
    return wide, Tables(
        rows=fixed(wide),
        pairs=pair_rows(context, spec.method, found, pairs, carriers, changes, solution.distance_limit),
        carriers=carrier_rows(classes, pairs, carriers),
        changes=change_rows(classes, pairs, changes),
        quality=quality_table(context, linked),
        inversions=inversion_rows(context, spec, solution) if spec.image_folder else None,
    )
