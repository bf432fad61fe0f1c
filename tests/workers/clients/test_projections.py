"""Projections of hidden features through the client: one pass, the same pictures, clear words otherwise."""

import contextlib

import numpy as np
import pytest

from services.generator.backend import GeneratorBackend
from services.generator.v2_program import make_server
from tests.support.generator import in_process_generator
from tests.support.tiny_pack import GENERATOR, write_tiny_pack
from unitscope.errors import InvalidArgumentError, NotFoundError
from unitscope.models.registry import Registry
from unitscope.models.v2 import MAX_BATCH
from unitscope.settings import ModelSettings, ServerSettings
from workers.clients import GeneratorClient
from workers.clients.batches import MESSAGE_BYTES

RNG = np.random.default_rng(4)
W = RNG.standard_normal((MAX_BATCH + 3, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(write_tiny_pack(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def backend(registry):
    card = registry.resolve(GENERATOR)
    return GeneratorBackend.load(card, registry.verified(card))


@pytest.fixture(scope="module")
def client(registry):
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(in_process_generator(registry.root))
        client = GeneratorClient(running.address, running.card, 60)
        yield stack.enter_context(contextlib.closing(client))


@pytest.fixture
def layer(backend):
    return backend.spec.layers[1]


@pytest.fixture
def directions(layer):
    return RNG.standard_normal((3, layer.out_channels))


def test_long_batches_are_cut_and_joined(client, backend, layer, directions, monkeypatch):
    pictures, projected = backend.project(W, layer.name, directions.astype(np.float32))
    images, found = client.render_projected(W, layer.name, directions)
    np.testing.assert_array_equal(images, client.render(W))
    np.testing.assert_array_equal(images, pictures)
    np.testing.assert_array_equal(found, projected)
    sizes = []
    infer = GeneratorClient._infer
    monkeypatch.setattr(
        GeneratorClient,
        "_infer",
        lambda self, model, arrays, *more: (
            sizes.append(len(arrays["w"])) or infer(self, model, arrays, *more)
        ),
    )
    many = np.concatenate([directions] * 80)
    found = client.render_projected(W, layer.name, many)[1]
    np.testing.assert_allclose(found[:, 237:], projected, atol=1e-5)
    assert max(sizes) * many.shape[0] * layer.out_size**2 * 4 <= MESSAGE_BYTES
    assert sum(sizes) == len(W)


def test_means_and_smaller_pictures(client, backend, layer, directions):
    images, means = client.render_projected(W[:3], layer.name, directions, pool=True, reduce=2)
    assert images.shape == (3, 8, 8, 3)
    assert means.shape == (3, 3)
    projected = client.render_projected(W[:3], layer.name, directions)[1]
    np.testing.assert_allclose(means, projected.mean(axis=(2, 3)), rtol=1e-4, atol=1e-5)


def test_refusals_arrive_as_our_errors(client, layer, directions):
    cases = {
        "UNKNOWN_LAYER": ("L99", directions),
        "WRONG_TENSOR_SHAPE": (layer.name, directions[:, 1:]),
        "NON_FINITE_PROJECTIONS": (layer.name, directions * np.nan),
    }
    for reason, (name, given) in cases.items():
        with pytest.raises(InvalidArgumentError) as caught:
            client.render_projected(W[:1], name, given)
        assert caught.value.reason == reason


def test_a_generator_without_hidden_features_says_how_to_serve_them(registry, layer, directions):
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    card = registry.resolve(GENERATOR)
    server = make_server([card], ModelSettings(root=registry.root), settings)
    client = GeneratorClient(server.start(), card)
    try:
        with pytest.raises(NotFoundError, match="UNITSCOPE_GENERATOR_HIDDEN=true") as caught:
            client.render_projected(W[:1], layer.name, directions)
        assert caught.value.reason == "HIDDEN_NOT_SERVED"
    finally:
        client.close()
        server.stop()
