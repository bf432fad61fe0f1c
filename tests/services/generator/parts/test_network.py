"""Labels from hidden features: the sum of projections against its definition, and what it keeps in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from services.generator.backend import BATCH, GeneratorBackend
from services.generator.design import stem_spec
from services.generator.network import StyleGanXl
from services.generator.parts.features import capture, draw_w, feature_layers, measure_scales
from services.generator.parts.network import Collector, PartsNetwork
from services.generator.specs import NetworkSpec
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

PARTS = ("sky", "sea", "land")


def wide_spec(channels: int = 16) -> NetworkSpec:
    """Canvases of three sizes, two of them with a margin."""
    return stem_spec(
        32, 4, channel_base=2**12, channel_max=channels, channel_min=channels, margin=4, z_dim=8, w_dim=12,
        num_classes=2, embed_dim=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def generator() -> StyleGanXl:
    torch.manual_seed(3)
    return StyleGanXl(wide_spec()).eval().requires_grad_(False)


def _parts(spec: NetworkSpec, **options: Any) -> PartsNetwork:
    torch.manual_seed(4)
    return PartsNetwork(spec, PARTS, **options).eval().requires_grad_(False)


def _one_pass(generator: StyleGanXl, parts: PartsNetwork, w: Tensor) -> tuple[Tensor, Tensor]:
    collector = Collector(parts)
    picture = generator.synthesis(w, "fast", collector)
    return picture, collector.hidden()


def test_the_layers_have_margins_and_several_sizes() -> None:
    layers = feature_layers(wide_spec())
    assert len({layer.size for layer in layers}) >= 2
    assert {layer.margin for layer in layers} == {0, 4}


@pytest.mark.parametrize("names", [None, [1, 3]])
def test_the_sum_equals_the_projection_of_the_concatenated_features(
    generator: StyleGanXl, names: list[int] | None
) -> None:
    """The definition: crop every canvas, resize it, concatenate all channels, project them once."""
    chosen = None if names is None else [generator.spec.layers[i].name for i in names]
    parts = _parts(generator.spec, layers=chosen)
    w = draw_w(generator, 3, seed=1)
    features = capture(generator.synthesis, w, parts.layers)
    size = generator.spec.resolution
    full = [F.interpolate(x, size=(size, size), mode="bilinear") for x in features.values()]
    weight = torch.cat([parts.project[layer.name] for layer in parts.layers], dim=1)
    expected = torch.einsum("oc,bchw->bohw", weight, torch.cat(full, dim=1)) + parts.bias[:, None, None]
    _, hidden = _one_pass(generator, parts, w)
    assert expected.std() > 0.1
    torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts(features), parts.read(expected), atol=1e-4, rtol=1e-4)


def test_the_picture_is_the_same_with_and_without_an_observer(generator: StyleGanXl) -> None:
    w = draw_w(generator, 2, seed=2)
    observed, _ = _one_pass(generator, _parts(generator.spec), w)
    assert torch.equal(observed, generator.synthesis(w))


def test_the_corner_of_the_picture_is_the_corner_of_every_layer(generator: StyleGanXl) -> None:
    for layer in feature_layers(generator.spec):
        canvas = torch.zeros(1, 1, layer.size + 2 * layer.margin, layer.size + 2 * layer.margin)
        canvas[..., layer.margin, layer.margin] = 1
        visible = layer.visible(canvas)
        assert visible.shape[-2:] == (layer.size, layer.size)
        assert visible[0, 0, 0, 0] == 1


def test_folding_makes_raw_features_read_like_standardised_ones(generator: StyleGanXl) -> None:
    parts = _parts(generator.spec)
    scales = measure_scales(generator, parts.layers, 32, 0, lambda done: None)
    features = capture(generator.synthesis, draw_w(generator, 2, seed=5), parts.layers)
    standardised = {name: scales[name].standardise(x) for name, x in features.items()}
    expected = parts(standardised)
    parts.fold(scales)
    torch.testing.assert_close(parts(features), expected, atol=1e-4, rtol=1e-4)


def test_scales_standardise_what_they_were_measured_on(generator: StyleGanXl) -> None:
    layers = feature_layers(generator.spec)
    scales = measure_scales(generator, layers, 24, 6, lambda done: None)
    features = capture(generator.synthesis, draw_w(generator, 24, seed=6), layers)
    for name, x in features.items():
        y = scales[name].standardise(x)
        torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(y.std(dim=(0, 2, 3)), torch.ones(x.shape[1]), atol=1e-2, rtol=0)


class _Largest(TorchDispatchMode):
    """Records the most values that any tensor made meanwhile has."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, tuple | list) else [result]:
            if isinstance(item, Tensor):
                self.values = max(self.values, item.numel())
        return result


@pytest.mark.parametrize("channels", [64, 128])
def test_no_tensor_of_all_channels_is_made(channels: int) -> None:
    """Beyond what rendering makes, nothing is larger than the hidden channels at full size."""
    torch.manual_seed(5)
    network = StyleGanXl(wide_spec(channels)).eval().requires_grad_(False)
    parts = _parts(network.spec)
    w = draw_w(network, BATCH, seed=7)
    with _Largest() as plain:
        network.synthesis(w)
    with _Largest() as labelled:
        _, hidden = _one_pass(network, parts, w)
        parts.labels(hidden)
    hidden_values = BATCH * parts.hidden * network.spec.resolution**2
    all_channels = sum(layer.out_channels for layer in network.spec.layers)
    assert labelled.values <= max(plain.values, hidden_values)
    assert labelled.values < BATCH * all_channels * network.spec.resolution**2


def test_labels_in_the_backend_do_not_depend_on_neighbours(generator: StyleGanXl) -> None:
    backend, parts = GeneratorBackend(generator), _parts(generator.spec)
    w = draw_w(generator, 20, seed=8).numpy()
    pictures, labels = backend.render_parts(w, parts)
    assert labels.shape == (20, 32, 32)
    assert len(set(labels.flatten().tolist())) > 1
    for rows in ([4], [19, 4, 0], list(range(3, 17))):
        alone = backend.render_parts(w[rows], parts)
        assert (alone[0] == pictures[rows]).all()
        assert (alone[1] == labels[rows]).all()
    assert (pictures == backend.render(w)).all()


def test_a_network_of_another_generator_is_refused(generator: StyleGanXl) -> None:
    parts = _parts(wide_spec(24))
    with pytest.raises(FailedPreconditionError, match="another generator") as caught:
        GeneratorBackend(generator).render_parts(draw_w(generator, 1, seed=0).numpy(), parts)
    assert caught.value.reason == "PARTS_OF_ANOTHER_GENERATOR"


def test_labels_cannot_be_read_before_the_pass_is_over(generator: StyleGanXl) -> None:
    collector = Collector(_parts(generator.spec))
    with pytest.raises(ValueError, match="have not been rendered yet"):
        collector.hidden()


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (("one",), "there are 1 parts; 2 to 255 are possible"),
        (("one", "two", "one"), "'one' is named twice"),
        (("one", ""), "an empty name"),
        ([str(i) for i in range(256)], "there are 256 parts"),
    ],
)
def test_parts_that_labels_cannot_stand_for_are_refused(parts: tuple[str, ...], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        PartsNetwork(wide_spec(), parts)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="has no layer 'L9'; it has L0_") as caught:
        PartsNetwork(wide_spec(), PARTS, layers=["L9"])
    assert caught.value.reason == "LAYER_NOT_FOUND"
    with pytest.raises(InvalidArgumentError, match="no layer is named"):
        PartsNetwork(wide_spec(), PARTS, layers=[])
