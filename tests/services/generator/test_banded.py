"""Products by blocks: every entry that matters is in one, and they are those of the whole matrix."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from services.generator import banded, fast
from services.generator.backend import GeneratorBackend
from services.generator.banded import Separable, spans
from services.generator.configurations import official_spec
from services.generator.filters import design_lowpass
from services.generator.specs import LayerSpec
from tests.services.generator.test_execution import W


def matrices(layer: LayerSpec) -> tuple[Tensor, Tensor]:
    """Matrices of a layer, upwards and downwards."""
    rate = layer.tmp_sampling_rate
    up_taps = design_lowpass(layer.up_taps, layer.in_cutoff, layer.in_half_width, rate)
    down_taps = design_lowpass(layer.down_taps, layer.out_cutoff, layer.out_half_width, rate)
    read = layer.in_size + layer.conv_kernel - 1
    up = fast.resampling_matrix(read, up_taps, up=layer.up_factor, padding=layer.padding[:2])
    return up, fast.resampling_matrix(up.shape[1], down_taps, down=layer.down_factor)


@given(
    read=st.integers(1, 40),
    written=st.integers(1, 40),
    block=st.integers(1, 50),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_blocks_cover_what_is_not_zero(read: int, written: int, block: int, share: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    matrix = torch.randn(read, written, generator=rng)
    matrix *= torch.rand(read, written, generator=rng) < share
    rest = matrix.clone()
    columns: list[int] = []
    for span in spans(matrix, block):
        assert span.first < span.last <= read
        rest[span.read, span.written] = 0
        columns += range(span.start, span.stop)
    assert not rest.any()
    assert columns == list(range(written)), "every sample is written, and once"


@pytest.mark.parametrize("name", ["L20_148_1024", "L26_276_431"])
def test_products_by_blocks_equal_those_of_whole_matrices(name: str) -> None:
    layer = next(layer for layer in official_spec("imagenet256").layers if layer.name == name)
    up, down = matrices(layer)
    assert banded.pays(torch.device("cpu"), up.shape[1])
    for matrix in (up, down, up.t(), down.t()):
        x = torch.randn(2, matrix.shape[0], matrix.shape[0], generator=torch.Generator().manual_seed(0))
        exact = Separable(matrix.double(), matrix.double())(x.double())
        by_blocks = Separable.of(matrix, matrix, True)
        torch.testing.assert_close(by_blocks(x), exact.float(), rtol=0, atol=1e-5)
        assert by_blocks.blocks is not None
        read = sum(span.last - span.first for span in by_blocks.blocks[0]) / matrix.shape[0]
        assert read < 0.5 * len(by_blocks.blocks[0]), "fewer multiplications by more than half"


def test_small_canvases_and_accelerators_take_whole_matrices() -> None:
    cpu = torch.device("cpu")
    assert not banded.pays(cpu, 82)
    assert not banded.pays(torch.device("cuda"), 562)
    assert Separable.of(torch.eye(4), torch.eye(4), False).blocks is None


@pytest.fixture
def by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks for every canvas, and small ones."""
    monkeypatch.setattr(banded, "SMALLEST", 0)
    monkeypatch.setattr(banded, "BLOCK", 5)


def test_the_gradient_by_blocks_is_that_of_its_steps(by_blocks: None) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 9, 9, generator=rng, dtype=torch.float64, requires_grad=True)
    taps = torch.rand(4, generator=rng, dtype=torch.float64)
    up = fast.resampling_matrix(9, taps, up=2, padding=(1, 2), gain=math.sqrt(2)).double()
    down = fast.resampling_matrix(up.shape[1], taps, down=2).double()

    def act(x: Tensor) -> Tensor:
        return fast.filtered_lrelu(x, (up, up), (down, down), 1.5)

    assert torch.autograd.gradcheck(act, (x,))


def test_pictures_by_blocks_depend_on_their_own_w_alone(backend: GeneratorBackend, by_blocks: None) -> None:
    """To the last bit, at whatever place in a batch."""
    plain = GeneratorBackend(backend.network, form="plain")
    w = torch.from_numpy(W)
    whole = backend.render_float_tensors(w)
    assert (whole - plain.render_float_tensors(w)).abs().max() < 1e-5
    for row in (0, 5, len(W) - 1):
        assert torch.equal(backend.render_float_tensors(w[row : row + 1])[0], whole[row])
