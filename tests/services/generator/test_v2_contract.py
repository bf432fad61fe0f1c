"""What both servers promise over a real channel: the real Triton, and our own of the same protocol."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as v2
from tritonclient.utils import InferenceServerException

from services.generator.backend import GeneratorBackend
from services.generator.parts.network import PartsNetwork
from services.generator.v2_server import NAME
from tests.support.generator import RunningGenerator
from unitscope.models.cards import ModelCard
from unitscope.models.v2 import (
    MAX_BATCH,
    gradient_model,
    mapping_model,
    parts_model,
    synthesis_model,
)

RNG = np.random.default_rng(5)
Z = RNG.standard_normal((20, 16)).astype(np.float32)
LABELS = np.arange(20) % 4
W = RNG.standard_normal((20, 24)).astype(np.float32)

Infer = Callable[[RunningGenerator], Any]


def test_results_equal_those_of_the_backend_bit_for_bit(
    running: RunningGenerator, backend: GeneratorBackend
) -> None:
    psi = np.linspace(0, 1, len(Z)).astype(np.float32)
    w = running.map(Z, LABELS, psi)
    np.testing.assert_array_equal(w, backend.map(Z, LABELS, psi))
    np.testing.assert_array_equal(running.render(w), backend.render(w))


def test_w_plus_is_rendered(running: RunningGenerator, backend: GeneratorBackend) -> None:
    w = RNG.standard_normal((3, backend.spec.num_ws, 24)).astype(np.float32)
    np.testing.assert_array_equal(running.render(w), backend.render(w))


def test_parts_come_with_the_very_picture_of_synthesis(
    running: RunningGenerator, backend: GeneratorBackend, parts_card: ModelCard, parts_network: PartsNetwork
) -> None:
    each = np.repeat(W[:3, None], backend.spec.num_ws, axis=1)
    for w in (W, W[:1], each):
        pictures, labels = running.render_parts(w, parts_card)
        expected = backend.render_parts(w, parts_network)
        np.testing.assert_array_equal(pictures, running.render(w))
        np.testing.assert_array_equal(pictures, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
    assert len(np.unique(running.render_parts(W, parts_card)[1])) == 4


def test_parts_of_concurrent_clients_are_those_of_lone_ones(
    running: RunningGenerator, backend: GeneratorBackend, parts_card: ModelCard, parts_network: PartsNetwork
) -> None:
    """Among others that ask for pictures alone, and one in six who asks badly."""
    pictures, labels = backend.render_parts(W, parts_network)
    rng = np.random.default_rng(11)
    requests = [np.sort(rng.choice(len(W), size=rng.integers(1, 9))) for _ in range(36)]

    def ask(index: int) -> bool:
        rows = requests[index]
        if index % 6 == 1:
            with pytest.raises(InferenceServerException, match="NON_FINITE_W"):
                running.render_parts(W[rows] * np.nan, parts_card)
            return True
        if index % 3 == 0:
            return bool((running.render(W[rows]) == pictures[rows]).all())
        got = running.render_parts(W[rows], parts_card)
        return bool((got[0] == pictures[rows]).all() and (got[1] == labels[rows]).all())

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(len(requests))))


def test_one_output_or_all_can_be_asked_for(
    running: RunningGenerator, backend: GeneratorBackend, parts_card: ModelCard, parts_network: PartsNetwork
) -> None:
    model, rows = parts_model(running.card, parts_card), np.ascontiguousarray(W[:3, None])
    pictures, labels = backend.render_parts(W[:3], parts_network)
    np.testing.assert_array_equal(running.infer(model, "labels", w=rows), labels)
    np.testing.assert_array_equal(running.infer(model, "image", w=rows), pictures)
    assert [array.shape for array in running.infer_all(model, (), w=rows)] == [(3, 16, 16, 3), (3, 16, 16)]
    with pytest.raises(InferenceServerException, match="nothing") as caught:
        running.infer(model, "nothing", w=rows)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_gradients_equal_those_of_the_backend_bit_for_bit(
    running: RunningGenerator, backend: GeneratorBackend
) -> None:
    each = RNG.standard_normal((5, backend.spec.num_ws, 24)).astype(np.float32)
    for w in (W, W[:1], each):
        cotangent = RNG.standard_normal((len(w), 16, 16, 3)).astype(np.float32)
        gradient = running.vjp(w, cotangent)
        np.testing.assert_array_equal(gradient, backend.vjp(w, cotangent))
        assert gradient.any()


def test_gradients_of_concurrent_clients_are_those_of_lone_ones(
    running: RunningGenerator, backend: GeneratorBackend
) -> None:
    """Among others who ask badly, or send w+ with one w."""
    cotangent = np.random.default_rng(12).standard_normal((len(W), 16, 16, 3)).astype(np.float32)
    expected = backend.vjp(W, cotangent)
    each = backend.vjp(np.repeat(W[:, None], backend.spec.num_ws, 1), cotangent)
    rng = np.random.default_rng(13)
    requests = [np.sort(rng.choice(len(W), size=rng.integers(1, 6))) for _ in range(24)]

    def ask(index: int) -> bool:
        rows = requests[index]
        if index % 6 == 1:
            with pytest.raises(InferenceServerException, match="NON_FINITE_COTANGENT"):
                running.vjp(W[rows], cotangent[rows] * np.nan)
            return True
        if index % 3 == 0:
            w = np.repeat(W[rows, None], backend.spec.num_ws, 1)
            return bool((running.vjp(w, cotangent[rows]) == each[rows]).all())
        return bool((running.vjp(W[rows], cotangent[rows]) == expected[rows]).all())

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(len(requests))))


def test_pictures_come_in_floating_point_too(running: RunningGenerator, backend: GeneratorBackend) -> None:
    model, rows = synthesis_model(running.card), np.ascontiguousarray(W[:3, None])
    image, exact = running.infer_all(model, ("image", "float_image"), w=rows)
    assert exact.dtype == np.float32
    np.testing.assert_array_equal(np.clip(np.round((exact + 1) * 127.5), 0, 255), image)
    np.testing.assert_array_equal(image, backend.render(W[:3]))


def test_smaller_pictures_are_means_of_squares(running: RunningGenerator, backend: GeneratorBackend) -> None:
    model, rows = synthesis_model(running.card), np.ascontiguousarray(W[:9, None])
    exact = np.clip(running.infer(model, "float_image", w=rows), -1, 1)
    for reduce in (1, 2, 4, 16):
        asked = {"reduce": reduce}
        image, small = running.infer_all(model, ("image", "float_image"), asked, w=rows)
        side = 16 // reduce
        assert image.shape == (9, side, side, 3)
        np.testing.assert_array_equal(image, backend.render(W[:9], reduce))
        squares = exact.reshape(9, side, reduce, side, reduce, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(np.clip(small, -1, 1), squares, atol=1e-6)


def test_pictures_of_several_sizes_are_asked_for_at_once(
    running: RunningGenerator, backend: GeneratorBackend
) -> None:
    """A server that joins requests keeps their sizes apart."""
    model = synthesis_model(running.card)
    expected = {reduce: backend.render(W, reduce) for reduce in (1, 2, 4)}

    def ask(index: int) -> bool:
        reduce, row = (1, 2, 4)[index % 3], index % len(W)
        (image,) = running.infer_all(model, ("image",), {"reduce": reduce}, w=W[row : row + 1, None])
        return bool((image == expected[reduce][row : row + 1]).all())

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(36)))


@pytest.mark.parametrize("reduce", [0, 3, -2, 32, "2", True])
def test_sizes_that_do_not_divide_the_picture_are_refused(running: RunningGenerator, reduce: Any) -> None:
    model = synthesis_model(running.card)
    with pytest.raises(InferenceServerException, match="REDUCE_OUT_OF_RANGE") as caught:
        running.infer_all(model, ("image",), {"reduce": reduce}, w=W[:1, None])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_concurrent_clients_get_what_lone_ones_get(
    running: RunningGenerator, backend: GeneratorBackend
) -> None:
    expected = backend.render(W)
    requests = [np.sort(RNG.choice(len(W), size=RNG.integers(1, 9))) for _ in range(48)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda rows: running.render(W[rows]), requests))
    for rows, pictures in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(pictures, expected[rows])


def test_the_server_says_what_it_is(running: RunningGenerator) -> None:
    client = v2.InferenceServerClient(running.address)
    name = client.get_server_metadata().name
    assert name == (NAME if running.process is None else "triton")
    assert client.is_server_live()
    assert client.is_model_ready(synthesis_model(running.card))
    assert not client.is_model_ready("nothing")
    metadata = client.get_model_metadata(mapping_model(running.card))
    shapes = {tensor.name: list(tensor.shape) for tensor in metadata.inputs}
    assert shapes == {"z": [-1, 16], "class": [-1, 1], "truncation": [-1, 1]}
    metadata = client.get_model_metadata(gradient_model(running.card))
    shapes = {tensor.name: list(tensor.shape) for tensor in (*metadata.inputs, *metadata.outputs)}
    assert shapes == {"w": [-1, -1, 24], "cotangent": [-1, 16, 16, 3], "w_cotangent": [-1, -1, 24]}
    client.close()


BAD: dict[str, tuple[Infer, str]] = {
    "w too wide": (lambda s: s.render(np.zeros((1, 25), np.float32)), "24"),
    "w of three layers": (
        lambda s: s.render(np.zeros((1, 3, 24), np.float32)),
        "WRONG_TENSOR_SHAPE: w has the shape (1, 3, 24); (batch, 1 or 5, 24) is needed",
    ),
    "w of integers": (lambda s: s.render(np.zeros((1, 24), np.int64)), "FP32"),
    "w with NaN": (
        lambda s: s.render(np.full((2, 24), np.nan, np.float32)),
        "NON_FINITE_W: w holds NaN or infinity, first in row 0",
    ),
    "w with infinity in one row": (
        lambda s: s.render(np.where(np.arange(3)[:, None] == 2, -np.inf, W[:3]).astype(np.float32)),
        "NON_FINITE_W: w holds NaN or infinity, first in row 2",
    ),
    "ten thousand rows": (lambda s: s.render(np.zeros((10_000, 24), np.float32)), "64"),
    "ten thousand z": (lambda s: s.map(np.zeros((10_000, 16), np.float32), np.zeros(10_000, int), 1), "64"),
    "too many rows": (
        lambda s: s.render(np.zeros((MAX_BATCH + 1, 24), np.float32)),
        str(MAX_BATCH),
    ),
    "no rows": (lambda s: s.render(np.zeros((0, 24), np.float32)), ""),
    "z too narrow": (lambda s: s.map(Z[:1, :9], LABELS[:1], 1), "16"),
    "z infinite": (lambda s: s.map(Z[:1] * np.inf, LABELS[:1], 1), "NON_FINITE_Z: z holds NaN"),
    "class too high": (lambda s: s.map(Z[:1], np.array([4]), 1), "CLASS_OUT_OF_RANGE: class 4"),
    "class below zero": (lambda s: s.map(Z[:1], np.array([-1]), 1), "CLASS_OUT_OF_RANGE"),
    "truncation of 2": (
        lambda s: s.map(Z[:1], LABELS[:1], 2),
        "TRUNCATION_OUT_OF_RANGE: truncation is 2; it must lie in [0, 1]",
    ),
    "truncation NaN": (lambda s: s.map(Z[:1], LABELS[:1], np.nan), "TRUNCATION_OUT_OF_RANGE"),
    "rows that do not match": (lambda s: s.map(Z[:2], LABELS[:1], 1), ""),
    "cotangent of another size": (
        lambda s: s.vjp(W[:1], np.zeros((1, 8, 8, 3), np.float32)),
        "",
    ),
    "cotangents that do not match": (lambda s: s.vjp(W[:2], np.zeros((1, 16, 16, 3), np.float32)), ""),
    "cotangent with NaN": (
        lambda s: s.vjp(W[:1], np.full((1, 16, 16, 3), np.nan, np.float32)),
        "NON_FINITE_COTANGENT: cotangent holds NaN or infinity, first in row 0",
    ),
    "gradient at w with NaN": (
        lambda s: s.vjp(W[:1] * np.nan, np.zeros((1, 16, 16, 3), np.float32)),
        "NON_FINITE_W",
    ),
    "an input missing": (lambda s: s.infer(mapping_model(s.card), "w", z=Z[:1]), "class"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_refused_and_the_server_lives(
    running: RunningGenerator, backend: GeneratorBackend, case: str
) -> None:
    infer, says = BAD[case]
    with pytest.raises(InferenceServerException) as caught:
        infer(running)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert says in caught.value.message()
    np.testing.assert_array_equal(running.render(W[:2]), backend.render(W[:2]))


def test_an_unknown_model_is_not_found(running: RunningGenerator) -> None:
    with pytest.raises(InferenceServerException, match="nothing") as caught:
        running.infer("nothing", "image", w=W[:1, None])
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_a_bad_request_fails_alone(running: RunningGenerator, backend: GeneratorBackend) -> None:
    """Requests that a server joins to one batch are judged one by one."""
    bad = np.full((1, 24), np.nan, np.float32)

    def ask(index: int) -> str:
        try:
            pictures = running.render(bad if index % 3 == 0 else W[index : index + 1])
        except InferenceServerException as error:
            return str(error.message()).partition(":")[0]
        np.testing.assert_array_equal(pictures, backend.render(W[index : index + 1]))
        return "rendered"

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(18)))
    assert answers == ["NON_FINITE_W" if i % 3 == 0 else "rendered" for i in range(18)]
