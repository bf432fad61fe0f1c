"""The network: golden pictures, gradients, and pictures that do not depend on their batch."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import Tensor

from services.generator.layers import Form
from services.generator.network import StyleGanXl, to_uint8
from tests.services.generator.golden import RESOLUTIONS, avatars_spec, golden_io, golden_network
from unitscope.errors import InvalidArgumentError

network_at = functools.cache(golden_network)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("truncation", ["1", "0.7"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_w_equals_golden(resolution: int, truncation: str) -> None:
    io, network = golden_io(resolution), network_at(resolution)
    with torch.no_grad():
        w = network.mapping(io["z"], io["class_index"], float(truncation))
    ws = network.synthesis.broadcast(w)
    torch.testing.assert_close(ws, io[f"ws_psi{truncation}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize("truncation", ["1", "0.7"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_images_equal_golden(resolution: int, truncation: str, form: Form) -> None:
    io = golden_io(resolution)
    with torch.no_grad():
        images = network_at(resolution).synthesis(io[f"ws_psi{truncation}"], form)
    torch.testing.assert_close(images, io[f"image_psi{truncation}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["fast", "plain"])
def test_filters_of_a_checkpoint_replace_the_designed_ones(form: Form) -> None:
    network = golden_network(16)
    weights = network.state_dict()
    name = "synthesis.L3_36_16.up_filter"
    weights[name] = weights[name] * torch.linspace(0.5, 1.5, 12)
    changed = StyleGanXl(network.spec)
    changed.load_state_dict(weights)
    w = seeded(2, 64)
    with torch.no_grad():
        assert (changed.synthesis(w, form) - network.synthesis(w, form)).abs().max() > 1e-3
        torch.testing.assert_close(changed.synthesis(w, "fast"), changed.synthesis(w, "plain"))


def test_per_sample_truncation_equals_one_for_all() -> None:
    io, network = golden_io(16), network_at(16)
    z, classes = io["z"], io["class_index"]
    psi = torch.tensor([0.0, 0.5, 0.7, 1.0])
    with torch.no_grad():
        mixed = network.mapping(z, classes, psi)
        for i, value in enumerate(psi.tolist()):
            torch.testing.assert_close(mixed[i], network.mapping(z, classes, value)[i])
    torch.testing.assert_close(mixed[0], network.mapping.w_avg[classes[0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_does_not_depend_on_its_neighbours(dtype: torch.dtype) -> None:
    """Alone, in another batch, at another place: the same picture."""
    network, w = network_at(64), seeded(8, 64)
    reduced = dtype is torch.bfloat16
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
        together = network.synthesis(w)
        alone = torch.cat([network.synthesis(row[None]) for row in w])
        among_others = network.synthesis(torch.cat([w[:1], 3 * seeded(7, 64, seed=1)]))
        moved = network.synthesis(w.roll(3, dims=0)).roll(-3, dims=0)
    assert torch.equal(together[0], among_others[0])
    torch.testing.assert_close(together, alone, rtol=0, atol=3e-2 if reduced else 1e-5)
    torch.testing.assert_close(together, moved, rtol=0, atol=3e-2 if reduced else 1e-5)


@pytest.mark.parametrize("form", ["fast", "plain"])
def test_w_plus_of_equal_vectors_equals_w(form: Form) -> None:
    network, w = network_at(16), seeded(2, 64)
    with torch.no_grad():
        expected = network.synthesis(w, form)
        assert torch.equal(expected, network.synthesis(w[:, None], form))
        ws = w[:, None].repeat(1, network.spec.num_ws, 1)
        assert torch.equal(expected, network.synthesis(ws, form))
        ws[:, 5] += 1
        assert (expected - network.synthesis(ws, form)).abs().max() > 1e-4


def test_gradients_of_the_fast_form_equal_those_of_the_plain_form() -> None:
    network = copy.deepcopy(network_at(32))
    cotangent, gradients = seeded(2, 3, 32, 32, seed=2), {}
    for form in ("fast", "plain"):
        network.zero_grad()
        w = seeded(2, 64).requires_grad_()
        (network.synthesis(w, form) * cotangent).sum().backward()
        named = {name: p.grad for name, p in network.synthesis.named_parameters()}
        gradients[form] = {"w": w.grad, **named}
    for name, plain in gradients["plain"].items():
        assert plain is not None, name
        fast = gradients["fast"][name]
        assert fast is not None, name
        assert (fast - plain).abs().max() <= 1e-3 * plain.abs().max() + 1e-6, name


def test_rotation_and_translation_move_the_features() -> None:
    """A translation by whole samples shifts the canvas; a quarter turn rotates it."""
    network = copy.deepcopy(network_at(16))
    first = network.synthesis.input
    with torch.no_grad():
        first.affine.weight.zero_()
        still = first(torch.zeros(1, 64))
        step = 1 / first.spec.sampling_rate
        first.affine.bias.copy_(torch.tensor([1.0, 0.0, 2 * step, step]))
        moved = first(torch.zeros(1, 64))
        # Scaling all four parameters changes nothing: they are normalised.
        first.affine.bias.mul_(3)
        torch.testing.assert_close(first(torch.zeros(1, 64)), moved)
        first.affine.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        turned = first(torch.zeros(1, 64))
    torch.testing.assert_close(moved[..., 1:, 2:], still[..., :-1, :-2], atol=1e-4, rtol=0)
    quarter_turns = [torch.rot90(still, k, dims=(2, 3)) for k in (1, 3)]
    assert any(torch.allclose(turned, quarter, atol=1e-4) for quarter in quarter_turns)


def test_magnitudes_move_towards_the_inputs() -> None:
    network = copy.deepcopy(network_at(16))
    w = seeded(4, 64)
    network.synthesis.update_magnitudes(w, beta=0.0)
    with torch.no_grad():
        expected = network.synthesis.input(w).square().mean()
    torch.testing.assert_close(network.synthesis.layers()[0].magnitude_ema, expected)


def test_training_steps_lower_the_loss_under_autocast() -> None:
    torch.manual_seed(0)
    network = StyleGanXl(avatars_spec())
    target, w = seeded(1, 3, 1, 1).tanh().expand(2, 3, 64, 64), seeded(2, 256)
    optimiser = torch.optim.Adam(network.synthesis.parameters(), lr=5e-3)
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", torch.bfloat16):
            loss = (network.synthesis(w) - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_a_fresh_network_starts_at_unit_scale() -> None:
    """Features of an untrained network neither vanish nor grow through the layers."""
    torch.manual_seed(0)
    network = StyleGanXl(avatars_spec())
    with torch.no_grad():
        w = network.mapping(seeded(4, 64), torch.tensor([0, 1, 2, 3]))
        scale = float(network.synthesis(w).std() / network.spec.output_scale)
    assert 0.8 < float(w.std()) < 1.2
    assert 0.2 < scale < 5


def test_to_uint8_rounds_and_clips() -> None:
    values = torch.tensor([-1.5, -1.0, 0.0, 1.0, 9.0, 1 / 255]).view(1, 1, 2, 3)
    images = to_uint8(values.expand(1, 3, 2, 3))
    assert images.dtype == torch.uint8
    assert images.shape == (1, 2, 3, 3)
    assert images[0, :, :, 0].flatten().tolist() == [0, 0, 128, 255, 255, 128]


@pytest.mark.parametrize(
    ("z", "classes", "reason"),
    [
        (torch.zeros(2, 63), torch.zeros(2, dtype=torch.long), "BAD_SHAPE"),
        (torch.zeros(2, 64), torch.zeros(3, dtype=torch.long), "BAD_SHAPE"),
        (torch.zeros(1, 64), torch.tensor([10]), "CLASS_OUT_OF_RANGE"),
        (torch.zeros(1, 64), torch.tensor([-1]), "CLASS_OUT_OF_RANGE"),
    ],
)
def test_mapping_refuses_bad_input(z: Tensor, classes: Tensor, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        network_at(16).mapping(z, classes)
    assert caught.value.reason == reason


@pytest.mark.parametrize("shape", [(2, 63), (2, 2, 64), (64,), (1, 2, 12, 64)])
def test_synthesis_refuses_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\(batch, 12, 64\)") as caught:
        network_at(16).synthesis(torch.zeros(shape))
    assert caught.value.reason == "BAD_SHAPE"
