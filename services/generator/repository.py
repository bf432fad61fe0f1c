"""Writes a Triton model repository: the models that `unitscope.models.v2` names, for every generator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from services.generator.parts.cards import parts_of, usable
from services.generator.settings import Precision
from services.generator.specs import NetworkSpec
from services.generator.weights import check_weights
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.models.v2 import (
    MAX_BATCH,
    gradient_model,
    hidden_model,
    mapping_model,
    parts_model,
    synthesis_model,
)

_MODEL = '''"""Written by the export; the code is in services.generator.triton_model."""

from services.generator.triton_model import {name} as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

Tensor = tuple[str, str, Sequence[int]]
"""Name, V2 type (e.g. FP32) and shape; -1 is any length. Of a batched model, without the batch."""


class Interface(NamedTuple):
    """What a V2 model takes and gives.

    Attributes:
        inputs: In their order.
        outputs: In their order.
        batched: Whether all of them begin with the batch, so that requests can be joined.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    batched: bool = True

    def shape(self, tensor: Tensor) -> list[int]:
        """The whole shape of one of the tensors, the batch included."""
        return [-1, *tensor[2]] if self.batched else list(tensor[2])


Signature = dict[str, Interface]
"""Inputs and outputs by the name of the V2 model."""


def signature(
    card: ModelCard,
    spec: NetworkSpec,
    parts: Sequence[ModelCard] = (),
    gradients: bool = False,
    hidden: bool = False,
) -> Signature:
    """What a generator is served as, each of its parts models, its gradient, and its hidden features."""
    size = spec.resolution
    w: Tensor = ("w", "FP32", [-1, spec.w_dim])
    image: Tensor = ("image", "UINT8", [size, size, 3])
    found: Signature = {
        mapping_model(card): Interface(
            [("z", "FP32", [spec.z_dim]), ("class", "INT64", [1]), ("truncation", "FP32", [1])],
            [("w", "FP32", [spec.w_dim])],
        ),
        synthesis_model(card): Interface([w], [image, ("float_image", "FP32", [size, size, 3])]),
    }
    for model in parts:
        labels: Tensor = ("labels", "UINT8", [size, size])
        found[parts_model(card, model)] = Interface([w], [image, labels])
    if gradients:
        found[gradient_model(card)] = Interface(
            [w, ("cotangent", "FP32", [size, size, 3])], [("w_cotangent", "FP32", [-1, spec.w_dim])]
        )
    if hidden:
        found[hidden_model(card)] = Interface(
            [("w", "FP32", [-1, -1, spec.w_dim]), ("projections", "FP32", [-1, -1])],
            [("image", "UINT8", [-1, size, size, 3]), ("projected", "FP32", [-1, -1, -1, -1])],
            batched=False,
        )
    return found


def export_repository(
    registry: Registry,
    cards: Sequence[ModelCard],
    folder: Path,
    device: str = "cpu",
    threads: int = 0,
    instances: int = 1,
    parts: Sequence[ModelCard] | None = None,
    gradients: bool = False,
    precision: Precision = "auto",
    hidden: bool = False,
) -> list[str]:
    """Writes ``<folder>/<model>/{config.pbtxt, 1/model.py}`` for every generator.

    The weights stay where they are: the models read them from the registry's folder, checked here. A model
    that the folder has already gets a further version, of which Triton serves the latest; a Triton that
    polls the repository, or is told to load the model, takes it over while the earlier one finishes what it
    has begun. Models of other generators stay.

    Args:
        registry: Where the generators lie.
        cards: The generators.
        folder: An existing folder, the repository.
        device: "cpu" or "cuda".
        threads: Threads of the tensor library; 0 leaves the choice to it.
        instances: Copies of each synthesis network, which render different requests at once. Two of
            one thread each render more than one of two threads.
        parts: The parts models to serve with them; by default all that `usable` finds. Each is a
            process with a generator of its own, as many times as `instances` says.
        gradients: Whether to serve the gradient of each, by one more process.
        precision: Of synthesis; ``auto`` is float16 on a GPU.
        hidden: Whether to serve projections of hidden features of each, by one more process.

    Returns:
        The names of the models.

    Raises:
        DataLossError: Weights are not those on the card.
        FailedPreconditionError: A card is of no StyleGAN-XL (reason UNKNOWN_ARCHITECTURE), its network is
            not that of the weights (INVALID_WEIGHTS), or two cards go by one V2 name (MODEL_NAME_CLASH).
    """
    written: list[str] = []
    found = usable(registry, cards) if parts is None else parts
    # All are checked before anything is written.
    checked = [(card, *_checked(registry, card)) for card in cards]
    for card, spec, model_folder in checked:
        own = {parts_model(card, model): model for model in parts_of(card, found)}
        for name, interface in signature(card, spec, list(own.values()), gradients, hidden).items():
            if name in written:
                raise FailedPreconditionError(
                    f"two generators would be served as {name!r}; rename one", reason="MODEL_NAME_CLASH"
                )
            parameters = {
                "model_folder": str(model_folder),
                "device": device,
                "threads": str(threads),
                "precision": precision,
            }
            if name in own:
                parts_folder = registry.verified(own[name]).resolve()
                parameters |= {"parts_folder": str(parts_folder), "parts_digest": own[name].digest}
            cls = _classes(card).get(name, "PartsModel")
            copies = instances if cls in ("SynthesisModel", "PartsModel") else 1
            config = _config(name, interface, device, copies, parameters)
            _write(folder / name, config, _MODEL.format(name=cls))
            written.append(name)
    return written


