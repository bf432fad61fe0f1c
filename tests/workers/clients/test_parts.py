"""Pictures with labels through the clients: one pass, the same pictures, clear words where none is served."""

import contextlib

import numpy as np
import pytest

from services.generator.backend import GeneratorBackend
from services.generator.parts.store import load_parts
from tests.support.tiny_pack import GENERATOR, PARTS, PARTS_MODEL
from unitscope.errors import InvalidArgumentError, NotFoundError
from unitscope.models.v2 import MAX_BATCH
from workers.clients import ClassifierClient, GeneratorClient, render_and_read

RNG = np.random.default_rng(3)
W = RNG.standard_normal((MAX_BATCH + 3, 24)).astype(np.float32)


@pytest.fixture
def parts(stack):
    return stack.registry.resolve(PARTS_MODEL, "parts")


@pytest.fixture
def generator(stack):
    client = GeneratorClient(stack.endpoints.generator, stack.registry.resolve(GENERATOR), 60)
    with contextlib.closing(client):
        yield client


@pytest.fixture
def classifier(stack):
    with contextlib.closing(ClassifierClient(stack.endpoints.classifier, "tiny/classifier", "")) as client:
        yield client


@pytest.fixture
def expected(stack, parts):
    registry = stack.registry
    card = registry.resolve(GENERATOR)
    backend = GeneratorBackend.load(card, registry.verified(card))
    return backend.render_parts(W, load_parts(parts, registry.verified(parts), card))


def test_long_batches_are_cut_and_joined(generator, parts, expected):
    images, labels = generator.render_parts(W, parts)
    assert (images == expected[0]).all()
    assert (images == generator.render(W)).all()
    assert (labels == expected[1]).all()
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == set(range(len(PARTS)))


def test_a_request_does_not_wait(generator, parts, expected):
    pending = [generator.render_parts_async(W[start : start + 3], parts) for start in (0, 3, 6)]
    for start, answer in zip((0, 3, 6), pending, strict=True):
        images, labels = answer.result()
        assert (images == expected[0][start : start + 3]).all()
        assert (labels == expected[1][start : start + 3]).all()


def test_the_pipeline_brings_labels_in_order(generator, classifier, parts, expected):
    batches = [W[start : start + 7] for start in range(0, 42, 7)]
    beats = []
    readings = list(render_and_read(generator, classifier, iter(batches), lambda: beats.append(1), parts))
    assert len(readings) == len(beats) == 6
    assert (np.concatenate([reading.images for reading in readings]) == expected[0][:42]).all()
    assert (np.concatenate([reading.labels for reading in readings]) == expected[1][:42]).all()
    plain = list(render_and_read(generator, classifier, iter(batches), lambda: None))
    for with_parts, without in zip(readings, plain, strict=True):
        assert without.labels is None
        assert (with_parts.features == without.features).all()
        assert (with_parts.logits == without.logits).all()


def test_a_model_that_is_not_served_yet_says_what_to_do(generator, parts):
    new = parts.model_copy(update={"name": "mine/parts", "classes": (*PARTS[:-1], "noon")})
    with pytest.raises(NotFoundError, match="does not serve the parts model mine/parts") as caught:
        generator.render_parts(W[:2], new)
    assert caught.value.reason == "PARTS_MODEL_NOT_SERVED"
    assert "restart the generator" in caught.value.message
    assert generator.render(W[:2]).shape == (2, 16, 16, 3)


def test_refusals_of_latents_stay_what_they_are(generator, parts):
    with pytest.raises(InvalidArgumentError) as caught:
        generator.render_parts(np.full((1, 24), np.nan, np.float32), parts)
    assert caught.value.reason == "NON_FINITE_W"
