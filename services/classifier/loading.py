"""From a model's folder to a classifier that answers."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from services.classifier.classifier import Classifier
from services.classifier.examples import EXAMPLES_FILE, check_examples
from services.classifier.networks import BATCH, Network, build
from services.classifier.onnx_file import read_onnx
from services.classifier.onnx_network import OnnxNetwork
from services.classifier.program import parse_program
from services.classifier.program_network import ProgramNetwork
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard
from unitscope.models.registry import Registry

GRAPH_FILE = "graph.json"
ONNX_FILE = "model.onnx"


def load_classifier(card: ModelCard, registry: Registry, device: str = "cpu") -> Classifier:
    """Loads a classifier's weights, checked against its card, and tries it on its examples.

    Raises:
        DataLossError: The files are not those on the card.
        FailedPreconditionError: The weights do not fit the architecture (reason INVALID_WEIGHTS), the card
            is at fault (INVALID_CARD, UNKNOWN_ARCHITECTURE), or the logits are not those of the examples
            (SELF_TEST_FAILED).
    """
    folder = registry.verified(card)
    classifier = Classifier(card, load_network(card, folder), device)
    if EXAMPLES_FILE in card.files:
        check_examples(classifier, folder / EXAMPLES_FILE)
    return classifier


def load_network(card: ModelCard, folder: Path, rows: int = BATCH) -> Network:
    """The network of a card with its weights, whatever its architecture.

    Args:
        card: The classifier's card.
        folder: Where its files lie.
        rows: Images at once, where a file leaves that free.

    Raises:
        FailedPreconditionError: As `load_classifier` says.
    """
    name = card.architecture.get("name")
    size = (card.input.height, card.input.width) if card.input else (0, 0)
    try:
        if name == "export":
            program = parse_program(json.loads((folder / GRAPH_FILE).read_bytes()))
            return ProgramNetwork(program, load_file(folder / WEIGHTS_FILE), size, rows)
        if name == "onnx":
            always = [layer.module for layer in card.layers]
            return OnnxNetwork(read_onnx(folder / ONNX_FILE), size, rows, always)
        network = build(card)
        network.module.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except InvalidArgumentError as error:
        raise FailedPreconditionError(
            f"{card.name} cannot be served: {error.message}", reason="INVALID_CARD", model=card.name
        ) from error
    except (RuntimeError, OSError, SafetensorError, ValueError) as error:
        raise FailedPreconditionError(
            f"{card.name}: the weights do not fit the architecture on the card: {str(error)[:300]}",
            reason="INVALID_WEIGHTS",
            model=card.name,
        ) from error
    return network
