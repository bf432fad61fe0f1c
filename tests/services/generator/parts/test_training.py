"""Few labelled pictures make a parts model: what it learns, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.generator.backend import GeneratorBackend
from services.generator.parts import training
from services.generator.parts.evaluation import iou
from services.generator.parts.features import draw_w, measure_scales
from services.generator.parts.network import PartsNetwork
from services.generator.parts.training import UNLABELLED, class_weights, train
from tests.support.tiny_pack import tiny_spec
from unitscope.errors import InvalidArgumentError

PARTS = ("dark", "bright")


@pytest.fixture(scope="module")
def w(backend: GeneratorBackend) -> np.ndarray:
    return draw_w(backend.network, 24, seed=4).numpy()


@pytest.fixture(scope="module")
def truth(backend: GeneratorBackend, w: np.ndarray) -> np.ndarray:
    """On which side of a random plane the features of a pixel lie: learnable, and not from colours alone."""
    torch.manual_seed(9)
    plane = PartsNetwork(tiny_spec(), PARTS, head="none").eval().requires_grad_(False)
    plane.fold(measure_scales(backend.network, plane.layers, 64, 0, lambda done: None))
    return backend.render_parts(w, plane)[1]


@pytest.fixture(scope="module")
def fitted(backend: GeneratorBackend, w: np.ndarray, truth: np.ndarray) -> PartsNetwork:
    return train(backend.network, w[:8], truth[:8], PARTS, steps=150, seed=1)


def test_it_learns_what_it_is_shown_and_more(
    backend: GeneratorBackend, fitted: PartsNetwork, w: np.ndarray, truth: np.ndarray
) -> None:
    shares = np.bincount(truth.flatten(), minlength=2) / truth.size
    assert shares.min() > 0.1, "otherwise one part everywhere would do"
    found = backend.render_parts(w, fitted)[1]
    assert iou(found[:8], truth[:8], PARTS).mean > 0.9
    assert iou(found[8:], truth[8:], PARTS).mean > 0.7


def test_the_same_call_gives_the_same_weights(
    backend: GeneratorBackend, fitted: PartsNetwork, w: np.ndarray, truth: np.ndarray
) -> None:
    before = torch.get_rng_state()
    again = train(backend.network, w[:8], truth[:8], PARTS, steps=150, seed=1)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    for name, value in fitted.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    other = train(backend.network, w[:8], truth[:8], PARTS, steps=3, seed=2)
    assert not torch.equal(other.bias, fitted.bias)


def test_features_that_are_not_kept_train_alike(
    monkeypatch: pytest.MonkeyPatch, backend: GeneratorBackend, w: np.ndarray, truth: np.ndarray
) -> None:
    kept = train(backend.network, w[:3], truth[:3], PARTS, steps=5)
    monkeypatch.setattr(training, "CACHE_BYTES", 0)
    anew = train(backend.network, w[:3], truth[:3], PARTS, steps=5)
    for name, value in kept.state_dict().items():
        torch.testing.assert_close(anew.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_one_picture_with_few_labels_is_enough_to_train(
    backend: GeneratorBackend, w: np.ndarray, truth: np.ndarray
) -> None:
    scribble = np.full_like(truth[:1], UNLABELLED)
    scribble[:, 4:8] = truth[:1, 4:8]
    fitted = train(backend.network, w[:1], scribble, PARTS, steps=100)
    found = backend.render_parts(w[:1], fitted)[1]
    assert (found[:, 4:8] == truth[:1, 4:8]).mean() > 0.95


def test_a_picture_without_labels_does_no_harm(
    backend: GeneratorBackend, w: np.ndarray, truth: np.ndarray
) -> None:
    labels = truth[:2].copy()
    labels[1] = UNLABELLED
    fitted = train(backend.network, w[:2], labels, PARTS, steps=5)
    assert all(value.isfinite().all() for value in fitted.state_dict().values())


def test_w_plus_and_progress(backend: GeneratorBackend, w: np.ndarray, truth: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    layers = np.repeat(w[:2, None], tiny_spec().num_ws, axis=1)
    train(backend.network, layers, truth[:2], PARTS, steps=4, progress=lambda n, of: told.append((n, of)))
    assert told[-1] == (260, 260)
    assert [n for n, _ in told] == sorted(n for n, _ in told)


def test_rare_parts_weigh_more_but_not_by_their_rarity() -> None:
    targets = torch.tensor([0] * 90 + [1] * 10 + [UNLABELLED] * 50)
    weights = class_weights(targets, 3)
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert weights[2] == 0
    assert (weights[0] * 90 + weights[1] * 10) / 100 == pytest.approx(1.0)


def _labels(value: int, count: int = 2) -> np.ndarray:
    return np.full((count, 16, 16), value, np.uint8)


@pytest.mark.parametrize(
    ("w", "labels", "reason", "says"),
    [
        (np.zeros((2, 25)), _labels(0), "WRONG_TENSOR_SHAPE", r"w has the shape \(2, 25\); \(n, 24\)"),
        (np.zeros((0, 24)), _labels(0, 0), "WRONG_TENSOR_SHAPE", "w has the shape"),
        (np.zeros((2, 24)), _labels(0, 3), "WRONG_TENSOR_SHAPE", r"\(3, 16, 16\); \(2, 16, 16\) is needed"),
        (np.zeros((2, 24)), _labels(UNLABELLED), "NOTHING_LABELLED", "no pixel of the 2 pictures"),
        (
            np.zeros((2, 24)),
            _labels(2),
            "LABEL_OUT_OF_RANGE",
            "a label is 2; the 2 parts have the labels 0 to 1",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(
    backend: GeneratorBackend, w: np.ndarray, labels: np.ndarray, reason: str, says: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        train(backend.network, w.astype(np.float32), labels, PARTS)
    assert caught.value.reason == reason
