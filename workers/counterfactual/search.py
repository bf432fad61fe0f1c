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
    ) -> Self:
        """Checks the rows; those that cannot be searched are over at once, the others go on.

        Args:
            models: Who is asked.
            method: Its name.
            features: (rows, units), read in the starting images.
            origins: (rows,) classes of the starting images.
            targets: (rows,) classes wanted.

        Raises:
            InvalidArgumentError: The arrays do not fit each other (reason BAD_SHAPE).
            UnitScopeError: What a service raised.
        """
        units = models.linker.weight.shape[1]
        shapes = (features.shape, origins.shape, targets.shape)
        if shapes != ((len(features), units), (len(features),), (len(features),)):
            raise InvalidArgumentError(
                f"features {shapes[0]}, origins {shapes[1]} and targets {shapes[2]} do not fit: they must be "
                f"(rows, {units}), (rows,) and (rows,)",
                reason="BAD_SHAPE",
                field="features",
            )
        count, nothing = len(features), Outcome.NOT_CROSSED
        search = cls(
            models, method, features.astype(np.float64), origins.astype(np.int64), targets.astype(np.int64)
        )
        search.rows = [
            Counterfactual(method, int(o), int(t), nothing, np.zeros(units))
            for o, t in zip(origins, targets, strict=True)
        ]
        search.calls, search.renders, search.steps = (np.zeros(count, np.int64) for _ in range(3))
        search.over, search.weight = np.zeros(count, np.bool_), np.zeros(count)
        search._sort_out()
        return search

    @property
    def running(self) -> Rows:
        """Indices of the rows that are not over."""
        return np.flatnonzero(~self.over)

    def _sort_out(self) -> None:
        """Ends rows whose features or classes make no search."""
        bad = ~np.isfinite(self.features).all(1)
        if self.models.nonnegative:
            bad |= (self.features < 0).any(1)
        self.end(np.flatnonzero(bad), Outcome.INVALID_FEATURES)
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

    def look(self, rows: Rows, features: Doubles) -> Look:
        """Renders and reads features (len(rows), ..., units), one call for all, and counts it.

        Returns:
            Images (len(rows), ..., height, width, 3) and logits (len(rows), ..., classes).
        """
        shape = features.shape[:-1]
        look = self.models.look(features.reshape(-1, features.shape[-1]))
        self.calls[rows] += 1
        self.renders[rows] += int(np.prod(shape[1:]))
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
        distances = self.models.linker.distances(allowed)
        for k, row in enumerate(rows):
            self.rows[row] = replace(
                self.rows[row],
                outcome=Outcome.REACHED,
                shift=allowed[k] - self.features[row],
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
        rows = [k for k, found in enumerate(self.rows) if found.reached]
        if not rows:
            return {}
        alphas = np.linspace(0, STRIP_END, frames)
        shifts = np.stack([self.rows[k].shift for k in rows])
        moved = self.features[rows][:, None] + alphas[:, None] * shifts[:, None]
        look = self.models.look(moved.reshape(-1, moved.shape[-1]))
        images = look.images.reshape(len(rows), frames, *look.images.shape[1:])
        logits = look.logits.reshape(len(rows), frames, -1)
        return {k: Strip(alphas, images[i], logits[i]) for i, k in enumerate(rows)}
