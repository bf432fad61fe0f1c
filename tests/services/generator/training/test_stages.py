"""Growing: the official networks' layers, and weights that are carried over to the last bit."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from packs.avatars.generator import spec as avatars_spec
from services.generator.configurations import OFFICIAL, official_spec
from services.generator.network import StyleGanXl
from services.generator.training.stages import (
    HeadDesign,
    freeze,
    grown,
    grown_spec,
    grown_stage,
    stem_design_spec,
    stem_network,
    stem_stage,
)
from tests.services.generator.training.tiny import CLASSES, HEAD, STEM, tiny_stem
from unitscope.errors import InvalidArgumentError


def hidden(network: StyleGanXl, w: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    with torch.no_grad():
        network.synthesis(w, observe=lambda name, canvas: seen.__setitem__(name, canvas.clone()))
    return seen


def test_the_default_stem_is_the_published_one() -> None:
    assert stem_design_spec(classes=1000) == official_spec("imagenet16")


@pytest.mark.parametrize(("earlier", "later"), list(itertools.pairwise(OFFICIAL)))
def test_grown_official_networks_are_the_published_ones(earlier: str, later: str) -> None:
    resolution = int(later.removeprefix("imagenet"))
    assert grown_spec(official_spec(earlier), resolution) == official_spec(later)


def test_a_stem_of_any_width_grows() -> None:
    design = HeadDesign(layers=5, channel_base=1024, channel_max=128, channel_min=16, margin=2)
    found = grown_spec(avatars_spec(), 128, design)
    kept = [layer for layer in avatars_spec().layers if not layer.is_critically_sampled]
    assert found.resolution == 128
    assert list(found.layers[: len(kept)]) == kept
    assert len(found.layers) == len(kept) + 5 + 1
    assert grown_stage(found, avatars_spec()).layers == tuple(x.name for x in found.layers[len(kept) :])


def test_kept_layers_see_and_say_the_same() -> None:
    earlier = tiny_stem()
    with torch.no_grad():
        for layer in earlier.synthesis.layers():
            layer.magnitude_ema.fill_(1.7)
        earlier.mapping.w_avg.normal_()
    larger = grown(earlier, 32, HEAD)
    z, labels = torch.randn(4, 8), torch.arange(4) % CLASSES
    with torch.no_grad():
        w, w_larger = (network.mapping(z, labels, 0.7) for network in (earlier, larger))
    assert torch.equal(w, w_larger)
    before, after = hidden(earlier, w), hidden(larger, w)
    kept = [layer.name for layer in earlier.spec.layers if not layer.is_critically_sampled]
    assert kept
    for name in kept:
        assert torch.equal(before[name], after[name]), name
    assert after[larger.spec.layers[-1].name].shape == (4, 3, 32, 32)


def test_filters_of_an_earlier_network_are_kept() -> None:
    """A converted checkpoint brings filters of its own, which the matrices have to follow."""
    earlier = tiny_stem()
    first = earlier.spec.layers[0].name
    weights = earlier.state_dict()
    weights[f"synthesis.{first}.up_filter"] *= torch.linspace(0.5, 1.5, 12)
    earlier.load_state_dict(weights)
    w = torch.randn(2, 12)
    assert torch.equal(hidden(earlier, w)[first], hidden(grown(earlier, 32, HEAD), w)[first])


def test_a_stage_can_be_grown_twice_and_by_more() -> None:
    stem = tiny_stem()
    second = grown(stem, 32, HEAD)
    third = grown(second, 128, HEAD)
    for name, value in third.mapping.state_dict().items():
        assert torch.equal(value, stem.mapping.state_dict()[name])
    with torch.no_grad():
        assert third(torch.randn(1, 8), torch.tensor([1])).shape == (1, 3, 128, 128)


def test_what_trains_in_a_stage() -> None:
    stem = tiny_stem()
    assert set(freeze(stem, stem_stage(stem.spec))) == {name for name, _ in stem.named_parameters()}
    larger = grown(stem, 32, HEAD)
    stage = grown_stage(larger.spec, stem.spec)
    trained = freeze(larger, stage)
    assert {name.split(".")[1] for name in trained} == set(stage.layers)
    assert len(stage.layers) == HEAD.layers + 1
    for name, parameter in larger.named_parameters():
        assert parameter.requires_grad == (name in trained)


def test_seeds_decide_the_weights_and_leave_torch_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, same, other = tiny_stem(3), tiny_stem(3), tiny_stem(4)
    assert torch.equal(torch.rand(1), expected)
    name = "synthesis.input.weight"
    assert torch.equal(one.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_class_embeddings_may_be_given() -> None:
    embeddings = torch.randn(CLASSES, STEM.embed_dim)
    network = stem_network(classes=CLASSES, design=STEM, embeddings=embeddings)
    assert torch.equal(network.mapping.embed.weight.detach(), embeddings)
    with pytest.raises(InvalidArgumentError, match=r"shape \(2, 6\); they must be \(3, 6\)"):
        stem_network(classes=CLASSES, design=STEM, embeddings=embeddings[:2])


@pytest.mark.parametrize("resolution", [8, 16, 24, 48])
def test_a_resolution_that_cannot_be_grown_to_is_refused(resolution: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"cannot grow to {resolution}") as caught:
        grown_spec(tiny_stem().spec, resolution)
    assert caught.value.reason == "BAD_RESOLUTION"


@pytest.mark.parametrize("change", [{"channel_max": 12}, {"w_dim": 13}])
def test_a_network_of_another_stem_was_not_grown(change: dict[str, int]) -> None:
    other = stem_network(classes=CLASSES, design=dataclasses.replace(STEM, **change))
    with pytest.raises(InvalidArgumentError) as caught:
        grown_stage(grown(tiny_stem(), 32, HEAD).spec, other.spec)
    assert caught.value.reason == "NOT_GROWN"
