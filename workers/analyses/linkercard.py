"""The card that a fitted linker is published with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unitscope.jobs.planning import class_indices
from unitscope.jobs.specs import LinkSpec
from workers.analyses.job import Job

ROUNDED = 6
"""Digits of the figures on a card; the table of quality has them all."""


def linker_card_values(
    context: Job,
    spec: LinkSpec,
    solved: Mapping[str, Any],
    quality: Sequence[Mapping[str, Any]],
    acceptance: Mapping[str, float],
) -> dict[str, Any]:
    """The card as JSON says it, without name and files, which the linker service fills in.

    Args:
        context: The job.
        spec: What was fitted.
        solved: The record of the stage ``solve``.
        quality: Rows of the table of quality; the card keeps those over all classes.
        acceptance: Share of attempts that was accepted, by class.
    """
    classifier, generator = context.card("classifier"), context.card("generator")
    layer = classifier.layer(spec.layer)
    classes = [generator.classes[index] for index in class_indices(spec.classes, generator, "spec.classes")]
    return {
        "description": f"w = A r + b from {layer.name} of {classifier.name} to {generator.name}.",
        "license": "as its classifier and its generator",
        "architecture": {
            "name": "affine",
            "layer": layer.name,
            "classifier": {"name": classifier.name, "digest": classifier.digest},
            "generator": {"name": generator.name, "digest": generator.digest},
            "truncation": spec.truncation,
            "features": layer.units,
            "latents": _w_dim(generator.architecture),
            "penalty": solved["penalty"],
        },
        "classes": classes,
        "metrics": {"quality": [_rounded(row) for row in quality if row["scope"] == "overall"]},
        "training": {
            "spec": spec.model_dump(mode="json"),
            "pairs": solved["pairs"],
            "heldout": spec.heldout_per_class * len(classes),
            "acceptance": dict(acceptance),
            "cv_errors": [list(pair) for pair in zip(solved["penalties"], solved["cv_errors"], strict=True)],
        },
    }


def _w_dim(architecture: Mapping[str, Any]) -> int:
    return int(architecture["spec"]["w_dim"])


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: float(f"{value:.{ROUNDED}g}") if isinstance(value, float) else value
        for key, value in row.items()
    }
