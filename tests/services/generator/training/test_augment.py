"""Augmentation and blur."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from services.generator.training.augment import Augmentation, blur_sigma, blurred, draw_augmentation


def nothing(batch: int = 2) -> Augmentation:
    """No change, and a hidden square so far away that it hides nothing."""
    zero, one = torch.zeros(batch), torch.ones(batch)
    return Augmentation(zero, one, one, torch.zeros(batch, 2), torch.full((batch, 2), 9.0))


def drawn(seed: int, batch: int = 64) -> Augmentation:
    return draw_augmentation(batch, torch.Generator().manual_seed(seed))


def images(batch: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_no_change_changes_nothing() -> None:
    torch.testing.assert_close(nothing()(images()), images())


def test_translation_moves_whole_pixels_and_fills_with_grey() -> None:
    moved = dataclasses.replace(nothing(), shift=torch.tensor([[2 / 16, 0], [0, -1 / 16]]))(images())
    x = images()
    torch.testing.assert_close(moved[0, :, 2:], x[0, :, :-2])
    assert (moved[0, :, :2] == 0).all()
    torch.testing.assert_close(moved[1, :, :, :-1], x[1, :, :, 1:])
    assert (moved[1, :, :, -1:] == 0).all()


def test_a_quarter_of_the_picture_is_hidden() -> None:
    centre = torch.tensor([[0.5, 0.5], [0.0, 0.5]])
    found = dataclasses.replace(nothing(), centre=centre)(torch.ones(2, 3, 16, 16))
    assert (found[0, :, 4:12, 4:12] == 0).all()
    assert int((found[0, 0] == 0).sum()) == 64
    assert int((found[1, 0] == 0).sum()) == 32


def test_colours_change_as_said() -> None:
    x = images()
    brighter = dataclasses.replace(nothing(), brightness=torch.tensor([0.25, 0.0]))(x)
    torch.testing.assert_close(brighter[0], x[0] + 0.25)
    grey = dataclasses.replace(nothing(), saturation=torch.tensor([0.0, 1.0]))(x)
    torch.testing.assert_close(grey[0], x[0].mean(0, keepdim=True).expand(3, -1, -1))
    flat = dataclasses.replace(nothing(), contrast=torch.tensor([0.5, 1.0]))(x)
    assert flat[0].std() == pytest.approx(float(x[0].std()) / 2, rel=1e-5)
    assert flat[0].mean() == pytest.approx(float(x[0].mean()), abs=1e-6)


def test_draws_are_in_their_ranges_and_repeat() -> None:
    one, same, other = drawn(1, 2000), drawn(1, 2000), drawn(2, 2000)
    ranges = {"brightness": (-0.5, 0.5), "saturation": (0, 2), "contrast": (0.5, 1.5),
              "shift": (-1 / 8, 1 / 8), "centre": (0, 1)}  # fmt: skip
    for name, (low, high) in ranges.items():
        values = getattr(one, name)
        assert low <= float(values.min()) < low + 0.02 * (high - low)
        assert high >= float(values.max()) > high - 0.02 * (high - low)
        assert torch.equal(values, getattr(same, name))
        assert not torch.equal(values, getattr(other, name))


def test_rows_of_a_batch_are_its_own() -> None:
    changes, x = drawn(3, 6), images(6)
    torch.testing.assert_close(changes[2:4](x[2:4]), changes(x)[2:4])


def test_gradients_pass_wherever_something_is_seen() -> None:
    x = images(4).requires_grad_()
    drawn(5, 4)(x).sum().backward()
    assert x.grad is not None
    share = (x.grad != 0).float().mean()
    assert share > 0.5


def test_the_gradient_is_that_of_the_function() -> None:
    x = images(2, 4).double().requires_grad_()
    changes = drawn(7, 2)
    assert torch.autograd.gradcheck(changes, (x,))


def test_blur_keeps_what_is_flat_and_spreads_a_point() -> None:
    flat = torch.full((1, 3, 12, 12), 0.3)
    torch.testing.assert_close(blurred(flat, 2.0), flat)
    point = torch.zeros(1, 1, 31, 31)
    point[0, 0, 15, 15] = 1
    found = blurred(point, 2.0)[0, 0]
    assert found.sum() == pytest.approx(1, abs=1e-5)
    places = torch.arange(31) - 15.0
    variance = (found.sum(0) * places.square()).sum()
    # A Gaussian that is cut off after three deviations has a little less.
    assert variance == pytest.approx(4, rel=0.05)
    assert blurred(point, 0.0) is point


def test_blur_fades() -> None:
    assert [blur_sigma(n, 2.0, 200) for n in (0, 50, 200, 999)] == [2.0, 1.5, 0.0, 0.0]
    assert blur_sigma(0, 2.0, 0) == 0
