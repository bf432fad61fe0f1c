"""Hidden features reduced by given projections: the same from the backend and from both servers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import tritonclient.grpc as v2
from tritonclient.utils import InferenceServerException

from services.generator.backend import GeneratorBackend
from services.generator.hidden import check_projections
from tests.support.generator import RunningGenerator
from unitscope.errors import InvalidArgumentError
from unitscope.models.v2 import MAX_BATCH, MAX_PROJECTED_BYTES, MAX_PROJECTIONS, hidden_model

RNG = np.random.default_rng(21)
W = RNG.standard_normal((11, 24)).astype(np.float32)


def _directions(backend: GeneratorBackend, layer: int, count: int) -> npt.NDArray[np.float32]:
    channels = backend.spec.layers[layer].out_channels
    return np.random.default_rng(layer).standard_normal((count, channels)).astype(np.float32)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_projections_are_weighted_sums_of_the_features_of_the_layer(
    backend: GeneratorBackend, layer: int
) -> None:
    name, directions = backend.spec.layers[layer].name, _directions(backend, layer, 3)
    pictures, features = backend.features(W, [name])
    rendered, projected = backend.project(W, name, directions)
    np.testing.assert_array_equal(rendered, pictures)
    np.testing.assert_array_equal(rendered, backend.render(W))
    expected = np.einsum("kc,bchw->bkhw", directions.astype(float), features[name].astype(float))
    scale = np.abs(expected).max()
    assert projected.dtype == np.float32
    np.testing.assert_allclose(projected, expected, atol=1e-5 * scale)
    _, means = backend.project(W, name, directions, pool=True)
    assert means.shape == (len(W), 3, 1, 1)
    np.testing.assert_allclose(means[..., 0, 0], expected.mean(axis=(2, 3)), atol=1e-5 * scale)


def test_a_row_does_not_depend_on_the_others(backend: GeneratorBackend) -> None:
    name, directions = backend.spec.layers[1].name, _directions(backend, 1, 5)
    expected = backend.project(W, name, directions)[1]
    for rows in ([10], [3, 4], [9, 0, 5]):
        np.testing.assert_array_equal(backend.project(W[rows], name, directions)[1], expected[rows])


def test_servers_answer_what_the_backend_says(running: RunningGenerator, backend: GeneratorBackend) -> None:
    each = np.repeat(W[:3, None], backend.spec.num_ws, axis=1)
    for place, layer in enumerate(backend.spec.layers):
        directions = _directions(backend, place, 1 + place)
        for w, pool, reduce in ((W, False, 1), (W[:1], True, 4), (each, False, 2)):
            expected = backend.project(w, layer.name, directions, pool, reduce)
            found = running.project(w, directions, layer=layer.name, pool=pool, reduce=reduce)
            for got, wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(running.project(W, directions, layer=layer.name)[0], running.render(W))


def test_requests_keep_their_own_projections(running: RunningGenerator, backend: GeneratorBackend) -> None:
    """Clients that ask at once for other layers and directions, and some who ask badly."""
    cases = []
    for index in range(20):
        place = index % len(backend.spec.layers)
        name, rows = backend.spec.layers[place].name, W[index % len(W) :][:2]
        directions = _directions(backend, place, 1 + index % 3) * (index + 1)
        cases.append((name, rows, directions, backend.project(rows, name, directions)[1]))

    def ask(index: int) -> bool:
        name, rows, directions, expected = cases[index]
        if index % 5 == 4:
            with pytest.raises(InferenceServerException, match="NON_FINITE_PROJECTIONS"):
                running.project(rows, directions * np.nan, layer=name)
            return True
        return bool((running.project(rows, directions, layer=name)[1] == expected).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(len(cases))))


Ask = Callable[[RunningGenerator, str, int], Any]


def _ones(rows: int, columns: int) -> npt.NDArray[np.float32]:
    return np.ones((rows, columns), np.float32)


BAD: dict[str, tuple[Ask, str]] = {
    "no layer": (lambda s, _, c: s.project(W[:1], _ones(1, c)), "UNKNOWN_LAYER: the layer '' does not exist"),
    "an unknown layer": (
        lambda s, _, c: s.project(W[:1], _ones(1, c), layer="L99"),
        "UNKNOWN_LAYER: the layer 'L99' does not exist; the generator has: ",
    ),
    "a layer by number": (lambda s, _, c: s.project(W[:1], _ones(1, c), layer=1), "UNKNOWN_LAYER"),
    "too many projections": (
        lambda s, n, c: s.project(W[:1], _ones(MAX_PROJECTIONS + 1, c), layer=n),
        "WRONG_TENSOR_SHAPE: projections has the shape (257,",
    ),
    "another width": (lambda s, n, c: s.project(W[:1], _ones(2, c + 1), layer=n), "WRONG_TENSOR_SHAPE"),
    "a vector": (lambda s, n, c: s.project(W[:1], np.ones(c, np.float32), layer=n), "projections"),
    "no projections": (lambda s, n, c: s.project(W[:1], _ones(0, c), layer=n), ""),
    "an infinite projection": (
        lambda s, n, c: s.project(W[:1], np.full((1, c), np.inf, np.float32), layer=n),
        "NON_FINITE_PROJECTIONS: projections holds NaN or infinity, first in row 0",
    ),
    "projections of integers": (lambda s, n, c: s.project(W[:1], np.ones((1, c), np.int64), layer=n), "FP32"),
    "a pool that is none": (
        lambda s, n, c: s.project(W[:1], _ones(1, c), layer=n, pool="yes"),
        "INVALID_POOL: pool must be true or false",
    ),
    "a w with infinity": (
        lambda s, n, c: s.project(W[:1] * np.float32(np.inf), _ones(1, c), layer=n),
        "NON_FINITE_W",
    ),
    "a w too wide": (lambda s, n, c: s.project(_ones(1, 25), _ones(1, c), layer=n), "24"),
    "too many rows": (
        lambda s, n, c: s.project(_ones(MAX_BATCH + 1, 24), _ones(1, c), layer=n),
        "BATCH_OUT_OF_RANGE: w has 65 rows; 1 to 64 are allowed",
    ),
    "no rows": (lambda s, n, c: s.project(_ones(0, 24), _ones(1, c), layer=n), ""),
    "a size that does not divide": (
        lambda s, n, c: s.project(W[:1], _ones(1, c), layer=n, reduce=3),
        "REDUCE_OUT_OF_RANGE",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_projections_are_refused(running: RunningGenerator, backend: GeneratorBackend, case: str) -> None:
    layer = backend.spec.layers[0]
    ask, says = BAD[case]
    with pytest.raises(InferenceServerException) as caught:
        ask(running, layer.name, layer.out_channels)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT", caught.value.message()
    assert says in caught.value.message()
    found = running.project(W[:2], _ones(1, layer.out_channels), layer=layer.name)
    np.testing.assert_array_equal(found[0], backend.render(W[:2]))


def test_more_than_one_answer_holds_is_refused(backend: GeneratorBackend) -> None:
    spec = backend.spec
    layer = max(spec.layers, key=lambda layer: layer.out_size)
    directions = torch.ones(MAX_PROJECTIONS, layer.out_channels)
    fits = MAX_PROJECTED_BYTES // (4 * MAX_PROJECTIONS * layer.out_size**2)
    check_projections(spec, layer.name, directions, fits, False)
    with pytest.raises(
        InvalidArgumentError, match="ask for fewer pictures or projections, or pool"
    ) as caught:
        check_projections(spec, layer.name, directions, fits + 1, False)
    assert caught.value.reason == "TOO_MANY_FEATURES"
    check_projections(spec, layer.name, directions, fits + 1, True)


def test_the_model_says_what_it_takes(running: RunningGenerator) -> None:
    client = v2.InferenceServerClient(running.address)
    metadata = client.get_model_metadata(hidden_model(running.card))
    client.close()
    shapes = {tensor.name: list(tensor.shape) for tensor in (*metadata.inputs, *metadata.outputs)}
    assert shapes == {
        "w": [-1, -1, 24],
        "projections": [-1, -1],
        "image": [-1, 16, 16, 3],
        "projected": [-1, -1, -1, -1],
    }
