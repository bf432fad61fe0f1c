"""Where the *image* crosses the boundary, on the ray from the start through the boundary of the head.

Linker and generator blunt a shift of the features, so that the image usually crosses later than the head.
Each call renders a few images of every row that still runs: first the start, and once and twice the head's
shift; then, of rows not yet seen beyond the boundary, some further out; of the others some inside the
interval that the crossing lies in, which so becomes a sixth of itself where bisection would halve it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.counterfactual.models import Doubles, Floats, Images, Look, Rows
from workers.counterfactual.result import Outcome
from workers.counterfactual.search import Search


@dataclass(frozen=True)
class CrossingSettings:
    """Limits of the search on images.

    Attributes:
        furthest: The largest multiple of the head's shift that is tried, at least 1.
        points: Images of each row in a call; 1 is bisection, with fewer images and more calls.
        rounds: How often the interval is divided: by default to 1/36, as five bisections would.
    """

    furthest: float = 8.0
    points: int = 5
    rounds: int = 2


def cross(
    search: Search, rows: Rows, shifts: Doubles, settings: CrossingSettings, again: bool = False
) -> None:
    """Finds the crossing of rows, and keeps the image that is just beyond it.

    Args:
        search: Takes the results: reached, ``starts_as_target`` or ``not_crossed``.
        rows: Which rows.
        shifts: (len(rows), units) to the boundary of the head.
        settings: Limits.
        again: Whether the starts were looked at before.

    Raises:
        UnitScopeError: What a service raised.
    """
    starts = search.features[rows][:, None]
    alphas = np.unique(np.minimum([0.0, 1.0, 2.0], settings.furthest))[1 if again else 0 :]
    look = search.look(rows, starts + alphas[:, None] * shifts[:, None])
    if not again:
        search.started(rows, Look(look.images[:, 0], look.logits[:, 0]))
        alphas, look = alphas[1:], Look(look.images[:, 1:], look.logits[:, 1:])
    state = _State(search.targets[rows], settings)
    state.judge(np.tile(alphas, (len(rows), 1)), look)
    state.running = state.running[~search.over[rows[state.running]]]
    while len(state.running):
        tried = state.next()
        at = state.running
        look = search.look(rows[at], starts[at] + tried[:, :, None] * shifts[at][:, None])
        state.judge(tried, look)
    found = np.flatnonzero(np.isfinite(state.high) & ~search.over[rows])
    if len(found):
        kept = [state.beyond[int(k)] for k in found]
        beyond = Look(np.stack([image for image, _ in kept]), np.stack([logits for _, logits in kept]))
        search.reach(rows[found], starts[found, 0] + state.high[found, None] * shifts[found], beyond)
    search.end(rows[~search.over[rows]], Outcome.NOT_CROSSED)


class _State:
    """Intervals of alpha: `low` is not read as the target, `high` is."""

    def __init__(self, targets: Rows, settings: CrossingSettings) -> None:
        """All rows run."""
        self.targets = targets
        self.settings = settings
        self.running = np.arange(len(targets))
        self.low = np.zeros(len(targets))
        self.high = np.full(len(targets), np.inf)
        self.rounds = np.zeros(len(targets), np.int64)
        self.beyond: dict[int, tuple[Images, Floats]] = {}

    def judge(self, alphas: Doubles, look: Look) -> None:
        """Takes what the running rows look like at alphas (running, points), which rise; ends some."""
        there = look.logits.argmax(2) == self.targets[self.running, None]
        for i, row in enumerate(self.running.tolist()):
            self.rounds[row] += bool(np.isfinite(self.high[row]))
            first = int(there[i].argmax()) if there[i].any() else alphas.shape[1]
            if first > 0:
                self.low[row] = alphas[i, first - 1]
            if first < alphas.shape[1]:
                self.high[row] = alphas[i, first]
                self.beyond[row] = look.images[i, first], look.logits[i, first]
        bracketed = np.isfinite(self.high[self.running])
        done = np.where(
            bracketed,
            self.rounds[self.running] >= self.settings.rounds,
            self.low[self.running] >= self.settings.furthest,
        )
        self.running = self.running[~done]

    def next(self) -> Doubles:
        """Alphas (running, points) to look at next."""
        points = self.settings.points
        low, high = self.low[self.running], self.high[self.running]
        inside = (
            low[:, None]
            + np.arange(1, points + 1)
            / (points + 1)
            * (np.where(np.isfinite(high), high, low) - low)[:, None]
        )
        outside = np.geomspace(low + (low == 0), np.full(len(low), self.settings.furthest), points + 1)
        alphas: Doubles = np.where(np.isfinite(high)[:, None], inside, outside[1:].T)
        return alphas
