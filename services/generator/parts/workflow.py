"""What the commands of ``unitscope parts`` do, for use from a notebook as well.

Example::

generator = Generator.open(Registry(Path("models")), "avatars/generator")
part_set = PartSet.load(folder, generator.card)
fitted = fit(generator, part_set)
card = save_fitted(generator, fitted, "mine/parts")
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from services.generator.backend import GeneratorBackend
from services.generator.parts.clustering import cluster
from services.generator.parts.dataset import UNLABELLED, PartSet
from services.generator.parts.evaluation import Iou, iou
from services.generator.parts.features import draw_w
from services.generator.parts.network import HIDDEN, PartsNetwork
from services.generator.parts.store import load_parts, save_parts
from services.generator.parts.training import STEPS, train
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import ModelReference, Registry

ENOUGH = 5
"""Labelled pictures from which on some are held out."""

HELD_OUT = 0.2
"""Their share."""

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Progress = Callable[[int, int], None]
Stage = Callable[[str], AbstractContextManager[Progress]]
"""Opens the display of a stage's progress."""


@dataclass(frozen=True)
class Generator:
    """A generator of a registry, loaded.

    Attributes:
        registry: Where it, and its parts models, lie.
        card: Its card.
        backend: What renders.
    """

    registry: Registry
    card: ModelCard
    backend: GeneratorBackend

    @classmethod
    def open(cls, registry: Registry, name: str, threads: int = 0) -> Self:
        """Loads a generator by name; raises as `Registry.resolve` and `GeneratorBackend.load` say."""
        card = registry.resolve(name, "generator")
        backend = GeneratorBackend.load(card, registry.verified(card), threads=threads)
        return cls(registry, card, backend)

    def parts(self, card: ModelCard) -> PartsNetwork:
        """Loads a parts model of this generator; raises as `load_parts` says."""
        return load_parts(card, self.registry.verified(card), self.card)

    def found(self, network: PartsNetwork, w: Floats) -> Bytes:
        """The labels that a parts network finds, uint8 ``(n, height, width)``."""
        return self.backend.render_parts(w, network)[1]

    def draw(self, count: int, seed: int) -> Floats:
        """Random w, float32 ``(count, w_dim)``, of all classes, without truncation."""
        w: Floats = draw_w(self.backend.network, count, seed).cpu().numpy()
        return w


@dataclass(frozen=True)
class Fitted:
    """A parts network, and how good its like was on pictures that it had not seen.

    Attributes:
        network: Trained on all labelled pictures.
        part_set: The set that it was trained on.
        pictures: Indices of those pictures.
        score: Of a network that was trained without the pictures held out, on these; None where there
            were too few to hold any out.
        held_out: Their indices.
        settings: Steps, hidden channels and seed.
    """

    network: PartsNetwork
    part_set: PartSet
    pictures: tuple[int, ...]
    score: Iou | None
    held_out: tuple[int, ...]
    settings: dict[str, Any]


def fit(
    generator: Generator,
    part_set: PartSet,
    *,
    steps: int = STEPS,
    hidden: int = HIDDEN,
    seed: int = 0,
    held_out: int | None = None,
    stage: Stage = lambda title: nullcontext(lambda done, total: None),
) -> Fitted:
    """Trains a parts network on the labelled pictures of a set, and judges it on some held out.

    Args:
        generator: The generator that rendered the set.
        part_set: The set.
        steps: Steps of training.
        hidden: Channels that every layer is projected to.
        seed: Of training, and of what is held out.
        held_out: Pictures to hold out; None for a fifth where there are five or more, 0 for none.
        stage: Shows progress.

    Raises:
        FailedPreconditionError: Nothing is labelled (reason NOTHING_LABELLED), or the set is another
            generator's.
        InvalidArgumentError: As many pictures as there are, or more, shall be held out (HELD_OUT).
    """
    part_set.check_generator(generator.card)
    pictures = np.array(part_set.labelled(), np.int64)
    if not len(pictures):
        raise FailedPreconditionError(
            f"no picture of {part_set.folder} is labelled; label some with 'unitscope parts label "
            f"{part_set.folder}'",
            reason="NOTHING_LABELLED",
        )
    labels = part_set.label_maps(pictures.tolist())
    w = part_set.w[pictures]
    aside = _held_out(len(pictures), held_out, seed)
    score = None

    def trained(rows: NDArray[np.bool_], title: str) -> PartsNetwork:
        with stage(title) as tell:
            return train(
                generator.backend.network, w[rows], labels[rows], part_set.parts,
                steps=steps, hidden=hidden, seed=seed, progress=tell,
            )  # fmt: skip

    if aside.any():
        judged = trained(~aside, f"training without {int(aside.sum())} pictures, to judge it on them")
        score = iou(generator.found(judged, w[aside]), labels[aside], part_set.parts)
    network = trained(np.ones(len(pictures), np.bool_), f"training on {len(pictures)} pictures")
    settings = {"steps": steps, "hidden": hidden, "seed": seed}
    return Fitted(
        network, part_set, tuple(pictures.tolist()), score, tuple(pictures[aside].tolist()), settings
    )


