"""An exported program as a list of steps, read from the JSON of its graph.

Only what `services.classifier.operators` allows becomes a step. Steps that work in place become steps that do
not, so that every name stands for one value, and a layer is what it says it is::

    program = parse_program(archive.model)
    program.steps[0].target, program.steps[0].outputs     # "torch.ops.aten.conv2d.default", ("conv2d",)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from services.classifier.archive import DTYPES
from services.classifier.operators import ALIASING, CHECKS, aten_name, function_of, gives_number
from unitscope.errors import InvalidArgumentError

MAX_STEPS = 50_000
MAX_EDGE = 4096
_LAYOUTS = {7: torch.strided}
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings")


@dataclass(frozen=True)
class Value:
    """What an earlier step gave, or a bound tensor, by name."""

    name: str


class Here:
    """The device that the program runs on."""


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        target: The operator, as the archive names it.
        outputs: Names of what it gives.
        many: Whether it gives several values, also where that is a list of one.
        args: Arguments by position: plain values, `Value`, `Here`, or lists of them.
        kwargs: Arguments by name.
        module: The module of the original model that it belongs to, e.g. ``layer4.2``.
    """

    target: str
    outputs: tuple[str, ...]
    many: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    module: str = ""

    @property
    def inputs(self) -> list[str]:
        """Names of all values that it reads."""
        return [value.name for value in _values((*self.args, *self.kwargs.values()))]


@dataclass(frozen=True)
class Program:
    """A classifier as steps.

    Attributes:
        steps: In the order in which they run.
        source: The name of the images.
        shape: Their shape; None where it is free.
        target: The name of the logits.
        bound: Names of values that are parameters, buffers or constants -> names of the tensors.
    """

    steps: tuple[Step, ...]
    source: str
    shape: tuple[int | None, ...]
    target: str
    bound: Mapping[str, str]


def parse_program(model: Mapping[str, Any]) -> Program:
    """The program of an archive's JSON.

    Args:
        model: What `services.classifier.archive.read_archive` gives, or `trimmed` left of it.

    Raises:
        InvalidArgumentError: It uses an operator that is not allowed (reason OPERATOR_NOT_ALLOWED), trains
            (MODE_TRAINING), is no classifier of images (NOT_A_CLASSIFIER), works in place on memory that is
            used under another name (IN_PLACE_ON_A_VIEW), or is damaged (INVALID_ARCHIVE).
    """
    try:
        graph, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
        source, bound = _inputs(signature["input_specs"])
        target = _output(signature["output_specs"])
        meta = graph["tensor_values"][source]
        if DTYPES.get(meta["dtype"]) is not torch.float32:
            raise _no_classifier("its images are not float32")
        shape = tuple(_edge(size.get("as_int")) for size in meta["sizes"])
        if len(graph["nodes"]) > MAX_STEPS:
            raise _invalid(f"it has {len(graph['nodes'])} steps; at most {MAX_STEPS} are read")
        steps = [_step(node) for node in graph["nodes"] if aten_name(node["target"]) not in CHECKS]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _invalid(f"the graph is not described as it should be: {error!r}"[:300]) from error
    if len(shape) != 4 or shape[1] != 3:
        raise _no_classifier(f"its images have the shape {shape}; (batch, 3, height, width) is needed")
    steps, target = _functional(steps, target, {source, *bound})
    return Program(tuple(steps), source, shape, target, bound)


