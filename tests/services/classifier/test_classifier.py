from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from services.classifier import pool as pool_module
from services.classifier.classifier import Classifier, preprocess
from services.classifier.loading import load_classifier
from services.classifier.networks import BATCH, build
from services.classifier.pool import Pool
from tests.support.tiny_pack import CLASSIFIER, GENERATOR
from unitscope.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from unitscope.models.cards import WEIGHTS_FILE, InputSpec, ModelCard
from unitscope.models.registry import Registry

RNG = np.random.default_rng(8)
COUNT = BATCH + 5
IMAGES = RNG.integers(0, 256, (COUNT, 16, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def alone(classifier: Classifier) -> tuple[Any, Any]:
    """Features and logits of every picture read by itself."""
    readings = [classifier.read(image[None]) for image in IMAGES]
    features = np.concatenate([reading.features for reading in readings])
    return features, np.concatenate([reading.logits for reading in readings])


@settings(max_examples=12, deadline=None)
@given(order=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=COUNT))
def test_a_result_depends_on_its_own_picture_alone(
    classifier: Classifier, alone: tuple[Any, Any], order: list[int]
) -> None:
    """Bit for bit, whatever its neighbours, its place and the size of the request."""
    reading = classifier.read(IMAGES[order])
    np.testing.assert_array_equal(reading.features, alone[0][order])
    np.testing.assert_array_equal(reading.logits, alone[1][order])


def test_the_head_carries_features_to_the_very_logits(classifier: Classifier, alone: tuple[Any, Any]) -> None:
    np.testing.assert_array_equal(classifier.head(alone[0]), alone[1])


def test_features_have_the_declared_width_and_sign(classifier: Classifier, alone: tuple[Any, Any]) -> None:
    layer = classifier.card.layer()
    assert alone[0].shape == (COUNT, layer.units)
    assert layer.nonnegative
    assert (alone[0] >= 0).all()
    assert (alone[0] > 0).any()
    assert alone[1].shape == (COUNT, len(classifier.card.classes))


def test_features_of_a_layer_with_maps_are_their_means(classifier: Classifier) -> None:
    reading = classifier.read(IMAGES[:3], "maps", maps=True)
    assert reading.maps is not None
    assert reading.maps.ndim == 4
    assert reading.maps.shape[:2] == (3, classifier.card.layer("maps").units)
    np.testing.assert_allclose(reading.features, reading.maps.mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_maps_are_refused_where_there_are_none(classifier: Classifier) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        classifier.read(IMAGES[:1], maps=True)
    assert caught.value.reason == "LAYER_HAS_NO_MAPS"


def test_a_layer_without_head_is_refused(classifier: Classifier) -> None:
    units = classifier.card.layer("maps").units
    with pytest.raises(FailedPreconditionError, match="they can from: penultimate") as caught:
        classifier.head(np.zeros((1, units), np.float32), "maps")
    assert caught.value.reason == "LAYER_HAS_NO_HEAD"


def test_features_of_another_width_are_refused(classifier: Classifier) -> None:
    with pytest.raises(InvalidArgumentError, match=r"units: \(any, "):
        classifier.head(np.zeros((1, 7), np.float32))


def test_the_caller_can_give_up_between_batches(classifier: Classifier) -> None:
    calls = []

    def between() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        classifier.read(IMAGES, between=between)


def test_preprocessing_scales_resizes_and_normalises() -> None:
    spec = InputSpec(height=8, width=4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    images = torch.from_numpy(RNG.integers(0, 256, (2, 16, 8, 3), dtype=np.uint8))
    found = preprocess(images, spec)
    resized = functional.interpolate(
        images.permute(0, 3, 1, 2) / 255, size=(8, 4), mode="bilinear", antialias=True
    )
    mean, std = torch.tensor(spec.mean).view(3, 1, 1), torch.tensor(spec.std).view(3, 1, 1)
    torch.testing.assert_close(found, (resized - mean) / std)
    white = preprocess(torch.full((1, 8, 4, 3), 255, dtype=torch.uint8), spec)
    torch.testing.assert_close(white[0, :, 0, 0], torch.tensor([1.8, 3.2, 0.7]))


def test_the_centre_is_cut_out_of_the_scaled_image() -> None:
    spec = InputSpec(
        height=6, width=6, mean=(0, 0, 0), std=(1, 1, 1), shorter_edge=8, interpolation="bicubic"
    )
    images = torch.from_numpy(RNG.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8))
    scaled = functional.interpolate(
        images.permute(0, 3, 1, 2) / 255, size=(8, 12), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(preprocess(images, spec), scaled.clamp(0, 1)[:, :, 1:7, 3:9])
    upright = preprocess(images.transpose(1, 2), spec)
    torch.testing.assert_close(upright, preprocess(images, spec).transpose(2, 3))


def test_channels_come_in_the_declared_order() -> None:
    spec = InputSpec(height=4, width=4, mean=(0.1, 0.2, 0.3), std=(1, 1, 1), channels="bgr")
    red = torch.zeros((1, 4, 4, 3), dtype=torch.uint8)
    red[..., 0] = 255
    torch.testing.assert_close(preprocess(red, spec)[0, :, 0, 0], torch.tensor([-0.1, -0.2, 0.7]))


def test_changed_weights_are_noticed(registry: Registry, tmp_path: Any) -> None:
    card = registry.resolve(CLASSIFIER)
    folder = tmp_path / "tiny" / "classifier"
    folder.mkdir(parents=True)
    data = bytearray((registry.folder(CLASSIFIER) / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)
    card.save(folder)
    with pytest.raises(DataLossError, match="does not match the sha256"):
        load_classifier(card, Registry(tmp_path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": {"name": "oracle"}}, "UNKNOWN_ARCHITECTURE"),
        ({"architecture": {"name": "avatarnet", "units": 32}}, "INVALID_CARD"),
        ({"architecture": {"name": "torchvision", "model": "fcn_resnet50"}}, "UNKNOWN_ARCHITECTURE"),
        (
            {"architecture": {"name": "torchvision", "model": "shufflenet_v2_x0_5", "head": "x"}},
            "INVALID_CARD",
        ),
    ],
)
def test_cards_that_make_no_sense_are_refused(
    registry: Registry, change: dict[str, Any], reason: str
) -> None:
    card = registry.resolve(CLASSIFIER).model_copy(update=change)
    with pytest.raises(FailedPreconditionError) as caught:
        build(card)
    assert caught.value.reason == reason


def test_weights_that_do_not_fit_are_refused(registry: Registry) -> None:
    card = registry.resolve(CLASSIFIER)
    wider = card.model_copy(update={"architecture": {**card.architecture, "units": 40}})
    with pytest.raises(FailedPreconditionError) as caught:
        load_classifier(wider, registry)
    assert caught.value.reason == "INVALID_WEIGHTS"


def test_a_layer_whose_card_is_wrong_is_refused(registry: Registry) -> None:
    card: ModelCard = registry.resolve(CLASSIFIER)
    layer = card.layers[0].model_copy(update={"units": 31})
    classifier = load_classifier(card.model_copy(update={"layers": (layer,)}), registry)
    with pytest.raises(FailedPreconditionError, match="declares 31 units"):
        classifier.read(IMAGES[:1])


def test_the_pool_keeps_what_was_used_last(registry: Registry) -> None:
    pool = Pool(registry, capacity=1)
    first = pool.get(CLASSIFIER)
    assert pool.get(f"{CLASSIFIER}@sha256:{first.card.digest}") is first
    pool.get("mine/shuffle")
    assert pool.get(CLASSIFIER) is not first


def test_the_pool_keeps_within_its_memory(registry: Registry) -> None:
    sizes = {
        name: sum(entry.size for entry in registry.resolve(name).files.values())
        for name in (CLASSIFIER, "mine/shuffle")
    }
    both = Pool(registry, max_bytes=sum(sizes.values()))
    first, second = both.get(CLASSIFIER), both.get("mine/shuffle")
    assert both.get(CLASSIFIER) is first
    assert both.get("mine/shuffle") is second
    assert both.held_bytes == sum(sizes.values())
    one = Pool(registry, max_bytes=sum(sizes.values()) - 1)
    first = one.get(CLASSIFIER)
    one.get("mine/shuffle")
    assert one.held_bytes == sizes["mine/shuffle"]
    assert one.get(CLASSIFIER) is not first
    small = Pool(registry, max_bytes=1)
    assert small.get(CLASSIFIER).read(IMAGES[:1]).logits.shape == (1, 4), "a single one is always loaded"


def test_loading_one_classifier_holds_up_no_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, entered, release = Pool(registry), threading.Event(), threading.Event()
    load = pool_module.load_classifier
    loads: list[str] = []

    def slow(card: ModelCard, *arguments: Any) -> Classifier:
        loads.append(card.name)
        if card.name == "mine/shuffle":
            entered.set()
            assert release.wait(120)
        return load(card, *arguments)

    monkeypatch.setattr(pool_module, "load_classifier", slow)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(pool.get, "mine/shuffle") for _ in range(2)]
        assert entered.wait(120)
        assert threads.submit(pool.get, CLASSIFIER).result(120).card.name == CLASSIFIER
        assert not any(future.done() for future in waiting)
        release.set()
        assert waiting[0].result(120) is waiting[1].result(120)
    assert sorted(loads) == ["mine/shuffle", CLASSIFIER]


def test_the_pool_refuses_what_is_no_classifier(registry: Registry) -> None:
    pool = Pool(registry)
    with pytest.raises(InvalidArgumentError, match="is a generator"):
        pool.get(GENERATOR)
    with pytest.raises(NotFoundError, match="there are: mine/shuffle, tiny/classifier"):
        pool.get("tiny/nothing")


def test_several_layers_are_read_side_by_side_in_one_pass(classifier):
    both = classifier.read(IMAGES, "maps+penultimate")
    one, other = classifier.read(IMAGES, "maps"), classifier.read(IMAGES, "penultimate")
    assert (both.features == np.concatenate([one.features, other.features], axis=1)).all()
    assert (both.logits == one.logits).all()
    card = classifier.card
    assert card.layer("maps+penultimate").units == both.features.shape[1]
    assert not card.layer("maps+penultimate").has_head
    boundary = card.layer("maps").units
    assert card.unit_layer(boundary - 1, "maps+penultimate").name == "maps"
    assert card.unit_layer(boundary, "maps+penultimate").name == "penultimate"
    with pytest.raises(FailedPreconditionError, match="no feature maps"):
        classifier.read(IMAGES[:1], "maps+penultimate", maps=True)
    with pytest.raises(FailedPreconditionError, match="names a layer twice") as caught:
        classifier.read(IMAGES[:1], "maps+maps")
    assert caught.value.reason == "LAYER_NAMED_TWICE"
