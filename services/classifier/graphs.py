"""Graphs of tensors: which tensors everything passes on its way to the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Edges = Sequence[tuple[Sequence[str], Sequence[str]]]
"""Steps in the order in which they run: what each gives, and what it reads."""


def bottlenecks(edges: Edges, source: str, target: str) -> list[str]:
    """The tensors that every path from `source` to `target` passes, in their order.

    The logits depend on the images through each of them alone, so that they can be evaluated from it. These
    are the dominators of the target (of a graph without cycles: the common ancestors of what a step reads).

    Args:
        edges: The steps; what they read that does not depend on the source is ignored.
        source: The images.
        target: The logits.

    Returns:
        Names, the first after the source, the last before the target; empty where the target does not
        depend on the source.
    """
    above: dict[str, str] = {source: source}
    depth = {source: 0}
    for outputs, inputs in edges:
        reads = [name for name in inputs if name in above]
        if not reads:
            continue
        common = reads[0]
        for name in reads[1:]:
            common = _meeting(common, name, above, depth)
        for name in outputs:
            above[name], depth[name] = common, depth[common] + 1
    found: list[str] = []
    name = above.get(target, source)
    while name != source:
        found.append(name)
        name = above[name]
    return found[::-1]


def _meeting(one: str, other: str, above: Mapping[str, str], depth: Mapping[str, int]) -> str:
    """The nearest common ancestor."""
    while one != other:
        if depth[one] >= depth[other]:
            one = above[one]
        else:
            other = above[other]
    return one


def needed(edges: Edges, start: str, target: str) -> list[int]:
    """The steps that lead from `start` to `target`, by index, in the order in which they run."""
    wanted, steps = {target}, []
    for index in range(len(edges) - 1, -1, -1):
        outputs, inputs = edges[index]
        if start in outputs or not wanted & set(outputs):
            continue
        steps.append(index)
        wanted.update(inputs)
    return steps[::-1]
