"""What the benchmarks of counterfactuals make of rows and pictures, where the answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import counterfactual, counterfactual_shortcut, counterfactual_truth
from bench.counterfactual_shortcut import Base, Bench, moved, removals, slopes_of, taken_off
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.parts import PARTS

HAIR, HAT, FACE = (PARTS.index(name) for name in ("hair", "hat", "face"))
BUN = CLASSES.index("bun")


def row(seed: int, length: float | None, calls: int, target: str = "hat") -> dict[str, Any]:
    return {
        "origin": "bun",
        "target": target,
        "seed": seed,
        "valid": length is not None,
        "outcome": "not_crossed" if length is None else "reached",
        "l2": length,
        "alpha": None if length is None else 1.0,
        "units_for_90": None if length is None else 3,
        "generator_calls": calls,
        "renders": 4 * calls,
    }


def test_searches_are_compared_on_the_same_images() -> None:
    ours = counterfactual.by_image([row(0, 1.0, 5), row(1, 2.0, 5), row(2, 3.0, 5), row(9, 9.0, 5)])
    theirs = counterfactual.by_image([row(0, 2.0, 40), row(1, 1.0, 50), row(2, None, 90)])
    found = counterfactual.compared(ours, theirs)
    assert (found["same_images"], found["reached_by_both"], found["reached_by_path_alone"]) == (3, 2, 1)
    assert found["l2_ratio_of_medians"] == 1.0
    assert found["l2_smaller"]["share"] == 0.5
    assert found["generator_calls_ratio"] == {"of_medians": 0.1, "of_means": pytest.approx(15 / 180)}
    with pytest.raises(SystemExit, match="1 rows of descent"):
        counterfactual.compared(ours, counterfactual.by_image([row(7, 1.0, 3)]))


def test_rows_are_described_with_those_that_were_not_reached() -> None:
    found = counterfactual.described([row(0, 1.0, 5), row(1, None, 11)])
    assert found["reached"]["share"] == 0.5
    assert found["reached"]["lower"] < 0.5 < found["reached"]["upper"]
    assert found["outcomes"] == {"reached": 1, "not_crossed": 1}
    assert (found["generator_calls"]["mean"], found["median_l2"]) == (8.0, 1.0)
    assert counterfactual.share(0, 0) == {"of": 0, "share": None}


class Judge:
    """Labels and codes that are written into the red and green of the pictures."""

    def labels(self, images: np.ndarray) -> np.ndarray:
        return images[..., 0]

    def codes(self, images: np.ndarray) -> np.ndarray:
        codes = np.zeros((len(images), 11), np.int64)
        codes[:, 0] = BUN
        codes[:, counterfactual_shortcut.GLASSES] = images[:, 0, 0, 1]
        return codes


def test_a_change_of_area_counts_for_the_part_that_goes_and_the_one_that_comes() -> None:
    before = np.zeros((1, 4, 4, 3), np.uint8)
    before[..., 0] = FACE
    after = before.copy()
    after[:, 0, :, 0] = HAIR
    after[:, 3, 0, 2] = 200
    area, colour = counterfactual_truth.changes(Judge(), before, after)[0]  # type: ignore[arg-type]
    assert area[[FACE, HAIR]].tolist() == [0.25, 0.25]
    assert area.sum() == 0.5
    # The pixel that turned blue is the face's in both pictures.
    assert colour[FACE] > colour[HAIR] > 0


def test_pairs_are_judged_by_the_part_that_changes_most() -> None:
    def mean(area: int, colour: int) -> np.ndarray:
        return np.eye(len(PARTS))[[area, colour]]

    found = counterfactual_truth.verdicts(
        {
            ("bun", "short_hair"): mean(HAIR, HAIR),
            ("bun", "hat"): mean(HAT, FACE),
            ("hat", "beanie"): mean(HAIR, FACE),
            ("beanie", "hat"): None,
        }
    )
    assert [found[name]["share"] for name in ("area", "colour", "area_or_colour")] == [0.5, 0.25, 0.5]
    assert found["missed_in_area"] == {"hat to beanie": "hair", "beanie to hat": "nothing"}
    assert found["most_in_colour_where_missed"] == {"face": 2, "nothing": 1}


def test_what_takes_the_sunglasses_off_leaves_other_readings_alone() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((400, 6))
    readings = w[:, :2] * [1.0, 2.0]
    slopes = slopes_of(w, readings)
    features = rng.standard_normal((300, 8)) * np.arange(1, 9)
    solution: Any = SimpleNamespace(
        weight=rng.standard_normal((6, 8)),
        mean=np.zeros(8),
        latent_mean=np.zeros(6),
        whitener=np.eye(6),
        neighbours=features,
    )
    shifts = rng.standard_normal((4, 8))
    base = Base(features[:4], w[:4], shifts, np.array([True, True, True, False]))
    found = removals(base, solution, w, slopes, np.array([-1.0, 0.0]))
    for change in (found["linker"] @ solution.weight.T, found["latent"]):
        np.testing.assert_allclose(change[0, :2], [-1, 0], atol=0.02)
    # No image is moved by what was found for it.
    np.testing.assert_allclose(found["counterfactuals"][0], shifts[1:3].mean(0))
    np.testing.assert_allclose(found["counterfactuals"][3], shifts[:3].mean(0))


def test_shifts_grow_until_the_ruler_sees_no_glasses() -> None:
    class Generator:
        """Glasses go with the first latent: by the reader below 0.5, by the map below 0.2."""

        def render(self, w: np.ndarray) -> np.ndarray:
            images = np.zeros((len(w), 4, 4, 3), np.uint8)
            images[:, 0, 0, 0] = np.where(w[:, 0] > 0.2, PARTS.index("glasses"), 0)
            images[:, 0, 0, 1] = np.where(w[:, 0] > 0.5, 2, 0)
            images[:, 0, 0, 2] = w[:, 0] > 0.2
            return images

    class Classifier:
        """Reads a bun where a pixel of glasses is left."""

        def read(self, images: np.ndarray) -> Any:
            logits = np.zeros((len(images), len(CLASSES)))
            logits[np.arange(len(images)), np.where(images[:, 0, 0, 2] > 0, BUN, 0)] = 1
            return SimpleNamespace(logits=logits)

    bench = Bench(Judge(), Generator(), Classifier(), 0)  # type: ignore[arg-type]
    base = Base(
        np.zeros((3, 2)), np.array([[1.0, 0], [2.0, 0], [9.0, 0]]), np.zeros((3, 2)), np.zeros(3, bool)
    )
    solution: Any = SimpleNamespace(weight=np.eye(2))
    shift = np.tile([-1.0, 0.0], (3, 1))
    found = taken_off(bench, base, lambda multiple: moved(base, solution, shift, True, multiple))
    strict, weak = found["by_reader_and_part_map"], found["by_reader_alone"]
    assert (strict["removed"]["share"], strict["flipped"]["share"]) == (pytest.approx(2 / 3), 1.0)
    assert (weak["removed"]["share"], weak["flipped"]["share"]) == (pytest.approx(2 / 3), 0.0)
    # Features do not become negative: nothing moves.
    held = moved(base, solution, shift, False, 2.0)
    np.testing.assert_array_equal(held, base.latents)


def test_more_images_of_a_pair_than_of_a_class_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--seeds", "2", "--pair-seeds", "3"])
    with pytest.raises(SystemExit):
        counterfactual.main()
    assert "--pair-seeds is 3" in capsys.readouterr().err
