from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from unitscope.worlds import avatars
from workers.report import pictures


def frames() -> np.ndarray:
    return np.stack([avatars.draw(seed, masks=False).image for seed in range(3)])


def test_a_strip_holds_the_frames_side_by_side() -> None:
    given = frames()
    head, body = pictures.strip(given).split(",")
    assert head == "data:image/webp;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"), np.float32)
    assert read.shape == (64, 192, 3)
    for k, frame in enumerate(given):
        assert np.abs(read[:, 64 * k : 64 * (k + 1)] - frame).mean() < 4


def test_strips_are_taken_in_order_until_the_budget_is_spent() -> None:
    given = frames()
    size = len(pictures.strip(given))
    wanted = [(name, given) for name in "abcd"]
    chosen, left_out = pictures.within(2 * size + 10, wanted)
    assert list(chosen) == ["a", "b"]
    assert left_out == 2
    assert pictures.within(0, wanted) == ({}, 4)
    assert pictures.within(4 * size, wanted)[1] == 0
