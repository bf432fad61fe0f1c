"""What the report of a `quantify` job is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.specs import QuantifySpec
from workers.analyses import page
from workers.analyses.columns import LOGIT
from workers.analyses.job import Job
from workers.analyses.linked import link_spec
from workers.analyses.quantify.activation import confirmed_units, most_activating
from workers.analyses.quantify.moving import image_name, kept_images
from workers.analyses.quantify.targets import Targets
from workers.analyses.quantify.verdict import NAMING_THRESHOLD, Verdict, associations
from workers.measures import MEASURES
from workers.outputs import unpack_images
from workers.report import ReportData
from workers.report.quantify.data import (
    Association,
    Column,
    EffectArrays,
    Example,
    QuantifyData,
    RealImage,
    Strip,
)
from workers.statistics import nearest

SIMILAR = 8
MAX_STRIPS = 12
"""Film strips of one unit that are offered to a report; it shows what its size allows of them."""
STRIP_BYTES = 128 << 20
"""Pictures of all strips together, decoded: large pictures leave room for fewer of each unit."""

Row = Mapping[str, Any]


def quantify_report(
    context: Job, spec: QuantifySpec, found: Verdict, units: Sequence[Row], quality: Sequence[Row]
) -> ReportData:
    """The report."""
    moved = "one unit does" if len(units) == 1 else f"{len(units):,} units do"
    shown = [s for _, group in page.survivors(context) for s in group] if link_spec(context) else []
    return ReportData(
        **page.common(context, f"What {moved} in {context.card('classifier').name}"),
        quality=quality,
        survivors=shown,
        notes=_notes(context, spec),
        tables=("effects", "units", "steps", "quality"),
        quantify=_data(context, spec, found, units),
    )


def perturbation_words(spec: QuantifySpec) -> str:
    """How units were moved, in words."""
    way = spec.perturbation
    if way.by == "quantiles":
        return f"from their quantile {way.low_quantile:g} to their quantile {way.high_quantile:g}"
    if way.by == "deviations":
        return f"by {way.deviations:g} standard deviations below and above their own value"
    return "from the lowest to the highest value of the fit's samples"


def _data(context: Job, spec: QuantifySpec, found: Verdict, units: Sequence[Row]) -> QuantifyData:
    similar, similarity = nearest(found.profiles, SIMILAR)
    together = associations(found)
    screened = any(stage.name == "screen" for stage in context.plan.stages)
    return QuantifyData(
        parts=context.card("parts").classes,
        measures=MEASURES,
        classes=context.card("classifier").classes,
        units=units,
        effects=_effects(found, context.card("classifier").classes),
        strips=list(_strips(context, spec, found.targets)),
        naming_threshold=NAMING_THRESHOLD,
        min_trust=spec.min_trust,
        screening_images=spec.screening_seeds if screened else 0,
        confirm_images=spec.seeds,
        steps=spec.steps,
        perturbation=perturbation_words(spec),
        renders=sum(stage.renders for stage in context.plan.stages),
        example=_example(context),
        association=Association(
            together.correlation,
            [[MEASURES[index].name for index in row] for row in together.measure.tolist()],
            together.targets,
            together.q,
        ),
        similar=similar,
        similarity=similarity,
        real=_real(context, spec, found),
    )


def _effects(found: Verdict, classes: Sequence[str]) -> EffectArrays:
    names = [item.name for item in MEASURES]
    columns = [
        Column(found.columns.parts[part], names[index])
        for part, index in zip(found.columns.part.tolist(), found.columns.measure.tolist(), strict=True)
    ]
    columns += [Column(LOGIT, name) for name in classes]

    def both(name: str) -> NDArray[Any]:
        return np.concatenate([vars(found.parts)[name], vars(found.logits)[name]], axis=1)

    return EffectArrays(
        columns=columns,
        effect=both("mean"),
        lower=both("lower"),
        upper=both("upper"),
        standardised=both("standardised"),
        same_sign=both("same_sign"),
        q=np.concatenate([found.q, found.logit_q], axis=1),
        selectivity=np.concatenate([found.selectivity, found.logit_selectivity], axis=1),
        seeds=both("images"),
    )


def _strips(context: Job, spec: QuantifySpec, targets: Targets) -> Iterator[Strip]:
    """Film strips of confirmed targets, while there is room: those whose picture changes most come first."""
    names = context.card("generator").classes
    confirmed = max(chunk["first"] + chunk["count"] for chunk in context.plan.stage("confirm").chunks)
    taken: Counter[int] = Counter()
    room = STRIP_BYTES
    for _, chunk in context.result("confirm"):
        if "pictures" not in chunk.tensors:
            continue
        tensors, pictures = chunk.tensors, chunk.tensors["pictures"].tobytes()
        for row, target in enumerate(tensors["targets"].tolist()):
            number = int(targets.numbers[target])
            change = tensors["change"][row, :, -1]
            for image in sorted(chunk.record["kept"], key=lambda k: -float(change[k])):
                # Each unit has an equal part of the room, and one strip as long as there is any.
                if taken[number] >= MAX_STRIPS or room <= 0:
                    break
                place = int(tensors["classes"][image]), int(tensors["seeds"][image])
                wanted = [image_name(number, *place, step) for step in range(spec.steps)]
                frames = unpack_images(pictures, wanted)
                if taken[number] and (taken[number] + 1) * frames.nbytes * confirmed > STRIP_BYTES:
                    break
                labels = [image_name(number, *place, step, parts=True) for step in range(spec.steps)]
                taken[number] += 1
                room -= frames.nbytes
                yield Strip(
                    unit=number,
                    class_name=names[place[0]],
                    seed=place[1],
                    commanded=tensors["commanded"][row, image],
                    frames=frames,
                    labels=unpack_images(pictures, labels),
                )


def _example(context: Job) -> Example | None:
    """The base image that shows most parts."""
    best: Example | None = None
    most = 0
    for params, chunk in context.result("base"):
        if "pictures" not in chunk.tensors:
            continue
        count = min(int(params["count"]), 2)
        names = [f"{k}{suffix}.png" for k in range(count) for suffix in ("", "-parts")]
        data = chunk.tensors["pictures"].tobytes()
        for k in range(count):
            image, labels = (unpack_images(data, [name])[0] for name in names[2 * k : 2 * k + 2])
            parts = len(np.unique(labels))
            if parts > most:
                best, most = Example(image, labels), parts
    return best


def _real(context: Job, spec: QuantifySpec, found: Verdict) -> dict[int, list[RealImage]]:
    if not spec.image_folder:
        return {}
    units = list(confirmed_units(found.targets.numbers, found.confirmed))
    shown = most_activating(context, spec, units)
    return {unit: [RealImage(*item) for item in items] for unit, items in shown.items()}


def _notes(context: Job, spec: QuantifySpec) -> list[str]:
    """What the reader should know of the pictures and of the linker."""
    found = []
    kept = len(kept_images(spec, "confirm", spec.seeds))
    if kept < spec.seeds:
        found.append(
            f"Pictures of {kept} of the {spec.seeds} base images were kept (keep: {spec.keep}); the figures "
            "count all of them."
        )
    if spec.start == "own":
        found.append(
            "Units were moved in the generated images themselves, w + A (r' - r), not in what the linker "
            "makes of their features."
        )
    if link_spec(context) is None:
        found.append("The linker was fitted by an earlier job; its quality over all classes is shown.")
    return found
