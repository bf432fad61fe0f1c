"""``traverse``: move single units over their range; render, read and measure every step.

Stages: those of ``link`` where the job fits its linker, then ``base`` (accepted images of each class to
start from), ``select`` (units and ranges) and ``traverse`` (some units x all base images of one class).

Source: "Linking in Style" (arXiv 2409.16865), systematic tuning of units; the units are set to values,
not moved by offsets, and the way starts from ``G(A r + b)``. Trust is ours: see `trust`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import TraverseSpec
from workers.analyses import link
from workers.analyses.accept import draw
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.select import Selection, select
from workers.analyses.trust import focus
from workers.clients import Reading, render_and_read
from workers.measures.whole import change, whole
from workers.outputs import pack_images
from workers.streams import BASE

BATCH = 48
"""Rows of one request, as long as a traversal is not longer."""
GROUP = 512
"""Rows that the linker maps at once, likewise."""
SAMPLED_SEEDS = 2
"""Base images of each class whose pictures ``keep: sample`` keeps."""

Floats = NDArray[np.float32]


def run(context: Job, stage: str, params: dict[str, Any]) -> ChunkResult:
    """Computes one chunk.

    Args:
        context: The job; its spec is a `TraverseSpec`.
        stage: One of this module's stages, or of `link`'s.
        params: The chunk's parameters, as `unitscope.jobs.planning` made them.

    Raises:
        UnitScopeError: A service refused or does not answer, or the units cannot be moved.
    """
    if stage in link.STAGES:
        return link.run(context, stage, params)
    spec = context.spec
    if not isinstance(spec, TraverseSpec):
        raise TypeError(f"the spec of {context.job_id} is a {type(spec).__name__}")
    linked = Linked.of(context)
    if stage == "base":
        return _base(context, spec, linked, params)
    if stage == "select":
        return select(context, spec, linked).to_chunk()
    return _traverse(context, spec, linked, params)


def image_name(unit: int, seed: int, step: int) -> str:
    """The name of a picture in its chunk's zip."""
    return f"unit-{unit:04d}/seed-{seed:06d}-step-{step:02d}.png"


def kept_seeds(spec: TraverseSpec) -> int:
    """How many base images of each class have their pictures kept."""
    return {"all": spec.seeds_per_class, "sample": min(SAMPLED_SEEDS, spec.seeds_per_class), "none": 0}[
        spec.keep
    ]


def _base(context: Job, spec: TraverseSpec, linked: Linked, params: dict[str, Any]) -> ChunkResult:
    rule = linked.rule.reseeded(spec.seed)
    accepted = draw(context, rule, BASE, params["class"], 0, params["count"])
    renderer = context.generator.renderer()
    return ChunkResult(
        {
            "features": accepted.features,
            "latents": accepted.latents,
            "logits": accepted.logits,
            "seeds": accepted.attempts,
        },
        {"attempts": accepted.tried, "renderer": f"{renderer.name} {renderer.version}"},
    )


@dataclass
class _Moved:
    """What traversals came to, each list with one entry a batch of whole traversals."""

    columns: dict[str, list[Floats]] = field(default_factory=dict)
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def add(self, **columns: Floats) -> None:
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values)


def _traverse(context: Job, spec: TraverseSpec, linked: Linked, params: dict[str, Any]) -> ChunkResult:
    """Moves some units of all base images of one class; tensors are (units, seeds, steps, ...)."""
    selection = Selection.of(context)
    part = slice(params["first"], params["first"] + params["count"])
    base = next(c for p, c in context.result("base") if p["class"] == params["class"])
    features, seeds = base.tensors["features"], base.tensors["seeds"]
    commanded = np.linspace(selection.low[part], selection.high[part], spec.steps, axis=1, dtype=np.float32)
    units = np.repeat(selection.units[part], len(seeds))
    moves = Moves(features, selection.units[part], commanded)
    distances: list[Floats] = []

    def latents() -> Iterator[Floats]:
        for group in spans_of(len(units), spec.steps, GROUP):
            w, distance = context.linker.apply(moves.rows(group), linked.card.digest)
            distances.append(distance)
            for batch in spans_of(group.stop - group.start, spec.steps, BATCH):
                yield w[batch.start * spec.steps : batch.stop * spec.steps]

    moved = _Moved()
    keep = kept_seeds(spec)
    done = 0
    for reading in render_and_read(context.generator, context.classifier, latents(), context.beat):
        count = len(reading.images) // spec.steps
        own = units[done : done + count]
        _measure(moved, reading, linked.solution.std, own, spec.steps)
        for offset in range(count):
            seed = (done + offset) % len(seeds)
            if seed < keep:
                frames = reading.images[offset * spec.steps : (offset + 1) * spec.steps]
                names = (image_name(int(own[offset]), int(seeds[seed]), s) for s in range(spec.steps))
                moved.pictures.update(zip(names, frames, strict=True))
        done += count
    shape = (params["count"], len(seeds), spec.steps)
    tensors: dict[str, NDArray[Any]] = {
        name: np.concatenate(values).reshape(*shape, *values[0].shape[2:])
        for name, values in moved.columns.items()
    }
    tensors["distance"] = np.concatenate(distances).reshape(shape)
    tensors |= {"units": selection.units[part], "commanded": commanded, "seeds": seeds}
    tensors["base"] = np.ascontiguousarray(features[:, selection.units[part]].T)
    if moved.pictures:
        tensors["pictures"] = np.frombuffer(pack_images(moved.pictures), np.uint8)
    return ChunkResult(tensors, {"kept_seeds": keep})


def spans_of(traversals: int, steps: int, rows: int) -> Iterator[slice]:
    """Slices of whole traversals of about `rows` rows, at least one traversal each."""
    size = max(1, rows // steps)
    for first in range(0, traversals, size):
        yield slice(first, min(first + size, traversals))


@dataclass(frozen=True)
class Moves:
    """The features of all traversals of a chunk, made as they are needed.

    Attributes:
        features: (seeds, units) of the base images.
        units: (moved,) the units that are moved.
        commanded: (moved, steps) what they are set to.
    """

    features: Floats
    units: NDArray[np.int64]
    commanded: Floats

    def rows(self, traversals: slice) -> Floats:
        """Features (traversals * steps, units).

        Args:
            traversals: Traversal t moves unit ``t // seeds`` in the base image of seed ``t % seeds``.
        """
        seeds, steps = len(self.features), self.commanded.shape[1]
        numbers = np.arange(traversals.start, traversals.stop)
        rows = np.repeat(self.features[numbers % seeds], steps, axis=0)
        moved = np.repeat(self.units[numbers // seeds], steps)
        rows[np.arange(len(rows)), moved] = self.commanded[numbers // seeds].ravel()
        return rows


def _measure(
    moved: _Moved, reading: Reading, std: NDArray[np.float64], units: NDArray[np.int64], steps: int
) -> None:
    """Adds one batch of whole traversals, (traversals, steps, ...) each."""
    shape = (len(units), steps)
    features = reading.features.reshape(*shape, -1)
    own = np.take_along_axis(features, units[:, None, None], axis=2)[..., 0]
    images = reading.images.reshape(*shape, *reading.images.shape[1:])
    first = np.repeat(images[:, 0], steps, axis=0)
    measures = {name: values.reshape(shape) for name, values in whole(reading.images).items()}
    moved.add(
        reencoded=own,
        focus=focus(features, std, units),
        logits=reading.logits.reshape(*shape, -1),
        change=change(reading.images, first).reshape(shape),
        **measures,
    )
