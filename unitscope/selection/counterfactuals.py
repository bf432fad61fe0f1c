"""Pairs and rows of a `counterfactual` job: pure functions of its tables.

::

    saved = SavedResult("results")                        # what `unitscope download` wrote
    rows = saved.table("counterfactuals")
    print(summary(rows))                                  # reached 52 of 56; 4 unknown_class (...)
    nearest = choose_pairs(saved.table("pairs"), origin="bun", top=5)
    for row in choose_rows(rows, failed=True).to_pylist():
        print(why(row, known_in(rows)))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from unitscope.errors import InvalidArgumentError
from unitscope.names import did_you_mean

Sort = Literal["distance", "validity"]

REACHED, UNKNOWN, SAME = "reached", "unknown_class", "same_class"
WORDS = {
    REACHED: "reached",
    SAME: "the base image is read as the target already: origin and target are one class",
    "invalid_features": "the classifier's features of the base image are no usable numbers",
    "already_target": "the features are those of the target before anything is moved",
    "starts_as_target": "the picture that the search starts from is read as the target already",
    "unreachable": "no shift of the features makes the classifier's head say the target",
    "not_crossed": "the head says the target after the shift, but no rendered picture is read as it",
    "not_accepted": "too few pictures made for the origin are read as it, so there is none to start from",
}
"""Outcomes in plain words, but for names that the classifier does not know."""
METADATA = b"unitscope.counterfactual"
"""Where a table's schema says what the job worked with, as JSON."""
SHOWN_NAMES = 5
"""Unknown names that a summary lists."""


@dataclass(frozen=True)
class Known:
    """Names of classes, among which near ones to an unknown name are looked for."""

    classifier: tuple[str, ...]
    generator: tuple[str, ...]


NONE_KNOWN = Known((), ())


def choose_pairs(
    pairs: pa.Table, *, origin: str = "", target: str = "", sort: Sort = "distance", top: int | None = None
) -> pa.Table:
    """Rows of the table ``pairs``.

    Args:
        pairs: The table.
        origin: Only pairs with this origin; all where empty.
        target: Only pairs with this target; likewise.
        sort: ``distance``: the nearest first, pairs that were never reached last; ``validity``: those
            reached most often first, then by distance.
        top: Rows at most.

    Raises:
        InvalidArgumentError: No pair has the origin or target (reason UNKNOWN_CLASS); the sentence names
            near ones.
    """
    found = _filtered(pairs, origin, target)
    keys = {"distance": ("distance", "ascending"), "validity": ("validity", "descending")}
    order = [keys[sort], keys["distance"], ("origin", "ascending"), ("target", "ascending")]
    found = found.take(pc.sort_indices(found, sort_keys=order))
    return found if top is None else found.slice(0, top)


def choose_rows(
    counterfactuals: pa.Table,
    *,
    origin: str = "",
    target: str = "",
    failed: bool = False,
    sort: Sort = "distance",
    top: int | None = None,
) -> pa.Table:
    """Rows of the table ``counterfactuals``; arguments and errors are those of `choose_pairs`.

    Args:
        counterfactuals: The table.
        origin: Only rows of this origin.
        target: Only rows of this target.
        failed: Only rows without counterfactual, in the order of the table; those whose target is the origin,
            of which there are many where all targets are asked for, come last.
        sort: ``distance``: the shortest shift first; ``validity``: in the order of the table, those with a
            counterfactual first.
        top: Rows at most.
    """
    found = _filtered(counterfactuals, origin, target)
    if failed:
        found = found.filter(pc.not_equal(found.column("outcome"), REACHED))
        same = pc.cast(pc.equal(found.column("outcome"), SAME), pa.int8())
        found = found.take(pc.sort_indices(same))
    else:
        reached = pc.cast(pc.equal(found.column("outcome"), REACHED), pa.int8())
        key = pa.chunked_array([pa.nulls(found.num_rows, pa.float64())])
        if sort == "distance":
            key = found.column("l2")
        columns = pa.table({"reached": reached, "key": key})
        order = [("reached", "descending"), ("key", "ascending")]
        found = found.take(pc.sort_indices(columns, sort_keys=order))
    return found if top is None else found.slice(0, top)


