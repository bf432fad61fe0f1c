"""Latents through generator and classifier, with both at work at once and results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.clients.batches import Pending
from workers.clients.classifier import ClassifierClient
from workers.clients.generator import GeneratorClient

RENDERS_IN_FLIGHT = 3
READS_IN_FLIGHT = 2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """Pictures and what the classifier reads in them.

    Attributes:
        images: uint8 (batch, height, width, 3).
        features: float32 (batch, units).
        logits: float32 (batch, classes).
    """

    images: NDArray[np.uint8]
    features: Floats
    logits: Floats


def render_and_read(
    generator: GeneratorClient,
    classifier: ClassifierClient,
    batches: Iterable[Floats],
    beat: Callable[[], None],
) -> Iterator[Reading]:
    """Renders batches of latents and reads the pictures.

    Args:
        generator: Renders.
        classifier: Reads.
        batches: Latents, each (at most `v2.MAX_BATCH`, w_dim); one reading comes out for each.
        beat: Called once a batch; whatever it raises ends the work.

    Raises:
        UnitScopeError: What a service raised, or that one does not answer.
    """
    waiting = iter(batches)
    renders: deque[Pending[NDArray[np.uint8]]] = deque()
    reads: deque[tuple[NDArray[np.uint8], Pending[tuple[Floats, Floats]]]] = deque()
    more = True
    while more or renders or reads:
        while more and len(renders) < RENDERS_IN_FLIGHT:
            batch = next(waiting, None)
            more = batch is not None
            if batch is not None:
                renders.append(generator.render_async(batch))
        if renders:
            images = renders.popleft().result()
            reads.append((images, classifier.read_async(images)))
        if reads and (len(reads) >= READS_IN_FLIGHT or not renders):
            images, read = reads.popleft()
            beat()
            yield Reading(images, *read.result())
