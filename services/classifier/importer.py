"""Converts classifiers from elsewhere into models of the registry, once.

Three kinds of files come in: weights of a torchvision architecture, programs of ``torch.export``, and ONNX.
None of them is executed or unpickled; state dicts are read with ``torch.load(weights_only=True)``::

    said = Declaration("mine/resnet50", classes=names)
    import_torchvision("resnet50", Path("resnet50.pth"), Path("models"), said)
    import_export(Path("model.pt2"), Path("models"), Declaration("mine/other"))
    import_onnx(Path("model.onnx"), Path("models"), Declaration("mine/third"))
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.classifier.archive import read_archive
from services.classifier.declaring import SURVEY_ROWS, Declaration, declare, new_folder
from services.classifier.loading import GRAPH_FILE, ONNX_FILE
from services.classifier.networks import HookedNetwork, last_linear, torchvision_model
from services.classifier.onnx_file import OnnxFile, read_onnx
from services.classifier.onnx_network import OnnxNetwork
from services.classifier.program import Program, parse_program, trimmed
from services.classifier.program_network import ProgramNetwork
from unitscope.errors import InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, file_entry

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "model.")


def import_torchvision(architecture: str, weights: Path, root: Path, said: Declaration) -> ModelCard:
    """Imports the weights of a torchvision classifier.

    The layer ``penultimate`` is what the last linear layer reads; further layers are declared by the
    module whose output they are. Units and signs are measured on noise with the imported weights.

    Args:
        architecture: A classification model of torchvision, e.g. ``resnet50``.
        weights: A state dict, ``.safetensors`` or what ``torch.save`` wrote.
        root: The registry's folder.
        said: Name, classes, preprocessing, layers.

    Returns:
        The card that was written.

    Raises:
        InvalidArgumentError: The file is no state dict of that architecture (reason INVALID_WEIGHTS).
        FailedPreconditionError: No such architecture or module.
        UnitScopeError: As `services.classifier.declaring.declare` says.
    """
    new_folder(root, said.full_name)
    spec = said.input()
    state = read_state_dict(weights)
    classes = len(said.classes) or _classes_of(state)
    module = torchvision_model(architecture, classes).eval().requires_grad_(False)
    _load(module, state, f"{architecture} with {classes} classes")
    head = last_linear(module)
    said = replace(
        said, description=said.description or f"torchvision's {architecture} with imported weights."
    )
    return declare(
        said, root, _Small(module, head), spec,
        {WEIGHTS_FILE: lambda path: save_file(_distinct(module.state_dict()), path)},
        {"name": "torchvision", "model": architecture, "head": head},
        _source(weights),
    )  # fmt: skip


def import_export(file: Path, root: Path, said: Declaration) -> ModelCard:
    """Imports a program of ``torch.export``: its weights become safetensors, its graph a list of operators.

    Args:
        file: What ``torch.export.save`` of torch 2.8 or later wrote.
        root: The registry's folder.
        said: Name, classes, preprocessing, layers by the names of tensors or of the model's modules.

    Returns:
        The card that was written.

    Raises:
        UnitScopeError: As `read_archive`, `parse_program`, `ProgramNetwork` and `declare` say.
    """
    new_folder(root, said.full_name)
    network, model, tensors, size = open_export(file, said.size)
    used = {name: tensors[name].contiguous() for name in sorted(set(network.bound_names) & set(tensors))}
    said = replace(said, description=said.description or "A program of torch.export.")
    return declare(
        said, root, network, said.input(size),
        {
            WEIGHTS_FILE: lambda path: save_file(used, path),
            GRAPH_FILE: lambda path: path.write_text(json.dumps(trimmed(model), separators=(",", ":"))),
        },
        {"name": "export"},
        _source(file),
    )  # fmt: skip


def import_onnx(file: Path, root: Path, said: Declaration) -> ModelCard:
    """Imports an ONNX model: the file is kept as it is, under its digest, and run by onnxruntime.

    Args:
        file: An ONNX file with all weights inside.
        root: The registry's folder.
        said: Name, classes, preprocessing, layers by the names of tensors.

    Returns:
        The card that was written.

    Raises:
        UnitScopeError: As `read_onnx`, `OnnxNetwork` and `declare` say.
    """
    new_folder(root, said.full_name)
    network, size = open_onnx(file, said.size)
    said = replace(said, description=said.description or "An ONNX model.")
    return declare(
        said, root, network, said.input(size),
        {ONNX_FILE: lambda path: shutil.copyfile(file, path)},
        {"name": "onnx"},
        _source(file),
    )  # fmt: skip


def open_export(
    file: Path, size: tuple[int, int] | None = None
) -> tuple[ProgramNetwork, dict[str, Any], dict[str, Tensor], tuple[int, int]]:
    """A program ready to run, its JSON and tensors, and the size of its images."""
    archive = read_archive(file)
    program: Program = parse_program(archive.model)
    edges = _size(program.shape, size)
    return ProgramNetwork(program, archive.tensors, edges, SURVEY_ROWS), archive.model, archive.tensors, edges


def open_onnx(file: Path, size: tuple[int, int] | None = None) -> tuple[OnnxNetwork, tuple[int, int]]:
    """An ONNX model ready to run, and the size of its images."""
    found: OnnxFile = read_onnx(file)
    edges = _size(found.shape, size)
    return OnnxNetwork(found, edges, SURVEY_ROWS), edges


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads a state dict without executing anything, also one wrapped as training scripts do.

    Raises:
        InvalidArgumentError: The file is none (reason INVALID_WEIGHTS).
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own, from pickle's to zip's
        raise _invalid(f"{path.name} cannot be read as a state dict: {str(error)[:200]}") from error
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _invalid(f"{path.name} holds no state dict: a mapping of names to tensors is needed")
    state: dict[str, Tensor] = dict(found)
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


class _Small(HookedNetwork):
    """A network that is only measured."""

    batch = SURVEY_ROWS


def _size(shape: tuple[int | None, ...], wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width that the file fixes, else those that are wanted, else 224."""
    height, width = wanted or (224, 224)
    return shape[2] or height, shape[3] or width


def _classes_of(state: dict[str, Tensor]) -> int:
    """Rows of the last matrix of weights."""
    matrices = [tensor for tensor in state.values() if tensor.dim() == 2]
    if not matrices:
        raise _invalid(
            "the weights hold no matrix, so that the number of classes is not found; give --classes"
        )
    return int(matrices[-1].shape[0])


def _load(module: torch.nn.Module, state: dict[str, Tensor], expected: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise _invalid(f"the weights are not those of {expected}: {str(error)[:400]}") from error


def _source(path: Path) -> dict[str, str]:
    return {"imported_from": path.name, "source_sha256": file_entry(path).sha256}


def _distinct(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies, since safetensors refuses tensors that share memory."""
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_WEIGHTS", field="weights")
