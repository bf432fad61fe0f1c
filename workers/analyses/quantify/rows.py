"""The tables of a `quantify` job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import QuantifySpec
from unitscope.tables import EFFECTS, QUANTIFIED_STEPS, QUANTIFIED_UNITS
from workers.analyses.columns import CELLS, LOGIT, Columns
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.quantify.moving import image_name
from workers.analyses.quantify.targets import Targets
from workers.analyses.quantify.verdict import NAMING_THRESHOLD, Verdict
from workers.measures import MEASURES
from workers.outputs import nullable

STAGE = {True: "confirm", False: "screen"}
_SUMMARY = ("mean", "standard_error", "lower", "upper", "standardised", "same_sign", "p")


def metadata(context: Job, spec: QuantifySpec) -> dict[str, str]:
    """What readers of the tables need to know of the job, as metadata of the Parquet files."""
    body = {
        "parts": list(context.card("parts").classes),
        "classes": list(context.card("classifier").classes),
        "measures": {item.name: item.unit for item in MEASURES},
        "naming_threshold": NAMING_THRESHOLD,
        "min_trust": spec.min_trust,
        "generator": context.card("generator").name,
        "classifier": context.card("classifier").name,
    }
    return {"unitscope.quantify": json.dumps(body, sort_keys=True)}


def group_names(targets: Targets, spec: QuantifySpec) -> list[str | None]:
    """The name of each target's group; None for single units."""
    return [None if number >= 0 else spec.groups[-1 - number].name for number in targets.numbers.tolist()]


def effect_rows(found: Verdict, spec: QuantifySpec, classes: Sequence[str]) -> pa.Table:
    """The table `effects`: for each target all parts and measures, then all logits."""
    columns = found.columns
    names = [item.name for item in MEASURES]
    parts = [columns.parts[part] for part in columns.part] + [LOGIT] * len(classes)
    measures = [names[index] for index in columns.measure] + list(classes)
    signed = np.concatenate([columns.signed, np.ones(len(classes), bool)])
    targets, width = len(found.targets), len(parts)
    values = {
        name: np.concatenate([vars(found.parts)[name], vars(found.logits)[name]], axis=1)
        for name in (*_SUMMARY, "images")
    }
    values["q"] = np.concatenate([found.q, found.logit_q], axis=1)
    values["selectivity"] = np.concatenate([found.selectivity, found.logit_selectivity], axis=1)
    small = ~np.isfinite(values["mean"])
    values["selectivity"] = np.where(small, np.nan, values["selectivity"])
    status = np.where(small, "too_small", np.where(signed, "measured", "unsigned"))
    stages = np.where(found.confirmed, STAGE[True], STAGE[False])
    return EFFECTS.build(
        {
            "unit": np.repeat(found.targets.numbers, width),
            "group": [name for name in group_names(found.targets, spec) for _ in range(width)],
            "part": parts * targets,
            "measure": measures * targets,
            "stage": np.repeat(stages, width),
            "seeds": values["images"].ravel(),
            "effect": nullable(values["mean"]),
            "status": status.ravel(),
            **{name: nullable(values[name]) for name in (*_SUMMARY[1:], "q", "selectivity")},
        }
    )


