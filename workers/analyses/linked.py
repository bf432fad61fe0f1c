"""The linker that a job works with, whether it fitted the linker itself or names a published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from unitscope.errors import DataLossError
from unitscope.jobs import layout
from unitscope.jobs.specs import LinkSpec
from unitscope.models import ModelCard
from unitscope.models.linkers import find_linker
from unitscope.store import ObjectStore, get_verified
from workers.analyses.accept import Rule
from workers.analyses.job import Job

WEIGHTS = "model.safetensors"
PLAUSIBLE_QUANTILE = 0.99
"""A w is plausible where it is as near as this share of the generator's own."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """What an analysis needs of the numbers of a linker.

    Attributes:
        weight: (w_dim, units) the matrix A.
        mean: (units,) of the features in the fit.
        std: (units,) standard deviation of the features.
        levels: (levels,) ascending, 0 to 1.
        quantiles: (levels, units) of the features.
        distance_limit: What 99 % of the fit's own w are nearer than, per root dimension.
        latent_mean: (w_dim,) of the fit's w.
        whitener: (w_dim, w_dim): distances of w from the fit's are lengths of its products.
        neighbours: (samples, units) features of a uniform sample of the fit.
    """

    weight: Array
    mean: Array
    std: Array
    levels: Array
    quantiles: Array
    distance_limit: float
    latent_mean: Array
    whitener: Array
    neighbours: Array

    @classmethod
    def parse(cls, data: bytes) -> Solution:
        """Reads a solution as the linker service writes it.

        Raises:
            DataLossError: The bytes are none.
        """
        try:
            tensors = load(data)
            levels = tensors["quantile_levels"]
            distances = tensors["latent_distance_quantiles"] / np.sqrt(len(tensors["latent_mean"]))
            return cls(
                weight=tensors["weight"],
                mean=tensors["feature_mean"],
                std=tensors["feature_std"],
                levels=levels,
                quantiles=tensors["feature_quantiles"],
                distance_limit=float(np.interp(PLAUSIBLE_QUANTILE, levels, distances)),
                latent_mean=tensors["latent_mean"],
                whitener=tensors["latent_whitener"],
                neighbours=tensors["neighbour_features"],
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise DataLossError(
                f"the stored linker is incomplete ({error!r}); fit it again", reason="MALFORMED_SOLUTION"
            ) from error

    def quantile(self, level: float) -> Array:
        """That quantile (units,) of each unit; linear between the levels that are kept."""
        position = float(np.interp(level, self.levels, np.arange(len(self.levels))))
        below = int(position)
        above = min(below + 1, len(self.levels) - 1)
        part = position - below
        blend: Array = (1 - part) * self.quantiles[below] + part * self.quantiles[above]
        return blend

    def distances(self, latents: NDArray[np.floating]) -> Array:
        """Distances (...) of latents (..., w_dim) from the fit's own, per root dimension."""
        white = (latents - self.latent_mean) @ self.whitener.T
        lengths: Array = np.linalg.norm(white, axis=-1) / np.sqrt(len(self.latent_mean))
        return lengths

    @property
    def lengths(self) -> Array:
        """(units,) how far w moves when a unit moves by 1: the norms of the columns of A."""
        norms: Array = np.linalg.norm(self.weight, axis=0)
        return norms


@dataclass(frozen=True)
class Linked:
    """A linker with what it was made under.

    Attributes:
        card: Its card.
        solution: Its numbers.
        rule: Which images it was fitted to, with the seed of the fit.
    """

    card: ModelCard
    solution: Solution
    rule: Rule

    @classmethod
    def of(cls, context: Job) -> Linked:
        """The job's linker; its stage ``evaluate`` must be complete where the job fits it.

        Raises:
            NotFoundError: The linker is gone from the store.
            DataLossError: Its file is not the one that its card states.
        """
        card = linker_card(context)
        spec = LinkSpec.model_validate(card.training["spec"])
        return cls(card, _solution(context.store, card), rule_of(spec))


def nonnegative(context: Job, linked: Linked) -> bool:
    """Whether the features of the linker's layer are never below 0."""
    return context.card("classifier").layer(str(linked.card.architecture["layer"])).nonnegative


def link_spec(context: Job) -> LinkSpec | None:
    """The spec that the job fits a linker by; None where it names a published one."""
    if isinstance(context.spec, LinkSpec):
        return context.spec
    return context.spec.link


def linker_card(context: Job) -> ModelCard:
    """The card of the job's linker. Raises like `Linked.of`."""
    if link_spec(context) is None:
        return context.linker_card
    return find_linker(context.store, str(record(context, "evaluate")["digest"]))


def record(context: Job, stage: str) -> dict[str, Any]:
    """The record of a stage that has a single chunk."""
    _, result = next(iter(context.result(stage)))
    return dict(result.record)


def rule_of(spec: LinkSpec) -> Rule:
    """Which images a spec takes."""
    return Rule(spec.accept, spec.truncation, spec.attempts_per_sample, spec.seed)


_KEPT: dict[str, Solution] = {}
"""The last solution that this process read, by its digest: the chunks of a job all need the same."""


def _solution(store: ObjectStore, card: ModelCard) -> Solution:
    if card.digest not in _KEPT:
        data = get_verified(store, layout.linker_weights(card.digest), card.files[WEIGHTS].sha256)
        solution = Solution.parse(data)
        _KEPT.clear()
        _KEPT[card.digest] = solution
    return _KEPT[card.digest]
