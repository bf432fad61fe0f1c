"""The artifacts of a finished job, one after the other: pictures, tables, report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from unitscope.jobs.chunks import ChunkResult
from unitscope.tables import LINKER_DIGEST, QUALITY
from workers.analyses import page
from workers.analyses.job import Job
from workers.analyses.linked import Linked, link_spec, record
from workers.analyses.results import Effects, step_rows, unit_rows
from workers.analyses.select import Selection
from workers.outputs import MAX_JSON_ROWS, OutputFile, pack_images, table_files, table_rows, with_metadata
from workers.report import Traversal, build

REPORT = "report/index.html"


def link_files(context: Job) -> Iterator[OutputFile]:
    """Quality, pictures of held-out images and report of a job of kind ``link``."""
    quality = quality_table(context, Linked.of(context))
    yield from _link_pictures(context)
    yield from table_files("quality", quality)
    report = page.link_report(context, table_rows(quality))
    yield OutputFile(REPORT, "text/html", build(report))


def traverse_files(context: Job) -> Iterator[OutputFile]:
    """Tables, zips of pictures and report of a job of kind ``traverse``."""
    linked, selection = Linked.of(context), Selection.of(context)
    gathered = _Gathered()
    for params, chunk in context.result("traverse"):
        yield from _gather(context, linked, gathered, params, chunk)
    if link_spec(context) is not None:
        yield from _link_pictures(context)
    classes = context.card("classifier").classes
    effects = [Effects.join(parts) for parts in gathered.effects.values()]
    units = unit_rows(selection, effects, classes)
    steps = pa.concat_tables(gathered.steps)
    quality = quality_table(context, linked)
    for name, table in (("units", units), ("steps", steps), ("quality", quality)):
        yield from table_files(name, table)
    notes = page.notes(context, gathered.left_out)
    if steps.num_rows > MAX_JSON_ROWS:
        notes.append(f"The table of steps has {steps.num_rows:,} rows and is written as Parquet alone.")
    report = page.traverse_report(context, table_rows(quality), table_rows(units), gathered.traversals, notes)
    yield OutputFile(REPORT, "text/html", build(report))


def quality_table(context: Job, linked: Linked) -> pa.Table:
    """The quality of the job's linker; that on its card where the job did not fit it."""
    if link_spec(context) is None:
        rows = linked.card.metrics.get("quality", [])
    else:
        rows = record(context, "evaluate")["quality"]
    table = QUALITY.build({c.name: [row[c.name] for row in rows] for c in QUALITY.columns})
    return with_metadata(table, {LINKER_DIGEST: linked.card.digest})


@dataclass
class _Gathered:
    """What one pass over the chunks collects.

    Attributes:
        steps: Tables of steps, in the order of the chunks.
        effects: By the first unit of the chunk: one entry a class.
        traversals: Those that the report shows.
        left_out: How many more there are.
    """

    steps: list[pa.Table] = field(default_factory=list)
    effects: dict[int, list[Effects]] = field(default_factory=dict)
    traversals: list[Traversal] = field(default_factory=list)
    left_out: int = 0


def _gather(
    context: Job, linked: Linked, gathered: _Gathered, params: dict[str, Any], chunk: ChunkResult
) -> Iterator[OutputFile]:
    """Adds one chunk; hands out its zip of pictures, if it has one."""
    class_name = context.card("generator").classes[params["class"]]
    classes = context.card("classifier").classes
    shard = f"images/class-{params['class']:04d}-units-{params['first']:04d}.zip"
    names = page.image_names(chunk)
    if "pictures" in chunk.tensors:
        yield OutputFile(shard, "application/zip", chunk.tensors["pictures"].tobytes())
    gathered.steps.append(step_rows(chunk, class_name, classes, shard, names))
    effects = Effects.of(dict(chunk.tensors), linked.solution.distance_limit)
    gathered.effects.setdefault(params["first"], []).append(effects)
    room = page.MAX_TRAVERSALS - len(gathered.traversals)
    shown = page.traversals(chunk, effects, class_name, classes)
    gathered.traversals.extend(shown[:room])
    gathered.left_out += len(shown[room:])


def _link_pictures(context: Job) -> Iterator[OutputFile]:
    """The held-out images that the report shows, as a zip."""
    images = {}
    for params, survivors in page.survivors(context):
        for number, shown in enumerate(survivors):
            stem = f"class-{params['class']:04d}/{number:02d}"
            images[f"{stem}-own.png"] = shown.own
            images[f"{stem}-linked.png"] = shown.linked
            images[f"{stem}-class-mean.png"] = shown.class_mean
    yield OutputFile("images/heldout.zip", "application/zip", pack_images(images))
