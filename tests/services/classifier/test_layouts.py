from __future__ import annotations

import pytest
import torch

from services.classifier.declaring import survey
from services.classifier.layouts import declared, features_and_maps
from services.classifier.networks import HookedNetwork
from tests.services.classifier.exported import EDGE, residual, transformer
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import LayerCard

LAYER = LayerCard(name="x", units=1, nonnegative=False)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("shape", "option", "expected"),
    [
        ((2, 7), "", ("channels_first", "mean", None, 7)),
        ((2, 7, 4, 6), "", ("channels_first", "mean", None, 7)),
        ((2, 4, 6, 7), "channels_last", ("channels_last", "mean", None, 7)),
        ((2, 10, 7), "", ("tokens", "class", (3, 3), 7)),
        ((2, 10, 7), "mean", ("tokens", "mean", (3, 3), 7)),
        ((2, 9, 7), "", ("tokens", "mean", (3, 3), 7)),
        ((2, 12, 7), "", ("tokens", "mean", None, 7)),
    ],
)
def test_a_shape_speaks_for_a_layout(
    shape: tuple[int, ...], option: str, expected: tuple[object, ...]
) -> None:
    layer = declared(LAYER, random(*shape), option)
    assert (layer.layout, layer.token, layer.grid, layer.units) == expected
    assert not layer.nonnegative
    assert declared(LAYER, random(*shape).abs(), option).nonnegative


def test_features_are_taken_as_the_card_says() -> None:
    maps = random(2, 7, 4, 6)
    features, found = features_and_maps(maps, declared(LAYER, maps))
    torch.testing.assert_close(features, maps.mean((2, 3)))
    last = maps.permute(0, 2, 3, 1)
    again, same = features_and_maps(last, declared(LAYER, last, "channels_last"))
    torch.testing.assert_close(again, features)
    assert found is not None
    assert same is not None
    torch.testing.assert_close(same, found)


def test_tokens_become_a_class_token_and_a_grid() -> None:
    tokens = random(2, 10, 7)
    features, maps = features_and_maps(tokens, declared(LAYER, tokens))
    torch.testing.assert_close(features, tokens[:, 0])
    assert maps is not None
    torch.testing.assert_close(maps[:, :, 1, 2], tokens[:, 1 + 5])
    features, _ = features_and_maps(tokens, declared(LAYER, tokens, "mean"))
    torch.testing.assert_close(features, tokens[:, 1:].mean(1))
    odd = random(2, 12, 7)
    features, none = features_and_maps(odd, declared(LAYER, odd))
    torch.testing.assert_close(features, odd.mean(1))
    assert none is None


@pytest.mark.parametrize("output", [random(2), random(2, 3, 4, 5, 6), torch.ones(2, 3, dtype=torch.int64)])
def test_what_is_no_layer_is_refused(output: torch.Tensor) -> None:
    with pytest.raises(FailedPreconditionError, match="a layer must give"):
        declared(LAYER, output)


def test_an_output_that_is_not_the_cards_is_refused() -> None:
    for card, output in (
        (LAYER.model_copy(update={"units": 7}), random(2, 10, 7)),
        (LAYER.model_copy(update={"units": 8}), random(2, 7)),
        (LAYER.model_copy(update={"units": 7, "layout": "tokens", "grid": (4, 4)}), random(2, 10, 7)),
    ):
        with pytest.raises(FailedPreconditionError, match="its card declares"):
            features_and_maps(output, card)


def test_modules_of_a_transformer_are_layers_of_tokens() -> None:
    network = HookedNetwork(transformer(), "heads.head")
    wanted = {"penultimate": "", "tokens": "encoder.layers.encoder_layer_1", "mean": "encoder.ln:mean"}
    rows = {row.layer.name: row for row in survey(network, (EDGE, EDGE), wanted)}
    assert (rows["penultimate"].layer.units, rows["penultimate"].layer.has_head) == (16, True)
    assert (rows["tokens"].layer.grid, rows["tokens"].extent, rows["tokens"].module) == (
        (4, 4), "17 tokens", "EncoderBlock",
    )  # fmt: skip
    assert rows["mean"].layer.token == "mean"


def test_a_module_is_read_before_a_later_step_works_on_it_in_place() -> None:
    network = HookedNetwork(residual(), "fc")
    images = random(3, 3, EDGE, EDGE)
    seen = network.outputs(images, ["stem.1", "stem.2"])
    assert (seen["stem.1"] < 0).any()
    torch.testing.assert_close(seen["stem.1"].relu(), seen["stem.2"])


def test_a_module_that_runs_twice_is_no_layer() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.fc = torch.nn.ReLU(), torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.fc(self.act(self.act(x).mean((2, 3))))
            return found

    with pytest.raises(FailedPreconditionError, match="does not run exactly once"):
        survey(HookedNetwork(Twice(), "fc"), (4, 4), {"act": "act"})
