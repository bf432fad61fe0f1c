"""The images that searches start from: drawn and accepted, or the user's own; their parts measured once."""

from __future__ import annotations

from typing import Any

import numpy as np

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.planning.counterfactual import OWN_IMAGES
from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses.accept import Accepted, Rule, draw
from workers.analyses.counterfactual.looking import Tensors, measured, zipped
from workers.analyses.counterfactual.naming import kept_images
from workers.analyses.counterfactual.own import invert_images
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.counterfactual import Linker
from workers.streams import BASE, attempts_per_block


def render_base(
    context: Job, spec: CounterfactualSpec, linked: Linked, params: dict[str, Any]
) -> ChunkResult:
    """A block of base images of one class, or of the user's own.

    What is measured and kept as a picture is where searches start: the image itself, or for ``start:
    linked`` the linker's.

    Where too few are accepted there are fewer; the rows of the others say so.

    Raises:
        FailedPreconditionError: The user's folder is empty (reason NO_IMAGES).
        NotFoundError: There is no such folder (reason IMAGES_NOT_FOUND).
        UnitScopeError: A service refused or does not answer.
    """
    if params["class"] == OWN_IMAGES:
        return invert_images(context, spec, linked, params)
    accepted = _drawn(context, spec, linked, params) if params["count"] else _nothing(context, linked)
    start = accepted.latents
    if spec.start == "linked":
        start = Linker.of(linked.solution).latents(accepted.features).astype(np.float32)
    kept = min(kept_images(spec, params), len(start))
    measures, pictures = measured(context, start, kept)
    tensors: Tensors = {
        "features": accepted.features,
        "latents": accepted.latents,
        "logits": accepted.logits,
        "measures": measures,
        "seeds": accepted.attempts,
    }
    renderer = context.generator.renderer()
    record = {
        "attempts": accepted.tried,
        "missing": params["count"] - len(start),
        "kept": list(range(kept)),
        "renderer": f"{renderer.name} {renderer.version}",
    }
    return ChunkResult(tensors | zipped(pictures), record)


def _drawn(context: Job, spec: CounterfactualSpec, linked: Linked, params: dict[str, Any]) -> Accepted:
    """The images themselves. Those of a class that the classifier has not are taken as they come."""
    rule = linked.rule.reseeded(spec.seed)
    if context.card("generator").classes[params["class"]] not in context.card("classifier").classes:
        rule = Rule("any", rule.truncation, rule.attempts_per_sample, rule.seed)
    chunks = context.plan.stage("base").chunks
    block = params["first"] // max(int(chunk["count"]) for chunk in chunks)
    # All that the block owns: one image in ten tries must not end a job of a thousand classes.
    most = attempts_per_block(chunks, rule.attempts_per_sample)
    return draw(context, rule, BASE, params["class"], block * most, params["count"], most, least=0)


def _nothing(context: Job, linked: Linked) -> Accepted:
    """No images, where none of the origins that were named exists."""
    w_dim, units = linked.solution.weight.shape
    empty = [np.zeros((0, n), np.float32) for n in (w_dim, units, len(context.card("classifier").classes))]
    return Accepted(
        latents=empty[0],
        images=np.zeros((0, 1, 1, 3), np.uint8),
        features=empty[1],
        logits=empty[2],
        attempts=np.zeros(0, np.int64),
        tried=0,
    )
