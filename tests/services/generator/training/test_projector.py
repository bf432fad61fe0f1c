"""Feature networks and their random mixing."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from services.generator.training.projector import (
    FeatureNetwork,
    LiteFeatures,
    Projector,
    class_embeddings,
    resized,
)
from tests.services.generator.training.tiny import TinyFeatures
from unitscope.errors import FailedPreconditionError, InvalidArgumentError


@pytest.fixture(scope="module")
def lite() -> LiteFeatures:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `train` is not installed")
    return LiteFeatures(side=64)


def test_maps_of_all_scales_and_where_they_come_from() -> None:
    projector = Projector(TinyFeatures(), channels=8, seed=1)
    assert projector.channels == (8, 16)
    assert projector.sizes == (8, 4)
    images = torch.randn(2, 3, 20, 20)
    changed = images.clone()
    changed[:, :, :3, :3] += 1
    before, after = projector(images), projector(changed)
    assert [tuple(x.shape) for x in before] == [(2, 8, 8, 8), (2, 16, 4, 4)]
    assert not torch.allclose(before[1], after[1])
    # From coarse to fine: the finest map depends on the coarsest.
    with torch.no_grad():
        projector.across[1].zero_()
    assert not torch.allclose(before[0], projector(images)[0])


def test_mixing_is_fixed_by_its_seed_and_takes_no_gradient() -> None:
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    one, same, other = (Projector(TinyFeatures(), channels=8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one(images)[0], same(images)[0])
    assert not torch.allclose(one(images)[0], other(images)[0])
    assert not any(parameter.requires_grad for parameter in one.parameters())
    one(images)[0].square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_mixing_keeps_the_variance() -> None:
    class White(TinyFeatures):
        channels = (64, 128)

        def scales(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [torch.randn(len(images), 64, 32, 32), torch.randn(len(images), 128, 16, 16)]

    found = Projector(White(), channels=64)(torch.zeros(4, 3, 8, 8))
    # The finer one is smoother where it was enlarged, which takes some variance away.
    assert found[1].var() == pytest.approx(1, abs=0.1)
    assert 0.5 < float(found[0].var()) < 1.1


def test_the_real_network_sees_four_scales(lite: LiteFeatures) -> None:
    network: FeatureNetwork = lite
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    maps = network.scales(images)
    assert [tuple(x.shape[1:]) for x in maps] == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert network.pooled(images).shape == (2, 1280)
    assert network.name == "efficientnet-lite0@64"
    assert Projector(network, channels=16).sizes == (16, 8, 4, 2)


def test_the_real_network_is_frozen_and_passes_gradients(lite: LiteFeatures) -> None:
    lite.train()
    assert not any(module.training for module in lite.modules())
    images = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_()
    before = lite.pooled(images)
    before.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in lite.parameters())
    assert torch.equal(before, lite.pooled(images))


def test_the_real_network_has_its_trained_weights(lite: LiteFeatures) -> None:
    """An untrained one gives every class about the same: its logits hardly differ from each other."""
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    with torch.no_grad():
        logits = lite.network._fc(lite.pooled(ramp))
    assert logits.shape == (1, 1000)
    assert torch.softmax(logits, dim=1).max() > 0.02


def test_what_is_larger_is_filtered_before_it_shrinks() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]) % 2 * 2.0 - 1
    small = resized(board.expand(1, 3, 64, 64), 16)
    assert small.shape == (1, 3, 16, 16)
    assert small.abs().max() < 0.05
    assert resized(small, 16) is small


def test_embeddings_say_what_tells_classes_apart() -> None:
    common, own = 100 * torch.rand(6), torch.eye(6)[:3]
    found = class_embeddings([common + row for row in own])
    assert found.square().mean() == pytest.approx(1)
    similar = torch.nn.functional.cosine_similarity(found[:, None], found[None], dim=2)
    torch.testing.assert_close(similar, torch.full((3, 3), -0.5).fill_diagonal_(1), rtol=0, atol=1e-3)
    alone = class_embeddings([common])
    torch.testing.assert_close(alone[0] / alone.norm(), common / common.norm())


def test_a_side_that_the_network_cannot_see_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="side is 100; it must be a multiple of 32"):
        LiteFeatures(side=100)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(FailedPreconditionError, match=r'pip install "unitscope\[train\]"') as caught:
        LiteFeatures()
    assert caught.value.reason == "NO_TRAINING_PACKAGES"
