"""The work itself: some targets, each moved in some base images; rendered, read and measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import QuantifySpec
from workers.analyses.job import Job
from workers.analyses.linked import Linked, Solution, nonnegative
from workers.analyses.quantify.base import Base, labels_of
from workers.analyses.quantify.targets import Targets, commanded, path
from workers.analyses.trust import focus
from workers.clients import Reading, render_and_read
from workers.measures import measure
from workers.measures.whole import change
from workers.outputs import pack_images
from workers.statistics import spaced

BATCH = 48
"""Rows of one request, as long as a traversal is not longer."""
SAMPLED = 6
"""Base images whose pictures ``keep: sample`` keeps of every confirmed target."""

Floats = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]


def order(context: Job, stage: str) -> NDArray[np.int64]:
    """Which targets a stage works on, in its order: all, or those of the shortlist."""
    if stage == "confirm" and any(s.name == "shortlist" for s in context.plan.stages):
        _, result = next(iter(context.result("shortlist")))
        return result.tensors["targets"]
    return np.arange(len(Targets.load(context)))


def kept_images(spec: QuantifySpec, stage: str, images: int) -> NDArray[np.int64]:
    """Base images of the stage whose pictures are kept: evenly spread, so that all classes are seen."""
    if spec.keep == "all":
        return np.arange(images)
    if spec.keep == "none" or stage == "screen":
        return np.zeros(0, np.int64)
    return spaced(images, SAMPLED)


def image_name(number: int, class_index: int, seed: int, step: int, parts: bool = False) -> str:
    """The name of a picture, or of its label map, in its chunk's zip."""
    target = f"unit-{number:04d}" if number >= 0 else f"group-{-1 - number:03d}"
    suffix = "-parts" if parts else ""
    return f"{target}/class-{class_index:03d}-seed-{seed:06d}-step-{step:02d}{suffix}.png"


@dataclass(frozen=True)
class _Work:
    """The traversals of a chunk: every one of some targets in every one of some images."""

    targets: NDArray[np.int64]
    members: Sequence[NDArray[np.int64]]
    values: NDArray[np.float64]
    latents: Floats
    steps: int

    def batches(self) -> Iterator[Floats]:
        """Latents of whole traversals."""
        rows = self.latents.reshape(-1, self.steps, self.latents.shape[-1])
        size = max(1, BATCH // self.steps)
        for first in range(0, len(rows), size):
            yield rows[first : first + size].reshape(-1, rows.shape[-1])


@dataclass
class _Found:
    """What was found, each list with one entry a batch of whole traversals."""

    columns: dict[str, list[Floats]] = field(default_factory=dict)
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def add(self, **columns: Floats) -> None:
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values)


def move(context: Job, spec: QuantifySpec, linked: Linked, stage: str, params: dict[str, Any]) -> ChunkResult:
    """Moves a block of targets in a range of base images; tensors are (targets, images, steps, ...)."""
    base, targets = Base.of(context, stage), Targets.load(context)
    chosen = order(context, stage)[params["first"] : params["first"] + params["count"]]
    rows = slice(params["start"], params["start"] + params["images"])
    seeds, classes = base.seeds[rows], base.classes[rows]
    if not len(chosen):
        return ChunkResult({"targets": chosen}, {"empty": True})
    steps = params["steps"]
    work = _work(context, spec, linked, base, targets, chosen, rows, steps)
    kept = np.isin(np.arange(rows.start, rows.stop), kept_images(spec, stage, len(base)))
    parts = context.card("parts")
    found = _Found()
    done = 0
    readings = render_and_read(context.generator, context.classifier, work.batches(), context.beat, parts)
    for reading in readings:
        count = len(reading.images) // steps
        members = [work.members[(done + k) // len(seeds)] for k in range(count)]
        _measure(found, reading, linked.solution.std, members, steps, len(parts.classes))
        for k in range(count):
            image = (done + k) % len(seeds)
            if kept[image]:
                number = int(targets.numbers[chosen[(done + k) // len(seeds)]])
                _keep(found, reading, k, steps, number, int(classes[image]), int(seeds[image]))
        done += count
    shape = (len(chosen), len(seeds), steps)
    tensors: Tensors = {
        name: np.concatenate(values).reshape(*shape, *values[0].shape[2:])
        for name, values in found.columns.items()
    }
    own = [base.features[rows][:, unit].mean(1) for unit in work.members]
    tensors |= {
        "targets": chosen,
        "commanded": work.values.astype(np.float32),
        "base": np.stack(own).astype(np.float32),
        "distance": linked.solution.distances(work.latents.astype(np.float64)).astype(np.float32),
        "seeds": seeds,
        "classes": classes,
    }
    if found.pictures:
        tensors["pictures"] = np.frombuffer(pack_images(found.pictures), np.uint8)
    return ChunkResult(tensors, {"kept": np.flatnonzero(kept).tolist()})


def _work(
    context: Job,
    spec: QuantifySpec,
    linked: Linked,
    base: Base,
    targets: Targets,
    chosen: NDArray[np.int64],
    rows: slice,
    steps: int,
) -> _Work:
    """The values and latents of all traversals of a chunk."""
    solution: Solution = linked.solution
    floor = nonnegative(context, linked)
    features, start = base.features[rows], base.start[rows]
    members = [targets.of(int(target)) for target in chosen]
    values, latents = [], []
    for units in members:
        set_to = commanded(solution, spec.perturbation, steps, features, units, floor)
        latents.append(path(solution, set_to, features, start, units).astype(np.float32))
        values.append(set_to.mean(2))
    return _Work(chosen, members, np.stack(values), np.stack(latents), steps)


def _measure(
    found: _Found,
    reading: Reading,
    std: NDArray[np.float64],
    members: Sequence[NDArray[np.int64]],
    steps: int,
    parts: int,
) -> None:
    """Adds one batch of whole traversals, (traversals, steps, ...) each."""
    shape = (len(members), steps)
    features = reading.features.reshape(*shape, -1)
    images = reading.images.reshape(*shape, *reading.images.shape[1:])
    labels = labels_of(reading).reshape(*shape, *reading.images.shape[1:3])
    first = np.repeat(images[:, 0], steps, axis=0)
    own = [features[k, :, units].mean(0) for k, units in enumerate(members)]
    found.add(
        measures=measure(images, labels, parts),
        reencoded=np.stack(own).astype(np.float32),
        focus=focus(features, std, members),
        logits=reading.logits.reshape(*shape, -1),
        change=change(reading.images, first).reshape(shape),
    )


def _keep(
    found: _Found, reading: Reading, row: int, steps: int, number: int, class_index: int, seed: int
) -> None:
    labels = labels_of(reading)
    for step in range(steps):
        place = row * steps + step
        found.pictures[image_name(number, class_index, seed, step)] = reading.images[place]
        found.pictures[image_name(number, class_index, seed, step, parts=True)] = labels[place]
