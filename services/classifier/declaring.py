"""What an import declares of a classifier, and how it becomes a model of the registry.

The importers bring a network and its files; what is common to them is here: class names, layers as they are
measured, the card, a first run, the self-test. A model appears in the registry whole or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from services.classifier.classifier import Classifier
from services.classifier.examples import EXAMPLES_FILE, Examples, check_examples
from services.classifier.layouts import RANKS, declared, extent
from services.classifier.loading import load_network
from services.classifier.networks import Network
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import CARD_FILE, InputSpec, LayerCard, ModelCard, file_entry
from unitscope.models.registry import ModelReference

PACK = "mine"
"""Where models with a bare name go."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PENULTIMATE = "penultimate"
OPTIONS = ("class", "mean", "channels_last")
"""What may follow the tensor of a layer, after a colon."""
SURVEY_ROWS = 4
"""Images of noise on which layers are measured."""


@dataclass(frozen=True)
class Declaration:
    """What whoever imports a classifier says of it.

    Attributes:
        name: ``<pack>/<model>``; a bare name goes into the pack ``mine``.
        classes: Names in the order of the logits; numbered where there are none.
        size: Height and width of the images; those of the file where it fixes them.
        mean: Mean of each channel, of images in [0, 1].
        std: Standard deviation of each channel.
        shorter_edge: See `InputSpec`.
        interpolation: See `InputSpec`.
        channels: See `InputSpec`.
        layers: Further layers: name -> module or tensor, optionally with ``:class``, ``:mean`` or
            ``:channels_last`` behind it. One called ``penultimate`` replaces the one that is found.
        examples: Images and logits to compare with.
        description: What the model is.
        license_name: Licence of the weights.
    """

    name: str
    classes: Sequence[str] = ()
    size: tuple[int, int] | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    shorter_edge: int = 0
    interpolation: str = "bilinear"
    channels: str = "rgb"
    layers: Mapping[str, str] = field(default_factory=dict)
    examples: Examples | None = None
    description: str = ""
    license_name: str = "unknown"

    @property
    def full_name(self) -> str:
        """The name with its pack.

        Raises:
            InvalidArgumentError: It is none.
        """
        name = self.name if "/" in self.name else f"{PACK}/{self.name}"
        return ModelReference.parse(name, "name").name

    def input(self, fixed: Sequence[int | None] = (None, None)) -> InputSpec:
        """How images are prepared.

        Args:
            fixed: Height and width that the file fixes, where it does.

        Raises:
            InvalidArgumentError: The size is not the file's (reason WRONG_SIZE), or what is said makes no
                sense (INVALID_INPUT).
        """
        default = 224 if self.size is None else None
        size = [fix or default or (self.size or (0, 0))[k] for k, fix in enumerate(fixed)]
        if self.size is not None and list(self.size) != size:
            raise InvalidArgumentError(
                f"the file fixes images of {size[0]} x {size[1]} pixels, not {self.size[0]} x {self.size[1]}",
                reason="WRONG_SIZE",
                field="size",
            )
        try:
            return InputSpec.model_validate(
                {
                    "height": size[0],
                    "width": size[1],
                    "mean": self.mean,
                    "std": self.std,
                    "shorter_edge": self.shorter_edge,
                    "interpolation": self.interpolation,
                    "channels": self.channels,
                }
            )
        except ValidationError as error:
            raise InvalidArgumentError(
                f"the preprocessing makes no sense: {error.errors()[0]['msg']}",
                reason="INVALID_INPUT",
                field="input",
            ) from error


@dataclass(frozen=True)
class Row:
    """A layer as it was seen."""

    layer: LayerCard
    module: str
    extent: str


def survey(
    network: Network, size: tuple[int, int], wanted: Mapping[str, str], lenient: bool = False
) -> list[Row]:
    """What layers give, as seen on images of noise.

    Args:
        network: The network.
        size: Height and width of its images.
        wanted: Name -> place with an optional ``:option``.
        lenient: Whether places that give no layer are left out; else they are refused.

    Raises:
        FailedPreconditionError: There is no such place (reason NO_SUCH_PLACE), or it gives no layer
            (INVALID_LAYER).
    """
    places, parsed = network.places(), {name: split_option(text) for name, text in wanted.items()}
    resolved = {name: network.resolved(place) for name, (place, _) in parsed.items()}
    for name, place in resolved.items():
        if place not in places:
            some = ", ".join([known for known in places if known][-6:])
            raise FailedPreconditionError(
                f"layer {name!r}: there is no module or tensor {place!r}; the last "
                "ones are: "
                f"{some}; `unitscope models layers FILE` lists them",
                reason="NO_SUCH_PLACE",
                field="layer",
                place=place[:80],
            )
    with torch.inference_mode():
        seen = network.outputs(noise(network, size), list(resolved.values()))
    modules, rows = network.modules(), []
    for name, place in resolved.items():
        if lenient and (place not in seen or seen[place].dim() not in RANKS):
            continue
        if place not in seen:
            raise FailedPreconditionError(
                f"layer {name!r}: {place!r} does not run exactly once, or gives no float tensor with a row "
                "an image",
                reason="INVALID_LAYER",
                field="layer",
            )
        card = LayerCard(name=name, units=1, nonnegative=False, module=place)
        card = declared(card, seen[place], parsed[name][1])
        card = card.model_copy(update={"has_head": places[place] and seen[place].dim() == 2})
        rows.append(Row(card, modules.get(place, ""), extent(seen[place], card)))
    return rows


