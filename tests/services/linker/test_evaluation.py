"""Every figure of an evaluation against its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.linker.baselines import ClassMeans
from services.linker.bootstrap import resample_ratios
from services.linker.evaluation import Evaluation, HeldOut, Prediction, Settings, evaluate
from services.linker.ridge import fit
from tests.services.linker.pairs import make_pairs
from unitscope.errors import InvalidArgumentError

SETTINGS = Settings(resamples=200, pair_rows=120)


def _case(seed: int = 0) -> tuple[HeldOut, dict[str, Prediction], ClassMeans]:
    pairs = make_pairs(seed, rows=500)
    train = np.arange(300)
    training = replace(
        pairs,
        features=pairs.features[train],
        latents=pairs.latents[train],
        classes=pairs.classes[train],
        row_ids=pairs.row_ids[train],
    )
    folds = training.folds().folds
    means = ClassMeans.of(folds)
    held = slice(300, 500)
    rng = np.random.default_rng(seed)
    held_out = HeldOut(pairs.features[held], pairs.latents[held], pairs.classes[held], pairs.classes[held])
    guess = fit(folds).apply(held_out.features)
    changed = np.where(rng.random(200) < 0.2, -1, held_out.classes)
    noisy = held_out.features + rng.standard_normal(held_out.features.shape).astype(np.float32)
    predictions = {
        "linker": Prediction(guess, noisy, held_out.classes.copy()),
        "class_mean": Prediction(means.predict(held_out.classes), None, changed),
    }
    return held_out, predictions, means


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(*_case(), settings=SETTINGS)


def test_r2_by_definition(evaluation: Evaluation) -> None:
    held_out, predictions, means = _case()
    w, v = held_out.latents.astype(np.float64), predictions["linker"].latents
    train = make_pairs(0, rows=500).latents[:300].astype(np.float64)
    error = ((w - v) ** 2).sum()
    raw = evaluation.get("latent_r2", "linker")
    assert raw.value == pytest.approx(1 - error / ((w - train.mean(axis=0)) ** 2).sum())
    own = means.predict(held_out.classes)
    within = evaluation.get("latent_r2_within_class", "linker")
    assert within.value == pytest.approx(1 - error / ((w - own) ** 2).sum())
    assert within.count == 200


def test_class_mean_has_zero_within_class(evaluation: Evaluation) -> None:
    for metric in ("latent_r2_within_class", "latent_cosine_within_class"):
        row = evaluation.get(metric, "class_mean")
        assert (row.value, row.lower, row.upper) == (0.0, 0.0, 0.0)


def test_cosines_cycle_and_agreement_by_definition(evaluation: Evaluation) -> None:
    held_out, predictions, means = _case()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        pairs = zip(a.astype(np.float64), b.astype(np.float64), strict=True)
        return float(np.mean([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in pairs]))

    linker = predictions["linker"]
    own = means.predict(held_out.classes)
    expected = {
        "latent_cosine": cosine(held_out.latents, linker.latents),
        "latent_cosine_within_class": cosine(held_out.latents - own, linker.latents - own),
        "cycle_cosine": cosine(held_out.features, linker.reencoded),  # type: ignore[arg-type]
        "agreement": 1.0,
    }
    for metric, value in expected.items():
        assert evaluation.get(metric, "linker").value == pytest.approx(value), metric
    changed = predictions["class_mean"].predicted
    assert changed is not None
    share = float(np.mean(np.equal(changed, held_out.classes)))
    assert evaluation.get("agreement", "class_mean").value == pytest.approx(share)


def test_classes_have_their_own_figures(evaluation: Evaluation) -> None:
    held_out, predictions, means = _case()
    for label in (1, 8, 15):
        rows = held_out.classes == label
        part = HeldOut(*(value[rows] for value in vars(held_out).values()))
        alone = evaluate(
            part,
            {
                name: Prediction(*(None if v is None else v[rows] for v in vars(p).values()))  # type: ignore[arg-type]
                for name, p in predictions.items()
            },
            means,
            settings=SETTINGS,
        )
        for metric in ("latent_r2", "latent_cosine", "agreement"):
            here = evaluation.get(metric, "linker", scope=f"class:{label}")
            assert here.value == pytest.approx(alone.get(metric, "linker").value)
            assert here.count == rows.sum()


def test_differences_are_paired_and_name_both_sides(evaluation: Evaluation) -> None:
    linker, other = (evaluation.get("latent_r2", name) for name in ("linker", "class_mean"))
    gain = evaluation.gain_over_best_baseline("latent_r2")
    assert gain.against == "class_mean"
    assert gain.value == pytest.approx(linker.value - other.value)
    assert gain.lower < gain.value < gain.upper
    assert gain.upper - gain.lower < other.upper - other.lower + linker.upper - linker.lower


def test_a_method_against_its_copy_differs_by_exactly_nothing() -> None:
    held_out, predictions, means = _case()
    predictions["copy"] = predictions["linker"]
    row = evaluate(held_out, predictions, means, settings=SETTINGS).get("latent_r2", "linker", against="copy")
    assert (row.value, row.lower, row.upper) == (0.0, 0.0, 0.0)


def test_pairs_have_congruence(evaluation: Evaluation) -> None:
    for metric in ("linear_cka", "distance_rank_correlation"):
        row = evaluation.get(metric, "pairs")
        assert row.lower < row.value < row.upper
        assert row.count == 120


def test_the_same_seed_gives_the_same_records(evaluation: Evaluation) -> None:
    again = evaluate(*_case(), settings=SETTINGS)
    # By repr, in which NaN equals NaN.
    assert repr(again.to_records()) == repr(evaluation.to_records())
    other = evaluate(*_case(), settings=replace(SETTINGS, seed=1))
    assert other.get("latent_r2", "linker").lower != evaluation.get("latent_r2", "linker").lower


def test_what_was_not_rendered_is_absent(evaluation: Evaluation) -> None:
    with pytest.raises(KeyError):
        evaluation.get("cycle_cosine", "class_mean")
    with pytest.raises(KeyError):
        evaluation.gain_over_best_baseline("cycle_cosine")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"latents": np.zeros((199, 5))}, "BAD_SHAPE"),
        ({"latents": np.full((200, 5), np.nan)}, "NON_FINITE_LATENTS"),
        ({"reencoded": np.zeros((200, 3))}, "BAD_SHAPE"),
        ({"predicted": np.zeros(7, np.int64)}, "BAD_SHAPE"),
    ],
)
def test_bad_predictions_are_refused(change: dict[str, np.ndarray], reason: str) -> None:
    held_out, predictions, means = _case()
    predictions["linker"] = replace(predictions["linker"], **change)
    with pytest.raises(InvalidArgumentError) as caught:
        evaluate(held_out, predictions, means)
    assert caught.value.reason == reason


def test_the_main_method_must_be_there() -> None:
    held_out, predictions, means = _case()
    with pytest.raises(InvalidArgumentError, match="no prediction by 'other'"):
        evaluate(held_out, predictions, means, main="other")


def test_the_bootstrap_interval_of_a_mean_is_that_of_theory() -> None:
    rows = np.random.default_rng(0).standard_normal((400, 1)) + 3.0
    result = resample_ratios(rows, np.ones_like(rows), resamples=4000, seed=1, level=0.95)
    estimate = result.estimate(0)
    reach = 1.96 * rows.std() / 20
    assert estimate.value == pytest.approx(rows.mean())
    assert estimate.lower == pytest.approx(rows.mean() - reach, abs=0.15 * reach)
    assert estimate.upper == pytest.approx(rows.mean() + reach, abs=0.15 * reach)


def test_one_row_has_no_interval() -> None:
    estimate = resample_ratios(np.ones((1, 1)), np.ones((1, 1)), resamples=10, seed=0, level=0.95).estimate(0)
    assert estimate.value == 1.0
    assert np.isnan(estimate.lower)
