"""Judging a solution on stored held-out chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.linker.evaluation import ALL, Evaluation, HeldOut, Prediction, Row, Settings, evaluate
from services.linker.solution import METHODS, Solution
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.jobs.chunks import ChunkResult

MAX_DRAWS = 200_000_000
"""Pairs times resamples; 1,000 resamples of 200,000 pairs."""

NEEDED = ("features", "latents", "classes")


def judge(solution: Solution, chunks: Iterable[ChunkResult], resamples: int, seed: int) -> Evaluation:
    """Evaluates the linker beside its baselines.

    Args:
        solution: What was fitted.
        chunks: Held-out pairs with tensors ``features``, ``latents``, ``classes`` and, where pictures
            were rendered and read again, ``predicted``, ``predicted_<method>`` and ``reencoded``.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        FailedPreconditionError: There are no held-out pairs, or a chunk lacks a tensor.
        InvalidArgumentError: The bootstrap would take too long (BOOTSTRAP_TOO_LARGE).
    """
    tensors = _joined([chunk.tensors for chunk in chunks])
    classes = tensors["classes"]
    if len(classes) * resamples > MAX_DRAWS:
        raise InvalidArgumentError(
            f"{resamples} resamples of {len(classes)} pairs are {len(classes) * resamples:,} draws; at most "
            f"{MAX_DRAWS:,} are possible: ask for fewer resamples",
            reason="BOOTSTRAP_TOO_LARGE",
            field="resamples",
        )
    predictions = {
        method: Prediction(
            solution.apply(tensors["features"], method, classes),
            tensors.get("reencoded") if method == "linker" else None,
            tensors.get(f"predicted_{method}"),
        )
        for method in METHODS
    }
    held_out = HeldOut(tensors["features"], tensors["latents"], classes, tensors.get("predicted"))
    settings = Settings(resamples=resamples, seed=seed)
    return evaluate(held_out, predictions, solution.class_means, settings=settings)


def scope_of(row: Row) -> str:
    """``overall``, or the index of a class."""
    return "overall" if row.scope == ALL else row.scope.removeprefix("class:")


def method_of(row: Row) -> str:
    """The method, or ``<method> - <other>`` for a paired difference."""
    return f"{row.method} - {row.against}" if row.against else row.method


def _joined(chunks: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    if not chunks:
        raise FailedPreconditionError(
            "there are no held-out pairs to judge by; name at least one chunk",
            reason="NO_HELD_OUT_PAIRS",
            field="chunks",
        )
    for name in NEEDED:
        if any(name not in chunk for chunk in chunks):
            raise FailedPreconditionError(
                f"a chunk of held-out pairs has no tensor {name!r}; it needs {', '.join(NEEDED)}",
                reason="NOT_HELD_OUT_PAIRS",
                field="chunks",
            )
    names = set.intersection(*(set(chunk) for chunk in chunks))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in names}