def save_fitted(generator: Generator, fitted: Fitted, name: str) -> ModelCard:
    """Puts the network into the generator's registry; raises as `save_parts` says."""
    part_set, metrics = fitted.part_set, {}
    if fitted.score is not None:
        metrics = {"held_out": {"pictures": len(fitted.held_out), "iou": fitted.score.to_dict()}}
    training = {
        "command": f"unitscope parts train {part_set.folder.resolve().name} --name {name}",
        **fitted.settings,
        "labelled": len(fitted.pictures),
        # Known again by their w, whatever folder they come in.
        "pictures": picture_digests(part_set.w[list(fitted.pictures)]),
    }
    return save_parts(
        generator.registry.root,
        name,
        fitted.network,
        generator.card,
        description=f"Labels {len(part_set.parts)} parts of what {generator.card.name} renders; trained on "
        f"{len(fitted.pictures)} labelled pictures.",
        training=training,
        metrics=metrics,
    )


def find_parts(
    generator: Generator, name: str, count: int, pictures: int, seed: int, progress: Progress
) -> ModelCard:
    """Clusters what the generator renders into parts, and puts them into its registry.

    Args:
        generator: The generator.
        name: ``<pack>/<model>`` of the parts model.
        count: Parts.
        pictures: Pictures to look at.
        seed: Of pictures and clusters.
        progress: Told how far it is.

    Raises:
        InvalidArgumentError: As `cluster` and `save_parts` say.
    """
    w = generator.draw(pictures, seed)
    network = cluster(generator.backend.network, w, count, seed=seed, progress=progress)
    training = {
        "command": f"unitscope parts cluster --generator {generator.card.name} --count {count} --name {name}",
        "clustered": pictures,
        "seed": seed,
    }
    return save_parts(
        generator.registry.root,
        name,
        network,
        generator.card,
        description=f"{count} parts of what {generator.card.name} renders, clustered without labels.",
        training=training,
    )


def evaluate(
    generator: Generator, card: ModelCard, part_set: PartSet, *, everything: bool = False
) -> tuple[Iou, list[int]]:
    """Compares what a parts model finds with the labels of a set.

    Args:
        generator: The generator of both.
        card: The parts model's card.
        part_set: The set.
        everything: Whether pictures count that the model was trained on.

    Returns:
        The comparison, over the model's parts, and the pictures that it was made on.

    Raises:
        FailedPreconditionError: Nothing is left to compare with (reason NOTHING_LABELLED,
            ALL_TRAINED_ON), or model or set are another generator's.
        InvalidArgumentError: The set has labels that the model does not know (OTHER_PARTS).
    """
    part_set.check_generator(generator.card)
    pictures = part_set.labelled()
    if not pictures:
        raise FailedPreconditionError(
            f"no picture of {part_set.folder} is labelled; there is nothing to compare with",
            reason="NOTHING_LABELLED",
        )
    seen = set(card.training.get("pictures", []))
    if not everything:
        own = picture_digests(part_set.w[pictures])
        pictures = [index for index, digest in zip(pictures, own, strict=True) if digest not in seen]
    if not pictures:
        raise FailedPreconditionError(
            f"{card.name} was trained on every labelled picture of {part_set.folder}; label others, or pass "
            "--all to be told how well it fits those",
            reason="ALL_TRAINED_ON",
            model=card.name,
        )
    truth = _renamed(part_set.label_maps(pictures), part_set.parts, card)
    found = generator.found(generator.parts(card), part_set.w[pictures])
    return iou(found, truth, card.classes), pictures


def picture_digests(w: Floats) -> list[str]:
    """A short digest for the w of every picture."""
    return [hashlib.sha256(np.ascontiguousarray(row, "<f4").tobytes()).hexdigest()[:16] for row in w]


def check_name(registry: Registry, name: str) -> None:
    """Refuses a name that a new parts model cannot have, before the work is done.

    Raises:
        InvalidArgumentError: It is no name (reason INVALID_MODEL_NAME).
        AlreadyExistsError: A model of another kind has it (MODEL_EXISTS).
    """
    wanted = ModelReference.parse(name, "name")
    taken = [card for card in registry.cards() if card.name == wanted.name and card.kind != "parts"]
    if taken:
        raise AlreadyExistsError(
            f"{name} is a {taken[0].kind}; choose another name for the parts model",
            reason="MODEL_EXISTS",
            field="name",
            model=name,
        )


def _held_out(count: int, wanted: int | None, seed: int) -> NDArray[np.bool_]:
    """Which of the pictures are held out."""
    if wanted is None:
        wanted = max(1, round(HELD_OUT * count)) if count >= ENOUGH else 0
    if not 0 <= wanted < count:
        raise InvalidArgumentError(
            f"{wanted} pictures cannot be held out where {count} are labelled; at most {count - 1} can",
            reason="HELD_OUT",
            field="held_out",
        )
    aside = np.zeros(count, np.bool_)
    aside[np.random.default_rng(seed).permutation(count)[:wanted]] = True
    return aside


def _renamed(labels: Bytes, parts: Sequence[str], card: ModelCard) -> Bytes:
    """Labels of a set as indices into the model's parts."""
    used = np.unique(labels[labels != UNLABELLED]).tolist()
    unknown = [parts[label] for label in used if parts[label] not in card.classes]
    if unknown:
        raise InvalidArgumentError(
            f"{card.name} knows no part {unknown[0]!r}; its parts are {', '.join(card.classes)}",
            reason="OTHER_PARTS",
            field="model",
            model=card.name,
        )
    table = np.full(256, UNLABELLED, np.uint8)
    for label in used:
        table[label] = card.classes.index(parts[label])
    return table[labels]
