"""What the report of a job is made of."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import TraverseSpec
from unitscope.jobs.state import read_json
from unitscope.models import ModelCard
from unitscope.version import package_version
from workers.analyses.job import Job
from workers.analyses.linked import link_spec, linker_card
from workers.analyses.results import Effects
from workers.analyses.traverse import image_name, kept_seeds
from workers.outputs import unpack_images
from workers.report import LinkerSummary, Model, ReportData, Survivor, Traversal

MAX_TRAVERSALS = 2_000
"""Traversals that are offered to a report; it shows what its size allows of them."""

Row = Mapping[str, Any]


def link_report(context: Job, quality: Sequence[Row]) -> ReportData:
    """The report of a job of kind ``link``."""
    classifier, generator = context.card("classifier"), context.card("generator")
    title = f"The link from {classifier.name} to {generator.name}"
    return ReportData(
        **common(context, title),
        quality=quality,
        survivors=[shown for _, group in survivors(context) for shown in group],
        tables=("quality",),
    )


def traverse_report(
    context: Job,
    quality: Sequence[Row],
    units: Sequence[Row],
    traversals: Sequence[Traversal],
    notes: Sequence[str],
) -> ReportData:
    """The report of a job of kind ``traverse``."""
    count = "one unit" if len(units) == 1 else f"{len(units)} units"
    shown = [s for _, group in survivors(context) for s in group] if link_spec(context) else []
    return ReportData(
        **common(context, f"What {count} of {context.card('classifier').name} do"),
        quality=quality,
        survivors=shown,
        units=units,
        traversals=traversals,
        notes=notes,
        tables=("units", "steps", "quality"),
    )


def notes(context: Job, left_out: int) -> list[str]:
    """What the reader should know of a ``traverse`` job's pictures."""
    spec = context.spec
    if not isinstance(spec, TraverseSpec):
        return []
    found = []
    kept = kept_seeds(spec)
    if kept < spec.seeds_per_class:
        found.append(
            f"Pictures of {kept} of the {spec.seeds_per_class} base images of each class were kept "
            f"(keep: {spec.keep}); the figures count all of them."
        )
    if left_out:
        found.append(f"{left_out:,} traversals, of units of later rank, are in the tables alone.")
    if link_spec(context) is None:
        found.append("The linker was fitted by an earlier job; its quality over all classes is shown.")
    return found


def survivors(context: Job) -> Iterator[tuple[dict[str, Any], list[Survivor]]]:
    """Held-out images and what is left of them, by the chunks that kept some."""
    names = context.card("generator").classes
    for params, chunk in context.result("heldout"):
        context.beat()
        pictures = [chunk.tensors[f"shown_{kind}"] for kind in ("own", "linker", "class_mean")]
        if len(pictures[0]):
            name = names[params["class"]]
            yield params, [Survivor(name, *images) for images in zip(*pictures, strict=True)]


def image_names(chunk: ChunkResult) -> list[str | None]:
    """The name of each step's picture in the chunk's zip, by unit, seed and step; None if not kept."""
    kept = int(chunk.record["kept_seeds"])
    units, seeds, steps = chunk.tensors["reencoded"].shape
    return [
        image_name(int(chunk.tensors["units"][u]), int(chunk.tensors["seeds"][s]), step) if s < kept else None
        for u in range(units)
        for s in range(seeds)
        for step in range(steps)
    ]


def traversals(
    chunk: ChunkResult, effects: Effects, class_name: str, classes: Sequence[str]
) -> list[Traversal]:
    """The traversals of a chunk, with frames where their pictures were kept."""
    tensors, kept = chunk.tensors, int(chunk.record["kept_seeds"])
    pictures = tensors["pictures"].tobytes() if kept else b""
    found = []
    for u, unit in enumerate(tensors["units"].tolist()):
        for s, seed in enumerate(tensors["seeds"].tolist()):
            steps = range(tensors["commanded"].shape[1])
            names = [image_name(unit, seed, step) for step in steps]
            logits = tensors["logits"][u, s]
            found.append(
                Traversal(
                    unit=unit,
                    class_name=class_name,
                    seed=seed,
                    base=float(tensors["base"][u, s]),
                    commanded=tensors["commanded"][u],
                    reencoded=tensors["reencoded"][u, s],
                    logits=logits,
                    predicted=[classes[index] for index in logits.argmax(-1)],
                    frames=unpack_images(pictures, names) if s < kept else None,
                    follow=float(effects.follow[u, s]),
                    focus=float(effects.focus[u, s]),
                    plausible=float(effects.plausible[u, s]),
                )
            )
    return found


def common(context: Job, title: str) -> dict[str, Any]:
    """What every report states."""
    card = linker_card(context)
    body = read_json(context.store, layout.spec(context.job_id)) or {}
    cards = [context.card("classifier"), context.card("generator"), card]
    models = [Model(c.kind, c.name, c.digest, c.description) for c in cards]
    return {
        "kind": context.plan.kind,
        "title": title,
        "job_id": context.job_id,
        "created": str(body.get("created", "")),
        "spec": context.plan.spec,
        "plan_digest": context.plan.digest,
        "models": models + _fitted_with(context, card),
        "renderer": ", ".join(_renderers(context)),
        "versions": {
            "unitscope": package_version(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "classes": context.card("classifier").classes,
        "linker": _summary(card),
    }


def _fitted_with(context: Job, linker: ModelCard) -> list[Model]:
    """The linker's own generator, where another one renders in its place."""
    own = linker.architecture["generator"]
    if own["digest"] == context.card("generator").digest:
        return []
    said = "The linker was fitted with this one; the generator above has the same mapping network, hence W."
    return [Model("generator", str(own["name"]), str(own["digest"]), said)]


def _renderers(context: Job) -> list[str]:
    """The servers that rendered, as the chunks recorded them."""
    stages = [name for name in ("heldout", "base") if any(s.name == name for s in context.plan.stages)]
    found = set()
    for _, chunk in (item for name in stages for item in context.result(name)):
        context.beat()
        found.add(str(chunk.record["renderer"]))
    return sorted(found)


def _summary(card: ModelCard) -> LinkerSummary:
    architecture, training = card.architecture, card.training
    return LinkerSummary(
        digest=card.digest,
        layer=str(architecture["layer"]),
        features=int(architecture["features"]),
        latents=int(architecture["latents"]),
        truncation=float(architecture["truncation"]),
        penalty=float(architecture["penalty"]),
        pairs=int(training["pairs"]),
        heldout=int(training["heldout"]),
        acceptance=training["acceptance"],
    )
