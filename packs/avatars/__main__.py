"""The command ``python -m packs.avatars``; see the package's docstring."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import torch
import typer

from packs.avatars import check as check_recipe
from packs.avatars import classifiers as classifier_recipes
from packs.avatars import documentation, pack, parts_model, ruler_training
from packs.avatars import generator as generator_recipe
from packs.avatars.labels import SEEDS, write_labels, write_overlays
from packs.avatars.paths import IMAGES
from services.generator.backend import GeneratorBackend

logger = logging.getLogger(__name__)

MODEL_NAMES = ("clean", "shortcut", "generator", "ruler", "parts")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Makes and checks the avatars pack.")

# Training allocates and frees the same large blocks at every step; handing them back to the system
# costs a quarter of the time.
_KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


@app.callback()
def main() -> None:
    """Make and check the avatars pack."""


@app.command()
def draw() -> None:
    """Draw the training sets."""
    for recipe in classifier_recipes.RECIPES:
        recipe.drawings()
    generator_recipe.Recipe().drawings()


@app.command()
def classifiers(threads: int = 2) -> None:
    """Train both classifiers and write them, with cards that have no figures yet."""
    torch.set_num_threads(threads)
    for recipe in classifier_recipes.RECIPES:
        data = recipe.drawings()
        started = time.monotonic()
        network = classifier_recipes.train(recipe, data)
        pack.write_classifier(recipe, network, time.monotonic() - started)


@app.command()
def generator(minutes: float = 60.0, threads: int = 2) -> None:
    """Fit the generator within a budget of minutes, going on from the last checkpoint."""
    if any(os.environ.get(name) != value for name, value in _KEEP_MEMORY.items()):
        arguments = [sys.executable, "-m", "packs.avatars", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, **_KEEP_MEMORY})
    torch.set_num_threads(threads)
    generator_recipe.fit(generator_recipe.Recipe(), minutes)


@app.command()
def ruler(minutes: float = 11.0, threads: int = 1) -> None:
    """Train the ruler within a budget of minutes, going on from the last checkpoint, and write it."""
    torch.set_num_threads(threads)
    trainer = ruler_training.train(ruler_training.Recipe(), minutes)
    pack.write_ruler(trainer, minutes)


@app.command()
def labels(folder: Path, count: int = len(SEEDS)) -> None:
    """Write the part set that the parts model is trained from into a new folder."""
    part_set = write_labels(folder, GeneratorBackend(pack.read_generator()), count)
    write_overlays(folder.with_name(folder.name + "-overlays.png"), part_set)


@app.command()
def parts(threads: int = 2) -> None:
    """Train the parts model from its labelled pictures and write it, with a card without figures."""
    torch.set_num_threads(threads)
    card = parts_model.train_and_write()
    logger.info("%s: %s", card.name, card.training)


@app.command()
def cards(models: list[str] = typer.Option(MODEL_NAMES, "--model"), notes: str = "") -> None:
    """Write the generator from its last checkpoint, measure the models, and complete their cards.

    Notes on what happened during the fit go onto the generator's card.
    """
    if "generator" in models:
        recipe = generator_recipe.Recipe()
        trainer = generator_recipe.Trainer(recipe, recipe.drawings())
        trainer.load(generator_recipe.STATE)
        pack.write_generator(trainer, notes)
    for name in models:
        figures = check_recipe.figures_of(name)
        pack.add_figures(name, figures)
        logger.info("%s: %s", name, figures)


@app.command()
def images() -> None:
    """Write the sample sheets of the documentation."""
    generator = pack.read_generator()
    documentation.write_sheets(IMAGES, generator)
    documentation.write_ruler_sheet(IMAGES, generator)


@app.command()
def check(models: list[str] = typer.Option(MODEL_NAMES, "--model")) -> None:
    """Compute every figure on the cards again; exits with 1 if one differs."""
    wrong = 0
    for name in models:
        stated = pack.read_card(name).metrics
        lines = check_recipe.differences(stated, check_recipe.figures_of(name))
        wrong += len(lines)
        typer.echo(f"avatars/{name}: {'as stated' if not lines else 'differs'}")
        for line in lines:
            typer.echo(f"  {line}")
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
