"""The state of a search over many rows at once, and the rows that need no search."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError
from workers.counterfactual.models import Doubles, Look, Models, Rows
from workers.counterfactual.result import Carrier, Counterfactual, Outcome, Strip, carriers

STRIP_END = 1.5
"""Where strips end; 1 is the counterfactual."""


@dataclass
class Search:
    """Rows that are searched side by side; every array has one entry a row.

    Attributes:
        models: Who is asked.
        method: ``descent`` or ``path``.
        features: (rows, units) at the start.
        residuals: (rows, w_dim) by which the latents that rows start from differ from the linker's,
            ``w0 - (A r + b)``; zeros where they start from the linker's.
        origins: (rows,).
        targets: (rows,).
        rows: What is known of each row; a row whose outcome is set is over.
        calls: (rows,) of the generator.
        renders: (rows,) images.
        steps: (rows,) in features.
        weight: (rows,) of plausibility in what is minimised, set by ``path``.
        over: (rows,) whether the search of a row is at its end.
        classes: How many the classifier has; 0 where no row was fit to be asked about.
    """

    models: Models
    method: str
    features: Doubles
    residuals: Doubles
    origins: Rows
    targets: Rows
    rows: list[Counterfactual] = field(default_factory=list)
    calls: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    renders: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    steps: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    weight: Doubles = field(default_factory=lambda: np.zeros(0))
    over: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    classes: int = 0

    @classmethod
    def begin(
        cls,
        models: Models,
        method: str,
        features: NDArray[np.floating],
        origins: NDArray[np.integer],
        targets: NDArray[np.integer],
        latents: NDArray[np.floating] | None = None,
    ) -> Self:
        """Checks the rows; those that cannot be searched are over at once, the others go on.

        Args:
            models: Who is asked.
            method: Its name.
            features: (rows, units), read in the starting images.
            origins: (rows,) classes of the starting images.
            targets: (rows,) classes wanted.
            latents: (rows, w_dim) of the starting images, which rows start from; None for the linker's.

        Raises:
            InvalidArgumentError: The arrays do not fit each other (reason BAD_SHAPE).
            UnitScopeError: What a service raised.
        """
        w_dim, units = models.linker.weight.shape
        shapes = (features.shape, origins.shape, targets.shape)
        if shapes != ((len(features), units), (len(features),), (len(features),)):
            raise InvalidArgumentError(
                f"features {shapes[0]}, origins {shapes[1]} and targets {shapes[2]} do not fit: they must be "
                f"(rows, {units}), (rows,) and (rows,)",
                reason="BAD_SHAPE",
                field="features",
            )
        if latents is not None and latents.shape != (len(features), w_dim):
            raise InvalidArgumentError(
                f"latents {latents.shape} do not fit: they must be ({len(features)}, {w_dim})",
                reason="BAD_SHAPE",
                field="latents",
            )
        count, nothing = len(features), Outcome.NOT_CROSSED
        search = cls(
            models,
            method,
            features.astype(np.float64),
            np.zeros((count, w_dim)),
            origins.astype(np.int64),
            targets.astype(np.int64),
        )
        search.rows = [
            Counterfactual(method, int(o), int(t), nothing, np.zeros(units))
            for o, t in zip(origins, targets, strict=True)
        ]
        search.calls, search.renders, search.steps = (np.zeros(count, np.int64) for _ in range(3))
        search.over, search.weight = np.zeros(count, np.bool_), np.zeros(count)
        search._place(latents)
        search._sort_out()
        return search

    @property
    def running(self) -> Rows:
        """Indices of the rows that are not over."""
        return np.flatnonzero(~self.over)

    def _place(self, latents: NDArray[np.floating] | None) -> None:
        """Says where rows start, and ends those that have no place there."""
        bad = ~np.isfinite(self.features).all(1)
        if self.models.nonnegative:
            bad |= (self.features < 0).any(1)
        if latents is not None:
            bad |= ~np.isfinite(latents).all(1)
        self.end(np.flatnonzero(bad), Outcome.INVALID_FEATURES)
        rows = self.running
        if latents is not None:
            own = latents[rows].astype(np.float64)
            self.residuals[rows] = own - self.models.linker.latents(self.features[rows])
        starts = self.latents(rows, self.features[rows])
        distances = self.models.linker.unlikeliness(starts)
        for k, row in enumerate(rows):
            self.rows[row] = replace(
                self.rows[row],
                start_latent=starts[k].astype(np.float32),
                start_plausibility=float(distances[k]),
            )

    def _sort_out(self) -> None:
        """Ends rows whose classes make no search."""
        same = self.running[self.origins[self.running] == self.targets[self.running]]
        self.end(same, Outcome.SAME_CLASS)
        rows = self.running
        if not len(rows):
            return
        logits = self.models.head(self.features[rows])
        self.classes = logits.shape[1]
        named = np.stack([self.origins[rows], self.targets[rows]])
        unknown = ((named < 0) | (named >= logits.shape[1])).any(0)
        self.end(rows[unknown], Outcome.UNKNOWN_CLASS)
        already = ~unknown & (logits.argmax(1) == self.targets[rows])
        self.end(rows[already], Outcome.ALREADY_TARGET)

    def end(self, rows: Rows, outcome: Outcome) -> None:
        """Ends rows without a counterfactual."""
        for row in rows:
            self.rows[row] = replace(self.rows[row], outcome=outcome)
        self.over[rows] = True

    def latents(self, rows: Rows, features: Doubles) -> Doubles:
        """Where features (len(rows), units) of rows lie: (len(rows), w_dim)."""
        return self.models.linker.latents(features, self.residuals[rows])

    def look(self, rows: Rows, features: Doubles) -> Look:
        """Renders and reads features (len(rows), ..., units), one call for all, and counts it.

        Returns:
            Images (len(rows), ..., height, width, 3) and logits (len(rows), ..., classes).
        """
        self.calls[rows] += 1
        self.renders[rows] += int(np.prod(features.shape[1:-1]))
        return self._look(rows, features)

    def _look(self, rows: Rows, features: Doubles) -> Look:
        """`look` without counting."""
        shape = features.shape[:-1]
        residuals = np.repeat(self.residuals[rows], int(np.prod(shape[1:])), axis=0)
        look = self.models.look(features.reshape(-1, features.shape[-1]), residuals)
        images = look.images.reshape(*shape, *look.images.shape[1:])
        return Look(images, look.logits.reshape(*shape, -1))

    def started(self, rows: Rows, look: Look) -> None:
        """Keeps what rows look like without any shift, and ends those that look like the target."""
        for k, row in enumerate(rows):
            self.rows[row] = replace(self.rows[row], start_image=look.images[k], start_logits=look.logits[k])
        self.end(rows[look.logits.argmax(1) == self.targets[rows]], Outcome.STARTS_AS_TARGET)

    def reach(self, rows: Rows, shifted: Doubles, look: Look) -> None:
        """Keeps counterfactuals, of which later ones replace earlier ones.

        Args:
            rows: Those that were reached.
            shifted: (len(rows), units) features of the counterfactuals.
            look: What these look like.
        """
        allowed = self.models.allowed(shifted)
        latents = self.latents(rows, allowed)
        distances = self.models.linker.unlikeliness(latents)
        for k, row in enumerate(rows):
            self.rows[row] = replace(
                self.rows[row],
                outcome=Outcome.REACHED,
                shift=allowed[k] - self.features[row],
                latent=latents[k].astype(np.float32),
                plausibility=float(distances[k]),
                image=look.images[k],
                logits=look.logits[k],
            )
        self.over[rows] = True

    def results(self, std: NDArray[np.floating], top: int, frames: int) -> list[Counterfactual]:
        """All rows in their order, with their counts, carriers and strips.

        Args:
            std: (units,) standard deviation of each unit.
            top: How many carriers.
            frames: Pictures of each strip; 0 for none.
        """
        strips = self._strips(frames) if frames else {}
        return [
            replace(
                found,
                steps=int(self.steps[k]),
                generator_calls=int(self.calls[k]),
                renders=int(self.renders[k]),
                carriers=self._carriers(found, std, top),
                strip=strips.get(k),
            )
            for k, found in enumerate(self.rows)
        ]

    @staticmethod
    def _carriers(found: Counterfactual, std: NDArray[np.floating], top: int) -> tuple[Carrier, ...]:
        return carriers(found.shift, std, top) if found.reached else ()

    def _strips(self, frames: int) -> dict[int, Strip]:
        """Strips of all counterfactuals, rendered in one call: from the start to half as far again."""
        rows = np.array([k for k, found in enumerate(self.rows) if found.reached], np.int64)
        if not len(rows):
            return {}
        alphas = np.linspace(0, STRIP_END, frames)
        shifts = np.stack([self.rows[k].shift for k in rows])
        moved = self.features[rows][:, None] + alphas[:, None] * shifts[:, None]
        look = self._look(rows, moved)
        return {int(k): Strip(alphas, look.images[i], look.logits[i]) for i, k in enumerate(rows)}
