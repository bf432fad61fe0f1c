from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from services.generator.backend import BATCH, GeneratorBackend
from services.generator.network import reduced
from tests.support.tiny_pack import CLASSES, tiny_spec
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard
from unitscope.models.registry import Registry

SPEC = tiny_spec()
RNG = np.random.default_rng(3)
W = RNG.standard_normal((2 * BATCH + 3, SPEC.w_dim)).astype(np.float32)
Z = RNG.standard_normal((2 * BATCH + 3, SPEC.z_dim)).astype(np.float32)
LABELS = np.arange(len(Z)) % len(CLASSES)


@pytest.fixture(scope="module")
def alone(backend: GeneratorBackend) -> np.ndarray[Any, Any]:
    """Every picture rendered by itself."""
    return np.concatenate([backend.render(row[None]) for row in W])


def test_pictures_differ_with_w_and_are_pictures(alone: np.ndarray[Any, Any]) -> None:
    assert alone.shape == (len(W), 16, 16, 3)
    assert alone.dtype == np.uint8
    assert len({hashlib.sha256(picture.tobytes()).digest() for picture in alone}) == len(W)


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, len(W) - 1), min_size=1, max_size=2 * BATCH + 1))
def test_a_picture_depends_on_its_own_w_alone(
    backend: GeneratorBackend, alone: np.ndarray[Any, Any], order: list[int]
) -> None:
    """Bit for bit, whatever its neighbours, its place and the size of the request."""
    np.testing.assert_array_equal(backend.render(W[order]), alone[order])


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, len(Z) - 1), min_size=1, max_size=2 * BATCH + 1))
def test_a_w_depends_on_its_own_z_alone(backend: GeneratorBackend, order: list[int]) -> None:
    whole = backend.map(Z, LABELS, 0.7)
    np.testing.assert_array_equal(backend.map(Z[order], LABELS[order], 0.7), whole[order])


def test_one_w_equals_the_same_w_for_every_layer(backend: GeneratorBackend) -> None:
    once = backend.render(W[:3])
    np.testing.assert_array_equal(backend.render(W[:3, None]), once)
    np.testing.assert_array_equal(backend.render(np.repeat(W[:3, None], SPEC.num_ws, 1)), once)


@pytest.mark.parametrize("reduce", [2, 4, 16])
def test_smaller_pictures_are_means_of_squares(backend: GeneratorBackend, reduce: int) -> None:
    side = SPEC.resolution // reduce
    small = backend.render(W, reduce)
    assert small.shape == (len(W), side, side, 3)
    squares = backend.render(W).astype(float).reshape(len(W), side, reduce, side, reduce, 3)
    assert np.abs(squares.mean(axis=(2, 4)) - small).max() <= 1
    np.testing.assert_array_equal(backend.render(W[5:6], reduce), small[5:6])


def test_smaller_pictures_are_means_of_what_is_seen() -> None:
    """Of clipped pixels: one far beyond white does not outshine its neighbours."""
    picture = torch.full((1, 3, 2, 2), -1.0)
    picture[0, :, 0, 0] = 9.0
    assert reduced(picture, 2).flatten().tolist() == [-0.5] * 3
    assert reduced(picture, 1) is picture


@pytest.mark.parametrize("reduce", [0, -1, 3, 5, 32])
def test_sizes_that_do_not_divide_the_picture_are_refused(backend: GeneratorBackend, reduce: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"reduce is {reduce}; it must be a divisor") as caught:
        backend.render(W[:1], reduce)
    assert caught.value.reason == "REDUCE_OUT_OF_RANGE"


def test_layers_of_w_plus_are_heard(backend: GeneratorBackend) -> None:
    several = np.repeat(W[:1, None], SPEC.num_ws, 1)
    several[:, -2] = W[1]
    assert (backend.render(several) != backend.render(W[:1])).any()


def test_truncation_goes_from_the_mean_of_the_class_to_w(backend: GeneratorBackend, pack: Path) -> None:
    means = load_file(pack / "tiny/generator" / WEIGHTS_FILE)["mapping.w_avg"]
    full = backend.map(Z[:4], np.arange(4), 1.0)
    np.testing.assert_array_equal(backend.map(Z[:4], np.arange(4), 0.0), means)
    half = backend.map(Z[:4], np.arange(4), np.full(4, 0.5, np.float32))
    np.testing.assert_allclose(half, (means + full) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("z", "classes", "truncation", "reason", "says"),
    [
        (Z[:1, :-1], LABELS[:1], 1.0, "WRONG_TENSOR_SHAPE", "(batch, 16) is needed"),
        (Z[0], LABELS[:16], 1.0, "WRONG_TENSOR_SHAPE", "(batch, 16) is needed"),
        (Z[:2], LABELS[:1], 1.0, "WRONG_TENSOR_SHAPE", "class has the shape (1,); (2,)"),
        (Z[:1] * np.nan, LABELS[:1], 1.0, "NON_FINITE_Z", "NaN"),
        (Z[:1], np.array([4]), 1.0, "CLASS_OUT_OF_RANGE", "class 4 does not exist"),
        (Z[:1], np.array([-1]), 1.0, "CLASS_OUT_OF_RANGE", "0 to 3"),
        (Z[:1], LABELS[:1], 1.5, "TRUNCATION_OUT_OF_RANGE", "[0, 1]"),
        (Z[:1], LABELS[:1], -0.1, "TRUNCATION_OUT_OF_RANGE", "-0.1"),
        (Z[:1], LABELS[:1], np.nan, "TRUNCATION_OUT_OF_RANGE", "nan"),
    ],
)
def test_bad_latents_are_refused(
    backend: GeneratorBackend, z: Any, classes: Any, truncation: Any, reason: str, says: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        backend.map(z, classes, truncation)
    assert caught.value.reason == reason
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("w", "reason"),
    [
        (W[:1, :-1], "WRONG_TENSOR_SHAPE"),
        (np.repeat(W[:1, None], 2, 1), "WRONG_TENSOR_SHAPE"),
        (W[0], "WRONG_TENSOR_SHAPE"),
        (W[:0], "WRONG_TENSOR_SHAPE"),
        (np.where(np.arange(len(W))[:, None] == 9, np.inf, W).astype(np.float32), "NON_FINITE_W"),
    ],
)
def test_bad_w_is_refused(backend: GeneratorBackend, w: Any, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        backend.render(w)
    assert caught.value.reason == reason


def test_weights_of_another_network_are_refused(pack: Path, card: ModelCard) -> None:
    folder = Registry(pack).folder("tiny/classifier")
    with pytest.raises(FailedPreconditionError, match="do not fit the spec") as caught:
        GeneratorBackend.load(card, folder)
    assert caught.value.reason == "INVALID_WEIGHTS"


def test_another_architecture_is_refused(pack: Path) -> None:
    card = Registry(pack).resolve("tiny/classifier")
    with pytest.raises(FailedPreconditionError, match="'avatarnet'"):
        GeneratorBackend.load(card, pack)
