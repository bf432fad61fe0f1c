"""The searches of a block of base images and targets. Every row ends, most with a counterfactual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.planning.counterfactual import rows_with_pictures, targets_of
from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses.counterfactual.looking import (
    Base,
    Floats,
    Images,
    Tensors,
    labelled,
    searching_models,
    zipped,
)
from workers.analyses.counterfactual.naming import frame_picture, kept_rows, row_picture
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.clients.batches import spans
from workers.counterfactual import (
    Counterfactual,
    DescentSettings,
    Models,
    PathSettings,
    Size,
    descent,
    path,
)
from workers.counterfactual.result import OUTCOMES
from workers.counterfactual.search import STRIP_END
from workers.measures import MEASURES, measure
from workers.measures.whole import change

PICTURES_PER_ROW = 24
"""Pictures that a search holds for each row at its worst, gradients of pixels counted as four."""
BLOCK_BYTES = 512 << 20
"""What rows that are searched side by side may hold."""


@dataclass(frozen=True)
class Wanted:
    """The rows of a chunk: its images, each with every target, image by image.

    Attributes:
        images: int64 (rows,) which of the chunk's images.
        origins: int64 (rows,) the class that the classifier reads in the image.
        targets: int64 (rows,) the class that is wanted, -1 for a name that it does not know.
    """

    images: NDArray[np.int64]
    origins: NDArray[np.int64]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.images)

    @classmethod
    def of(
        cls, spec: CounterfactualSpec, classes: tuple[str, ...], logits: Floats, places: list[int]
    ) -> Wanted:
        """The rows of images with logits (images, classes) and of targets at places of the job's list."""
        images = np.arange(len(logits), dtype=np.int64)
        if spec.runner_up:
            found = runners_up(logits)[:, None]
        else:
            names = targets_of(spec, classes)
            known = [classes.index(names[p]) if names[p] in classes else -1 for p in places]
            found = np.tile(np.array(known, np.int64), (len(logits), 1))
        origins = logits.argmax(1).astype(np.int64)
        each = found.shape[1]
        return cls(np.repeat(images, each), np.repeat(origins, each), found.ravel())


def runners_up(logits: Floats) -> NDArray[np.int64]:
    """The class (images,) with the second largest logit; -1 where the classifier has one class alone."""
    if logits.shape[1] < 2:
        return np.full(len(logits), -1, np.int64)
    return np.argsort(-logits, axis=1, kind="stable")[:, 1].astype(np.int64)


def search(context: Job, spec: CounterfactualSpec, linked: Linked, params: dict[str, Any]) -> ChunkResult:
    """Searches for the counterfactuals of a block of rows.

    Args:
        context: The job; its stage ``base`` is complete.
        spec: Its spec.
        linked: Its linker.
        params: ``class``, ``first`` and ``count`` of base images, and ``targets``, places in the list.

    Raises:
        UnitScopeError: A service refused or does not answer.
    """
    base = Base.at(context, params["class"], params["first"], params["count"])
    classes = context.card("classifier").classes
    rows = Wanted.of(spec, classes, base.logits, params["targets"])
    edge = int(context.card("generator").architecture["spec"]["resolution"])
    kept = kept_rows(spec, context.plan, params, rows_with_pictures(spec, edge))[: len(rows)]
    tensors = _blank(spec, len(rows), base, len(context.card("parts").classes))
    pictures: dict[str, Images] = {}
    if len(rows):
        models = searching_models(context, linked, base.features)
        row_bytes = max(PICTURES_PER_ROW, spec.frames) * 3 * edge**2
        for block in spans(len(rows), row_bytes, len(rows), BLOCK_BYTES):
            found = _searched(models, spec, linked, base, rows, block)
            labels = _measured(context, found, rows.images[block], tensors, block.start)
            for k, row in enumerate(found):
                _fill(tensors, block.start + k, row)
                if kept[block.start + k]:
                    pictures |= _pictures(block.start + k, row, labels.get(k))
    tensors |= {
        "image": params["first"] + rows.images,
        "seeds": base.seeds[rows.images],
        "origin": rows.origins,
        "target": rows.targets,
    }
    shown = sorted({int(name[4 : name.index("/")]) for name in pictures})
    return ChunkResult(tensors | zipped(pictures), {"kept": shown})


