"""The linker of a job: the stages that fit it, or the published one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.plan import ResolvedModel, Stage
from unitscope.jobs.specs import LinkedSpec, LinkSpec
from unitscope.models import ModelCard, Registry
from unitscope.models.lineage import require_shared_w

PAIRS_PER_CHUNK = 250
HELDOUT_PER_CHUNK = 50
CHUNKS_PER_STAGE = 900
HELDOUT_METHODS = ("linker", "class_mean", "nearest_neighbour", "principal_components")

LinkerLookup = Callable[[str], ModelCard]
"""Finds the card of a published linker by its digest; raises NotFoundError."""


def class_indices(names: tuple[str, ...], generator: ModelCard, field: str) -> list[int]:
    """The indices of classes of the generator; all of them where no name is given.

    Raises:
        InvalidArgumentError: The generator has no class of a name, or a name stands twice.
    """
    if not names:
        return list(range(len(generator.classes)))
    for position, name in enumerate(names):
        if name not in generator.classes or name in names[:position]:
            problem = "is named twice" if name in generator.classes else "does not exist"
            raise InvalidArgumentError(
                f"the class {name!r} {problem}; {generator.name} has: " + ", ".join(generator.classes[:30]),
                reason="UNKNOWN_CLASS",
                field=field,
                value=name,
            )
    return [generator.classes.index(name) for name in names]


def link_stages(
    spec: LinkSpec, registry: Registry, path: str = "spec.link"
) -> tuple[tuple[ResolvedModel, ...], list[Stage]]:
    """Classifier and generator of a linker, and the stages that fit and judge it.

    Raises:
        UnitScopeError: As `unitscope.jobs.planning.make`.
    """
    classifier = registry.resolve(spec.classifier, "classifier", f"{path}.classifier")
    generator = registry.resolve(spec.generator, "generator", f"{path}.generator")
    layer = classifier.layer(spec.layer)
    classes = class_indices(spec.classes, generator, f"{path}.classes")
    if spec.accept == "class":
        missing = [generator.classes[c] for c in classes if generator.classes[c] not in classifier.classes]
        if missing:
            raise InvalidArgumentError(
                f"{classifier.name} has no class {missing[0]!r}, so no image can be accepted as one; "
                "use accept: any for classifiers with other classes than the generator's",
                reason="CLASSES_DIFFER",
                field=f"{path}.accept",
            )
    if layer.units > 8_192:
        raise InvalidArgumentError(
            f"the layer {layer.name!r} has {layer.units} units; linkers take up to 8192 features: "
            "choose a later layer",
            reason="TOO_MANY_FEATURES",
            field=f"{path}.layer",
        )
    count = blocks(spec.samples_per_class, len(classes), spec.folds, PAIRS_PER_CHUNK)
    sample = [
        {"class": c, "block": b, "fold": b % spec.folds, "count": n}
        for b, n in enumerate(split(spec.samples_per_class, count))
        for c in classes
        if n
    ]
    held_blocks = blocks(spec.heldout_per_class, len(classes), 1, HELDOUT_PER_CHUNK)
    heldout = [
        {"class": c, "block": b, "count": n}
        for b, n in enumerate(split(spec.heldout_per_class, held_blocks))
        for c in classes
        if n
    ]
    pairs, held = (
        spec.samples_per_class * len(classes),
        spec.heldout_per_class * len(classes),
    )
    stages = [
        Stage(name="sample", chunks=tuple(sample), renders=pairs),
        Stage(name="accumulate", chunks=tuple({"fold": k} for k in range(spec.folds))),
        Stage(name="solve", chunks=({},)),
        Stage(
            name="heldout",
            chunks=tuple(heldout),
            renders=held * (1 + len(HELDOUT_METHODS)),
        ),
        Stage(name="evaluate", chunks=({},)),
    ]
    return (resolved(classifier), resolved(generator)), stages


@dataclass(frozen=True)
class Linked:
    """What the stages after the link work with."""

    models: tuple[ResolvedModel, ...]
    stages: list[Stage]
    classifier: ModelCard
    generator: ModelCard
    layer: str
    classes: list[int]

    @property
    def units(self) -> int:
        """How many the layer has."""
        return self.classifier.layer(self.layer).units


def find_linked(
    spec: LinkedSpec, registry: Registry, linker: LinkerLookup, path: str, wanted: tuple[str, ...] = ()
) -> Linked:
    """The linker that a spec names, or the stages that fit the one that it describes.

    Args:
        spec: Names or describes the linker.
        registry: Of the models.
        linker: Finds published linkers.
        path: Of the spec, for errors.
        wanted: Classes of the generator to work on; empty means all of the linker's.

    Raises:
        UnitScopeError: As `unitscope.jobs.planning.make`.
    """
    stages: list[Stage] = []
    if spec.link is not None:
        models, stages = link_stages(spec.link, registry, f"{path}.link")
        names, layer = spec.link.classes, spec.link.layer
    else:
        card = linker(spec.linker)
        pinned = (
            registry.resolve(
                f"{card.architecture[kind]['name']}@sha256:{card.architecture[kind]['digest']}",
                kind,
                f"{path}.linker",
            )
            for kind in ("classifier", "generator")
        )
        models = (
            *(resolved(model) for model in pinned),
            ResolvedModel(name=card.name, digest=card.digest, kind="linker"),
        )
        names, layer = card.classes, card.architecture["layer"]
    if spec.render_with:
        shown = _render_with(spec.render_with, registry, models[1], f"{path}.render_with")
        models = (models[0], shown, *models[2:])
    classifier, generator = registry.resolve(models[0].name), registry.resolve(models[1].name)
    classes = class_indices(wanted or names, generator, f"{path}.classes")
    return Linked(models, stages, classifier, generator, layer, classes)


def _render_with(name: str, registry: Registry, fitted: ResolvedModel, field: str) -> ResolvedModel:
    """The generator of that name, where it shares the W of the one that the linker was fitted with.

    Raises:
        FailedPreconditionError: It does not (reason W_NOT_SHARED, CLASSES_DIFFER).
        NotFoundError: There is no such generator.
    """
    card = registry.resolve(name, "generator", field)
    require_shared_w(registry, registry.resolve(fitted.name), card, field)
    return resolved(card)


def resolved(card: ModelCard) -> ResolvedModel:
    """The model as plans name it."""
    return ResolvedModel(name=card.name, digest=card.digest, kind=card.kind)


def blocks(count: int, classes: int, multiple: int, per_chunk: int) -> int:
    """Blocks a class: small enough chunks, not too many of them, and a multiple of the folds."""
    wanted = math.ceil(count / per_chunk / multiple) * multiple
    allowed = max(multiple, CHUNKS_PER_STAGE // max(classes, 1) // multiple * multiple)
    return min(wanted, allowed)


def split(count: int, blocks: int) -> list[int]:
    """The count as `blocks` nearly equal numbers."""
    return [count // blocks + (1 if b < count % blocks else 0) for b in range(blocks)]


def spread(count: int, slots: int) -> list[int]:
    """The count over slots, at even distances where there are more slots than things."""
    return [(k + 1) * count // slots - k * count // slots for k in range(slots)]
