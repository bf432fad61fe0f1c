"""What chunks of this kind read and render: single chunks of earlier stages, pictures with their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError
from workers.analyses.counterfactual.naming import base_picture
from workers.analyses.job import Job
from workers.analyses.linked import Linked, nonnegative
from workers.counterfactual import Linker, Models, probed
from workers.counterfactual.models import Classifier
from workers.measures import MEASURES, measure
from workers.outputs import pack_images

BATCH = 48
"""Pictures of one request."""

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]
Tensors = dict[str, NDArray[Any]]

_OF_BASE = ("features", "latents", "logits", "seeds")


@dataclass(frozen=True)
class Base:
    """Base images that lie beside each other in one chunk.

    Attributes:
        features: (images, units) that searches start from.
        latents: (images, w_dim) of the images.
        logits: (images, classes) that are read in them.
        seeds: int64 (images,) their places in the stream of seeds, or in the user's folder.
    """

    features: Floats
    latents: Floats
    logits: Floats
    seeds: NDArray[np.int64]

    def __len__(self) -> int:
        """How many images."""
        return len(self.seeds)

    @classmethod
    def at(cls, context: Job, class_index: int, first: int, count: int) -> Base:
        """The images of a class from place `first` on; fewer than `count` where there are no more."""

        def holds(_: int, params: dict[str, Any]) -> bool:
            inside = 0 <= first - params["first"] < max(params["count"], 1)
            return bool(params["class"] == class_index and inside)

        params, chunk = next(context.result("base", holds))
        return cls(*(chunk.tensors[name] for name in _OF_BASE)).part(first - params["first"], count)

    def part(self, first: int, count: int) -> Base:
        """So many of the images from a place on."""
        return Base(*(vars(self)[name][first : first + count] for name in _OF_BASE))


class Bases:
    """Base images for searches that come in their order: each chunk is read once, and one is held."""

    def __init__(self, context: Job) -> None:
        """Reads nothing yet."""
        self._context = context
        self._chunks = context.plan.stage("base").chunks
        self._held: tuple[int, Base] | None = None

    def at(self, class_index: int, first: int, count: int) -> Base:
        """See `Base.at`."""
        number, params = next(
            (k, chunk)
            for k, chunk in enumerate(self._chunks)
            if chunk["class"] == class_index and 0 <= first - chunk["first"] < max(chunk["count"], 1)
        )
        if self._held is None or self._held[0] != number:
            self._held = number, Base.at(self._context, class_index, params["first"], params["count"])
        return self._held[1].part(first - params["first"], count)


def models_of(context: Job, linked: Linked, classifier: Classifier | None = None) -> Models:
    """The models behind the services; the classifier may be another one than the service's."""
    return Models(
        classifier or context.classifier,
        context.generator,
        Linker.of(linked.solution),
        nonnegative=nonnegative(context, linked),
        beat=context.beat,
    )


def searching_models(context: Job, linked: Linked, features: Floats) -> Models:
    """The models that searches ask: of a classifier without gradients the head is probed by calls.

    Args:
        context: The job.
        linked: Its linker.
        features: (images, units), at least one row, as images have them.

    Raises:
        UnitScopeError: What the classifier raised.
    """
    asked = np.zeros((1, features.shape[1]), np.float32)
    classifier: Classifier = context.classifier
    try:
        classifier.head_gradient(asked, np.zeros((1, len(context.card("classifier").classes)), np.float32))
    except FailedPreconditionError as error:
        if error.reason != "GRADIENT_NOT_AVAILABLE":
            raise
        classifier = probed(classifier, features, nonnegative(context, linked), context.beat)
    return models_of(context, linked, classifier)


def labelled(context: Job, latents: Floats) -> Iterator[tuple[Images, Images]]:
    """Pictures uint8 (batch, height, width, 3) of latents (rows, w_dim), and their parts, batch by batch."""
    parts = context.card("parts")
    for first in range(0, len(latents), BATCH):
        context.beat()
        yield context.generator.render_parts(latents[first : first + BATCH], parts)


def measured(context: Job, latents: Floats, kept: int) -> tuple[Floats, dict[str, Images]]:
    """Renders latents (images, w_dim) and measures their parts.

    Returns:
        (images, parts + 1, measures), and the first `kept` pictures with their labels by name.
    """
    parts = len(context.card("parts").classes)
    found, pictures = [np.zeros((0, parts + 1, len(MEASURES)), np.float32)], {}
    done = 0
    for images, labels in labelled(context, latents):
        found.append(measure(images[:, None], labels[:, None], parts)[:, 0])
        for k in range(max(0, min(kept - done, len(images)))):
            pictures[base_picture(done + k)] = images[k]
            pictures[base_picture(done + k, "parts")] = labels[k]
        done += len(images)
    return np.concatenate(found), pictures


def zipped(pictures: Mapping[str, Images]) -> Tensors:
    """Pictures as a chunk holds them: one tensor ``pictures``, or none."""
    return {"pictures": np.frombuffer(pack_images(pictures), np.uint8)} if pictures else {}
