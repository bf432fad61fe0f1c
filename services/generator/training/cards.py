"""The finished generator as a model of the registry: weights, and one card for all stages."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from services.generator.configurations import parameter_count
from services.generator.training.data import Pictures
from services.generator.training.plan import Plan
from services.generator.training.session import Finished
from unitscope.errors import AlreadyExistsError, FailedPreconditionError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, file_entry
from unitscope.models.lineage import with_lineage
from unitscope.models.registry import ModelReference

CAUTION = (
    "Distances are measured on the feature network that the discriminator looked through, so that they "
    "flatter; compare them with those of trainings on the same network, data and number of samples alone."
)


@dataclass(frozen=True)
class About:
    """What is said of a model beside its figures.

    Attributes:
        name: ``<pack>/<model>``.
        command: What made it.
        data: Name of the folder or zip.
        license: Licence of the weights.
        description: What the model is; a sentence of ours where empty.
        features: Name of the feature network.
        hardware: Where it was trained.
    """

    name: str
    command: str
    data: str
    license: str = "unknown"
    description: str = ""
    features: str = ""
    hardware: str = ""


def check_free(root: Path, name: str) -> str:
    """The full name of a new model, if it can have it; asked before a training and not after.

    Raises:
        InvalidArgumentError: It is no name (reason INVALID_MODEL_NAME).
        AlreadyExistsError: There is a model of that name (MODEL_EXISTS).
    """
    found = ModelReference.parse(name, "name").name
    if root.joinpath(*found.split("/")).exists():
        raise AlreadyExistsError(
            f"there is a model {found!r} already; remove it, or choose another name",
            reason="MODEL_EXISTS",
            field="name",
            model=found,
        )
    return found


def write_model(root: Path, about: About, plan: Plan, pictures: Pictures, finished: Finished) -> ModelCard:
    """Writes ``<root>/<name>/{card.json, model.safetensors}``, as a whole or not at all.

    Args:
        root: The registry's folder.
        about: Name and origin.
        plan: What was done.
        pictures: The data.
        finished: What came out.

    Returns:
        The card that was written.

    Raises:
        AlreadyExistsError: The name was taken meanwhile (reason MODEL_EXISTS).
        FailedPreconditionError: The folder cannot be written (REGISTRY_NOT_WRITABLE).
    """
    name = check_free(root, about.name)
    folder = root.joinpath(*name.split("/"))
    network = finished.network
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Beside the packs and deeper than models lie, so that no listing sees half of one.
        with tempfile.TemporaryDirectory(prefix=".training-", dir=root) as scratch:
            made = Path(scratch) / "new" / "model"
            made.mkdir(parents=True)
            save_file(tensors, made / WEIGHTS_FILE)
            # safetensors makes files that only their owner can read.
            (made / WEIGHTS_FILE).chmod(0o644)
            card = ModelCard(
                name=name,
                kind="generator",
                description=about.description or _description(plan, pictures),
                license=about.license,
                architecture={"name": "stylegan-xl", "spec": network.spec.to_dict()},
                classes=pictures.classes,
                files={WEIGHTS_FILE: file_entry(made / WEIGHTS_FILE)},
                training=_training(about, plan, pictures, finished),
                metrics=_metrics(about, plan, finished),
            )
            card = with_lineage(card, made)
            card.save(made)
            folder.parent.mkdir(exist_ok=True)
            made.rename(folder)
    except OSError as error:
        raise FailedPreconditionError(
            f"the model cannot be written to {folder}: {error.strerror or error}; the training is complete, "
            "start the same command again to have it written",
            reason="REGISTRY_NOT_WRITABLE",
        ) from error
    return card


def _description(plan: Plan, pictures: Pictures) -> str:
    classes = f"{len(pictures.classes)} classes" if len(pictures.classes) > 1 else "one class"
    return (
        f"StyleGAN-XL generator of {plan.resolution}-pixel pictures of {classes}, trained by 'unitscope "
        f"train generator' on {len(pictures):,} pictures."
    )


def _training(about: About, plan: Plan, pictures: Pictures, finished: Finished) -> dict[str, Any]:
    """How to make it again."""
    return {
        "command": about.command,
        "method": "progressive growing with frozen earlier stages, projected discriminator, classifier "
        "guidance (StyleGAN-XL, arXiv 2202.00273); the best running mean of every stage by Fréchet distance",
        "data": {
            "name": about.data,
            "sha256": pictures.digest,
            "pictures": len(pictures),
            "unreadable": len(pictures.unreadable),
            "by_class": dict(zip(pictures.classes, pictures.counts.tolist(), strict=True)),
        },
        "settings": plan.model_dump(mode="json"),
        "seed": plan.seed,
        "seconds": round(finished.seconds),
        "hardware": about.hardware,
    }


def _metrics(about: About, plan: Plan, finished: Finished) -> dict[str, Any]:
    return {
        "parameters": parameter_count(finished.network.spec),
        "distances": {"features": about.features, "caution": CAUTION, **finished.distances.to_dict()},
        "stages": [_stage(finished.history, index) for index in range(len(plan.resolutions))],
        "class_means": {"latents_per_class": plan.mean_samples},
    }


def _stage(history: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    """A stage's first, best and last evaluation."""
    own = [entry for entry in history if entry["stage"] == index]
    best = min(own, key=lambda entry: float(entry["distances"]["frechet"]["value"]))
    found = {
        "resolution": own[0]["resolution"],
        "pictures_seen": own[-1]["pictures"],
        "evaluations": len(own),
        "best_at": best["pictures"],
        "untrained": own[0]["distances"],
        "best": best["distances"],
        "last": own[-1]["distances"],
    }
    return found | ({"guide": own[0]["guide"]} if "guide" in own[0] else {})
