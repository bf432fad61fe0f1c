"""What a linker is worth on held-out pairs, beside its baselines.

Metrics of a method's prediction `v` of `w`, each overall and per class:

- `latent_r2`: `1 - sum |w - v|^2 / sum |w - mean|^2`, with the mean w of all *training* pairs.
- `latent_r2_within_class`: the same with the mean w of the training pairs of the row's class, so that
  the class mean as a prediction has exactly 0, and only what is told within a class counts.
- `latent_cosine`: mean cosine of v with w.
- `latent_cosine_within_class`: mean cosine of `v - class mean` with `w - class mean`, of the same
  training class means; a row whose prediction *is* its class mean counts 0.
- `cycle_cosine`: mean cosine of r with r', the features of the picture of v.
- `agreement`: share of rows where the classifier says the same of the picture of v as of that of w.

And of the pairs themselves, as method `pairs`: `linear_cka` and `distance_rank_correlation`
(`services.linker.congruence`). Intervals are percentile bootstrap over rows, those of differences
paired; those of the last two are jackknife.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from services.linker.baselines import ClassMeans
from services.linker.batches import check_matrix
from services.linker.bootstrap import Estimate, resample_ratios
from services.linker.congruence import (
    PairStatistic,
    distance_rank_correlation,
    grouped_jackknife,
    linear_cka,
)
from unitscope.errors import InvalidArgumentError

Array = NDArray[np.float64]
Floats = NDArray[np.floating]
Columns = dict[tuple[str, str], tuple[Array, Array]]

ALL = "all"
PAIRS = "pairs"
PAIR_STATISTICS: Mapping[str, PairStatistic] = {
    "linear_cka": linear_cka,
    "distance_rank_correlation": distance_rank_correlation,
}


@dataclass(frozen=True)
class HeldOut:
    """Pairs that nothing was fitted to.

    Attributes:
        features: (n, d) r.
        latents: (n, m) w.
        classes: (n,) the classes that the pictures were made for.
        predicted: (n,) what the classifier says of the picture of w; None when it was not asked.
    """

    features: Floats
    latents: Floats
    classes: NDArray[np.integer]
    predicted: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Prediction:
    """What one method makes of the held-out features.

    Attributes:
        latents: (n, m) predicted w.
        reencoded: (n, d) features of the pictures of the predicted w; None when not rendered.
        predicted: (n,) classes that the classifier gives those pictures; None when not rendered.
    """

    latents: Floats
    reencoded: Floats | None = None
    predicted: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Row:
    """One figure of the evaluation.

    Attributes:
        metric: Name, as listed in this module's docstring.
        scope: `all`, or `class:<id>`.
        method: Name of the method, or `pairs`.
        against: Empty, or the method that `value` is the difference to.
        value: The figure; NaN where it is not defined.
        lower: Lower end of its interval; NaN when there is none.
        upper: Upper end.
        count: Held-out rows that it rests on.
    """

    metric: str
    scope: str
    method: str
    against: str
    value: float
    lower: float
    upper: float
    count: int


@dataclass(frozen=True)
class Settings:
    """How intervals are computed.

    Attributes:
        resamples: Bootstrap resamples.
        seed: Of resampling, grouping and subsampling.
        level: Confidence of the intervals.
        pair_rows: Most rows that enter the statistics of pairs, drawn at random.
    """

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95
    pair_rows: int = 500


@dataclass(frozen=True)
class Evaluation:
    """All figures.

    Attributes:
        rows: One a metric, scope, method and comparison.
        main: The method that the others are compared with.
    """

    rows: tuple[Row, ...]
    main: str

    def get(self, metric: str, method: str, *, scope: str = ALL, against: str = "") -> Row:
        """Returns one figure.

        Raises:
            KeyError: When it was not computed.
        """
        wanted = (metric, scope, method, against)
        for row in self.rows:
            if (row.metric, row.scope, row.method, row.against) == wanted:
                return row
        raise KeyError(wanted)

    def gain_over_best_baseline(self, metric: str, *, scope: str = ALL) -> Row:
        """Returns the difference of the main method to the best of the others in this metric.

        Raises:
            KeyError: When no other method has the metric.
        """
        others = [
            row
            for row in self.rows
            if (row.metric, row.scope, row.against) == (metric, scope, "")
            and row.method not in (self.main, PAIRS)
        ]
        if not others:
            raise KeyError((metric, scope))
        best = max(others, key=lambda row: row.value)
        return self.get(metric, self.main, scope=scope, against=best.method)

    def to_records(self) -> list[dict[str, str | float | int]]:
        """Returns the rows as dictionaries, ready for a table."""
        return [asdict(row) for row in self.rows]


def evaluate(
    held_out: HeldOut,
    predictions: Mapping[str, Prediction],
    class_means: ClassMeans,
    *,
    main: str = "linker",
    settings: Settings = Settings(),
) -> Evaluation:
    """Computes every figure that the given arrays allow.

    Args:
        held_out: The pairs, of classes that the training pairs had.
        predictions: Of each method by name, among them the main one.
        class_means: Of the training pairs; they are the centres of R2 and cosine within class.
        main: Name of the method that is compared with every other.
        settings: Of the intervals.

    Raises:
        InvalidArgumentError: For shapes that do not fit, numbers that are not finite, a class
            without training pairs, or no prediction by the main method.
    """
    _check(held_out, predictions, main)
    columns = _columns(held_out, predictions, class_means)
    rows: list[Row] = []
    for number, (scope, chosen) in enumerate(_scopes(held_out.classes)):
        rows += _method_rows(columns, chosen, scope, main, settings, settings.seed + number)
        rows += _pair_rows(held_out, chosen, scope, settings, settings.seed + number)
    return Evaluation(tuple(rows), main)


def _scopes(classes: NDArray[np.integer]) -> list[tuple[str, NDArray[np.intp]]]:
    scopes = [(ALL, np.arange(len(classes)))]
    for label in np.unique(classes):
        scopes.append((f"class:{label}", np.flatnonzero(classes == label)))
    return scopes


def _columns(held_out: HeldOut, predictions: Mapping[str, Prediction], class_means: ClassMeans) -> Columns:
    """Returns numerators and denominators (n,) of every metric and method."""
    truth = held_out.latents.astype(np.float64)
    own = class_means.predict(held_out.classes)
    sums = class_means.sums
    overall = sums.sums[:, class_means.features :].sum(axis=0) / sums.counts.sum()
    spread = {"latent_r2": _squares(truth - overall), "latent_r2_within_class": _squares(truth - own)}
    ones = np.ones(len(truth))
    columns: Columns = {}
    for method, prediction in predictions.items():
        guess = prediction.latents.astype(np.float64)
        error = _squares(truth - guess)
        for metric, total in spread.items():
            columns[metric, method] = (total - error, total)
        columns["latent_cosine", method] = (_cosines(truth, guess), ones)
        columns["latent_cosine_within_class", method] = (_cosines(truth - own, guess - own), ones)
        if prediction.reencoded is not None:
            columns["cycle_cosine", method] = (
                _cosines(held_out.features.astype(np.float64), prediction.reencoded.astype(np.float64)),
                ones,
            )
        if prediction.predicted is not None and held_out.predicted is not None:
            same = (prediction.predicted == held_out.predicted).astype(np.float64)
            columns["agreement", method] = (same, ones)
    return columns


def _squares(rows: Array) -> Array:
    squares: Array = np.einsum("nm,nm->n", rows, rows)
    return squares


def _cosines(first: Array, second: Array) -> Array:
    """Returns the cosine of each pair of rows (n,); 0 where one of the two is zero."""
    product: Array = np.einsum("nm,nm->n", first, second)
    norms = np.sqrt(_squares(first) * _squares(second))
    cosines: Array = np.divide(product, norms, out=np.zeros_like(product), where=norms > 0)
    return cosines


def _method_rows(
    columns: Columns,
    chosen: NDArray[np.intp],
    scope: str,
    main: str,
    settings: Settings,
    seed: int,
) -> list[Row]:
    keys = list(columns)
    result = resample_ratios(
        np.stack([columns[key][0][chosen] for key in keys], axis=1),
        np.stack([columns[key][1][chosen] for key in keys], axis=1),
        resamples=settings.resamples,
        seed=seed,
        level=settings.level,
    )
    place = {key: index for index, key in enumerate(keys)}
    rows = [_row(*key, "", scope, result.estimate(index)) for key, index in place.items()]
    for (metric, method), index in place.items():
        if method != main and (metric, main) in place:
            difference = result.estimate(place[metric, main], against=index)
            rows.append(_row(metric, main, method, scope, difference))
    return rows


def _pair_rows(
    held_out: HeldOut, chosen: NDArray[np.intp], scope: str, settings: Settings, seed: int
) -> list[Row]:
    if len(chosen) > settings.pair_rows:
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.choice(chosen, settings.pair_rows, replace=False))
    features = held_out.features[chosen].astype(np.float64)
    latents = held_out.latents[chosen].astype(np.float64)
    rows = []
    for metric, statistic in PAIR_STATISTICS.items():
        if len(chosen) >= 4:
            estimate = grouped_jackknife(statistic, features, latents, seed=seed, level=settings.level)
            rows.append(_row(metric, PAIRS, "", scope, estimate))
    return rows


def _row(metric: str, method: str, against: str, scope: str, estimate: Estimate) -> Row:
    return Row(
        metric,
        scope,
        method,
        against,
        estimate.value,
        estimate.lower,
        estimate.upper,
        estimate.count,
    )


def _check(held_out: HeldOut, predictions: Mapping[str, Prediction], main: str) -> None:
    if main not in predictions:
        raise InvalidArgumentError(
            f"there is no prediction by {main!r}, only by {sorted(predictions)}: name one of them",
            reason="UNKNOWN_METHOD",
            field="main",
        )
    rows = len(held_out.classes)
    if not rows:
        raise InvalidArgumentError(
            "there are no held-out pairs: evaluate on at least one", reason="NO_PAIRS", field="held_out"
        )
    check_matrix(held_out.features, (rows, held_out.features.shape[-1]), "features")
    check_matrix(held_out.latents, (rows, held_out.latents.shape[-1]), "latents")
    for name, prediction in predictions.items():
        check_matrix(prediction.latents, held_out.latents.shape, f"{name}.latents")
        if prediction.reencoded is not None:
            check_matrix(prediction.reencoded, held_out.features.shape, f"{name}.reencoded")
    labels = {"predicted": held_out.predicted}
    labels |= {f"{name}.predicted": item.predicted for name, item in predictions.items()}
    for name, values in labels.items():
        if values is not None and values.shape != (rows,):
            raise InvalidArgumentError(
                f"{name} have shape {values.shape}: they must be {rows} classes, one a row",
                reason="BAD_SHAPE",
                field=name,
            )
