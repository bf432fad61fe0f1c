"""Parts models in a registry: a card and weights, bound to one generator by its digest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from services.generator.backend import network_spec
from services.generator.parts.cards import ARCHITECTURE, describe
from services.generator.parts.network import PartsNetwork
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import CARD_FILE, WEIGHTS_FILE, ModelCard, file_entry
from unitscope.models.registry import ModelReference, Registry


def save_parts(
    root: Path,
    name: str,
    network: PartsNetwork,
    generator: ModelCard,
    *,
    description: str = "",
    license: str = "Apache-2.0",
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> ModelCard:
    """Writes ``<root>/<name>/{card.json, model.safetensors}``; replaces an earlier model of that name.

    Args:
        root: The registry's folder, in which the generator lies as well.
        name: ``<pack>/<model>``.
        network: What to save.
        generator: The card of the generator whose features it reads.
        description: One or two sentences for the card.
        license: Of the weights.
        training: How to make it again: command, seed, pictures.
        metrics: Figures by name.

    Returns:
        The card, as it was written.

    Raises:
        InvalidArgumentError: The name is none (INVALID_MODEL_NAME).
        AlreadyExistsError: A model of another kind has that name (MODEL_EXISTS).
    """
    if ModelReference.parse(name, "name").digest:
        raise InvalidArgumentError(
            f"{name!r} names a digest; a new model's follows from its weights",
            reason="INVALID_MODEL_NAME",
            field="name",
        )
    _check_free(root, name)
    folder = Registry(root).folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    # Without its card the model is not there: nobody reads half of the old one and half of the new.
    (folder / CARD_FILE).unlink(missing_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    fresh = folder / f"{WEIGHTS_FILE}.{os.getpid()}"
    save_file(state, fresh)
    fresh.chmod(0o644)  # safetensors makes it readable to its owner alone; services run as other users
    fresh.replace(folder / WEIGHTS_FILE)
    card = ModelCard(
        name=name,
        kind="parts",
        description=description or f"Labels {len(network.parts)} parts of what {generator.name} renders.",
        license=license,
        architecture={
            "name": ARCHITECTURE,
            "generator": {"name": generator.name, "digest": generator.digest},
            "layers": [layer.name for layer in network.layers],
            "hidden": network.hidden,
            "head": network.head,
            "dilation": network.dilation,
        },
        classes=network.parts,
        files={WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)},
        training=dict(training or {}),
        metrics=dict(metrics or {}),
    )
    card.save(folder)
    return card


def load_parts(card: ModelCard, folder: Path, generator: ModelCard) -> PartsNetwork:
    """Loads a parts model from its folder, whose files were checked already.

    Args:
        card: The parts model's card.
        folder: Where its weights lie.
        generator: The card of the generator that is to feed it.

    Returns:
        The network, on the CPU, in evaluation mode, without gradients.

    Raises:
        FailedPreconditionError: It belongs to another generator (PARTS_OF_ANOTHER_GENERATOR), it is
            no parts model of ours (UNKNOWN_ARCHITECTURE), or weights and card do not fit
            (INVALID_WEIGHTS).
    """
    described = describe(card, generator)
    network = PartsNetwork(
        network_spec(generator),
        card.classes,
        described.layers,
        described.hidden,
        "none" if described.head == "none" else "convolution",
        described.dilation,
    )
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (RuntimeError, OSError) as error:
        raise FailedPreconditionError(
            f"{card.name}: the weights do not fit the card: {str(error)[:300]}",
            reason="INVALID_WEIGHTS",
            model=card.name,
        ) from error
    return network.eval().requires_grad_(False)


def _check_free(root: Path, name: str) -> None:
    path = Registry(root).folder(name) / CARD_FILE
    if path.is_file() and (kind := ModelCard.parse(path.read_bytes(), name).kind) != "parts":
        raise AlreadyExistsError(
            f"{name} is a {kind}; choose another name for the parts model",
            reason="MODEL_EXISTS",
            field="name",
            model=name,
        )
