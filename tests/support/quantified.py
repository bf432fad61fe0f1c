"""Small tables of a quantify job, whose numbers a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from unitscope.tables import EFFECTS, QUANTIFIED_STEPS, QUANTIFIED_UNITS, Column, to_parquet

PARTS = ("background", "hair", "glasses", "picture")
MEASURES = ("area", "luminance", "delta_e")
CLASSES = ("bun", "cap")
UNSIGNED = ("delta_e",)
COLUMNS = [
    *[(p, m) for p in PARTS for m in MEASURES if (p, m) != ("picture", "area")],
    *[("logit", name) for name in CLASSES],
]
STEPS_TABLE = QUANTIFIED_STEPS.extended(
    [Column(f"{p}.{m}", pa.float32(), "", "A measure.", nullable=True) for p in PARTS for m in MEASURES]
)

Cells = Mapping[tuple[str, str], float | dict[str, Any] | None]


def effects(units: Mapping[int, Cells], screened: Sequence[int] = (), groups: Sequence[str] = ()) -> pa.Table:
    """Effects by unit and (part, measure).

    A number is the standardised effect (the effect is a tenth of it, q is 0.001); None is too small; a
    mapping sets columns. What is not given is 0 with q 0.9.
    """
    rows = [
        _row(
            unit,
            column,
            cells.get(column, {"standardised": 0.0, "q": 0.9, "p": 0.4}),
            unit in screened,
            groups,
        )
        for unit, cells in units.items()
        for column in COLUMNS
    ]
    for unit in units:
        for logits in (False, True):
            own = [r for r in rows if r["unit"] == unit and (r["part"] == "logit") == logits]
            total = sum(abs(r["standardised"] or 0.0) for r in own)
            for row in own:
                row.setdefault("selectivity", abs(row["standardised"] or 0.0) / total if total else 0.0)
    return EFFECTS.build({c.name: [row[c.name] for row in rows] for c in EFFECTS.columns})


def _row(
    unit: int, column: tuple[str, str], cell: Any, screened: bool, groups: Sequence[str]
) -> dict[str, Any]:
    part, measure = column
    row: dict[str, Any] = {
        "unit": unit,
        "group": groups[-1 - unit] if unit < 0 else None,
        "part": part,
        "measure": measure,
        "stage": "screen" if screened else "confirm",
        "seeds": 8 if screened else 32,
        "status": "measured",
        "standard_error": 0.01,
        "same_sign": 1.0,
        "p": 1e-4,
        "q": 1e-3,
    }
    if cell is None:
        none = ("effect", "standard_error", "lower", "upper", "standardised", "same_sign", "p", "q")
        return row | dict.fromkeys(none) | {"status": "too_small", "selectivity": 0.0}
    if isinstance(cell, dict):
        row |= cell
    else:
        row["standardised"] = float(cell)
    if screened:
        row |= {"p": None, "q": None}
    if measure in UNSIGNED:
        row |= {"p": None, "q": None, "status": "unsigned"}
    row.setdefault("effect", row["standardised"] / 10)
    return {"lower": row["effect"] - 0.02, "upper": row["effect"] + 0.02} | row


def units(numbers: Sequence[int], groups: Sequence[str] = (), **columns: Mapping[int, Any]) -> pa.Table:
    """Units that are trusted and confirmed unless a column says otherwise for one."""
    defaults: dict[str, Any] = dict.fromkeys((c.name for c in QUANTIFIED_UNITS.columns), 0)
    defaults |= {
        "layer": "penultimate",
        "stage": "confirm",
        "part": "glasses",
        "aspect": "form",
        "measure": "area",
    }
    defaults |= {"part_share": 0.7, "named": True, "strongest_class": "bun", "strongest_change": 1.25}
    defaults |= {"trust": 0.8, "trusted": True, "seeds": 32, "cluster": None, "low": 0.0, "high": 4.0}
    values = {
        name: [columns.get(name, {}).get(n, default) for n in numbers] for name, default in defaults.items()
    }
    values["unit"] = list(numbers)
    values["group"] = [groups[-1 - n] if n < 0 else None for n in numbers]
    return QUANTIFIED_UNITS.build(values)


def steps(numbers: Sequence[int], seeds: int = 3, count: int = 3, stage: str = "confirm") -> pa.Table:
    """Steps in which glasses grow with the unit's number, twice as much for the class cap.

    In base image k the way is longer by k thousandths; in screening it is ten times as long.
    """
    rows = []
    for unit in numbers:
        for name in CLASSES:
            for seed in range(seeds):
                for step in range(count):
                    factor = 2.0 if name == "cap" else 1.0
                    measured = {f"{p}.{m}": 0.5 for p in PARTS for m in MEASURES}
                    way = (factor * 0.01 * unit + 0.001 * seed) * (1 if stage == "confirm" else 10)
                    measured["glasses.area"] = 0.01 + way * step
                    row: dict[str, Any] = dict.fromkeys((c.name for c in STEPS_TABLE.columns), 0)
                    row |= {"unit": unit, "group": None, "stage": stage, "class": name, "seed": seed}
                    row |= {"step": step, "commanded": 2.0 * step, "predicted": name, "logits": [1.0, 2.0]}
                    rows.append(row | measured | {"image_shard": None, "image_name": None})
    return STEPS_TABLE.build({c.name: [row[c.name] for row in rows] for c in STEPS_TABLE.columns})


def save(folder: Path, tables: Mapping[str, pa.Table], shards: Sequence[pa.Table] = ()) -> Path:
    """Writes tables and shards of steps as `unitscope download` would; the folder."""
    for name, data in files(tables, shards).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def files(tables: Mapping[str, pa.Table], shards: Sequence[pa.Table] = ()) -> dict[str, bytes]:
    """Artifacts by name."""
    found = {f"tables/{name}.parquet": to_parquet(table) for name, table in tables.items()}
    return found | {f"tables/steps/{n:05d}.parquet": to_parquet(t) for n, t in enumerate(shards)}
