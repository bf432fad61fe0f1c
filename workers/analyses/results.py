"""From the chunks of ``traverse`` to the rows of the tables `steps` and `units`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.tables import STEPS, UNITS
from workers.analyses import trust
from workers.analyses.select import Selection

Tensors = dict[str, NDArray[Any]]
_PLAIN = ("reencoded", "luminance", "contrast", "entropy", "chroma", "change", "focus", "distance")


@dataclass(frozen=True)
class Effects:
    """What traversals came to, one entry for each (units, seeds).

    Attributes:
        follow: (units, seeds) float64, 0 to 1.
        focus: At the last step.
        plausible: Share of steps.
        logits: (units, seeds, classes) change from the first to the last step.
        flips: Whether the predicted class changes on the way.
        change: Mean absolute difference of first and last picture, 0 to 255.
    """

    follow: NDArray[np.float64]
    focus: NDArray[np.float64]
    plausible: NDArray[np.float64]
    logits: NDArray[np.float64]
    flips: NDArray[np.bool_]
    change: NDArray[np.float64]

    @classmethod
    def of(cls, tensors: Tensors, distance_limit: float) -> Effects:
        """The effects of one chunk."""
        logits = tensors["logits"].astype(np.float64)
        predicted = logits.argmax(-1)
        return cls(
            follow=trust.follow(tensors["commanded"][:, None], tensors["reencoded"]),
            focus=tensors["focus"][..., -1].astype(np.float64),
            plausible=trust.plausible(tensors["distance"], distance_limit),
            logits=logits[:, :, -1] - logits[:, :, 0],
            flips=(predicted != predicted[..., :1]).any(-1),
            change=tensors["change"][..., -1].astype(np.float64),
        )

    @classmethod
    def join(cls, parts: Sequence[Effects]) -> Effects:
        """All seeds of the same units, of several chunks."""
        names = ("follow", "focus", "plausible", "logits", "flips", "change")
        return cls(**{name: np.concatenate([vars(part)[name] for part in parts], axis=1) for name in names})


def step_rows(
    chunk: ChunkResult, class_name: str, classes: Sequence[str], shard: str, names: list[str | None]
) -> pa.Table:
    """The rows of one chunk, ordered by unit, seed and step.

    Args:
        chunk: Tensors (units, seeds, steps, ...).
        class_name: The class of its base images.
        classes: The classifier's classes, in the order of the logits.
        shard: The name of the zip with its pictures.
        names: The picture's name in the zip for each row; None where it was not kept.
    """
    tensors = chunk.tensors
    shape = tensors["reencoded"].shape
    logits = tensors["logits"].reshape(-1, tensors["logits"].shape[-1])
    per_unit, per_seed = tensors["units"][:, None, None], tensors["seeds"][None, :, None]
    columns: dict[str, Any] = {name: tensors[name].ravel() for name in _PLAIN}
    columns |= {
        "unit": _spread(per_unit.astype(np.int32), shape),
        "seed": _spread(per_seed, shape),
        "step": _spread(np.arange(shape[2], dtype=np.int32)[None, None], shape),
        "class": [class_name] * len(logits),
        "commanded": _spread(tensors["commanded"][:, None], shape),
        "base": _spread(tensors["base"][:, :, None], shape),
        "predicted": [classes[index] for index in logits.argmax(1)],
        "logits": pa.FixedSizeListArray.from_arrays(logits.ravel(), logits.shape[1]).cast(
            pa.list_(pa.float32())
        ),
        "image_shard": [None if name is None else shard for name in names],
        "image_name": names,
    }
    return STEPS.build(columns)


def unit_rows(selection: Selection, effects: Sequence[Effects], classes: Sequence[str]) -> pa.Table:
    """The table of units, in the order of their ranks.

    Args:
        selection: The units.
        effects: Those of consecutive ranges of the units, all seeds joined.
        classes: The classifier's classes, in the order of the logits.
    """

    def mean(name: str) -> NDArray[np.float64]:
        means = [vars(part)[name].astype(np.float64).mean(1) for part in effects]
        return np.concatenate(means)

    logits = mean("logits")
    strongest = np.abs(logits).argmax(1)
    follow, focus, plausible = mean("follow"), mean("focus"), mean("plausible")
    traversals = np.concatenate([np.full(len(e.flips), e.flips.shape[1]) for e in effects])
    return UNITS.build(
        {
            "unit": selection.units,
            "rank": np.arange(len(selection.units)),
            "score": [None if np.isnan(score) else float(score) for score in selection.score],
            "low": selection.low,
            "high": selection.high,
            "mean": selection.mean,
            "std": selection.std,
            "span": selection.span,
            "strongest_class": [classes[index] for index in strongest],
            "strongest_change": logits[np.arange(len(logits)), strongest].astype(np.float32),
            "flips": mean("flips").astype(np.float32),
            "change": mean("change").astype(np.float32),
            "follow": follow.astype(np.float32),
            "focus": focus.astype(np.float32),
            "plausible": plausible.astype(np.float32),
            "trust": trust.trust(follow, focus, plausible).astype(np.float32),
            "traversals": traversals,
        }
    )


def _spread(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.ascontiguousarray(np.broadcast_to(values, shape)).ravel()
