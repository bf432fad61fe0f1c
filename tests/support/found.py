"""Small tables of a counterfactual job, whose rows a test says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from unitscope.tables import COUNTERFACTUALS, PAIRS

CLASSES = ("bald", "bun", "cap", "hat")


def rows(*given: Mapping[str, Any], metadata: bool = True) -> pa.Table:
    """The table ``counterfactuals``; a row is reached with a distance of 2 unless it says otherwise."""
    table = COUNTERFACTUALS.build(_columns([_row(row) for row in given], COUNTERFACTUALS))
    if not metadata:
        return table
    body = json.dumps({"classes": CLASSES, "origins": CLASSES})
    return table.replace_schema_metadata({**table.schema.metadata, "unitscope.counterfactual": body})


def pairs(*given: Mapping[str, Any]) -> pa.Table:
    """The table ``pairs``; a pair is reached in all of 8 images at a distance of 2 unless it says otherwise."""
    return PAIRS.build(_columns([_pair(row) for row in given], PAIRS))


def failure(outcome: str, **more: Any) -> dict[str, Any]:
    """A row without counterfactual."""
    return {"outcome": outcome, "l2": None, "part": None, "measure": None, **more}


def unknown_origin(name: str, target: str = "hat") -> dict[str, Any]:
    """A row of a class that the generator does not have."""
    return failure("unknown_class", origin=name, target=target, seed=None, **{"class": None})


def _row(given: Mapping[str, Any]) -> dict[str, Any]:
    own = {"image": None, "class": given.get("origin", "bun"), "seed": 0, "origin": "bun", "target": "hat"}
    moved = {"outcome": "reached", "l2": 2.0, "units_for_90": 3, "part": "hat", "measure": "area"}
    row = own | moved | {"units": [4, 2], "shifts": [1.5, -0.5], "generator_calls": 9} | dict(given)
    reached = row["outcome"] == "reached"
    chances = {"target_before": 0.125, "target_after": 0.5, "plausible": True} if reached else {}
    units: dict[str, Any] = (
        {} if reached else {"units": [], "shifts": [], "units_for_90": None, "generator_calls": 0}
    )
    return (
        {"valid": reached, "refined": False, "steps": 0, "renders": 0, "method": "path"}
        | row
        | units
        | chances
    )


def _pair(given: Mapping[str, Any]) -> dict[str, Any]:
    own = {"origin": "bun", "target": "hat", "method": "path", "images": 8, "reached": 8, "distance": 2.0}
    row: dict[str, Any] = own | dict(given)
    row["validity"] = row["reached"] / row["images"]
    if row["distance"] is not None:
        row |= {"distance_lower": row["distance"] - 0.5, "distance_upper": row["distance"] + 0.5}
        row |= {"part": "hat", "measure": "area", "part_share": 0.75, "units_for_90": 3.0}
        row |= {"plausible": 0.875, "generator_calls": 1234.0}
    return row


def _columns(given: Sequence[Mapping[str, Any]], table: Any) -> dict[str, list[Any]]:
    return {column.name: [row.get(column.name) for row in given] for column in table.columns}
