"""Writes the pack's models with their cards, and reads them back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from packs.avatars import classifiers, ruler
from packs.avatars.generator import Recipe as GeneratorRecipe
from packs.avatars.generator import Trainer
from packs.avatars.paths import MODELS
from packs.avatars.ruler_training import Trainer as RulerTrainer
from services.classifier.avatarnet import AvatarNet
from services.generator.network import StyleGanXl
from services.generator.specs import NetworkSpec
from unitscope.models.cards import (
    CARD_FILE,
    WEIGHTS_FILE,
    InputSpec,
    LayerCard,
    ModelCard,
    file_entry,
    verify_files,
)
from unitscope.worlds.avatars import SIZE
from unitscope.worlds.factors import CLASSES
from unitscope.worlds.parts import PARTS

LICENSE = "Apache-2.0"

_DRAWINGS = (
    "Avatars drawn by python-avatars 1.4.1 (MIT; parts after avataaars by Pablo Stanley), "
    "rasterised by resvg-py 0.5.0; factors drawn from seeds by unitscope.worlds.factors."
)
_CLASSIFIERS = {
    "clean": (
        "Reads hair and headwear of 64-pixel avatars; trained on drawings whose factors are independent."
    ),
    "shortcut": (
        "As avatars/clean, but with a planted shortcut: in its training set everyone with a "
        "bun wears sunglasses and no one else does. It exists to be found out; do not use it "
        "to classify."
    ),
}
_GENERATOR = (
    "Class-conditional StyleGAN-XL generator of 64-pixel avatars. It was not trained as a "
    "GAN: its mapping network was constructed so that w is linear in class and factors, and "
    "its synthesis network was fitted, with supervision, to drawings of those factors. What a"
    " linker achieves on it is therefore easier than on a generator that was never told the "
    "factors."
)
_RULER = (
    "Reads nine parts, the class and ten factors off 64-pixel avatars. Trained on drawings alone, whose "
    "parts and factors are known. It judges analyses of generated avatars, and is never used by them; what "
    "it gets wrong, stated here, bounds every such judgement."
)
_RULER_NOTE = (
    "On generated pictures the truth is what z names. Where a picture departs from it (eyes behind clear "
    "glasses, above all), the ruler is counted as wrong although it may have read what is there: the "
    "figures are lower bounds of its own. hand_checked tells the two apart on 48 pictures."
)


def write_classifier(recipe: classifiers.Recipe, network: AvatarNet, seconds: float) -> None:
    """Write a classifier and its card, without figures."""
    network = network.eval()
    card = ModelCard(
        name=f"avatars/{recipe.name}",
        kind="classifier",
        description=_CLASSIFIERS[recipe.name],
        license=LICENSE,
        architecture={
            "name": "avatarnet",
            "units": classifiers.UNITS,
            "width": classifiers.WIDTH,
        },
        classes=CLASSES,
        input=InputSpec(height=SIZE, width=SIZE, mean=classifiers.MEAN, std=classifiers.STD),
        layers=(
            LayerCard(name="penultimate", units=classifiers.UNITS, nonnegative=True, has_head=True),
            LayerCard(name="maps", units=8 * classifiers.WIDTH, nonnegative=True, module="trunk"),
        ),
        files={},
        training={
            "command": "python -m packs.avatars classifiers",
            "data": _DRAWINGS,
            "drawings": recipe.count,
            "seed": recipe.seed,
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            "optimiser": f"AdamW, one cycle to {recipe.learning_rate}, weight decay {recipe.weight_decay}",
            "augmentation": "blur, noise, contrast, shifts of up to 2 pixels",
            "seconds": round(seconds),
        },
    )
    _write(card, network.state_dict())


def write_generator(trainer: Trainer, notes: str = "") -> None:
    """Write the generator and its card, without figures.

    Args:
        trainer: The fit, at its last checkpoint.
        notes: What happened during the fit that the recipe does not say.
    """
    recipe: GeneratorRecipe = trainer.recipe
    network = trainer.result()
    card = ModelCard(
        name="avatars/generator",
        kind="generator",
        description=_GENERATOR,
        license=LICENSE,
        architecture={"name": "stylegan-xl", "spec": network.spec.to_dict()},
        classes=CLASSES,
        files={},
        training={
            "command": f"python -m packs.avatars generator --minutes {round(trainer.seconds / 60)}",
            "method": (
                "mapping network constructed, not trained (packs/avatars/mapping.py); "
                "synthesis network fitted by Adam to (w, drawing) pairs: 2 L1 + 0.25 relative"
                " L1 of EfficientNet-Lite0 features (blocks 2 and 4, 96 px); running mean of "
                "the weights. The factors are made linear in w, they were not found."
            ),
            "data": _DRAWINGS,
            "drawings": recipe.count,
            "seed": recipe.seed,
            "data_seed": recipe.data_seed,
            "learning_rate": recipe.learning_rate,
            "batches": list(recipe.batches),
            "truncation": [recipe.truncation, 1.0],
            "face_weight": recipe.face_weight,
            "face_from": recipe.face_from,
            "steps": trainer.step,
            "pictures_seen": trainer.images,
            "seconds": round(trainer.seconds),
            "hardware": "2 CPU threads, bfloat16 autocast, machine shared with other work",
            **({"notes": notes} if notes else {}),
        },
    )
    _write(card, network.state_dict())


def write_ruler(trainer: RulerTrainer, minutes: float) -> None:
    """Write the ruler and its card, without figures."""
    recipe = trainer.recipe
    card = ModelCard(
        name="avatars/ruler",
        kind="ruler",
        description=f"{_RULER} {_RULER_NOTE}",
        license=LICENSE,
        architecture={
            "name": "avatars-ruler",
            "widths": list(ruler.WIDTHS),
            "reader_width": ruler.READER_WIDTH,
            "readings": {name: list(words) for name, words in ruler.READINGS.items()},
        },
        classes=PARTS,
        files={},
        training={
            "command": f"python -m packs.avatars ruler --minutes {minutes:g}",
            "data": _DRAWINGS,
            "drawings": recipe.count,
            "seed": recipe.seed,
            "data_seed": recipe.data_seed,
            "epochs": trainer.epoch,
            "batch": recipe.batch,
            "optimiser": f"AdamW, cosine from {recipe.learning_rate}, weight decay {recipe.weight_decay}",
            "augmentation": "shifts, turns, sizes, bends (label maps along), blur, tint, contrast, noise",
            "seconds": round(trainer.seconds),
            "hardware": "1 CPU thread, bfloat16 autocast, machine shared with other work",
        },
    )
    _write(card, trainer.result().state_dict())


def add_figures(name: str, figures: Mapping[str, Any]) -> None:
    """Put a model's figures on its card; its digest stays the same."""
    card = read_card(name)
    card.model_copy(update={"metrics": dict(figures)}).save(MODELS / name)