def trimmed(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of an archive's JSON a program is made of: nothing else, and no paths of who exported it."""
    graph, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
    source, _ = _inputs(signature["input_specs"])
    nodes = [
        {key: node[key] for key in ("target", "inputs", "outputs")} | {"metadata": {"module": _module(node)}}
        for node in graph["nodes"]
    ]
    kept = {"nodes": nodes, "tensor_values": {source: graph["tensor_values"][source]}}
    return {"graph_module": {"graph": kept, "signature": signature}}


def _inputs(specs: Any) -> tuple[str, dict[str, str]]:
    """The name of the images, and those of bound tensors."""
    images: list[str] = []
    bound: dict[str, str] = {}
    for spec in specs:
        ((kind, content),) = spec.items()
        if kind == "user_input":
            images.append(_text(content["arg"].get("as_tensor", {}).get("name", "")))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            bound[_text(content["arg"]["name"])] = _text(content[f"{kind}_name"])
        else:
            raise _no_classifier(f"it has an input of the kind {kind!r}; only images and tensors are bound")
    if len(images) != 1 or not images[0]:
        raise _no_classifier(f"it has {len(images)} inputs; one, the images, is needed")
    return images[0], bound


def _output(specs: Any) -> str:
    kinds = [next(iter(spec)) for spec in specs]
    if kinds != ["user_output"] or "as_tensor" not in specs[0]["user_output"]["arg"]:
        raise _no_classifier(
            f"its outputs are {kinds}; one tensor, the logits, is needed: export the model in evaluation "
            "mode, "
            "returning the logits alone"
        )
    return _text(specs[0]["user_output"]["arg"]["as_tensor"]["name"])


def _step(node: Mapping[str, Any]) -> Step:
    target = str(node["target"])
    function_of(target)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for item in node["inputs"]:
        value = _argument(item["arg"])
        if item["name"] in ("train", "training", "use_input_stats") and value is True:
            raise InvalidArgumentError(
                f"the program trains: {target} has {item['name']}=True; call model.eval() before the export",
                reason="MODE_TRAINING",
                field="file",
            )
        if item.get("kind", 1) == 2:
            kwargs[str(item["name"])] = value
        else:
            args.append(value)
    outputs, many = _outputs(node["outputs"], target)
    return Step(target, outputs, many, tuple(args), kwargs, _module(node))


def _outputs(described: Any, target: str) -> tuple[tuple[str, ...], bool]:
    names: list[str] = []
    many = len(described) > 1
    for item in described:
        ((kind, content),) = item.items()
        if kind == "as_tensor":
            names.append(_text(content["name"]))
        elif kind == "as_tensors":
            many = True
            names.extend(_text(part["name"]) for part in content)
        elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            names.append(_text(content["as_name"]))
        elif kind == "as_none":
            names.append("")
        else:
            raise _invalid(f"{target} gives a value of the kind {kind!r}")
    return tuple(names), many


def _argument(described: Mapping[str, Any]) -> Any:
    """One argument: a plain value, a `Value`, `Here`, or a list of them."""
    ((kind, content),) = described.items()
    if kind in _PLAIN:
        return content
    if kind in ("as_none", "none"):
        return None
    if kind in ("as_tensor", "as_optional_tensor"):
        return _argument(content) if "name" not in content else Value(str(content["name"]))
    if kind == "as_tensors":
        return [Value(str(item["name"])) for item in content]
    if kind == "as_optional_tensors":
        return [_argument(item) for item in content]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _size(content)
    if kind in ("as_sym_ints", "as_sym_floats"):
        return [_size(item) for item in content]
    if kind == "as_device":
        return Here()
    enums: dict[str, Mapping[int, Any]] = {
        "as_scalar_type": DTYPES,
        "as_layout": _LAYOUTS,
        "as_memory_format": _MEMORY_FORMATS,
    }
    if kind in enums:
        return enums[kind][content]
    raise _invalid(f"there is an argument of the kind {kind!r}")


def _size(content: Mapping[str, Any]) -> Any:
    ((kind, value),) = content.items()
    return Value(str(value)) if kind == "as_name" else value


def _functional(steps: list[Step], target: str, given: set[str]) -> tuple[list[Step], str]:
    """The steps with every name standing for one value.

    What works in place on ``a`` and gives ``b`` reads ``a``, and whatever reads ``a`` after it reads ``b``.

    Raises:
        InvalidArgumentError: Memory that is changed is used later under another name (IN_PLACE_ON_A_VIEW).
    """
    last_use = {name: index for index, step in enumerate(steps) for name in step.inputs}
    memory: dict[str, set[str]] = {name: {name} for name in given}
    names: dict[str, str] = {}
    found: list[Step] = []
    for index, step in enumerate(steps):
        name = aten_name(step.target)
        reads = step.inputs
        in_place = name.endswith("_") and not gives_number(step.target)
        if in_place and reads:
            shared = memory.get(reads[0], {reads[0]})
            if reads[0] in given or any(last_use.get(other, -1) > index for other in shared - {reads[0]}):
                raise InvalidArgumentError(
                    f"{step.target} changes {reads[0]!r} in place, whose memory is used under another name "
                    "later; export with program.run_decompositions(), which leaves no such steps",
                    reason="IN_PLACE_ON_A_VIEW",
                    field="file",
                )
        joins = memory.get(reads[0], {reads[0]}) if name in ALIASING and reads else None
        for output in step.outputs:
            shared = joins if joins is not None else set()
            shared.add(output)
            memory[output] = shared
            if joins is not None:
                memory[reads[0]] = joins
        found.append(_renamed(step, names))
        if in_place and reads:
            names[reads[0]] = step.outputs[0]
    while target in names:
        target = names[target]
    return found, target


def _renamed(step: Step, names: Mapping[str, str]) -> Step:
    if not names:
        return step
    args = tuple(_replaced(value, names) for value in step.args)
    return replace(step, args=args, kwargs={key: _replaced(v, names) for key, v in step.kwargs.items()})


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Value):
        name = value.name
        while name in names:
            name = names[name]
        return Value(name)
    return [_replaced(item, names) for item in value] if isinstance(value, list) else value


def _values(arguments: Any) -> Iterator[Value]:
    for value in arguments:
        if isinstance(value, Value):
            yield value
        elif isinstance(value, list):
            yield from _values(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is needed, not {value!r:.40}")
    return value


def _edge(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MAX_EDGE):
        raise ValueError(f"an edge of 1 to {MAX_EDGE} is needed, not {value!r:.40}")
    return value


def _module(node: Mapping[str, Any]) -> str:
    """The path of the module that a node belongs to; as `trimmed` kept it, or from the export's own words."""
    metadata = node.get("metadata") or {}
    if "module" in metadata:
        return str(metadata["module"])
    parts = str(metadata.get("nn_module_stack", "")).split(";")[-1].split(",")
    return parts[1] if len(parts) > 2 and not parts[1].startswith("_empty_nn_module_stack") else ""


def _no_classifier(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the program is no classifier of images: {message}", reason="NOT_A_CLASSIFIER", field="file"
    )


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_ARCHIVE", field="file")
