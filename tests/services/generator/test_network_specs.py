"""Specs: the formulas give the published layers, and a spec survives JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.design import stem_spec, superres_spec
from services.generator.specs import NetworkSpec, full_padding
from tests.services.generator.golden import (
    RESOLUTIONS,
    avatars_spec,
    golden_spec,
    published_spec,
)
from unitscope.errors import InvalidArgumentError


def tiny_spec(resolution: int) -> NetworkSpec:
    """The golden networks by our formulas."""
    spec = stem_spec(16, 10, 512, 16, w_dim=64, num_classes=10, embed_classes=1000)
    while spec.resolution < resolution:
        spec = superres_spec(spec, channel_base=512, channel_max=16)
    return spec


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_formulas_give_the_published_layers(resolution: int) -> None:
    ours, published = tiny_spec(resolution).to_dict(), golden_spec(resolution).to_dict()
    for layer, expected in zip(ours.pop("layers"), published.pop("layers"), strict=True):
        assert layer.pop("padding") == expected.pop("padding")
        assert layer == pytest.approx(expected)
    assert ours == published
    assert tiny_spec(resolution).num_ws == published_spec(resolution)["num_ws"]


def test_a_number_is_missing_from_the_names_at_the_first_joint() -> None:
    names = [layer.name for layer in tiny_spec(32).layers]
    assert names[7:9] == ["L7_36_16", "L9_36_16"]


def test_the_published_256_pixel_network_has_32_ws_and_its_layer_names() -> None:
    spec = stem_spec()
    for _ in range(4):
        spec = superres_spec(spec)
    names = [layer.name for layer in spec.layers]
    assert spec.num_ws == 32
    assert names[20] == "L21_148_861"
    assert names[-7:] == [
        "L25_276_512", "L26_276_431", "L27_276_362", "L28_276_304", "L29_276_256",
        "L30_256_256", "L31_256_3",
    ]  # fmt: skip


def test_avatars_configuration() -> None:
    layers = avatars_spec().layers
    assert [(layer.out_size, layer.out_channels) for layer in layers] == [
        (20, 128), (36, 84), (36, 56), (68, 37), (68, 24), (68, 16), (64, 16), (64, 3)
    ]  # fmt: skip
    assert min(layer.out_channels for layer in avatars_spec(channel_min=32).layers[:-1]) == 32


@given(
    resolution=st.sampled_from([8, 16, 32, 64, 128]),
    num_layers=st.integers(3, 12),
    channel_max=st.integers(1, 64),
    margin=st.integers(0, 12),
    first_cutoff=st.floats(0.5, 4.0),
    stopband_ratio=st.floats(1.1, 3.0),
)
@settings(max_examples=40, deadline=None)
def test_every_design_is_consistent_and_survives_json(
    resolution: int,
    num_layers: int,
    channel_max: int,
    margin: int,
    first_cutoff: float,
    stopband_ratio: float,
) -> None:
    spec = stem_spec(
        resolution, num_layers, 512, channel_max, margin, first_cutoff,
        first_cutoff * stopband_ratio,
    )  # fmt: skip
    # Building a NetworkSpec checks that sizes, channels and padding of all layers fit.
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    grown = superres_spec(spec, 5, channel_base=512, channel_max=channel_max, margin=margin)
    assert grown.resolution == 2 * resolution


def test_padding_of_a_layer_that_keeps_its_size() -> None:
    # (36 - 1) * 2 + 1 - 38 * 2 + 12 + 12 - 2 = 17 samples, 9 of them before.
    assert full_padding(36, 36, 3, 2, 12, 2, 12) == (9, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0; it must be at least 1"),
        ({"embed_classes": 3}, "embed_classes is 3; it must be at least num_classes, 10"),
        ({"resolution": 17}, "it must write 3 of size 17"),
        ({"layers": ()}, "the last layer must be the one to colours"),
    ],
)
def test_an_inconsistent_spec_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        dataclasses.replace(golden_spec(16), **change)
    assert caught.value.reason == "BAD_NETWORK_SPEC"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": [0, 0, 0, 0]}, r"padding \[0, 0, 0, 0\] of layer L1_36_16 gives 27 samples"),
        ({"in_channels": 7}, "reads 7 channels of size 36"),
        ({"name": "L0_36_16"}, "is not a new, plain identifier"),
        ({"name": "a.b"}, "is not a new, plain identifier"),
        ({"down_factor": 0}, "below 1"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_inconsistent_layer_is_refused(change: dict[str, Any], message: str) -> None:
    values = golden_spec(16).to_dict()
    values["layers"][1] |= change
    with pytest.raises(InvalidArgumentError, match=message):
        NetworkSpec.from_dict(values)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"resolution": 48}, "resolution"),
        ({"num_layers": 2}, "num_layers"),
        ({"first_cutoff": 0.0}, "first_cutoff"),
        ({"first_cutoff": 9.0, "first_stopband": 10.0}, "first_cutoff"),
        ({"channel_min": 2000}, "channel_min"),
    ],
)
def test_a_design_without_meaning_is_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        stem_spec(**arguments)
    assert caught.value.reason == "BAD_NETWORK_DESIGN"
    assert caught.value.violations[0][0] == field
