"""``counterfactual``: what would have to change for the classifier to say something else.

Stages: those of ``link`` where the job fits its linker, then

==========  ========================================================================================
``base``    the images that searches start from: generated and accepted, or the user's own, inverted
``search``  a counterfactual of every base image for every target, with its film strip and its parts
``mean``    mean shifts of pairs of classes, and how many images they take to the target
==========  ========================================================================================

A row that cannot have a counterfactual is a row that says so: target and origin may be one class, a name
unknown, the target out of reach. The searches themselves are `workers.counterfactual`.

Source: "Linking in Style" (arXiv 2409.16865), counterfactuals. The search ``path``, the statistics over
images and pairs, and the inversion of one's own images are ours.
"""

from __future__ import annotations

from typing import Any

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses import link
from workers.analyses.counterfactual.base import render_base
from workers.analyses.counterfactual.files import counterfactual_files
from workers.analyses.counterfactual.mean import mean_shifts
from workers.analyses.counterfactual.search import search
from workers.analyses.job import Job
from workers.analyses.linked import Linked

__all__ = ["counterfactual_files", "run"]


def run(context: Job, stage: str, params: dict[str, Any]) -> ChunkResult:
    """Computes one chunk.

    Args:
        context: The job; its spec is a `CounterfactualSpec`.
        stage: One of this package's stages, or of `link`'s.
        params: The chunk's parameters, as `unitscope.jobs.planning` made them.

    Raises:
        UnitScopeError: A service refused or does not answer, or the user's images are not there.
    """
    if stage in link.STAGES:
        return link.run(context, stage, params)
    spec = context.spec
    if not isinstance(spec, CounterfactualSpec):
        raise TypeError(f"the spec of {context.job_id} is a {type(spec).__name__}")
    linked = Linked.of(context)
    if stage == "base":
        return render_base(context, spec, linked, params)
    if stage == "search":
        return search(context, spec, linked, params)
    return mean_shifts(context, spec, linked, params)