def _checked(registry: Registry, card: ModelCard) -> tuple[NetworkSpec, Path]:
    """A generator's spec, and the folder of its weights, which are those on the card."""
    spec, folder = _spec(card), registry.verified(card).resolve()
    check_weights(card, spec, folder)
    return spec, folder


def _classes(card: ModelCard) -> dict[str, str]:
    """Classes of `services.generator.triton_model` by V2 name; all others are parts models."""
    return {
        mapping_model(card): "MappingModel",
        synthesis_model(card): "SynthesisModel",
        gradient_model(card): "GradientModel",
        hidden_model(card): "HiddenModel",
    }


def _write(folder: Path, config: str, model: str) -> None:
    """Adds a version to a model's folder so that whoever looks meanwhile sees the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    version = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
    # What is no number is no version to Triton.
    made = folder / f"new-{os.getpid()}"
    made.mkdir()
    (made / "model.py").write_text(model, encoding="utf-8")
    made.rename(folder / str(version))
    draft = folder / f"config-{os.getpid()}.new"
    draft.write_text(config, encoding="utf-8")
    draft.replace(folder / "config.pbtxt")


def _spec(card: ModelCard) -> NetworkSpec:
    # Not backend.network_spec: whoever launches Triton need not load torch.
    if card.architecture.get("name") != "stylegan-xl":
        raise FailedPreconditionError(
            f"{card.name} has the architecture {card.architecture.get('name')!r}; Triton serves "
            "'stylegan-xl'",
            reason="UNKNOWN_ARCHITECTURE",
            model=card.name,
        )
    return NetworkSpec.from_dict(card.architecture["spec"])


def _config(
    name: str,
    interface: Interface,
    device: str,
    instances: int,
    parameters: dict[str, str],
) -> str:
    """The model's ``config.pbtxt``."""
    inputs, outputs, batched = interface
    kind = "KIND_GPU" if device == "cuda" else "KIND_CPU"
    if device == "cuda":
        # Otherwise the python backend brings every input to the CPU first.
        parameters = {**parameters, "FORCE_CPU_ONLY_INPUT_TENSORS": "no"}
    lines = [f'name: "{name}"', 'backend: "python"', f"max_batch_size: {MAX_BATCH if batched else 0}"]
    lines += [_io("input", item) for item in inputs] + [_io("output", item) for item in outputs]
    if batched:
        # No queue delay: a lone request must not wait for company that may not come.
        lines += ["dynamic_batching { max_queue_delay_microseconds: 0 }", _warm_up(inputs)]
    lines += [f"instance_group [ {{ count: {instances} kind: {kind} }} ]"]
    lines += ["version_policy { latest { num_versions: 1 } }"]
    lines += [
        f'parameters {{ key: "{key}" value: {{ string_value: {_quoted(value)} }} }}'
        for key, value in parameters.items()
    ]
    return "\n".join(lines) + "\n"


def _warm_up(inputs: Sequence[Tensor]) -> str:
    """One row of zeros before the model is ready: no client waits for kernels to be chosen and built."""
    rows = [
        f'inputs {{ key: "{name}" value: {{ data_type: TYPE_{data_type} '
        f"dims: [ {', '.join(str(max(n, 1)) for n in shape)} ] zero_data: true }} }}"
        for name, data_type, shape in inputs
    ]
    return f'model_warmup [ {{ name: "one row" batch_size: 1 {" ".join(rows)} }} ]'


def _io(kind: str, item: Tensor) -> str:
    name, data_type, shape = item
    dims = ", ".join(map(str, shape))
    return f'{kind} [ {{ name: "{name}" data_type: TYPE_{data_type} dims: [ {dims} ] }} ]'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
