"""From a spec to a plan: which stages, cut into which chunks.

The gateway plans to validate and to state the cost, the worker to carry out; both call `make`, so
that what was validated is what runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.plan import Cost, Plan, ResolvedModel, Stage, make_plan
from unitscope.jobs.specs import AnySpec, LinkSpec, TraverseSpec
from unitscope.models import ModelCard, Registry

PAIRS_PER_CHUNK = 250
HELDOUT_PER_CHUNK = 50
RENDERS_PER_TRAVERSE_CHUNK = 600
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
    return _traverse(spec, registry, linker)


def cost(plan: Plan) -> Cost:
    """What the plan will take: renders, and bytes kept, estimated from rows and images."""
    pairs = sum(stage.renders for stage in plan.stages if stage.name in ("sample", "heldout"))
    frames = sum(stage.renders for stage in plan.stages if stage.name == "traverse")
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


def _traverse(spec: TraverseSpec, registry: Registry, linker: LinkerLookup) -> Plan:
    stages: list[Stage]
    if spec.link is not None:
        models, stages = _link(spec.link, registry, "spec.traverse.link")
        linked_classes = spec.link.classes
        layer_name = spec.link.layer
    else:
        card = linker(spec.linker)
        models = (
            *(
                _resolved(
                    registry.resolve(
                        f"{card.architecture[kind]['name']}@sha256:{card.architecture[kind]['digest']}",
                        kind,
                        "spec.traverse.linker",
                    )
                )
                for kind in ("classifier", "generator")
            ),
            ResolvedModel(name=card.name, digest=card.digest, kind="linker"),
        )
        linked_classes, layer_name, stages = (
            card.classes,
            card.architecture["layer"],
            [],
        )
    classifier = registry.resolve(models[0].name)
    generator = registry.resolve(models[1].name)
    units = classifier.layer(layer_name).units
    _check_units(spec, units, classifier)
    classes = class_indices(spec.classes or linked_classes, generator, "spec.traverse.classes")
    count = spec.units.count
    per_chunk = max(1, RENDERS_PER_TRAVERSE_CHUNK // (spec.steps * spec.seeds_per_class))
    per_chunk = max(per_chunk, math.ceil(count * len(classes) / CHUNKS_PER_STAGE))
    chunks: list[dict[str, Any]] = [
        {"class": c, "first": first, "count": min(per_chunk, count - first)}
        for first in range(0, count, per_chunk)
        for c in classes
    ]
    stages += [
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
    return make_plan(spec, models, stages)


def _check_units(spec: TraverseSpec, units: int, classifier: ModelCard) -> None:
    for index in spec.units.indices:
        if index >= units:
            raise InvalidArgumentError(
                f"unit {index} is out of range; this layer of {classifier.name} has the units 0 to "
                f"{units - 1}",
                reason="UNIT_OUT_OF_RANGE",
                field="spec.traverse.units.indices",
                unit=index,
                units=units,
            )
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
