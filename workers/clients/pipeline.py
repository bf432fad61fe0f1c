"""Latents through generator, parts model and classifier, all at work at once, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unitscope.models import ModelCard
from workers.clients.batches import Pending
from workers.clients.classifier import ClassifierClient
from workers.clients.generator import GeneratorClient

RENDERS_IN_FLIGHT = 3
READS_IN_FLIGHT = 2

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Rendered = tuple[NDArray[np.uint8], Labels | None]


@dataclass(frozen=True)
class Reading:
    """Pictures and what the classifier reads in them.

    Attributes:
        images: uint8 (batch, height, width, 3).
        features: float32 (batch, units).
        logits: float32 (batch, classes).
        labels: uint8 (batch, height, width), indices into the parts; None where none were asked for.
    """

    images: NDArray[np.uint8]
    features: Floats
    logits: Floats
    labels: Labels | None = None


def render_and_read(
    generator: GeneratorClient,
    classifier: ClassifierClient,
    batches: Iterable[Floats],
    beat: Callable[[], None],
    parts: ModelCard | None = None,
) -> Iterator[Reading]:
    """Renders batches of latents and reads the pictures.

    Args:
        generator: Renders.
        classifier: Reads.
        batches: Latents, each (at most `v2.MAX_BATCH`, w_dim); one reading comes out for each.
        beat: Called once a batch; whatever it raises ends the work.
        parts: A parts model of the generator: its labels come with the pictures.

    Raises:
        UnitScopeError: What a service raised, or that one does not answer.
    """
    waiting = iter(batches)
    renders: deque[Pending[Rendered]] = deque()
    reads: deque[tuple[Rendered, Pending[tuple[Floats, Floats]]]] = deque()
    more = True
    while more or renders or reads:
        while more and len(renders) < RENDERS_IN_FLIGHT:
            batch = next(waiting, None)
            more = batch is not None
            if batch is not None:
                renders.append(_render(generator, batch, parts))
        if renders:
            rendered = renders.popleft().result()
            reads.append((rendered, classifier.read_async(rendered[0])))
        if reads and (len(reads) >= READS_IN_FLIGHT or not renders):
            (images, labels), read = reads.popleft()
            beat()
            yield Reading(images, *read.result(), labels)


def _render(generator: GeneratorClient, batch: Floats, parts: ModelCard | None) -> Pending[Rendered]:
    if parts is not None:
        labelled = generator.render_parts_async(batch, parts)
        return Pending(lambda: labelled.result())
    pending = generator.render_async(batch)
    return Pending(lambda: (pending.result(), None))
