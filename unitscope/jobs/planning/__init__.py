"""From a spec to a plan: which stages, cut into which chunks.

The gateway plans to validate and to state the cost, the worker to carry out; both call `make`, so
that what was validated is what runs.
"""

from __future__ import annotations

from unitscope.jobs.plan import Cost, Plan, make_plan
from unitscope.jobs.planning.counterfactual import counterfactual_plan, stored_bytes
from unitscope.jobs.planning.linked import HELDOUT_METHODS, LinkerLookup, class_indices, link_stages
from unitscope.jobs.planning.units import quantify_plan, traverse_plan
from unitscope.jobs.specs import AnySpec, CounterfactualSpec, LinkSpec, QuantifySpec
from unitscope.models import Registry

__all__ = ["HELDOUT_METHODS", "LinkerLookup", "class_indices", "cost", "make"]


def make(spec: AnySpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """The plan of a spec.

    Raises:
        InvalidArgumentError: A class, layer or unit does not exist, or the job is too large.
        NotFoundError: A model or linker does not exist.
        FailedPreconditionError: A pinned digest is another.
    """
    if isinstance(spec, LinkSpec):
        models, stages = link_stages(spec, registry)
        return make_plan(spec, models, stages)
    if isinstance(spec, QuantifySpec):
        return quantify_plan(spec, registry, linker)
    if isinstance(spec, CounterfactualSpec):
        return counterfactual_plan(spec, registry, linker)
    return traverse_plan(spec, registry, linker)


def cost(plan: Plan, registry: Registry) -> Cost:
    """What the plan will take: renders, and bytes kept, estimated from rows and images.

    Raises:
        UnitScopeError: A model of the plan is gone, or has been replaced.
    """
    pairs = sum(stage.renders for stage in plan.stages if stage.name in ("sample", "heldout"))
    frames = sum(s.renders for s in plan.stages if s.name in ("traverse", "screen", "confirm"))
    keeps = {"all": 1.0, "sample": 0.5, "none": 0.0}.get(plan.spec.get("keep", "none"), 0.0)
    stored = pairs * 4_096 + frames * (3_000 + keeps * 13_000)
    if plan.kind == "counterfactual":
        stored += stored_bytes(plan, registry)
    return Cost(
        renders=sum(stage.renders for stage in plan.stages),
        stored_bytes=int(stored),
        chunks=sum(len(stage.chunks) for stage in plan.stages),
    )