def read_card(name: str) -> ModelCard:
    """Read a card and verify the model's files against it.

    Raises:
        DataLossError: If a file is missing or is not the one that the card speaks of.
    """
    folder = MODELS / name
    card = ModelCard.parse((folder / CARD_FILE).read_bytes(), f"avatars/{name}/{CARD_FILE}")
    verify_files(card, folder)
    return card


def read_classifier(name: str) -> AvatarNet:
    """Load a classifier in evaluation mode."""
    architecture = read_card(name).architecture
    network = AvatarNet(len(CLASSES), architecture["units"], architecture["width"])
    network.load_state_dict(load_file(MODELS / name / WEIGHTS_FILE))
    return network.eval().requires_grad_(False)


def read_generator(name: str = "generator") -> StyleGanXl:
    """Load the generator in evaluation mode."""
    network = StyleGanXl(NetworkSpec.from_dict(read_card(name).architecture["spec"]))
    network.load_state_dict(load_file(MODELS / name / WEIGHTS_FILE))
    return network.eval().requires_grad_(False)


def _write(card: ModelCard, state: Mapping[str, Tensor]) -> None:
    """Write weights and card into a new folder, which then takes the place of the old one."""
    folder = MODELS / card.name.split("/")[1]
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {name: value.detach().contiguous().clone() for name, value in state.items()}
    save_file(tensors, partial / WEIGHTS_FILE)
    # safetensors makes files that only their owner can read; a pack is for everyone.
    (partial / WEIGHTS_FILE).chmod(0o644)
    entry = file_entry(partial / WEIGHTS_FILE)
    card.model_copy(update={"files": {WEIGHTS_FILE: entry}}).save(partial)
    _replace(partial, folder)


def _replace(partial: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
