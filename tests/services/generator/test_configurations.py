"""The official configurations: the table of the published networks, row by row."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from services.generator.configurations import (
    OFFICIAL,
    buffer_names,
    convolution_macs,
    float32_bytes,
    official_name,
    official_spec,
    parameter_count,
    tensor_shapes,
)
from services.generator.layers import SynthesisLayer
from services.generator.network import StyleGanXl
from services.generator.specs import NetworkSpec
from tests.services.generator.golden import RESOLUTIONS, golden_spec, golden_weights
from tests.support.tiny_pack import tiny_spec
from unitscope.errors import InvalidArgumentError

# Layers, num_ws, parameters in millions, GB in float32 (None: not published), GMAC of convolutions:
# counted once on the official network.
TABLE: dict[str, tuple[int, int, float, float | None, int]] = {
    "imagenet16": (11, 12, 101.88, 0.41, 136),
    "imagenet32": (16, 17, 151.70, 0.61, 274),
    "imagenet64": (21, 22, 201.52, 0.81, 623),
    "imagenet128": (26, 27, 225.85, 0.91, 1133),
    "imagenet256": (31, 32, 233.38, 0.94, 1593),
    "imagenet512": (36, 37, 235.5, None, 2016),
    "imagenet1024": (41, 42, 236.1, None, 2423),
}
LAYERS_256 = (
    *(f"L{i}_36_1024" for i in (*range(8), 9)),
    *(f"L{i}_52_1024" for i in range(10, 15)),
    *(f"L{i}_84_1024" for i in range(15, 20)),
    "L20_148_1024", "L21_148_861", "L22_148_724", "L23_148_609", "L24_148_609",
    "L25_276_512", "L26_276_431", "L27_276_362", "L28_276_304", "L29_276_256",
    "L30_256_256", "L31_256_3",
)  # fmt: skip
UP_BY_FOUR_256 = {"L10_52_1024", "L15_84_1024", "L20_148_1024", "L25_276_512"}


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets networks be built on the meta device: resampling matrices, made of numbers, are left out."""
    monkeypatch.setattr(SynthesisLayer, "_matrices", lambda self: {})


def meta_network(spec: NetworkSpec) -> StyleGanXl:
    with torch.device("meta"):
        return StyleGanXl(spec)


def test_every_row_of_the_table_is_a_configuration() -> None:
    assert tuple(TABLE) == OFFICIAL


@pytest.mark.parametrize("name", OFFICIAL)
def test_counts_equal_the_published_table(name: str) -> None:
    layers, num_ws, millions, gigabytes, gigamacs = TABLE[name]
    spec = official_spec(name)
    assert (len(spec.layers), spec.num_ws) == (layers, num_ws)
    assert round(parameter_count(spec) / 1e6, len(str(millions).split(".")[1])) == millions
    assert gigabytes is None or round(float32_bytes(spec) / 1e9, 2) == gigabytes
    assert round(convolution_macs(spec) / 1e9) == gigamacs
    assert (spec.z_dim, spec.w_dim, spec.num_classes, spec.embed_dim) == (64, 512, 1000, 320)


@pytest.mark.usefixtures("on_meta")
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_real_network_has_these_tensors(name: str) -> None:
    spec = official_spec(name)
    network = meta_network(spec)
    state = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert dict(tensor_shapes(spec)) == state
    assert parameter_count(spec) == sum(p.numel() for p in network.parameters())
    assert buffer_names(spec) == state.keys() - dict(network.named_parameters()).keys()


def test_layers_of_the_256_pixel_network() -> None:
    spec = official_spec("imagenet256")
    assert tuple(layer.name for layer in spec.layers) == LAYERS_256
    assert len(tensor_shapes(spec)) == 229
    for layer in spec.layers:
        up = 1 if layer.is_torgb else 4 if layer.name in UP_BY_FOUR_256 else 2
        assert (layer.up_factor, layer.down_factor) == (up, 1 if layer.is_torgb else 2), layer.name
    assert [layer.name for layer in spec.layers if layer.is_critically_sampled] == list(LAYERS_256[-3:])


@pytest.mark.parametrize(("small", "large"), list(itertools.pairwise(OFFICIAL)))
def test_a_stage_keeps_all_but_the_critically_sampled_layers(small: str, large: str) -> None:
    kept = official_spec(small).layers[:-3]
    grown = official_spec(large)
    assert grown.layers[: len(kept)] == kept
    assert len(grown.layers) == len(kept) + 8
    assert grown.input == official_spec(small).input


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_shapes_are_those_of_published_weights(resolution: int) -> None:
    weights = {name: tuple(value.shape) for name, value in golden_weights(resolution).items()}
    assert dict(tensor_shapes(golden_spec(resolution))) == weights


def test_shapes_of_another_design_are_those_of_its_network() -> None:
    spec = tiny_spec()
    assert dict(tensor_shapes(spec)) == {
        name: tuple(value.shape) for name, value in StyleGanXl(spec).state_dict().items()
    }


def test_a_spec_is_recognised() -> None:
    spec = official_spec("imagenet64")
    assert official_name(spec) == "imagenet64"
    assert official_name(dataclasses.replace(spec, num_classes=10)) is None
    assert official_name(tiny_spec()) is None


@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        ("imagenet48", "UNKNOWN_CONFIGURATION", "imagenet16, imagenet32"),
        ("", "UNKNOWN_CONFIGURATION", "''"),
        ("ffhq256", "UNDESCRIBED_CONFIGURATION", "import the checkpoint"),
        ("pokemon1024", "UNDESCRIBED_CONFIGURATION", "import the checkpoint"),
        ("cifar10", "UNDESCRIBED_CONFIGURATION", "import the checkpoint"),
    ],
)
def test_other_names_are_refused(name: str, reason: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        official_spec(name)
    assert caught.value.reason == reason
    assert says in caught.value.message
