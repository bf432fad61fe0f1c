"""The base images of a job: drawn, accepted, and measured once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import QuantifySpec
from workers.analyses.accept import draw
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.clients import Reading, render_and_read
from workers.measures import measure
from workers.outputs import pack_images
from workers.streams import BASE

BATCH = 16
SHOWN = 2
"""Base images of each class whose pictures and labels are kept, where any are."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Base:
    """Base images in the order of their classes.

    Attributes:
        features: (images, units) what the linker starts from.
        start: (images, w_dim) where traversals start.
        logits: (images, classes) of the picture at the start.
        measures: (images, parts + 1, measures).
        classes: int64 (images,) the generator's classes.
        seeds: int64 (images,) places in the streams of seeds.
    """

    features: Floats
    start: Floats
    logits: Floats
    measures: Floats
    classes: NDArray[np.int64]
    seeds: NDArray[np.int64]

    def __len__(self) -> int:
        """How many images."""
        return len(self.seeds)

    @classmethod
    def of(cls, context: Job, stage: str = "") -> Base:
        """The images that a stage works on: ``screen``, ``confirm``, or all where it is empty."""
        parts: dict[str, list[NDArray[Any]]] = {}
        for params, chunk in context.result("base"):
            cut = params["screening"]
            rows = {"screen": slice(0, cut), "confirm": slice(cut, None)}.get(stage, slice(None))
            for name in ("features", "start", "logits", "measures", "seeds"):
                parts.setdefault(name, []).append(chunk.tensors[name][rows])
            count = len(parts["seeds"][-1])
            parts.setdefault("classes", []).append(np.full(count, params["class"], np.int64))
        return cls(**{name: np.concatenate(values) for name, values in parts.items()})


def render_base(context: Job, spec: QuantifySpec, linked: Linked, params: dict[str, Any]) -> ChunkResult:
    """Draws base images of one class, and renders, reads and measures where their traversals start."""
    rule = linked.rule.reseeded(spec.seed)
    accepted = draw(context, rule, BASE, params["class"], 0, params["count"])
    start = accepted.latents
    if spec.start == "linked":
        start, _ = context.linker.apply(accepted.features, linked.card.digest)
    batches = [start[first : first + BATCH] for first in range(0, len(start), BATCH)]
    parts = context.card("parts")
    found = list(render_and_read(context.generator, context.classifier, batches, context.beat, parts))
    images = np.concatenate([reading.images for reading in found])
    labels = np.concatenate([labels_of(reading) for reading in found])
    renderer = context.generator.renderer()
    tensors: dict[str, NDArray[Any]] = {
        "features": accepted.features,
        "start": start,
        "logits": np.concatenate([reading.logits for reading in found]),
        "measures": measure(images[:, None], labels[:, None], len(parts.classes))[:, 0],
        "seeds": accepted.attempts,
    }
    if spec.keep != "none":
        shown: dict[str, NDArray[np.uint8]] = {}
        for index in range(min(SHOWN, len(images))):
            shown |= {f"{index}.png": images[index], f"{index}-parts.png": labels[index]}
        tensors["pictures"] = np.frombuffer(pack_images(shown), np.uint8)
    record = {"attempts": accepted.tried, "renderer": f"{renderer.name} {renderer.version}"}
    return ChunkResult(tensors, record)


def labels_of(reading: Reading) -> NDArray[np.uint8]:
    """The label maps of pictures that were rendered with a parts model, uint8 (batch, height, width)."""
    if reading.labels is None:
        raise TypeError("the pictures were rendered without a parts model")
    return reading.labels
