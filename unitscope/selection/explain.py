"""A selection in words: how many units, which rule took the others, and what would bring them back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Funnel:
    """How many units were left after each rule.

    Attributes:
        moved: Units that the job moved.
        left: (rule, units left after it), in the order in which the rules were applied; the first is
            ``measured``.
        lifted: By rule, how many more units there would be without it, all others as they are.
        what: What was asked for, in words.
        q: The bound on q.
        best: The smallest q before that bound was applied; infinite where there was none.
        increase: The direction that was asked for.
    """

    moved: int
    left: tuple[tuple[str, int], ...]
    lifted: Mapping[str, int]
    what: str
    q: float
    best: float
    increase: bool | None


def explanation(funnel: Funnel, top: int) -> str:
    """One or two sentences."""
    return _found(funnel, top) if funnel.left[-1][1] else _nothing(funnel)


def _found(funnel: Funnel, top: int) -> str:
    count = funnel.left[-1][1]
    shown = f"the best {top} are shown, --top shows more" if count > top else "all are shown"
    verb = {None: "change", True: "increase", False: "decrease"}[funnel.increase] + "s" * (count == 1)
    words = [f"{count} of {_units(funnel.moved)} {verb} {funnel.what}; {shown}."]
    more = funnel.lifted
    if more["trusted"]:
        words.append(f"Not trusted: {_units(more['trusted'])} more, which --all shows.")
    if more["confirmed"]:
        words.append(f"Only screened: {_units(more['confirmed'])} more, which --screened shows.")
    return " ".join(words)


def _nothing(funnel: Funnel) -> str:
    before = funnel.moved
    for rule, count in funnel.left:
        if count == 0:
            return f"No unit was selected. {_reason(rule, before, funnel)}"
        before = count
    raise ValueError("a selection with units has no reason for having none")


def _reason(rule: str, before: int, funnel: Funnel) -> str:
    """Why the rule left none of the units that came to it."""
    what = funnel.what
    if rule == "measured":
        if not before:
            return "The job moved no unit."
        return (
            f"In none of {_units(before)} could {what} be measured: the part is too small, or missing, in "
            "too many images; more seeds or other classes may show it."
        )
    if rule == "confirmed":
        return (
            f"Of {_units(before)} in which {what} was measured, screening kept none for the second pass; "
            "--screened shows what screening saw, a larger 'shortlist' confirms more."
        )
    if rule == "direction":
        asked, other = ("increases", "decrease") if funnel.increase else ("decreases", "increase")
        return f"None of {_units(before)} {asked} {what}; leave the direction away, or ask for --{other}."
    if rule == "significant":
        best = f"the smallest q is {funnel.best:.2g}" if math.isfinite(funnel.best) else "none has a q"
        widen = min(1.0, funnel.best * 1.1) if math.isfinite(funnel.best) else 1.0
        return (
            f"None of {_units(before)} changes {what} with q below {funnel.q:g}: {best}; --q {widen:.2g} "
            "shows the nearest, more seeds may make them certain."
        )
    if rule == "logit":
        return f"Of {_units(before)} that change the part or measure, none changes the logit too."
    return (
        f"Of {_units(before)} that would fit, none is trusted: re-encoded, the unit did not move as "
        "commanded, or the pictures left what the generator knows; --all shows them."
    )


def _units(count: int) -> str:
    return f"{count:,} unit" if count == 1 else f"{count:,} units"
