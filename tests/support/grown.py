"""A super-resolution stage upon the tiny generator: 32 pixels, the same W."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from services.generator.design import superres_spec
from services.generator.network import StyleGanXl
from tests.support.tiny_pack import CLASSES, GENERATOR, tiny_spec
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, file_entry
from unitscope.models.lineage import with_lineage

GROWN = "tiny/grown"


def grown_network(root: Path) -> StyleGanXl:
    """Keeps mapping, input and uncritical layers of ``tiny/generator`` in `root`; draws a head upon them."""
    spec = superres_spec(tiny_spec(), 3, channel_base=128, channel_max=16, margin=2, channel_min=8)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        network = StyleGanXl(spec).eval().requires_grad_(False)
    stem = load_file(root.joinpath(*GENERATOR.split("/"), WEIGHTS_FILE))
    state = network.state_dict()
    network.load_state_dict({name: stem.get(name, value) for name, value in state.items()})
    return network


def write_grown(
    root: Path,
    network: StyleGanXl | None = None,
    name: str = GROWN,
    classes: tuple[str, ...] = CLASSES,
) -> ModelCard:
    """Writes ``<root>/<name>`` and returns its card, with its lineage."""
    network = grown_network(root) if network is None else network
    folder = root.joinpath(*name.split("/"))
    folder.mkdir(parents=True)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    card = ModelCard(
        name=name,
        kind="generator",
        description="A stage of 32 pixels upon the tiny generator, for tests.",
        license="Apache-2.0",
        architecture={"name": "stylegan-xl", "spec": network.spec.to_dict()},
        classes=classes,
        files={WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)},
    )
    card = with_lineage(card, folder)
    card.save(folder)
    return card
