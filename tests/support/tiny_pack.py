"""A complete model pack, made in seconds: a random generator, and models that can read its pictures.

``tiny/generator`` renders 16-pixel pictures of four classes with seeded random weights;
``tiny/classifier`` is a small random AvatarNet whose head is fitted, in closed form, to the classes
of that generator, so that most pictures are accepted as what they were asked to be; ``tiny/parts``
labels four parts, which are levels of brightness. All go through the very code that serves real packs::

    root = write_tiny_pack(tmp_path / "models")   # -> root, a registry folder
    Registry(root).resolve("tiny/generator")
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from services.classifier.avatarnet import AvatarNet
from services.generator.design import stem_spec
from services.generator.network import StyleGanXl, to_uint8
from services.generator.parts.features import draw_w
from services.generator.parts.store import save_parts
from services.generator.parts.training import train
from services.generator.specs import NetworkSpec
from unitscope.models.cards import (
    WEIGHTS_FILE,
    InputSpec,
    LayerCard,
    ModelCard,
    file_entry,
)

CLASSES = ("ash", "birch", "cedar", "dogwood")
GENERATOR = "tiny/generator"
CLASSIFIER = "tiny/classifier"
PARTS_MODEL = "tiny/parts"
PARTS = ("night", "dusk", "dawn", "day")
UNITS = 32
WIDTH = 4
SIZE = 64
"""The edge that AvatarNet wants its pictures to have; the generator's are resized."""


def tiny_spec(num_classes: int = len(CLASSES)) -> NetworkSpec:
    """A generator of 16 pixels, 3 layers and few channels."""
    return stem_spec(
        16,
        3,
        channel_base=128,
        channel_max=16,
        margin=2,
        channel_min=8,
        z_dim=16,
        w_dim=24,
        num_classes=num_classes,
        embed_dim=8,
    )


def write_tiny_pack(root: Path) -> Path:
    """Writes ``<root>/tiny/{generator,classifier,parts}`` and returns `root`, a registry folder."""
    torch_state = torch.random.get_rng_state()
    try:
        torch.manual_seed(7)
        generator = _generator()
        card = _save(root, _generator_card(), generator.state_dict())
        _save_parts(root, generator, card)
        _save(root, _classifier_card(), _classifier(generator).state_dict())
    finally:
        torch.random.set_rng_state(torch_state)
    return root


def _generator() -> StyleGanXl:
    network = StyleGanXl(tiny_spec()).eval().requires_grad_(False)
    # Affine weights at their random start move pictures little; larger ones make w visible.
    for layer in network.synthesis.layers():
        layer.affine.weight.mul_(2)
    means = []
    for index in range(len(CLASSES)):
        z = torch.randn(512, network.spec.z_dim)
        means.append(network.mapping(z, torch.full((512,), index)).mean(0))
    network.mapping.w_avg.copy_(torch.stack(means))
    return network


@torch.no_grad()
def _classifier(generator: StyleGanXl, per_class: int = 256) -> AvatarNet:
    network = AvatarNet(len(CLASSES), UNITS, WIDTH).eval().requires_grad_(False)
    classes = torch.arange(len(CLASSES)).repeat_interleave(per_class)
    z = torch.randn(len(classes), generator.spec.z_dim)
    truncation = 0.5 + 0.5 * torch.rand(len(classes))
    w = generator.mapping(z, classes, truncation)
    pictures = to_uint8(torch.cat([generator.synthesis(part) for part in w.split(64)]))
    images = pictures.permute(0, 3, 1, 2).float() / 255
    images = functional.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    maps = network.feature_maps((images - 0.5) / 0.5).flatten(1)
    # Random directions of the maps' own principal space, shifted so that most units are often on.
    centred = maps - maps.mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:UNITS]
    scale = (centred @ basis.t()).std(0)
    mix = torch.linalg.qr(torch.randn(UNITS, UNITS)).Q
    weight = mix @ (basis / scale[:, None])
    network.units.weight.copy_(weight)
    network.units.bias.copy_(0.5 - weight @ maps.mean(0))
    _fit_head(network, torch.relu(network.units(maps)), classes)
    return network


def _fit_head(network: AvatarNet, features: Tensor, classes: Tensor) -> None:
    """Ridge regression of the classes' indicators on the features, as logits of about -4 and 4."""
    x = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    y = 8 * functional.one_hot(classes, len(CLASSES)).double() - 4
    penalty = 1e-2 * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(x.t() @ x + penalty, x.t() @ y).float()
    network.classifier.weight.copy_(solution[:-1].t())
    network.classifier.bias.copy_(solution[-1])


def _generator_card() -> ModelCard:
    return ModelCard(
        name=GENERATOR,
        kind="generator",
        description="A generator with random weights, for tests.",
        license="Apache-2.0",
        architecture={"name": "stylegan-xl", "spec": tiny_spec().to_dict()},
        classes=CLASSES,
        files={},
    )


def _classifier_card() -> ModelCard:
    return ModelCard(
        name=CLASSIFIER,
        kind="classifier",
        description="A random network with a fitted head, for tests.",
        license="Apache-2.0",
        architecture={"name": "avatarnet", "units": UNITS, "width": WIDTH},
        classes=CLASSES,
        input=InputSpec(height=SIZE, width=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        layers=(
            LayerCard(name="penultimate", units=UNITS, nonnegative=True, has_head=True),
            LayerCard(name="maps", units=8 * WIDTH, nonnegative=True, module="trunk"),
        ),
        files={},
    )


def brightness_parts(pictures: Tensor) -> Tensor:
    """Labels of pictures uint8 ``(n, h, w, 3)``: quarters of equal size, from dark to bright, uint8."""
    grey = pictures.float().mean(dim=3)
    edges = torch.quantile(grey.flatten(), torch.tensor([0.25, 0.5, 0.75]))
    return torch.bucketize(grey, edges).to(torch.uint8)


def _save_parts(root: Path, generator: StyleGanXl, card: ModelCard) -> None:
    w = draw_w(generator, 16, seed=1)
    labels = brightness_parts(to_uint8(generator.synthesis(w)))
    network = train(generator, w.numpy(), labels.numpy(), PARTS, hidden=8, steps=60)
    save_parts(root, PARTS_MODEL, network, card)


def _save(root: Path, card: ModelCard, state: dict[str, Tensor]) -> ModelCard:
    folder = root.joinpath(*card.name.split("/"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS_FILE
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    saved = card.model_copy(update={"files": {WEIGHTS_FILE: file_entry(path)}})
    saved.save(folder)
    return saved
