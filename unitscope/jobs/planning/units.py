"""Plans of `traverse` and `quantify`, which move units."""

from __future__ import annotations

import math
from typing import Any

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.plan import Plan, Stage, make_plan
from unitscope.jobs.planning.linked import (
    CHUNKS_PER_STAGE,
    Linked,
    LinkerLookup,
    find_linked,
    resolved,
    spread,
)
from unitscope.jobs.planning.parts import parts_model
from unitscope.jobs.specs import QuantifySpec, TraverseSpec
from unitscope.models import ModelCard, Registry

RENDERS_PER_TRAVERSE_CHUNK = 600
RENDERS_PER_QUANTIFY_CHUNK = 480
SCREENING_STEPS = 2
"""Screening looks at the ends alone: an effect is what differs between them."""
ACTIVATION_CHUNKS = 8


def traverse_plan(spec: TraverseSpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """Base images, the choice of units, and all units in all base images, class by class."""
    linked = find_linked(spec, registry, linker, "spec.traverse", spec.classes)
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


def quantify_plan(spec: QuantifySpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """Base images, all targets on the screening images, the shortlisted ones on the others.

    Where there are no more targets than the shortlist takes, screening has nothing to decide and is left
    out.
    """
    linked = find_linked(spec, registry, linker, "spec.quantify", spec.classes)
    parts = parts_model(spec.parts, registry, linked.generator, "spec.quantify.parts")
    targets = _targets(spec, linked)
    screens = targets > spec.shortlist
    screening = spread(spec.screening_seeds if screens else 0, len(linked.classes))
    others = spread(spec.seeds, len(linked.classes))
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
    return make_plan(spec, (*linked.models, resolved(parts)), stages)


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


def _targets(spec: QuantifySpec, linked: Linked) -> int:
    """How many units and groups are moved. Raises where one names a unit that there is not."""
    units = linked.units
    named = [("units", unit) for unit in spec.units]
    named += [(f"groups.{i}.units", unit) for i, group in enumerate(spec.groups) for unit in group.units]
    for field, unit in named:
        if unit >= units:
            raise _no_such_unit(unit, units, linked.classifier, f"spec.quantify.{field}")
    return len(set(spec.units)) + len(spec.groups) or units


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
