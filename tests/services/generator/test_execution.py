"""What is decided for a device, and that it is kept to; the GPU's decisions are tried on the CPU."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from services.generator import fast
from services.generator.backend import BATCH, GeneratorBackend
from services.generator.configurations import official_spec
from services.generator.execution import Execution, plan_execution, synthesis_macs
from services.generator.network import StyleGanXl
from tests.services.generator.golden import avatars_spec
from tests.support.tiny_pack import tiny_spec

W = np.random.default_rng(3).standard_normal((BATCH + 3, tiny_spec().w_dim)).astype(np.float32)


def test_a_cpu_computes_small_networks_in_float32_and_eight_rows() -> None:
    for spec in (tiny_spec(), avatars_spec()):
        assert plan_execution(spec) == Execution("cpu", "float32", BATCH, BATCH, recompute=False)


def test_a_gpu_computes_in_float16_unless_told_otherwise() -> None:
    planned = plan_execution(avatars_spec(), "cuda:1")
    assert (planned.device, planned.kind, planned.dtype) == ("cuda:1", "cuda", torch.float16)
    assert planned.channels_last
    assert plan_execution(avatars_spec(), "cuda", "bfloat16").dtype == torch.bfloat16
    assert plan_execution(avatars_spec(), "cuda", "float32").dtype == torch.float32


@pytest.mark.parametrize("name", ["imagenet16", "imagenet64", "imagenet256", "imagenet1024"])
def test_full_networks_take_one_row_on_a_cpu(name: str) -> None:
    """So that a lone request does not pay for seven rows of padding."""
    spec = official_spec(name)
    assert plan_execution(spec).batch == 1
    assert plan_execution(spec, "cuda").batch == BATCH


def test_gradients_that_do_not_fit_are_recomputed() -> None:
    assert not plan_execution(official_spec("imagenet16")).recompute
    planned = plan_execution(official_spec("imagenet256"))
    assert planned.recompute
    assert planned.gradient_batch == 1


def test_the_work_of_a_network_is_that_of_its_operations() -> None:
    """Counted once more, by the profiler, whose flops are two a multiplication."""
    network = StyleGanXl(tiny_spec()).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        network.synthesis(torch.from_numpy(W[:1]))
    counted = counter.get_total_flops() / 2
    assert synthesis_macs(tiny_spec()) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize(("precision", "levels", "mean"), [("float16", 2, 0.1), ("bfloat16", 16, 1.0)])
def test_half_precision_moves_pictures_little(
    backend: GeneratorBackend, precision: Any, levels: int, mean: float
) -> None:
    planned = plan_execution(backend.spec, "cpu", precision)
    half = GeneratorBackend(backend.network, execution=planned)
    difference = np.abs(half.render(W).astype(int) - backend.render(W))
    assert 0 < difference.max() <= levels
    assert difference.mean() < mean


def test_what_must_be_exact_stays_in_float32(backend: GeneratorBackend) -> None:
    """Fourier features, and the picture: only what lies between is rounded to half precision."""
    seen: dict[str, torch.dtype] = {}
    planned = plan_execution(backend.spec, "cpu", "float16")
    synthesis = backend.network.synthesis
    with torch.inference_mode(), planned.rendering():
        w = torch.from_numpy(W)
        features = synthesis.fourier(w)
        picture = synthesis(w, "fast", lambda name, canvas: seen.update({name: canvas.dtype}))
    assert features.dtype == torch.float32
    assert picture.dtype == torch.float32
    types = list(seen.values())
    assert types[-1] == torch.float32, "the layer to colours"
    assert set(types[:-1]) == {torch.float16}


def test_no_sum_of_a_convolution_leaves_the_range_of_float16() -> None:
    """The worst case: every product has one sign and every input is at the clamp."""
    x, styles = torch.full((1, 1024, 3, 3), 256.0), torch.ones(1, 1024)
    weight = torch.ones(2, 1024, 3, 3)
    exact = fast.modulated_conv2d(x, weight, styles, padding=0)
    half = fast.modulated_conv2d(x.half(), weight, styles, padding=0)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=2e-3, atol=0)


def test_rows_are_independent_in_half_precision_too(backend: GeneratorBackend) -> None:
    planned = plan_execution(backend.spec, "cpu", "float16")
    half = GeneratorBackend(backend.network, execution=planned)
    whole = half.render(W)
    for row in (0, 5, len(W) - 1):
        np.testing.assert_array_equal(half.render(W[row : row + 1])[0], whole[row])


def test_channels_side_by_side_change_pictures_and_gradients_by_rounding_alone(
    backend: GeneratorBackend,
) -> None:
    """A GPU's layout, tried on the CPU."""
    planned = dataclasses.replace(plan_execution(backend.spec), channels_last=True)
    together = GeneratorBackend(copy.deepcopy(backend.network), execution=planned)
    seen: dict[str, bool] = {}
    w, last = torch.from_numpy(W), torch.channels_last
    with torch.inference_mode():
        pictures = together.network.synthesis(
            w, "fast", lambda name, canvas: seen.update({name: canvas.is_contiguous(memory_format=last)})
        )
        assert (pictures - backend.network.synthesis(w)).abs().max() < 1e-5
    assert all(seen.values()), "no layer falls back to the other layout"
    cotangent = np.random.default_rng(1).standard_normal((len(W), 16, 16, 3)).astype(np.float32)
    expected = backend.vjp(W, cotangent)
    assert np.abs(together.vjp(W, cotangent) - expected).max() < 1e-5 * np.abs(expected).max()
    whole = together.render(W)
    for row in (0, len(W) - 1):
        np.testing.assert_array_equal(together.render(W[row : row + 1])[0], whole[row])


def test_exact_computing_allows_no_tf32() -> None:
    before = torch.backends.cudnn.allow_tf32
    with plan_execution(tiny_spec(), "cuda", "float32").exact():
        assert torch.backends.cudnn.allow_tf32 is False
        assert torch.backends.cudnn.deterministic is True
    assert torch.backends.cudnn.allow_tf32 == before
