"""The guide: logistic regression whose accuracy is that on pictures it never saw."""

from __future__ import annotations

import pytest
import torch

from services.generator.training.guidance import fit_guide, logistic_regression
from unitscope.errors import InvalidArgumentError


def clusters(count: int, classes: int, apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    centres = apart * torch.randn((classes, 10), generator=generator)
    scale = torch.logspace(-2, 2, 10)
    x = centres[labels] + torch.randn((count, 10), generator=generator)
    return x * scale + 5 * scale, labels


def test_classes_that_are_apart_are_told_apart() -> None:
    features, labels = clusters(300, 3, 4.0)
    guide = fit_guide(features, labels, 3)
    assert guide.held_out_count == 60
    assert guide.held_out_accuracy > 0.95
    assert (guide.logits(features).argmax(1) == labels).float().mean() > 0.95


def test_held_out_accuracy_is_not_that_of_the_fit() -> None:
    """Labels without meaning can be learned by heart from few pictures, and not foretold."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn((100, 200), generator=generator)
    labels = torch.randint(2, (100,), generator=generator)
    guide = fit_guide(features, labels, 2)
    assert (guide.logits(features).argmax(1) == labels).float().mean() > 0.85
    assert guide.held_out_accuracy < 0.8


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_the_minimum_that_scikit_learn_finds(classes: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = clusters(200, classes, 1.0)
    x = (features - features.mean(0)) / features.std(0)
    weight, bias = logistic_regression(x, labels, classes)
    # Of two classes scikit-learn fits the difference alone, for which both pay half each.
    fitted = linear_model.LogisticRegression(C=2.0 if classes == 2 else 1.0, tol=1e-8, max_iter=1000)
    expected = torch.from_numpy(fitted.fit(x.double().numpy(), labels.numpy()).decision_function(x.double()))
    found = (x @ weight.t() + bias).double()
    if classes == 2:
        found = found[:, 1] - found[:, 0]
    else:
        found = found - found.mean(1, keepdim=True)
        expected = expected - expected.mean(1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.02)


def test_it_is_frozen_and_repeats() -> None:
    features, labels = clusters(60, 3, 2.0)
    one, same, other = (fit_guide(features, labels, 3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)
    assert not list(one.parameters())


@pytest.mark.parametrize(
    ("labels", "classes", "reason"),
    [
        ([0, 0, 0, 0], 1, "NOTHING_TO_GUIDE"),
        ([0, 0, 0, 1], 2, "TOO_FEW_IMAGES"),
        ([0, 0, 1, 1], 3, "TOO_FEW_IMAGES"),
        ([0, 0, 1, 2], 2, "CLASS_OUT_OF_RANGE"),
        ([0, 0, 1], 2, "BAD_FEATURES"),
    ],
)
def test_what_cannot_guide_is_refused(labels: list[int], classes: int, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        fit_guide(torch.randn(4, 5), torch.tensor(labels), classes)
    assert caught.value.reason == reason


def test_features_that_are_no_numbers_are_refused() -> None:
    features = torch.randn(4, 5)
    features[1, 2] = float("inf")
    with pytest.raises(InvalidArgumentError, match="finite"):
        fit_guide(features, torch.tensor([0, 0, 1, 1]), 2)
