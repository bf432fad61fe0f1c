"""Writes a Triton model repository: the models that `unitscope.models.v2` names, for every generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.generator.parts.cards import parts_of, usable
from services.generator.settings import Precision
from services.generator.specs import NetworkSpec
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.models.v2 import MAX_BATCH, gradient_model, mapping_model, parts_model, synthesis_model

_MODEL = '''"""Written by the export; the code is in services.generator.triton_model."""

from services.generator.triton_model import {name} as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

Tensor = tuple[str, str, Sequence[int]]
"""Name, V2 type (e.g. FP32) and shape without the batch; -1 is any length."""


Signature = dict[str, tuple[list[Tensor], list[Tensor]]]
"""Inputs and outputs by the name of the V2 model."""


def signature(
    card: ModelCard, spec: NetworkSpec, parts: Sequence[ModelCard] = (), gradients: bool = False
) -> Signature:
    """What a generator is served as, each of its parts models, and its gradient; see `Signature`."""
    size = spec.resolution
    w: Tensor = ("w", "FP32", [-1, spec.w_dim])
    image: Tensor = ("image", "UINT8", [size, size, 3])
    found: Signature = {
        mapping_model(card): (
            [("z", "FP32", [spec.z_dim]), ("class", "INT64", [1]), ("truncation", "FP32", [1])],
            [("w", "FP32", [spec.w_dim])],
        ),
        synthesis_model(card): (
            [w],
            [image, ("float_image", "FP32", [size, size, 3])],
        ),
    }
    for model in parts:
        labels: Tensor = ("labels", "UINT8", [size, size])
        found[parts_model(card, model)] = ([w], [image, labels])
    if gradients:
        found[gradient_model(card)] = (
            [w, ("cotangent", "FP32", [size, size, 3])],
            [("w_cotangent", "FP32", [-1, spec.w_dim])],
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
) -> list[str]:
    """Writes ``<folder>/<model>/{config.pbtxt, 1/model.py}`` for every generator.

    The weights stay where they are: the models read them from the registry's folder, checked here.

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

    Returns:
        The names of the models.

    Raises:
        DataLossError: Weights are not those on the card.
        FailedPreconditionError: A card is of no StyleGAN-XL (reason UNKNOWN_ARCHITECTURE), or two
            cards go by one V2 name (MODEL_NAME_CLASH).
    """
    written: list[str] = []
    found = usable(registry, cards) if parts is None else parts
    for card in cards:
        model_folder = registry.verified(card).resolve()
        own = {parts_model(card, model): model for model in parts_of(card, found)}
        classes = {mapping_model(card): "MappingModel", gradient_model(card): "GradientModel"}
        for name, tensors in signature(card, _spec(card), list(own.values()), gradients).items():
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
            cls = classes.get(name, "PartsModel" if name in own else "SynthesisModel")
            if name in own:
                parts_folder = registry.verified(own[name]).resolve()
                parameters |= {"parts_folder": str(parts_folder), "parts_digest": own[name].digest}
            version = folder / name / "1"
            version.mkdir(parents=True)
            copies = instances if cls in ("SynthesisModel", "PartsModel") else 1
            config = _config(name, tensors, device, copies, parameters)
            (version.parent / "config.pbtxt").write_text(config, encoding="utf-8")
            (version / "model.py").write_text(_MODEL.format(name=cls), encoding="utf-8")
            written.append(name)
    return written


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
    tensors: tuple[Sequence[Tensor], Sequence[Tensor]],
    device: str,
    instances: int,
    parameters: dict[str, str],
) -> str:
    """The model's ``config.pbtxt``."""
    inputs, outputs = tensors
    kind = "KIND_GPU" if device == "cuda" else "KIND_CPU"
    if device == "cuda":
        # Otherwise the python backend brings every input to the CPU first.
        parameters = {**parameters, "FORCE_CPU_ONLY_INPUT_TENSORS": "no"}
    lines = [f'name: "{name}"', 'backend: "python"', f"max_batch_size: {MAX_BATCH}"]
    lines += [_io("input", item) for item in inputs] + [_io("output", item) for item in outputs]
    # No queue delay: a lone request must not wait for company that may not come.
    lines += ["dynamic_batching { max_queue_delay_microseconds: 0 }"]
    lines += [f"instance_group [ {{ count: {instances} kind: {kind} }} ]"]
    lines += ["version_policy { latest { num_versions: 1 } }", _warm_up(inputs)]
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