def survey_cards(network: Network, size: tuple[int, int], cards: Sequence[LayerCard]) -> list[Row]:
    """The layers that a card declares, with the extent that is seen."""
    with torch.inference_mode():
        seen = network.outputs(noise(network, size), [card.module for card in cards])
    modules = network.modules()
    return [Row(card, modules.get(card.module, ""), extent(seen[card.module], card)) for card in cards]


def noise(network: Network, size: tuple[int, int]) -> torch.Tensor:
    """Normal noise, float32 ``(batch, 3, height, width)``, as many as the network takes or a few."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(network.batch, 3, *size, generator=generator)


def split_option(text: str) -> tuple[str, str]:
    """A place and its option, from ``place`` or ``place:option``; names of tensors may hold colons."""
    place, _, option = text.rpartition(":")
    return (place, option) if place and option in OPTIONS else (text, "")


def declare(
    said: Declaration,
    root: Path,
    network: Network,
    spec: InputSpec,
    files: Mapping[str, Any],
    architecture: Mapping[str, Any],
    training: Mapping[str, Any],
) -> ModelCard:
    """Writes the model's folder, after it has answered and passed its self-test.

    Args:
        said: What is declared.
        root: The registry's folder.
        network: The network, to measure layers on.
        spec: How images are prepared.
        files: What each file is written by: name -> function of its path.
        architecture: The card's.
        training: The card's: where it comes from.

    Raises:
        AlreadyExistsError: There is a model of that name (reason MODEL_EXISTS).
        InvalidArgumentError: The number of classes is another (reason WRONG_CLASSES).
        FailedPreconditionError: No penultimate layer is found (reason NO_PENULTIMATE_LAYER), a layer does not
            exist, or the self-test failed.
    """
    folder = new_folder(root, said.full_name)
    rows = survey(network, (spec.height, spec.width), _wanted(said, network))
    layers = tuple(row.layer for row in rows)
    with torch.inference_mode():
        logits = network.read(noise(network, (spec.height, spec.width)), layers[:1])[1]
    classes = _class_names(said.classes, logits.shape[1])
    root.mkdir(parents=True, exist_ok=True)
    # One level deep, where the registry does not look; then renamed, so that nobody sees half a model.
    made = Path(tempfile.mkdtemp(dir=root, prefix=".import-"))
    try:
        for name, write in files.items():
            write(made / name)
        if said.examples is not None:
            said.examples.save(made / EXAMPLES_FILE)
        card = ModelCard(
            name=said.full_name,
            kind="classifier",
            description=said.description,
            license=said.license_name,
            architecture=dict(architecture),
            classes=classes,
            input=spec,
            layers=layers,
            files={path.name: file_entry(path) for path in sorted(made.iterdir())},
            training=dict(training),
        )
        card = _tried(card, made)
        card.save(made)
        made.chmod(0o755)
        folder.parent.mkdir(parents=True, exist_ok=True)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return card


def new_folder(root: Path, name: str) -> Path:
    """The folder of a model that is not there yet.

    Raises:
        AlreadyExistsError: It is (reason MODEL_EXISTS).
    """
    folder = root.joinpath(*name.split("/"))
    if (folder / CARD_FILE).exists() or (folder.exists() and any(folder.iterdir())):
        raise AlreadyExistsError(
            f"there is a model {name!r} already; remove it, or choose another name",
            reason="MODEL_EXISTS",
            field="name",
        )
    return folder


def _wanted(said: Declaration, network: Network) -> dict[str, str]:
    """Layers by name, the penultimate one first."""
    found = network.penultimate()
    if PENULTIMATE in said.layers or found is None:
        first = {key: value for key, value in said.layers.items() if key == PENULTIMATE}
    else:
        first = {PENULTIMATE: found}
    wanted = {**first, **said.layers}
    if wanted:
        return wanted
    passed = [place for place, passes in network.places().items() if passes and place][-6:]
    raise FailedPreconditionError(
        "the model does not end in a linear layer, so that its penultimate layer is not found; name one with "
        "--layer penultimate=TENSOR, e.g. one of these, which all that reaches the logits passes: "
        f"{', '.join(passed)}",
        reason="NO_PENULTIMATE_LAYER",
        field="layer",
    )


def _class_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    if not names:
        return tuple(f"class {index}" for index in range(count))
    if len(names) != count:
        raise InvalidArgumentError(
            f"{len(names)} class names are given; the model has {count} logits",
            reason="WRONG_CLASSES",
            field="classes",
        )
    return tuple(names)


def _tried(card: ModelCard, folder: Path) -> ModelCard:
    """The card, with the figures of a first run through the very code that serves it."""
    assert card.input is not None
    classifier = Classifier(card, load_network(card, folder))
    reading = classifier.read(np.full((1, card.input.height, card.input.width, 3), 128, np.uint8))
    if not np.isfinite(reading.logits).all():
        raise FailedPreconditionError(
            "the logits of a grey image are not finite; the weights are damaged, or mean and std are wrong",
            reason="SELF_TEST_FAILED",
        )
    if EXAMPLES_FILE not in card.files:
        return card
    difference = check_examples(classifier, folder / EXAMPLES_FILE)
    return card.model_copy(update={"metrics": {"self_test": {"largest_difference": difference}}})
