"""The plan of `counterfactual`: base images, a search for each of them and each target, mean shifts.

Names of classes that do not exist stop nothing: their rows say so. See `workers.analyses.counterfactual`.
"""

from __future__ import annotations

import math
from typing import Any

from unitscope.errors import FailedPreconditionError
from unitscope.jobs.plan import Plan, Stage, make_plan
from unitscope.jobs.planning.linked import (
    CHUNKS_PER_STAGE,
    Linked,
    LinkerLookup,
    find_linked,
    resolved,
)
from unitscope.jobs.planning.parts import parts_model
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.models import Registry

OWN_IMAGES = -1
"""Stands for a class where the base images are the user's own."""
NO_IMAGES = -2
"""Stands for a class where no origin exists: a chunk without rows."""
ROWS_PER_CHUNK = {"path": 32, "descent": 4}
IMAGES_PER_BASE = 64
IMAGES_PER_INVERSION = 8
RENDERS_PER_INVERSION = 100
RENDERS_PER_PATH = 32
"""Of one row of ``path``, the film strip left out: about what is used."""
MEAN_CHUNKS = 8
MEAN_MULTIPLES = (1.0, 1.5, 2.0)
"""How far mean shifts are applied."""


def targets_of(spec: CounterfactualSpec, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the targets in their order; one empty name, for the runner-up, where that is asked for."""
    return ("",) if spec.runner_up else spec.targets or classes


def counterfactual_plan(spec: CounterfactualSpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """The plan of a spec.

    Raises:
        FailedPreconditionError: The linker's layer has no head (reason LAYER_HAS_NO_HEAD).
        UnitScopeError: As `unitscope.jobs.planning.make`.
    """
    known = find_linked(spec, registry, linker, "spec.counterfactual")
    layer = known.classifier.layer(known.layer)
    if not layer.has_head:
        raise FailedPreconditionError(
            f"the layer {layer.name!r} of {known.classifier.name} has no head, so the classifier cannot say "
            "what shifted features are; use a linker of a layer that has one, e.g. the penultimate",
            reason="LAYER_HAS_NO_HEAD",
            field="spec.counterfactual",
            layer=layer.name,
        )
    parts = parts_model(spec.parts, registry, known.generator, "spec.counterfactual.parts")
    base = _base(spec, known)
    targets = len(targets_of(spec, known.classifier.classes))
    images = sum(chunk["count"] for chunk in base)
    found = Stage(
        name="search",
        chunks=tuple(_searches(spec, base, targets)),
        renders=images * targets * (_renders(spec) + spec.frames + 2),
    )
    stages = [
        *known.stages,
        Stage(name="base", chunks=tuple(base), renders=images * _renders_per_base(spec)),
        found,
    ]
    if spec.seeds > 1:
        chunks = tuple({"part": k, "of": MEAN_CHUNKS} for k in range(MEAN_CHUNKS))
        applied = images * targets * len(MEAN_MULTIPLES)
        stages.append(Stage(name="mean", chunks=chunks, renders=applied))
    return make_plan(spec, (*known.models, resolved(parts)), stages)


def planned_rows(plan: Plan) -> int:
    """Rows of a plan of this kind."""
    return sum(chunk["count"] * len(chunk["targets"]) for chunk in plan.stage("search").chunks)


def _base(spec: CounterfactualSpec, known: Linked) -> list[dict[str, Any]]:
    """Blocks of base images; one without images where no origin exists."""
    if spec.image_folder:
        return _blocks(OWN_IMAGES, spec.seeds, IMAGES_PER_INVERSION, CHUNKS_PER_STAGE)
    classes = known.classes
    if spec.origins:
        classes = [known.generator.classes.index(n) for n in spec.origins if n in known.generator.classes]
    most = max(1, CHUNKS_PER_STAGE // max(1, len(classes)))
    chunks = [chunk for c in classes for chunk in _blocks(c, spec.seeds, IMAGES_PER_BASE, most)]
    return chunks or [{"class": NO_IMAGES, "first": 0, "count": 0}]


def _blocks(class_index: int, images: int, usual: int, most: int) -> list[dict[str, Any]]:
    """The images of a class in blocks of `usual` images, or of more, so that there are at most `most`."""
    size = max(usual, math.ceil(images / most))
    return [
        {"class": class_index, "first": first, "count": min(size, images - first)}
        for first in range(0, images, size)
    ]


def _searches(spec: CounterfactualSpec, base: list[dict[str, Any]], targets: int) -> list[dict[str, Any]]:
    """Blocks of targets, and of images where they are few enough."""
    rows = sum(chunk["count"] for chunk in base) * targets
    most = max(ROWS_PER_CHUNK[spec.method], math.ceil(2 * rows / CHUNKS_PER_STAGE))
    wide = min(targets, most)
    high = max(1, most // wide)
    return [
        {
            "class": chunk["class"],
            "first": chunk["first"] + first,
            "count": min(high, chunk["count"] - first),
            "targets": list(range(place, min(place + wide, targets))),
        }
        for chunk in base
        for first in range(0, max(chunk["count"], 1), high)
        for place in range(0, targets, wide)
    ]


def _renders(spec: CounterfactualSpec) -> int:
    return RENDERS_PER_PATH if spec.method == "path" else spec.max_steps + 1


def _renders_per_base(spec: CounterfactualSpec) -> int:
    return RENDERS_PER_INVERSION if spec.image_folder else 2
