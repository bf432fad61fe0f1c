"""``quantify``: measure what every unit does to the parts of the picture and to the logits.

Stages: those of ``link`` where the job fits its linker, then

==============  ====================================================================================
``base``        base images of every class, with their parts measured once
``select``      the targets: all units that vary, or those named, and groups; what they are set to
``screen``      every target in a few base images
``shortlist``   the targets that stand out there, for every part, aspect and logit
``confirm``     those in other base images, at least 32: what is reported of them comes from here alone
``activate``    real images that activate the units most, where a folder of images is named
==============  ====================================================================================

Source: "Linking in Style" (arXiv 2409.16865), systematic quantification of units: parts are segmented in
every picture of a traversal and compared between its ends. The statistics, the two passes and the
selection are ours; no public code has them.
"""

from __future__ import annotations

from typing import Any

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import QuantifySpec
from workers.analyses import link
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.quantify.activation import activate
from workers.analyses.quantify.base import render_base
from workers.analyses.quantify.files import quantify_files
from workers.analyses.quantify.moving import move
from workers.analyses.quantify.shortlist import shortlist
from workers.analyses.quantify.targets import select

__all__ = ["quantify_files", "run"]


def run(context: Job, stage: str, params: dict[str, Any]) -> ChunkResult:
    """Computes one chunk.

    Args:
        context: The job; its spec is a `QuantifySpec`.
        stage: One of this package's stages, or of `link`'s.
        params: The chunk's parameters, as `unitscope.jobs.planning` made them.

    Raises:
        UnitScopeError: A service refused or does not answer, or the units cannot be moved.
    """
    if stage in link.STAGES:
        return link.run(context, stage, params)
    spec = context.spec
    if not isinstance(spec, QuantifySpec):
        raise TypeError(f"the spec of {context.job_id} is a {type(spec).__name__}")
    if stage == "activate":
        return activate(context, spec, params)
    linked = Linked.of(context)
    if stage == "base":
        return render_base(context, spec, linked, params)
    if stage == "select":
        return select(context, spec, linked).to_chunk()
    if stage == "shortlist":
        return shortlist(context, spec, linked)
    return move(context, spec, linked, stage, params)
