"""What a request asks for beside its tensors: the parameters of Open Inference Protocol v2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from unitscope.models.v2 import LAYER, POOL, REDUCE


@dataclass(frozen=True)
class Asked:
    """The parameters that models of ours know; others are passed over.

    Attributes:
        reduce: What pictures are to be reduced by; 0, which no model takes, where it is no integer.
        layer: The layer whose features are to be projected; empty, which no layer is, where it is no text.
        pool: Whether projections are to be averaged over the canvas; None where it is no truth value.
    """

    reduce: int = 1
    layer: str = ""
    pool: bool | None = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Reads the parameters of a request; what is wrong with them is for the models to refuse."""
        reduce = parameters.get(REDUCE, 1)
        layer, pool = parameters.get(LAYER, ""), parameters.get(POOL, False)
        return cls(
            reduce=reduce if isinstance(reduce, int) and not isinstance(reduce, bool) else 0,
            layer=layer if isinstance(layer, str) else "",
            pool=pool if isinstance(pool, bool) else None,
        )
