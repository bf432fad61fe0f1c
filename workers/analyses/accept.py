"""Images that the classifier reads as what they were made for, drawn until there are enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError
from workers.analyses.job import Job
from workers.clients import Reading, render_and_read
from workers.streams import Stream

BATCH = 16
"""Attempts of one request: small, so that few are rendered in vain at a chunk's end."""

FIRST_GUESS = 0.85
"""Acceptance that the first wave counts on; a wrong guess costs time alone."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rule:
    """Which images are taken.

    Attributes:
        accept: ``class``: those that the classifier reads as their class; ``any``: all of them.
        truncation: Of the latents, 0 to 1.
        attempts_per_sample: The most attempts for one image, in the mean over a chunk.
        seed: Of the streams of latents.
    """

    accept: Literal["class", "any"]
    truncation: float
    attempts_per_sample: int
    seed: int

    def reseeded(self, seed: int) -> Rule:
        """The same images to take, from other streams."""
        return replace(self, seed=seed)


@dataclass(frozen=True)
class Accepted:
    """Accepted images in the order of their attempts.

    Attributes:
        latents: float32 (count, w_dim).
        images: uint8 (count, height, width, 3).
        features: float32 (count, units).
        logits: float32 (count, classes).
        attempts: int64 (count,), places in the stream.
        tried: Attempts up to the last accepted one; all of them where there are fewer than were wanted.
    """

    latents: Floats
    images: NDArray[np.uint8]
    features: Floats
    logits: Floats
    attempts: NDArray[np.int64]
    tried: int


def draw(
    context: Job,
    rule: Rule,
    purpose: int,
    class_index: int,
    first: int,
    count: int,
    most: int | None = None,
    least: int | None = None,
) -> Accepted:
    """Draws attempts from `first` on until `count` images are accepted.

    Args:
        context: The job.
        rule: Which images are taken.
        purpose: Of the stream of latents; see `workers.streams`.
        class_index: The generator's class.
        first: The first attempt, a multiple of 64.
        count: Images wanted.
        most: Attempts at most; None for `Rule.attempts_per_sample` for each image. Of few images these are so
            few that chance alone may leave a class without any.
        least: Images without which it is an error; None for `count`.

    Raises:
        FailedPreconditionError: Too few attempts were accepted (reason ACCEPTANCE_TOO_LOW).
    """
    generator = context.card("generator")
    stream = Stream(rule.seed, purpose, class_index, _z_dim(generator.architecture))
    name = generator.classes[class_index]
    wanted = _class_of(context, name) if rule.accept == "class" else None
    parts: list[Accepted] = []
    limit, tried, found = most or count * rule.attempts_per_sample, 0, 0
    while found < count and tried < limit:
        rate = max(found / tried, 0.05) if tried else FIRST_GUESS
        wave = min(math.ceil((count - found) / rate / BATCH) * BATCH, limit - tried)
        for part in _wave(context, rule, stream, first + tried, wave):
            parts.append(_keep(part, wanted))
            found += len(parts[-1].attempts)
        tried += wave
    if found < (count if least is None else least):
        raise _too_low(name, found, tried, count)
    return _cut(parts, count, first)


def _class_of(context: Job, name: str) -> int:
    """The classifier's index of a class of the generator."""
    classifier = context.card("classifier")
    if name not in classifier.classes:
        raise FailedPreconditionError(
            f"{classifier.name} has no class {name!r}, so no image can be accepted as one; leave the class "
            "out, or use a linker that was fitted with accept: any",
            reason="CLASSES_DIFFER",
            class_name=name,
        )
    return classifier.classes.index(name)


def _wave(context: Job, rule: Rule, stream: Stream, first: int, count: int) -> Iterator[Accepted]:
    """All of `count` attempts, accepted or not, batch by batch."""
    classes = np.full(count, stream.class_index, np.int64)
    latents = context.generator.map(stream.draw(first, count), classes, rule.truncation)
    batches = [latents[start : start + BATCH] for start in range(0, count, BATCH)]
    readings = render_and_read(context.generator, context.classifier, batches, context.beat)
    for index, (batch, reading) in enumerate(zip(batches, readings, strict=True)):
        attempts = first + index * BATCH + np.arange(len(batch), dtype=np.int64)
        yield _all(batch, reading, attempts)


def _all(latents: Floats, reading: Reading, attempts: NDArray[np.int64]) -> Accepted:
    return Accepted(latents, reading.images, reading.features, reading.logits, attempts, tried=len(attempts))


def _keep(part: Accepted, wanted: int | None) -> Accepted:
    """Those that are read as the wanted class; all of them where there is none."""
    if wanted is None:
        return part
    rows = np.flatnonzero(part.logits.argmax(1) == wanted)
    return Accepted(
        part.latents[rows],
        part.images[rows],
        part.features[rows],
        part.logits[rows],
        part.attempts[rows],
        part.tried,
    )


def _cut(parts: list[Accepted], count: int, first: int) -> Accepted:
    """The first `count` of all parts; what came after them was rendered for speed alone."""
    attempts = np.concatenate([part.attempts for part in parts])[:count]
    return Accepted(
        np.concatenate([part.latents for part in parts])[:count],
        np.concatenate([part.images for part in parts])[:count],
        np.concatenate([part.features for part in parts])[:count],
        np.concatenate([part.logits for part in parts])[:count],
        attempts,
        tried=int(attempts[-1]) - first + 1 if len(attempts) == count else sum(p.tried for p in parts),
    )


def _z_dim(architecture: dict[str, object]) -> int:
    spec = architecture.get("spec")
    width = spec.get("z_dim") if isinstance(spec, dict) else None
    if not isinstance(width, int):
        raise FailedPreconditionError(
            "the generator's card states no z_dim in its architecture's spec; make the card again",
            reason="INVALID_CARD",
        )
    return width


def _too_low(name: str, found: int, tried: int, count: int) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"of {tried} images made for the class {name!r} the classifier read {found} as that class, "
        f"{count} are needed; raise attempts_per_sample, lower the truncation, leave the class out, or "
        "use accept: any",
        reason="ACCEPTANCE_TOO_LOW",
        class_name=name,
        accepted=found,
        attempts=tried,
        needed=count,
    )
