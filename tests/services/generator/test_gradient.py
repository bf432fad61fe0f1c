"""The gradient through the picture: against finite differences, the plain form, and itself in other company."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.backend import BATCH, GeneratorBackend
from tests.services.generator.golden import golden_network
from tests.support.tiny_pack import tiny_spec
from unitscope.errors import InvalidArgumentError

SPEC = tiny_spec()
RNG = np.random.default_rng(8)
COUNT = BATCH + 3
W = RNG.standard_normal((COUNT, SPEC.w_dim)).astype(np.float32)
WS = RNG.standard_normal((COUNT, SPEC.num_ws, SPEC.w_dim)).astype(np.float32)
SIDE = SPEC.resolution
COTANGENT = RNG.standard_normal((COUNT, SIDE, SIDE, 3)).astype(np.float32)


def _losses(backend: GeneratorBackend, w: npt.NDArray[Any], cotangent: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The losses, linear in the picture, whose derivative by the picture is `cotangent`."""
    pictures = backend.render_float_tensors(torch.from_numpy(w.astype(np.float32)))
    return (pictures.permute(0, 2, 3, 1).double().numpy() * cotangent).sum(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def moving(backend: GeneratorBackend) -> GeneratorBackend:
    """The tiny generator, with a w that moves the Fourier features too, as trained ones do."""
    network = copy.deepcopy(backend.network)
    torch.nn.init.normal_(
        network.synthesis.input.affine.weight, std=0.2, generator=torch.Generator().manual_seed(4)
    )
    return GeneratorBackend(network)


@pytest.mark.parametrize("w", [W, WS], ids=["w", "w+"])
def test_it_is_the_slope_that_finite_differences_find(moving: GeneratorBackend, w: npt.NDArray[Any]) -> None:
    gradient = moving.vjp(w, COTANGENT)
    assert gradient.dtype == np.float32
    assert gradient.shape == w.shape
    step = 2e-4
    direction = np.random.default_rng(1).standard_normal(w.shape)
    ahead = _losses(moving, w + step * direction, COTANGENT)
    behind = _losses(moving, w - step * direction, COTANGENT)
    slope = (ahead - behind) / (2 * step)
    expected = (gradient.astype(float) * direction).reshape(len(w), -1).sum(axis=1)
    # Leaky ReLU bends between the two points, and float32 rounds.
    assert np.linalg.norm(slope - expected) < 0.03 * np.linalg.norm(expected)


@pytest.mark.parametrize("resolution", [16, 32])
def test_it_is_that_of_the_plain_form(resolution: int) -> None:
    """Of the published network's golden weights, whose plain form is differentiated by autograd alone."""
    network = golden_network(resolution)
    fast, plain = GeneratorBackend(network), GeneratorBackend(network, form="plain")
    rng = np.random.default_rng(0)
    w = rng.standard_normal((2, network.spec.w_dim)).astype(np.float32)
    cotangent = rng.standard_normal((2, resolution, resolution, 3)).astype(np.float32)
    expected = plain.vjp(w, cotangent)
    assert np.abs(fast.vjp(w, cotangent) - expected).max() < 2e-5 * np.abs(expected).max()


def test_of_one_w_for_all_layers_it_is_the_sum_over_the_layers(moving: GeneratorBackend) -> None:
    each = np.repeat(W[:, None], SPEC.num_ws, axis=1)
    several, once = moving.vjp(each, COTANGENT), moving.vjp(W, COTANGENT)
    np.testing.assert_allclose(several.sum(axis=1), once, atol=1e-5 * np.abs(once).max())
    np.testing.assert_array_equal(moving.vjp(W[:, None], COTANGENT)[:, 0], once)
    assert (np.abs(several).max(axis=(0, 2)) > 0).all(), "every layer is heard"


@settings(max_examples=15, deadline=None)
@given(order=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=COUNT))
def test_a_gradient_depends_on_its_own_row_alone(backend: GeneratorBackend, order: list[int]) -> None:
    """Bit for bit, whatever its neighbours, its place and the size of the request."""
    whole = backend.vjp(W, COTANGENT)
    np.testing.assert_array_equal(backend.vjp(W[order], COTANGENT[order]), whole[order])


def test_recomputed_layers_give_the_same_gradient(backend: GeneratorBackend) -> None:
    sparing = dataclasses.replace(backend.execution, recompute=True)
    other = GeneratorBackend(backend.network, execution=sparing)
    np.testing.assert_array_equal(other.vjp(WS, COTANGENT), backend.vjp(WS, COTANGENT))


def test_a_descent_along_it_reaches_a_picture(backend: GeneratorBackend) -> None:
    """What it is for: the picture of another w is approached by gradients of the squared distance alone."""
    target = backend.render_float_tensors(torch.from_numpy(W[:1])).permute(0, 2, 3, 1).numpy()
    w = W[1:2].copy()
    distances = []
    for _ in range(60):
        picture = backend.render_float_tensors(torch.from_numpy(w)).permute(0, 2, 3, 1).numpy()
        distances.append(float(np.square(picture - target).mean()))
        gradient = backend.vjp(w, 2 * (picture - target) / picture.size)
        w -= 0.3 * gradient / np.linalg.norm(gradient)
    assert min(distances) < 0.5 * distances[0]


def test_nothing_is_left_to_the_weights(backend: GeneratorBackend) -> None:
    backend.vjp(W[:1], COTANGENT[:1])
    assert all(not p.requires_grad and p.grad is None for p in backend.network.parameters())


@pytest.mark.parametrize(
    ("w", "cotangent", "reason", "says"),
    [
        (W[:2], COTANGENT[:1], "WRONG_TENSOR_SHAPE", "(2, 16, 16, 3) is needed"),
        (W[:1], COTANGENT[:1, :8], "WRONG_TENSOR_SHAPE", "cotangent has the shape (1, 8, 16, 3)"),
        (W[:1], COTANGENT[:1].transpose(0, 3, 1, 2), "WRONG_TENSOR_SHAPE", "(1, 16, 16, 3) is needed"),
        (W[:1], COTANGENT[:1] * np.inf, "NON_FINITE_COTANGENT", "row 0"),
        (W[:1] * np.nan, COTANGENT[:1], "NON_FINITE_W", "row 0"),
        (W[:1, :-1], COTANGENT[:1], "WRONG_TENSOR_SHAPE", "w has the shape"),
        (W[:0], COTANGENT[:0], "WRONG_TENSOR_SHAPE", "at least one row"),
    ],
)
def test_bad_requests_are_refused(
    backend: GeneratorBackend, w: Any, cotangent: Any, reason: str, says: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        backend.vjp(w, cotangent)
    assert caught.value.reason == reason
    assert says in caught.value.message