def unit_rows(context: Job, found: Verdict, spec: QuantifySpec, linked: Linked) -> pa.Table:
    """The table `units`."""
    classes = context.card("classifier").classes
    targets, behaviour = found.targets, found.behaviour
    strongest = np.abs(behaviour.logits).argmax(1)
    names = [item.name for item in MEASURES]
    rows = np.arange(len(targets))
    affected = found.part >= 0
    single: dict[str, Any] = {
        name: getattr(behaviour, name).astype(np.float32)
        for name in ("flips", "change", "follow", "focus", "plausible", "trust")
    }
    images = np.where(found.confirmed, spec.seeds, spec.screening_seeds)
    return QUANTIFIED_UNITS.build(
        {
            "unit": targets.numbers,
            "group": group_names(targets, spec),
            "layer": _layers(context, targets, linked),
            "stage": np.where(found.confirmed, STAGE[True], STAGE[False]),
            **{name: getattr(targets, name) for name in ("low", "high", "mean", "std", "span")},
            "part": [found.columns.parts[p] if p >= 0 else None for p in found.part.tolist()],
            "part_share": pa.array(
                found.shares[rows, np.maximum(found.part, 0)].astype(np.float32), mask=~affected
            ),
            "aspect": [CELLS[cell % 2] if cell >= 0 else None for cell in found.cell.tolist()],
            "measure": [
                names[found.columns.measure[k]] if k >= 0 else None for k in found.strongest.tolist()
            ],
            "selectivity": found.concentration.astype(np.float32),
            "named": found.named,
            "strongest_class": [classes[index] for index in strongest],
            "strongest_change": behaviour.logits[rows, strongest].astype(np.float32),
            **single,
            "trusted": found.trusted,
            "seeds": images,
            "cluster": pa.array(found.cluster, mask=found.cluster < 0),
            "x": nullable(found.place[:, 0]),
            "y": nullable(found.place[:, 1]),
        }
    )


def _layers(context: Job, targets: Targets, linked: Linked) -> list[str]:
    """The layer of each target; of several layers only where they were linked together."""
    card, name = context.card("classifier"), str(linked.card.architecture["layer"])
    return [
        "+".join(dict.fromkeys(card.unit_layer(unit, name).name for unit in targets.of(k).tolist()))
        for k in range(len(targets))
    ]


def step_rows(
    context: Job, spec: QuantifySpec, targets: Targets, stage: str, chunk: ChunkResult, shard: str
) -> pa.Table:
    """The rows of one chunk, ordered by target, image and step."""
    tensors = chunk.tensors
    columns = Columns.of(context.card("parts").classes)
    classes = context.card("classifier").classes
    made_for = context.card("generator").classes
    shape = tensors["reencoded"].shape
    numbers = targets.numbers[tensors["targets"]]
    names = group_names(targets, spec)
    logits = tensors["logits"].reshape(-1, tensors["logits"].shape[-1])
    rows = len(logits)
    kept = set(chunk.record["kept"])
    pictures = [
        image_name(number, int(class_index), int(seed), step) if image in kept else None
        for number in numbers.tolist()
        for image, (class_index, seed) in enumerate(zip(tensors["classes"], tensors["seeds"], strict=True))
        for step in range(shape[2])
    ]
    values = tensors["measures"].reshape(rows, -1)
    table: dict[str, Any] = {
        "unit": _spread(numbers[:, None, None], shape),
        "group": [names[t] for t in tensors["targets"].tolist() for _ in range(shape[1] * shape[2])],
        "stage": [stage] * rows,
        "class": [made_for[c] for c in _spread(tensors["classes"][None, :, None], shape).tolist()],
        "seed": _spread(tensors["seeds"][None, :, None], shape),
        "step": _spread(np.arange(shape[2], dtype=np.int32)[None, None], shape),
        "base": _spread(tensors["base"][:, :, None], shape),
        "predicted": [classes[index] for index in logits.argmax(1)],
        "logits": pa.FixedSizeListArray.from_arrays(logits.ravel(), logits.shape[1]).cast(
            pa.list_(pa.float32())
        ),
        "image_shard": [None if name is None else shard for name in pictures],
        "image_name": pictures,
        **{name: tensors[name].ravel() for name in ("commanded", "reencoded", "change", "focus", "distance")},
    }
    schema = columns.extending(QUANTIFIED_STEPS)
    for index, column in enumerate(schema.columns[len(QUANTIFIED_STEPS.columns) :]):
        table[column.name] = nullable(values[:, index])
    return schema.build(table)


def sharded(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Consecutive tables joined to shards of at least `rows` rows each, but for the last."""
    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        pending.append(table)
        count += table.num_rows
        if count >= rows:
            yield pa.concat_tables(pending)
            pending, count = [], 0
    if pending:
        yield pa.concat_tables(pending)


def _spread(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.ascontiguousarray(np.broadcast_to(values, shape)).ravel()
