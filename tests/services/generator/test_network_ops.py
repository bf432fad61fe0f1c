"""Operations of a layer: golden cases, and matrices against the definition."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from services.generator import banded, fast, plain
from services.generator.filters import design_lowpass
from services.generator.layers import SynthesisLayer
from tests.services.generator.golden import GOLDEN, RESOLUTIONS, golden_spec, golden_weights
from unitscope.errors import InvalidArgumentError


def case(name: str) -> dict[str, Tensor]:
    """Tensors of one golden operation."""
    tensors = load_file(GOLDEN / "stylegan-xl-ops.safetensors")
    return {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name)}


def lrelu_parameters() -> dict[str, Any]:
    values: dict[str, Any] = json.loads((GOLDEN / "ops.json").read_text())
    return {**values, "padding": tuple(values["padding"])}


def test_plain_filtered_lrelu_equals_golden() -> None:
    t = case("filtered_lrelu")
    y = plain.filtered_lrelu(t["x"], t["bias"], t["up_filter"], t["down_filter"], **lrelu_parameters())
    torch.testing.assert_close(y, t["y"], rtol=0, atol=1e-5)


def test_fast_filtered_lrelu_equals_golden() -> None:
    t, p = case("filtered_lrelu"), lrelu_parameters()
    gain = p["up"] * math.sqrt(p["gain"])
    up_x, up_y = (
        fast.resampling_matrix(11, t["up_filter"], up=p["up"], padding=padding, gain=gain)
        for padding in (p["padding"][:2], p["padding"][2:])
    )
    down_x, down_y = (
        fast.resampling_matrix(up.shape[1], t["down_filter"], down=p["down"]) for up in (up_x, up_y)
    )
    x = t["x"] + t["bias"][:, None, None]
    y = fast.filtered_lrelu(x, (up_y, up_x), (down_y, down_x), p["clamp"])
    torch.testing.assert_close(y, t["y"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", [plain, fast])
def test_modulated_convolution_equals_golden(form: Any) -> None:
    t = case("modulated_conv2d")
    gain = t["input_gain"].squeeze()
    y = form.modulated_conv2d(t["x"], t["weight"], t["styles"], padding=2, input_gain=gain)
    torch.testing.assert_close(y, t["y"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_designed_filters_equal_the_stored_ones(resolution: int) -> None:
    weights = golden_weights(resolution)
    for layer in golden_spec(resolution).layers:
        rate = layer.tmp_sampling_rate
        pairs = {
            "up_filter": design_lowpass(layer.up_taps, layer.in_cutoff, layer.in_half_width, rate),
            "down_filter": design_lowpass(layer.down_taps, layer.out_cutoff, layer.out_half_width, rate),
        }
        for name, designed in pairs.items():
            stored = weights.get(f"synthesis.{layer.name}.{name}")
            assert (stored is None) == (designed is None)
            if stored is not None and designed is not None:
                torch.testing.assert_close(designed, stored, rtol=0, atol=1e-6)


@given(
    size=st.integers(1, 9),
    taps=st.integers(1, 8),
    up=st.integers(1, 4),
    down=st.integers(1, 3),
    low=st.integers(-2, 9),
    high=st.integers(-2, 9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_the_matrix_equals_the_definition(
    size: int, taps: int, up: int, down: int, low: int, high: int, seed: int
) -> None:
    """Against NumPy-like loops: zeros, padding, convolution and decimation written out."""
    padded = size * up + low + high
    if padded < taps or size * up + min(low, 0) + min(high, 0) < 1:
        return
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(size, generator=rng, dtype=torch.float64)
    kernel = torch.randn(taps, generator=rng, dtype=torch.float64)
    inserted = {i * up + low: float(x[i]) for i in range(size)}
    expected = [
        sum(float(kernel[k]) * inserted.get(j + taps - 1 - k, 0.0) for k in range(taps))
        for j in range(0, padded - taps + 1, down)
    ]
    matrix = fast.resampling_matrix(size, kernel, up=up, down=down, padding=(low, high))
    torch.testing.assert_close(
        x.float() @ matrix, torch.tensor(expected, dtype=torch.float32), rtol=1e-4, atol=1e-4
    )


def test_fast_filtered_lrelu_has_the_gradient_of_its_steps() -> None:
    """Finite differences in float64, with values beyond the clamp and on both slopes."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    up = tuple(torch.randn(n, 9, generator=rng, dtype=torch.float64) for n in (5, 4))
    down = tuple(torch.randn(9, 3, generator=rng, dtype=torch.float64) for _ in range(2))

    def act(x: Tensor) -> Tensor:
        return fast.filtered_lrelu(x, (up[0], up[1]), (down[0], down[1]), 1.5)

    assert torch.autograd.gradcheck(act, (x,))


