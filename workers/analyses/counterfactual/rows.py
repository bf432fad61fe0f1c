"""The table `counterfactuals`: one row for each base image and target, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.jobs.planning.counterfactual import targets_of
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.tables import COUNTERFACTUALS, Table
from workers.analyses.columns import Columns
from workers.analyses.counterfactual.gather import Array, OfBase, Rows
from workers.analyses.counterfactual.inversions import own_chunks
from workers.analyses.counterfactual.naming import row_folder
from workers.analyses.job import Job
from workers.clients.batches import spans
from workers.counterfactual.result import OUTCOMES, Outcome
from workers.measures import MEASURES
from workers.outputs import nullable

RUNNER_UP = "runner-up"
"""Stands for the target where the runner-up was asked for and there is no image to have one."""
_ROWS = 4_096
_OPTIONAL = (
    *("l2", "l1", "deviations", "head_distance", "alpha", "plausibility", "start_plausibility"),
    "change",
)
_CHANCES = ("origin_before", "target_before", "origin_after", "target_after")


def metadata(context: Job, spec: CounterfactualSpec) -> dict[str, str]:
    """What readers of the tables need to know of the job, as metadata of the Parquet files."""
    body = {
        "parts": list(context.card("parts").classes),
        "classes": list(context.card("classifier").classes),
        "origins": list(context.card("generator").classes),
        "measures": {item.name: item.unit for item in MEASURES},
        "method": spec.method,
        "norm": spec.norm,
        "start": spec.start,
        "generator": context.card("generator").name,
        "classifier": context.card("classifier").name,
    }
    return {"unitscope.counterfactual": json.dumps(body, sort_keys=True)}


def strongest(sizes: Array, columns: Columns) -> NDArray[np.int64]:
    """The column (rows,) of the largest of sizes (rows, columns), of measures of parts that have a direction.

    The largest single one, not the sum over a part's measures: a part that comes or goes has no other
    measure than its area. -1 where nothing changed.
    """
    directed = columns.signed & (columns.part < len(columns.parts) - 1)
    usable = np.where(directed, np.nan_to_num(np.abs(sizes)), 0.0)
    found = usable.argmax(1)
    return np.where(usable[np.arange(len(usable)), found] > 0, found, -1).astype(np.int64)


def names_of(column: int, columns: Columns) -> tuple[str | None, str | None]:
    """Part and measure of a column; nothing for -1."""
    if column < 0:
        return None, None
    return columns.parts[columns.part[column]], MEASURES[columns.measure[column]].name


def fixed(table: pa.Table) -> pa.Table:
    """The columns that the table has whatever the parts are."""
    return table.select([column.name for column in COUNTERFACTUALS.columns]).cast(COUNTERFACTUALS.schema)


def counterfactual_rows(
    context: Job,
    spec: CounterfactualSpec,
    found: Rows,
    columns: Columns,
    base: OfBase,
    limit: float,
    shards: Mapping[int, str],
) -> pa.Table:
    """The table `counterfactuals` with its columns of parts and measures.

    Args:
        context: The job.
        spec: Its spec.
        found: All rows.
        columns: What was measured.
        base: What the base images say together.
        limit: Distance of w up to which it is plausible.
        shards: The zip of each chunk that has one.
    """
    places = [
        # Rows at a time: their effects in double precision would be several times what is held of them.
        strongest(found.effects[part] / base.scale, columns)
        for part in spans(len(found), 1, _ROWS)
    ]
    largest = [names_of(column, columns) for block in places for column in block.tolist()]
    kept = found.kept.tolist()
    body: dict[str, Any] = {
        **_named(context, spec, found),
        "outcome": [OUTCOMES[index].value for index in found.outcome.tolist()],
        "valid": found.reached,
        "l0": pa.array(found.l0, mask=found.l0 < 0),
        "units_for_90": pa.array(found.units_for_90, mask=found.units_for_90 < 0),
        "plausible": pa.array(found.plausibility <= limit, mask=~np.isfinite(found.plausibility)),
        "part": [part for part, _ in largest],
        "measure": [measure for _, measure in largest],
        **_carriers(found),
        "refined": found.refined,
        "steps": found.steps,
        "generator_calls": found.calls,
        "renders": found.renders,
        "image_shard": [
            shards[chunk] if there else None for chunk, there in zip(found.chunk.tolist(), kept, strict=True)
        ],
        "image_folder": [
            row_folder(row) if there else None for row, there in zip(found.row.tolist(), kept, strict=True)
        ],
        **{name: nullable(vars(found)[name]) for name in _OPTIONAL},
        **{name: nullable(found.chances[:, k]) for k, name in enumerate(_CHANCES)},
    }
    schema = columns.extending(COUNTERFACTUALS, "change")
    for index, column in enumerate(schema.columns[len(COUNTERFACTUALS.columns) :]):
        body[column.name] = nullable(found.effects[:, index])
    table = schema.build(body)
    return pa.concat_tables([table, _without_images(context, spec, base, schema)])


def missing_origins(context: Job, spec: CounterfactualSpec) -> list[str]:
    """Origins that the generator cannot make."""
    return [name for name in spec.origins if name not in context.card("generator").classes]


def target_names(context: Job, spec: CounterfactualSpec) -> list[str]:
    """What was asked for as target, in its order."""
    return [name or RUNNER_UP for name in targets_of(spec, context.card("classifier").classes)]


def _named(context: Job, spec: CounterfactualSpec, found: Rows) -> dict[str, Any]:
    """Whose rows they are, in names."""
    classes, made_for = context.card("classifier").classes, context.card("generator").classes
    asked = target_names(context, spec)
    own: dict[int, str] = {}
    for _, chunk in own_chunks(context, spec):
        own |= dict(zip(chunk.tensors["seeds"].tolist(), chunk.record["names"], strict=True))
    return {
        "origin": [classes[k] if k >= 0 else None for k in found.origin.tolist()],
        "target": [
            classes[k] if k >= 0 else asked[place]
            for k, place in zip(found.target.tolist(), found.place.tolist(), strict=True)
        ],
        "class": [made_for[k] if k >= 0 else None for k in found.made_for.tolist()],
        "seed": found.seed,
        "image": [own.get(seed) for seed in found.seed.tolist()],
        "method": [spec.method] * len(found),
    }


def _carriers(found: Rows) -> dict[str, Any]:
    """Lists of carriers and of their moves."""
    there = found.units >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
    return {
        "units": pa.ListArray.from_arrays(ends, pa.array(found.units[there].astype(np.int32))),
        "shifts": pa.ListArray.from_arrays(ends, pa.array(found.moves[there].astype(np.float32))),
    }


def _without_images(context: Job, spec: CounterfactualSpec, base: OfBase, schema: Table) -> pa.Table:
    """Rows without an image to search from: of origins that do not exist, and of images not accepted."""
    made_for = context.card("generator").classes
    absent = [(name, None, Outcome.UNKNOWN_CLASS) for name in missing_origins(context, spec)]
    refused = [
        (made_for[index], made_for[index], Outcome.NOT_ACCEPTED)
        for index, count in base.missing.items()
        for _ in range(count)
    ]
    rows = [(*row, target) for row in (*absent, *refused) for target in target_names(context, spec)]
    given: dict[str, Sequence[Any]] = {
        "origin": [origin for origin, *_ in rows],
        "class": [made for _, made, *_ in rows],
        "outcome": [outcome.value for _, _, outcome, _ in rows],
        "target": [target for *_, target in rows],
        "method": [spec.method] * len(rows),
        "units": [[]] * len(rows),
        "shifts": [[]] * len(rows),
        **{name: [False] * len(rows) for name in ("valid", "refined")},
        **{name: [0] * len(rows) for name in ("steps", "generator_calls", "renders")},
    }
    return schema.build({c.name: given.get(c.name, [None] * len(rows)) for c in schema.columns})
