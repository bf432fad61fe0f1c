"""From a spec to a plan: which stages, cut into which chunks.

The gateway plans to validate and to state the cost, the worker to carry out; both call `make`, so
that what was validated is what runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from unitscope.jobs.plan import Cost, Plan, ResolvedModel, Stage, make_plan
from unitscope.jobs.specs import AnySpec, LinkSpec, QuantifySpec, TraverseSpec
from unitscope.models import ModelCard, Registry
from unitscope.models.lineage import require_shared_w

PAIRS_PER_CHUNK = 250
HELDOUT_PER_CHUNK = 50
RENDERS_PER_TRAVERSE_CHUNK = 600
RENDERS_PER_QUANTIFY_CHUNK = 480
SCREENING_STEPS = 2
"""Screening looks at the ends alone: an effect is what differs between them."""
ACTIVATION_CHUNKS = 8
CHUNKS_PER_STAGE = 900
HELDOUT_METHODS = ("linker", "class_mean", "nearest_neighbour", "principal_components")

LinkerLookup = Callable[[str], ModelCard]
"""Finds the card of a published linker by its digest; raises NotFoundError."""


def make(spec: AnySpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """The plan of a spec.

    Raises:
        InvalidArgumentError: A class, layer or unit does not exist, or the job is too large.
        NotFoundError: A model or linker does not exist.
        FailedPreconditionError: A pinned digest is another.
    """
    if isinstance(spec, LinkSpec):
        models, stages = _link(spec, registry)
        return make_plan(spec, models, stages)
    if isinstance(spec, QuantifySpec):
        return _quantify(spec, registry, linker)
    return _traverse(spec, registry, linker)


def cost(plan: Plan) -> Cost:
    """What the plan will take: renders, and bytes kept, estimated from rows and images."""
    pairs = sum(stage.renders for stage in plan.stages if stage.name in ("sample", "heldout"))
    frames = sum(s.renders for s in plan.stages if s.name in ("traverse", "screen", "confirm"))
    keeps = {"all": 1.0, "sample": 0.5, "none": 0.0}.get(plan.spec.get("keep", "none"), 0.0)
    stored = pairs * 4_096 + frames * (3_000 + keeps * 13_000)
    return Cost(
        renders=sum(stage.renders for stage in plan.stages),
        stored_bytes=int(stored),
        chunks=sum(len(stage.chunks) for stage in plan.stages),
    )


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


def _link(
    spec: LinkSpec, registry: Registry, path: str = "spec.link"
) -> tuple[tuple[ResolvedModel, ...], list[Stage]]:
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
    blocks = _blocks(spec.samples_per_class, len(classes), spec.folds, PAIRS_PER_CHUNK)
    sample = [
        {"class": c, "block": b, "fold": b % spec.folds, "count": n}
        for b, n in enumerate(_split(spec.samples_per_class, blocks))
        for c in classes
        if n
    ]
    held_blocks = _blocks(spec.heldout_per_class, len(classes), 1, HELDOUT_PER_CHUNK)
    heldout = [
        {"class": c, "block": b, "count": n}
        for b, n in enumerate(_split(spec.heldout_per_class, held_blocks))
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
    return (_resolved(classifier), _resolved(generator)), stages


@dataclass(frozen=True)
class _Linked:
    """What the stages after the link work with."""

    models: tuple[ResolvedModel, ...]
    stages: list[Stage]
    classifier: ModelCard
    generator: ModelCard
    layer: str
    classes: list[int]

    @property
    def units(self) -> int:
        return self.classifier.layer(self.layer).units


def _linked(
    spec: TraverseSpec | QuantifySpec, registry: Registry, linker: LinkerLookup, path: str
) -> _Linked:
    """The linker that a spec names, or the stages that fit the one that it describes."""
    stages: list[Stage] = []
    if spec.link is not None:
        models, stages = _link(spec.link, registry, f"{path}.link")
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
            *(_resolved(model) for model in pinned),
            ResolvedModel(name=card.name, digest=card.digest, kind="linker"),
        )
        names, layer = card.classes, card.architecture["layer"]
    if spec.render_with:
        shown = _render_with(spec.render_with, registry, models[1], f"{path}.render_with")
        models = (models[0], shown, *models[2:])
    classifier, generator = registry.resolve(models[0].name), registry.resolve(models[1].name)
    classes = class_indices(spec.classes or names, generator, f"{path}.classes")
    return _Linked(models, stages, classifier, generator, layer, classes)


def _render_with(name: str, registry: Registry, fitted: ResolvedModel, field: str) -> ResolvedModel:
    """The generator of that name, where it shares the W of the one that the linker was fitted with.

    Raises:
        FailedPreconditionError: It does not (reason W_NOT_SHARED, CLASSES_DIFFER).
        NotFoundError: There is no such generator.
    """
    card = registry.resolve(name, "generator", field)
    require_shared_w(registry, registry.resolve(fitted.name), card, field)
    return _resolved(card)


def _traverse(spec: TraverseSpec, registry: Registry, linker: LinkerLookup) -> Plan:
    linked = _linked(spec, registry, linker, "spec.traverse")
    _check_units(spec, linked.units, linked.classifier)
    classes, count = linked.classes, spec.units.count
    per_chunk = max(1, RENDERS_PER_TRAVERSE_CHUNK // (spec.steps * spec.seeds_per_class))
    per_chunk = max(per_chunk, math.ceil(count * len(classes) / CHUNKS_PER_STAGE))
    chunks: list[dict[str, Any]] = [
        {"class": c, "first": first, "count": min(per_chunk, count - first)}
        for first in range(0, count, per_chunk)
        for c in classes
    ]
    stages = [
        *linked.stages,
        Stage(
            name="base",
            chunks=tuple({"class": c, "count": spec.seeds_per_class} for c in classes),
            renders=spec.seeds_per_class * len(classes),
        ),
        Stage(name="select", chunks=({},)),
        Stage(
            name="traverse",
            chunks=tuple(chunks),
            renders=count * len(classes) * spec.seeds_per_class * spec.steps,
        ),
    ]
    return make_plan(spec, linked.models, stages)


def _quantify(spec: QuantifySpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """Base images, all targets on the screening images, the shortlisted ones on the others.

    Where there are no more targets than the shortlist takes, screening has nothing to decide and is left
    out.
    """
    linked = _linked(spec, registry, linker, "spec.quantify")
    parts = _parts_model(spec, registry, linked.generator)
    targets = _targets(spec, linked)
    screens = targets > spec.shortlist
    screening = _spread(spec.screening_seeds if screens else 0, len(linked.classes))
    others = _spread(spec.seeds, len(linked.classes))
    base = tuple(
        {"class": c, "screening": a, "count": a + b}
        for c, a, b in zip(linked.classes, screening, others, strict=True)
        if a + b
    )
    images = sum(chunk["count"] for chunk in base)
    stages = [
        *linked.stages,
        Stage(name="base", chunks=base, renders=2 * images),
        Stage(name="select", chunks=({},)),
    ]
    if screens:
        stages.append(_moves("screen", targets, spec.screening_seeds, SCREENING_STEPS))
        stages.append(Stage(name="shortlist", chunks=({},)))
    stages.append(_moves("confirm", min(targets, spec.shortlist), spec.seeds, spec.steps))
    if spec.image_folder:
        chunks = tuple({"part": k, "of": ACTIVATION_CHUNKS} for k in range(ACTIVATION_CHUNKS))
        stages.append(Stage(name="activate", chunks=chunks))
    return make_plan(spec, (*linked.models, _resolved(parts)), stages)


def _moves(name: str, targets: int, images: int, steps: int) -> Stage:
    """A stage that moves each target in each image: blocks of targets, and of images where they are many."""
    per_images = max(1, min(images, RENDERS_PER_QUANTIFY_CHUNK // steps))
    ranges = math.ceil(images / per_images)
    per_targets = max(1, RENDERS_PER_QUANTIFY_CHUNK // (per_images * steps))
    per_targets = max(per_targets, math.ceil(targets * ranges / CHUNKS_PER_STAGE))
    chunks: list[dict[str, Any]] = [
        {
            "first": first,
            "count": min(per_targets, targets - first),
            "start": start,
            "images": min(per_images, images - start),
            "steps": steps,
        }
        for first in range(0, targets, per_targets)
        for start in range(0, images, per_images)
    ]
    return Stage(name=name, chunks=tuple(chunks), renders=targets * images * steps)


def _targets(spec: QuantifySpec, linked: _Linked) -> int:
    """How many units and groups are moved. Raises where one names a unit that there is not."""
    units = linked.units
    named = [("units", unit) for unit in spec.units]
    named += [(f"groups.{i}.units", unit) for i, group in enumerate(spec.groups) for unit in group.units]
    for field, unit in named:
        if unit >= units:
            raise _no_such_unit(unit, units, linked.classifier, f"spec.quantify.{field}")
    return len(set(spec.units)) + len(spec.groups) or units


def _parts_model(spec: QuantifySpec, registry: Registry, generator: ModelCard) -> ModelCard:
    """The parts model that a spec names, or else the first one made for the generator.

    Raises:
        NotFoundError: There is none (reason NO_PARTS_MODEL).
        FailedPreconditionError: It was made for another generator (PARTS_OF_ANOTHER_GENERATOR).
    """
    if not spec.parts:
        for card in registry.cards("parts"):
            if card.architecture["generator"]["digest"] == generator.digest:
                return card
        raise NotFoundError(
            f"there is no parts model for {generator.name}; make one with `unitscope parts train` from a few "
            "labelled pictures, or with `unitscope parts cluster` from none",
            reason="NO_PARTS_MODEL",
            field="spec.quantify.parts",
            generator=generator.name,
        )
    card = registry.resolve(spec.parts, "parts", "spec.quantify.parts")
    made_for = card.architecture["generator"]
    if made_for["digest"] != generator.digest:
        raise FailedPreconditionError(
            f"{card.name} was made for {made_for['name']} {made_for['digest'][:12]}, not {generator.name} "
            f"{generator.short_digest}: name a parts model of this generator, or train one",
            reason="PARTS_OF_ANOTHER_GENERATOR",
            field="spec.quantify.parts",
            parts=card.name,
            generator=generator.name,
        )
    return card


def _no_such_unit(index: int, units: int, classifier: ModelCard, field: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"unit {index} is out of range; this layer of {classifier.name} has the units 0 to {units - 1}",
        reason="UNIT_OUT_OF_RANGE",
        field=field,
        unit=index,
        units=units,
    )


def _check_units(spec: TraverseSpec, units: int, classifier: ModelCard) -> None:
    for index in spec.units.indices:
        if index >= units:
            raise _no_such_unit(index, units, classifier, "spec.traverse.units.indices")
    if not spec.units.indices and spec.units.top > units:
        raise InvalidArgumentError(
            f"the top {spec.units.top} units are asked for; this layer of {classifier.name} has {units}",
            reason="UNIT_OUT_OF_RANGE",
            field="spec.traverse.units.top",
            units=units,
        )
    if spec.units.for_class and spec.units.for_class not in classifier.classes:
        raise InvalidArgumentError(
            f"{classifier.name} has no class {spec.units.for_class!r}; it has: "
            + ", ".join(classifier.classes[:30]),
            reason="UNKNOWN_CLASS",
            field="spec.traverse.units.for_class",
        )


def _resolved(card: ModelCard) -> ResolvedModel:
    return ResolvedModel(name=card.name, digest=card.digest, kind=card.kind)


def _blocks(count: int, classes: int, multiple: int, per_chunk: int) -> int:
    """Blocks a class: small enough chunks, not too many of them, and a multiple of the folds."""
    wanted = math.ceil(count / per_chunk / multiple) * multiple
    allowed = max(multiple, CHUNKS_PER_STAGE // max(classes, 1) // multiple * multiple)
    return min(wanted, allowed)


def _split(count: int, blocks: int) -> list[int]:
    """The count as `blocks` nearly equal numbers."""
    return [count // blocks + (1 if b < count % blocks else 0) for b in range(blocks)]


def _spread(count: int, slots: int) -> list[int]:
    """The count over slots, at even distances where there are more slots than things."""
    return [(k + 1) * count // slots - k * count // slots for k in range(slots)]