def _searched(
    models: Models, spec: CounterfactualSpec, linked: Linked, base: Base, rows: Wanted, block: slice
) -> list[Counterfactual]:
    """What becomes of a block of rows that are searched side by side."""
    images, std = rows.images[block], linked.solution.std
    given = models, base.features[images], rows.origins[block], rows.targets[block], std
    latents = base.latents[images] if spec.start == "own" else None
    top, frames = spec.top, spec.frames
    if spec.method == "descent":
        descending = DescentSettings(max_steps=spec.max_steps, seed=spec.seed)
        return descent(*given, descending, latents=latents, top=top, frames=frames)
    highest = linked.solution.quantile(1.0) if spec.norm == "l1" else None
    size = Size(norm=spec.norm, plausibility=spec.plausibility, highest=highest)
    return path(*given, PathSettings(size=size), latents=latents, top=top, frames=frames)


def _blank(spec: CounterfactualSpec, rows: int, base: Base, parts: int) -> Tensors:
    """The tensors of rows of which nothing is known yet."""
    classes, units = base.logits.shape[1], base.features.shape[1]

    def unknown(*shape: int) -> Floats:
        return np.full((rows, *shape), np.nan, np.float32)

    return {
        "outcome": np.zeros(rows, np.uint8),
        "shift": np.zeros((rows, units), np.float32),
        **{name: unknown() for name in ("head_distance", "alpha", "plausibility", "start_plausibility")},
        **{name: np.zeros(rows, np.int32) for name in ("steps", "calls", "renders")},
        "refined": np.zeros(rows, np.uint8),
        "gradients": np.ones(rows, np.uint8),
        "start_logits": unknown(classes),
        "logits": unknown(classes),
        "measures": unknown(2, parts + 1, len(MEASURES)),
        "change": unknown(),
        "strip_alphas": np.linspace(0, STRIP_END, spec.frames),
        "strip_logits": unknown(spec.frames, classes),
    }


def _fill(tensors: Tensors, row: int, found: Counterfactual) -> None:
    """Enters a row; what it has not stays as it is."""
    tensors["outcome"][row] = OUTCOMES.index(found.outcome)
    tensors["shift"][row] = found.shift
    for name in (
        "head_distance",
        "alpha",
        "plausibility",
        "start_plausibility",
        "steps",
        "renders",
        "refined",
        "gradients",
    ):
        tensors[name][row] = getattr(found, name)
    tensors["calls"][row] = found.generator_calls
    for name, logits in (("start_logits", found.start_logits), ("logits", found.logits)):
        if logits is not None:
            tensors[name][row] = logits
    if found.start_image is not None and found.image is not None:
        tensors["change"][row] = change(found.image[None], found.start_image[None])[0]
    if found.strip is not None:
        tensors["strip_logits"][row] = found.strip.logits


def _measured(
    context: Job, found: Sequence[Counterfactual], images: NDArray[np.int64], tensors: Tensors, first: int
) -> dict[int, tuple[Images, Images]]:
    """Measures start and counterfactual of the reached rows of a block, each start once.

    Args:
        context: The job.
        found: The rows.
        images: (rows,) the base image of each.
        tensors: Take the measures.
        first: Place of the block's first row in them.

    Returns:
        The labels of start and counterfactual, by row of the block.
    """
    reached = [k for k, row in enumerate(found) if row.reached]
    if not reached:
        return {}
    starts = {int(images[k]): found[k].start_latent for k in reached}
    order = {image: place for place, image in enumerate(starts)}
    latents = np.stack([w for w in (*starts.values(), *(found[k].latent for k in reached)) if w is not None])
    seen = [np.concatenate(column) for column in zip(*labelled(context, latents), strict=True)]
    before = np.array([order[int(images[k])] for k in reached])
    pairs = np.stack([before, len(starts) + np.arange(len(reached))], axis=1)
    pixels, labels = seen[0][pairs], seen[1][pairs]
    rows = first + np.array(reached)
    tensors["measures"][rows] = measure(pixels, labels, len(context.card("parts").classes))
    return {k: (labels[i, 0], labels[i, 1]) for i, k in enumerate(reached)}


def _pictures(row: int, found: Counterfactual, labels: tuple[Images, Images] | None) -> dict[str, Images]:
    """The pictures of a row by name: of one that is not reached its start, where that was looked at."""
    pictures: dict[str, Images] = {}
    if found.start_image is not None:
        pictures[row_picture(row, "start")] = found.start_image
    if found.image is not None and labels is not None:
        pictures[row_picture(row, "counterfactual")] = found.image
        pictures[row_picture(row, "start-parts")] = labels[0]
        pictures[row_picture(row, "counterfactual-parts")] = labels[1]
    if found.strip is not None:
        for frame, image in enumerate(found.strip.images):
            pictures[frame_picture(row, frame)] = image
    return pictures
