"""Discriminators of several scales, told the class."""

from __future__ import annotations

import pytest
import torch

from services.generator.training.discriminator import Discriminator


def seeded(classes: int = 3) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator((8, 16, 32), (16, 8, 4), torch.randn(classes, 6))


def maps(batch: int = 4) -> list[torch.Tensor]:
    sizes = ((8, 16), (16, 8), (32, 4))
    return [torch.randn(batch, channels, size, size) for channels, size in sizes]


def test_every_scale_judges_as_many_places() -> None:
    logits = seeded()(maps(), torch.tensor([0, 1, 2, 0]))
    assert [tuple(x.shape) for x in logits] == [(4, 1)] * 3
    larger = Discriminator((8, 16), (56, 7), torch.randn(3, 6))
    found = larger([torch.randn(2, 8, 56, 56), torch.randn(2, 16, 7, 7)], torch.tensor([0, 1]))
    assert [tuple(x.shape) for x in found] == [(2, 16)] * 2


def test_the_class_that_is_claimed_matters() -> None:
    judge, seen = seeded().eval(), maps()
    one, other = (judge(seen, torch.full((4,), label)) for label in (0, 1))
    for a, b in zip(one, other, strict=True):
        assert (a - b).abs().max() > 1e-3


def test_a_logit_does_not_depend_on_its_neighbours() -> None:
    judge, seen, labels = seeded().eval(), maps(), torch.tensor([0, 1, 2, 0])
    together = judge(seen, labels)
    alone = judge([x[1:2] for x in seen], labels[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-4, atol=1e-5)


def test_every_kernel_has_spectral_norm_one() -> None:
    judge = seeded()
    for _ in range(30):
        judge(maps(), torch.tensor([0, 1, 2, 0]))
    judge.eval()
    kernels = [
        module.weight for module in judge.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    ]
    assert len(kernels) >= 12
    for kernel in kernels:
        assert torch.linalg.matrix_norm(kernel.detach().flatten(1), 2) == pytest.approx(1, abs=0.02)


def test_all_of_it_takes_gradients_and_it_learns_a_difference() -> None:
    judge = seeded()
    good, bad = maps(), [x + 1 for x in maps()]
    labels = torch.tensor([0, 1, 2, 0])
    optimiser = torch.optim.Adam(judge.parameters(), lr=0.002, betas=(0.0, 0.99))
    for _ in range(30):
        optimiser.zero_grad()
        losses = [torch.relu(1 - x).mean() for x in judge(good, labels)]
        losses += [torch.relu(1 + x).mean() for x in judge(bad, labels)]
        torch.stack(losses).sum().backward()
        assert all(parameter.grad is not None for parameter in judge.parameters())
        optimiser.step()
    for real, generated in zip(judge(good, labels), judge(bad, labels), strict=True):
        assert real.mean() > generated.mean() + 0.5