def test_the_result_does_not_depend_on_the_size_of_the_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 7, 12, 12, generator=rng)
    up = torch.randn(12, 30, generator=rng)
    down = torch.randn(30, 10, generator=rng)
    results = []
    for values in (1, 5000, 2**30):
        monkeypatch.setattr(banded, "DENSE_VALUES", values)
        results.append(fast.filtered_lrelu(x, (up, up), (down, down), 256.0))
    torch.testing.assert_close(results[0], results[2])
    torch.testing.assert_close(results[1], results[2])


@pytest.mark.parametrize(
    ("taps", "cutoff", "half_width"), [(0, 2.0, 1.0), (12, 16.0, 1.0), (12, 0.0, 1.0), (12, 2.0, 0)]
)
def test_a_filter_that_cannot_exist_is_refused(taps: int, cutoff: float, half_width: float) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        design_lowpass(taps, cutoff, half_width, rate=32)
    assert caught.value.reason == "BAD_FILTER"


def test_one_tap_is_the_identity() -> None:
    assert design_lowpass(1, 2.0, 1.0, rate=32) is None
    assert torch.equal(fast.resampling_matrix(4, None), torch.eye(4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_kernel_is_prepared_once_while_its_weights_stay(dtype: torch.dtype) -> None:
    layer = SynthesisLayer(golden_spec(16).layers[0], 64)
    assert layer._kernel(dtype) is not layer._kernel(dtype), "weights that are trained change at any time"
    layer.requires_grad_(False)
    with torch.inference_mode():
        kernel = layer._kernel(dtype)
    assert layer._kernel(dtype) is kernel
    assert not kernel.energy.is_inference(), "gradients by w pass it"
    assert (kernel.weight is layer.weight) == (dtype is torch.float32), "float32 weights are not copied"
    with torch.no_grad():
        layer.weight.mul_(torch.linspace(1, 2, len(layer.weight))[:, None, None, None])
    changed = layer._kernel(dtype)
    assert changed is not kernel
    expected = fast.Kernel.of(layer.weight, dtype)
    torch.testing.assert_close(changed.energy, expected.energy)
    torch.testing.assert_close(changed.energy.sum(1), torch.full((16,), 16.0 * 9))


@pytest.mark.parametrize("size", [3, 40])
def test_styles_of_one_row_go_wherever_less_is_to_be_scaled(size: int) -> None:
    """Into the kernel below a large canvas, onto a small one: equal but for rounding."""
    rng = torch.Generator().manual_seed(0)
    x, styles = torch.randn(1, 6, size, size, generator=rng), torch.randn(1, 6, generator=rng)
    weight, bias = torch.randn(5, 6, 3, 3, generator=rng), torch.randn(5, generator=rng)
    gain = torch.tensor(0.7)
    expected = plain.modulated_conv2d(x, weight, styles, padding=2, input_gain=gain) + bias[:, None, None]
    with torch.no_grad():
        y = fast.modulated_conv2d(x, weight, styles, padding=2, input_gain=gain, bias=bias)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    y = fast.modulated_conv2d(x, weight, styles.requires_grad_(), padding=2, input_gain=gain, bias=bias)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert y.requires_grad
