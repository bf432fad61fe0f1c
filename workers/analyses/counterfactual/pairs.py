"""The tables `pairs` and `carriers`: what all images of two classes say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.tables import CARRIERS, PAIRS, Table
from workers.analyses.counterfactual.changes import Changes
from workers.analyses.counterfactual.gather import Array, Integers, Pair, Rows, searches
from workers.analyses.counterfactual.rows import names_of
from workers.analyses.job import Job
from workers.statistics import interval, wilson

Key = tuple[int, int]


@dataclass(frozen=True)
class Mean:
    """What the stage ``mean`` says of one pair.

    Attributes:
        length: Of the mean shift.
        alike: Mean cosine of each shift with the mean of the others.
        images: To which mean shifts were applied.
        flips: Images that it took to the target, by how many times over it was applied.
    """

    length: float
    alike: float
    images: int
    flips: Mapping[float, int]


@dataclass(frozen=True, eq=False)
class Carriers:
    """Units that carry counterfactuals of one pair, the most frequent first, (units,) each.

    Attributes:
        units: int64.
        counts: int64, counterfactuals that have the unit among their carriers.
        shift: Mean move over all counterfactuals of the pair.
        deviations: That over the unit's standard deviation.
    """

    units: Integers
    counts: Integers
    shift: Array
    deviations: Array


def means_of(context: Job) -> dict[Key, Mean]:
    """Mean shifts by origin and target, of pairs that have one."""
    found: dict[Key, Mean] = {}
    if all(stage.name != "mean" for stage in context.plan.stages):
        return found
    for _, chunk in context.result("mean"):
        context.beat()
        tensors = chunk.tensors
        for k in range(len(tensors.get("origin", ()))):
            key = int(tensors["origin"][k]), int(tensors["target"][k])
            times = [round(float(value), 6) for value in tensors["multiples"]]
            found[key] = Mean(
                length=float(np.linalg.norm(tensors["shift"][k].astype(np.float64))),
                alike=float(tensors["alike"][k]),
                images=int(tensors["images"][k]),
                flips=dict(zip(times, tensors["flips"][k].tolist(), strict=True)),
            )
    return found


def carriers_of(context: Job, found: Rows, pairs: Sequence[Pair], std: Array) -> list[Carriers]:
    """The carriers of each pair. Reads the shifts once more, chunk by chunk.

    Memory holds the sums of those units alone that are carriers.
    """
    counted = [_counted(found, pair) for pair in pairs]
    sums = [np.zeros(len(units)) for units, _ in counted]
    pair_of = np.full(len(found), -1, np.int64)
    for number, pair in enumerate(pairs):
        pair_of[pair.reached] = number
    first = 0
    for _, _, chunk in searches(context):
        shifts = chunk.tensors["shift"]
        for row, number in enumerate(pair_of[first : first + len(shifts)].tolist()):
            if number >= 0:
                sums[number] += shifts[row, counted[number][0]]
        first += len(shifts)
        context.beat()
    return [
        _ordered(units, counts, total / max(len(pair.reached), 1), std)
        for (units, counts), total, pair in zip(counted, sums, pairs, strict=True)
    ]


def carrier_rows(classes: Sequence[str], pairs: Sequence[Pair], carriers: Sequence[Carriers]) -> pa.Table:
    """The table `carriers`."""
    sizes = [len(item.units) for item in carriers]

    def spread(values: Sequence[Any]) -> list[Any]:
        return [value for value, size in zip(values, sizes, strict=True) for _ in range(size)]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([np.empty(0), *(vars(item)[name] for item in carriers)])

    counts, images = joined("counts"), np.array(spread([len(pair.reached) for pair in pairs]))
    lower, upper = wilson(counts, images)
    return CARRIERS.build(
        {
            "origin": spread([classes[pair.origin] for pair in pairs]),
            "target": spread([classes[pair.target] for pair in pairs]),
            "unit": joined("units").astype(np.int32),
            "rank": [rank for size in sizes for rank in range(size)],
            "counterfactuals": images.astype(np.int32),
            "count": counts.astype(np.int32),
            "frequency": counts / np.maximum(images, 1),
            "frequency_lower": lower,
            "frequency_upper": upper,
            "shift": joined("shift"),
            "deviations": joined("deviations"),
        }
    )


def pair_rows(
    context: Job,
    method: str,
    found: Rows,
    pairs: Sequence[Pair],
    carriers: Sequence[Carriers],
    changes: Changes,
    limit: float,
) -> pa.Table:
    """The table `pairs`.

    Args:
        context: The job.
        method: Of the search.
        found: All rows.
        pairs: Of `pairs_of`.
        carriers: Of each pair.
        changes: Of the pairs that have counterfactuals.
        limit: Distance of w up to which it is plausible.
    """
    classes, means = context.card("classifier").classes, means_of(context)
    rows = []
    for number, pair in enumerate(pairs):
        rows.append(
            {
                "origin": classes[pair.origin],
                "target": classes[pair.target],
                "method": method,
                **_validity(found, pair),
                **_distances(found, pair, limit),
                **_strongest(changes, number),
                **_carrier(carriers[number], len(pair.reached)),
                **_mean(found, pair, means.get((pair.origin, pair.target))),
            }
        )
        context.beat()
    return _built(PAIRS, rows)


def _counted(found: Rows, pair: Pair) -> tuple[Integers, Integers]:
    units = found.units[pair.reached]
    return np.unique(units[units >= 0], return_counts=True)


def _ordered(units: Integers, counts: Integers, shift: Array, std: Array) -> Carriers:
    order = np.lexsort((units, -np.abs(shift) * std[units], -counts))
    deviations = shift / np.where(std[units] > 0, std[units], 1)
    return Carriers(units[order], counts[order], shift[order], deviations[order])


def _validity(found: Rows, pair: Pair) -> dict[str, Any]:
    images, reached = len(pair.searched), len(pair.reached)
    lower, upper = wilson(reached, images)
    return {
        "images": images,
        "reached": reached,
        "validity": reached / images if images else None,
        "validity_lower": _known(lower),
        "validity_upper": _known(upper),
        "generator_calls": _average(found.calls[pair.searched]),
        "renders": _average(found.renders[pair.searched]),
    }


def _distances(found: Rows, pair: Pair, limit: float) -> dict[str, Any]:
    """How far counterfactuals of a pair lie; nothing where there is none."""
    of = pair.reached
    lower, upper = interval(found.l2[of][None])
    plausibility = found.plausibility[of]
    return {
        "distance": _average(found.l2[of]),
        "distance_lower": _known(lower),
        "distance_upper": _known(upper),
        "distance_median": _median(found.l2[of]),
        "head_distance": _average(found.head_distance[of]),
        "alpha": _median(found.alpha[of]),
        "units_for_90": _median(found.units_for_90[of]),
        "plausibility": _average(plausibility),
        "plausible": _average(plausibility[np.isfinite(plausibility)] <= limit),
        "change": _average(found.change[of]),
    }


def _strongest(changes: Changes, number: int) -> dict[str, Any]:
    part, measure = names_of(changes.strongest(number), changes.columns)
    return {"part": part, "measure": measure, "part_share": changes.part_share(number)}


def _carrier(carriers: Carriers, counterfactuals: int) -> dict[str, Any]:
    if not len(carriers.units):
        return {"unit": None, "unit_frequency": None}
    return {
        "unit": int(carriers.units[0]),
        "unit_frequency": float(carriers.counts[0]) / counterfactuals,
    }


def _mean(found: Rows, pair: Pair, mean: Mean | None) -> dict[str, Any]:
    """Mean shift; that of a single counterfactual is its own, and there are no others to apply it to."""
    if mean is None:
        names = ("alike", "mean_flips", "mean_flips_lower", "mean_flips_upper", "mean_flips_doubled")
        single = float(found.l2[pair.reached[0]]) if len(pair.reached) == 1 else None
        return {"mean_l2": single, **dict.fromkeys(names)}
    once, twice = mean.flips.get(1.0), mean.flips.get(2.0)
    lower, upper = wilson(once or 0, mean.images if once is not None else 0)
    return {
        "mean_l2": mean.length,
        "alike": _known(mean.alike),
        "mean_flips": _share(once, mean.images),
        "mean_flips_lower": _known(lower),
        "mean_flips_upper": _known(upper),
        "mean_flips_doubled": _share(twice, mean.images),
    }


def _share(count: int | None, images: int) -> float | None:
    return None if count is None or not images else count / images


def _known(value: Any) -> float | None:
    """A number, unless it is none."""
    number = float(np.asarray(value).reshape(()))
    return number if np.isfinite(number) else None


def _average(values: NDArray[Any]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _median(values: NDArray[Any]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _built(schema: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return schema.build({column.name: [row[column.name] for row in rows] for column in schema.columns})
