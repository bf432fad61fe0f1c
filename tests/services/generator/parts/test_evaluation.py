"""Intersection over union, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.generator.parts.evaluation import iou
from unitscope.errors import InvalidArgumentError

PARTS = ("a", "b", "c")


def _map(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, 2, -1)


def test_shares_by_hand() -> None:
    truth = _map(0, 0, 0, 1, 1, 255)
    found = _map(0, 0, 1, 1, 1, 2)
    result = iou(found, truth, PARTS)
    assert result.by_part["a"] == pytest.approx(2 / 3)
    assert result.by_part["b"] == pytest.approx(2 / 3)
    assert math.isnan(result.by_part["c"]), "the pixel that says c is not labelled"
    assert result.mean == pytest.approx(2 / 3)
    assert result.pixels == {"a": 3, "b": 2, "c": 0}
    assert result.to_dict()["by_part"] == {"a": 0.6667, "b": 0.6667, "c": None}


def test_a_part_that_is_wrongly_found_counts_as_zero() -> None:
    result = iou(_map(0, 2), _map(0, 0), PARTS)
    assert result.by_part["c"] == 0
    assert result.mean == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("found", "truth", "reason"),
    [
        (_map(0, 0), _map(0, 0, 0, 0), "WRONG_TENSOR_SHAPE"),
        (_map(0, 3), _map(0, 0), "LABEL_OUT_OF_RANGE"),
        (_map(0, 0), _map(0, 3), "LABEL_OUT_OF_RANGE"),
        (_map(0, 0), _map(255, 255), "NOTHING_LABELLED"),
    ],
)
def test_what_cannot_be_compared_is_refused(found: np.ndarray, truth: np.ndarray, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        iou(found, truth, PARTS)
    assert caught.value.reason == reason
