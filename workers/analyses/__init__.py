"""Analyses: what a job of each kind computes, and what it hands out.

``run(context, stage, params) -> ChunkResult`` computes one chunk and writes nothing but what it has
the linker write; ``finalise(context) -> Iterator[OutputFile]`` makes tables, pictures and report of the
chunks. Both may run twice; equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from unitscope.errors import UnimplementedError
from unitscope.jobs.chunks import ChunkResult
from workers.analyses import counterfactual, link, publish, quantify, traverse
from workers.analyses.job import Job
from workers.outputs import OutputFile

__all__ = ["Analysis", "Job", "analysis_of"]


@dataclass(frozen=True)
class Analysis:
    """One kind.

    Attributes:
        run: Computes one chunk of a stage.
        finalise: Makes the artifacts of a job whose stages are all complete.
    """

    run: Callable[[Job, str, dict[str, Any]], ChunkResult]
    finalise: Callable[[Job], Iterator[OutputFile]]


_ANALYSES = {
    "link": Analysis(link.run, publish.link_files),
    "traverse": Analysis(traverse.run, publish.traverse_files),
    "quantify": Analysis(quantify.run, quantify.quantify_files),
    "counterfactual": Analysis(counterfactual.run, counterfactual.counterfactual_files),
}


def analysis_of(kind: str) -> Analysis:
    """The analysis of a kind.

    Raises:
        UnimplementedError: This worker knows no such kind (reason UNKNOWN_ANALYSIS_KIND).
    """
    if kind not in _ANALYSES:
        raise UnimplementedError(
            f"this worker knows no analysis {kind!r}, only {', '.join(_ANALYSES)}; it is older than the "
            "gateway: update it",
            reason="UNKNOWN_ANALYSIS_KIND",
        )
    return _ANALYSES[kind]
