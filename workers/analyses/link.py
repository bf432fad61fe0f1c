"""``link``: fit w = A r + b for a classifier and a generator, and judge it on held-out images.

Stages: ``sample`` (accepted images of each class: features and latents), ``accumulate`` (statistics of
each fold), ``solve``, ``heldout`` (images of their own, and what each method makes of their features)
and ``evaluate`` (quality; publishes the linker).

Source: "Linking in Style" (arXiv 2409.16865), which fits by ordinary least squares; acceptance and
held-out judgement are ours.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.planning import HELDOUT_METHODS
from unitscope.jobs.specs import LinkSpec
from workers.analyses.accept import Accepted, draw
from workers.analyses.job import Job
from workers.analyses.linked import link_spec, record, rule_of
from workers.analyses.linkercard import linker_card_values
from workers.clients import StoredObject, render_and_read
from workers.streams import CLASS_STRIDE, HELDOUT, SAMPLE, attempts_per_block

BATCH = 48
SHOWN_PER_CHUNK = 2
"""Held-out images of each class that the report shows."""

Floats = NDArray[np.float32]


def run(context: Job, stage: str, params: dict[str, Any]) -> ChunkResult:
    """Computes one chunk.

    Args:
        context: The job; its spec is a `LinkSpec` or has one.
        stage: One of this module's stages.
        params: The chunk's parameters, as `unitscope.jobs.planning` made them.

    Raises:
        UnitScopeError: A service refused or does not answer, or too few images are accepted.
    """
    spec = link_spec(context)
    if spec is None:
        raise ValueError(f"the plan of {context.job_id} fits no linker")
    return _STAGES[stage](context, spec, params)


def _sample(context: Job, spec: LinkSpec, params: dict[str, Any]) -> ChunkResult:
    accepted = _draw(context, spec, SAMPLE, "sample", params)
    return ChunkResult(_pairs(accepted, params["class"]), {"attempts": accepted.tried})


def _accumulate(context: Job, spec: LinkSpec, params: dict[str, Any]) -> ChunkResult:
    chunks = [place for p, place in context.chunk_reference("sample") if p["fold"] == params["fold"]]
    destination = context.result_key(f"statistics-{params['fold']}.safetensors")
    stored, pairs = context.linker.accumulate(destination, chunks)
    return ChunkResult(record={"statistics": stored.to_record(), "pairs": pairs})


def _solve(context: Job, spec: LinkSpec, params: dict[str, Any]) -> ChunkResult:
    folds = [StoredObject(**chunk.record["statistics"]) for _, chunk in context.result("accumulate")]
    destination = context.result_key("solution.safetensors")
    solved = context.linker.solve(destination, folds, spec.penalties)
    return ChunkResult(
        record={
            "solution": solved.solution.to_record(),
            "penalty": solved.penalty,
            "penalties": spec.penalties,
            "cv_errors": solved.cv_errors,
            "pairs": solved.pairs,
        }
    )


def _heldout(context: Job, spec: LinkSpec, params: dict[str, Any]) -> ChunkResult:
    accepted = _draw(context, spec, HELDOUT, "heldout", params)
    tensors = _pairs(accepted, params["class"])
    tensors["predicted"] = accepted.logits.argmax(1)
    shown = SHOWN_PER_CHUNK if params["block"] == 0 else 0
    tensors["shown_own"] = accepted.images[:shown]
    solution = StoredObject(**record(context, "solve")["solution"])
    for method in HELDOUT_METHODS:
        latents, _ = context.linker.apply(accepted.features, solution, method, tensors["classes"])
        images, features, logits = _render(context, latents)
        tensors[f"predicted_{method}"] = logits.argmax(1)
        if method == "linker":
            tensors["reencoded"] = features
        if method in ("linker", "class_mean"):
            tensors[f"shown_{method}"] = images[:shown]
    renderer = context.generator.renderer()
    return ChunkResult(
        tensors, {"attempts": accepted.tried, "renderer": f"{renderer.name} {renderer.version}"}
    )


def _evaluate(context: Job, spec: LinkSpec, params: dict[str, Any]) -> ChunkResult:
    solved = record(context, "solve")
    solution = StoredObject(**solved["solution"])
    chunks = [place for _, place in context.chunk_reference("heldout")]
    names = context.card("generator").classes
    quality = [
        {**asdict(row), "scope": row.scope if row.scope == "overall" else names[int(row.scope)]}
        for row in context.linker.evaluate(solution, chunks, seed=spec.seed)
    ]
    acceptance = _acceptance(context)
    card = linker_card_values(context, spec, solved, quality, acceptance)
    digest = context.linker.store(solution, json.dumps(card))
    return ChunkResult(record={"digest": digest, "quality": quality, "acceptance": acceptance})


def _draw(context: Job, spec: LinkSpec, purpose: int, stage: str, params: dict[str, Any]) -> Accepted:
    """The chunk's accepted images, from the attempts that its block owns."""
    owned = attempts_per_block(context.plan.stage(stage).chunks, spec.attempts_per_sample)
    first = params["block"] * owned
    return draw(context, rule_of(spec), purpose, params["class"], first, params["count"])


def _pairs(accepted: Accepted, class_index: int) -> dict[str, NDArray[Any]]:
    count = len(accepted.attempts)
    return {
        "features": accepted.features,
        "latents": accepted.latents,
        "classes": np.full(count, class_index, np.int64),
        "rows": class_index * CLASS_STRIDE + accepted.attempts,
    }


def _render(context: Job, latents: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Images, features and logits of latents; equal latents, as class means are, are rendered once."""
    distinct, rows = np.unique(latents, axis=0, return_inverse=True)
    batches = [distinct[start : start + BATCH] for start in range(0, len(distinct), BATCH)]
    readings = list(render_and_read(context.generator, context.classifier, batches, context.beat))
    rows = rows.reshape(-1)
    return (
        np.concatenate([reading.images for reading in readings])[rows],
        np.concatenate([reading.features for reading in readings])[rows],
        np.concatenate([reading.logits for reading in readings])[rows],
    )


def _acceptance(context: Job) -> dict[str, float]:
    """The share of attempts that was accepted, by the name of the class."""
    accepted: defaultdict[str, int] = defaultdict(int)
    tried: defaultdict[str, int] = defaultdict(int)
    names = context.card("generator").classes
    for params, chunk in context.result("sample"):
        accepted[names[params["class"]]] += params["count"]
        tried[names[params["class"]]] += chunk.record["attempts"]
    return {name: accepted[name] / tried[name] for name in accepted}


_STAGES: dict[str, Callable[[Job, LinkSpec, dict[str, Any]], ChunkResult]] = {
    "sample": _sample,
    "accumulate": _accumulate,
    "solve": _solve,
    "heldout": _heldout,
    "evaluate": _evaluate,
}
STAGES = frozenset(_STAGES)