def known_in(counterfactuals: pa.Table) -> Known:
    """Names of classes: as the table's metadata has them, else those that its rows show."""
    metadata = counterfactuals.schema.metadata or {}
    models = json.loads(metadata.get(METADATA, b"{}"))
    rows = counterfactuals.select(["origin", "target", "class", "seed", "outcome"]).to_pylist()
    # A row of an unknown target still has the origin that the classifier read.
    read = {row["origin"] for row in rows if not _origin_unknown(row)}
    read |= {row["target"] for row in rows if row["outcome"] != UNKNOWN}
    made = {row["class"] for row in rows}
    return Known(
        tuple(models.get("classes") or sorted(read - {None, ""})),
        tuple(models.get("origins") or sorted(made - {None, ""})),
    )


def why(row: Mapping[str, Any], known: Known = NONE_KNOWN) -> str:
    """How a row of ``counterfactuals`` ended, in plain words; of an unknown class with a near name."""
    outcome = str(row["outcome"])
    if outcome != UNKNOWN:
        return WORDS.get(outcome, outcome)
    model = "generator" if _origin_unknown(row) else "classifier"
    return f"{_unknown(row)!r} is no class of the {model}{_hint(row, known)}"


def summary(counterfactuals: pa.Table) -> str:
    """One line: how many rows of the table were reached, and of what kind the others are.

    Returns:
        E.g. ``reached 52 of 56; 4 unknown_class ('bum': did you mean 'bun'?)``.
    """
    outcomes = Counter(counterfactuals.column("outcome").to_pylist())
    words = [f"reached {outcomes.pop(REACHED, 0):,} of {counterfactuals.num_rows:,}"]
    for outcome, count in outcomes.most_common():
        more = _unknown_names(counterfactuals) if outcome == UNKNOWN else ""
        words.append(f"{count:,} {outcome}{more}")
    return "; ".join(words)


def _unknown_names(counterfactuals: pa.Table) -> str:
    rows = counterfactuals.filter(pc.equal(counterfactuals.column("outcome"), UNKNOWN))
    known = known_in(counterfactuals)
    names: dict[str, Mapping[str, Any]] = {}
    for row in rows.select(["origin", "target", "seed", "outcome"]).to_pylist():
        names.setdefault(_unknown(row), row)
    # Of those alone that are shown: near names take time to be found.
    shown = [f"{name!r}{_hint(row, known)}" for name, row in list(names.items())[:SHOWN_NAMES]]
    return f" ({', '.join(shown)}{', ...' if len(names) > SHOWN_NAMES else ''})"


def _origin_unknown(row: Mapping[str, Any]) -> bool:
    """Whether the row stands for an origin that the generator does not have: nothing was made for it."""
    return row["outcome"] == UNKNOWN and row["seed"] is None and row["origin"] is not None


def _unknown(row: Mapping[str, Any]) -> str:
    return str(row["origin"] if _origin_unknown(row) else row["target"])


def _hint(row: Mapping[str, Any], known: Known) -> str:
    hint = _near(_unknown(row), known.generator if _origin_unknown(row) else known.classifier)
    return f": {hint.rstrip()}" if hint else ""


@lru_cache(maxsize=1_024)
def _near(name: str, known: tuple[str, ...]) -> str:
    """`did_you_mean`, which takes tens of milliseconds among a thousand classes; many rows ask the same."""
    return did_you_mean(name, known)


def _filtered(table: pa.Table, origin: str, target: str) -> pa.Table:
    found = table
    for column, name in (("origin", origin), ("target", target)):
        if not name:
            continue
        there = sorted(set(table.column(column).to_pylist()) - {None})
        if name not in there:
            raise InvalidArgumentError(
                f"the job has no {column} {name!r}; {did_you_mean(name, there)}it has: "
                f"{', '.join(there[:30]) or 'none'}",
                reason="UNKNOWN_CLASS",
                field=column,
                name=name,
            )
        found = found.filter(pc.equal(found.column(column), name))
    return found
