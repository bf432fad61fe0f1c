"""From a tree of modules to a network of ours: the spec, and every tensor by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from services.generator.configurations import tensor_shapes
from services.generator.importing.limits import Limits, check_limit, refuse
from services.generator.importing.modules import Module
from services.generator.importing.tensors import TensorReader, Weights
from services.generator.importing.unconditional import has_no_classes, with_one_class
from services.generator.importing.values import flag, integer, number, numbers, text
from services.generator.specs import InputSpec, LayerSpec, NetworkSpec
from unitscope.errors import InvalidArgumentError

_INTEGERS = ("in_channels", "out_channels", "conv_kernel", "up_factor", "up_taps", "down_factor", "down_taps")
_NUMBERS = (
    "in_sampling_rate", "out_sampling_rate", "tmp_sampling_rate", "in_cutoff", "out_cutoff",
    "in_half_width", "out_half_width", "conv_clamp",
)  # fmt: skip
_LR_MULTIPLIER = 0.01
_LARGEST = {"conv_kernel": 7, "up_factor": 8, "down_factor": 8}
_LARGEST_CANVAS = 2_200
"""Beyond these a network takes memory that has nothing to do with the size of its file."""


@dataclasses.dataclass(frozen=True)
class FoundNetwork:
    """A generator of a file.

    Attributes:
        kind: Class name in the file.
        spec: The network, layer by layer.
        weights: Its tensors by our names; values still lie in the file.
    """

    kind: str
    spec: NetworkSpec
    weights: Mapping[str, Weights]


def find_network(generator: Module, limits: Limits) -> FoundNetwork:
    """Rebuilds the architecture from per-layer state and checks every shape against it.

    Raises:
        InvalidArgumentError: It is another network (STYLEGAN2_CHECKPOINT, STYLEGAN3_CHECKPOINT,
            UNSUPPORTED_NETWORK), its parts do not fit each other (BAD_NETWORK_SPEC), or its tensors do not
            fit the parts (MISSING_TENSOR, UNEXPECTED_TENSOR, WRONG_SHAPE).
    """
    _check_family(generator)
    reader = TensorReader(limits)
    weights = {name: reader.tensor(value, name) for name, value in generator.all_tensors()}
    if has_no_classes(weights):
        weights = with_one_class(weights)
    spec = _spec(generator, weights)
    _check_shapes(spec, weights)
    _check_magnitudes(weights)
    return FoundNetwork(generator.kind, spec, {name: weights[name] for name in tensor_shapes(spec)})


def _check_family(generator: Module) -> None:
    """Refuses networks of other families, each by its name."""
    if not {"mapping", "synthesis"} <= generator.modules.keys():
        raise refuse(
            "UNSUPPORTED_NETWORK",
            f"G_ema ({generator.kind[:60]}) has the modules {', '.join(generator.modules)[:120] or 'none'}; "
            "a StyleGAN-XL generator has 'mapping' and 'synthesis'",
        )
    mapping, synthesis = generator.module("mapping"), generator.module("synthesis")
    if "block_resolutions" in synthesis.attributes or any(
        m.kind == "SynthesisBlock" for m in synthesis.modules.values()
    ):
        raise refuse(
            "STYLEGAN2_CHECKPOINT",
            "this is a StyleGAN2 checkpoint: its synthesis consists of blocks without filters between them. "
            "StyleGAN-XL checkpoints are imported",
        )
    if "embed" in mapping.modules and "embed_proj" not in mapping.modules:
        raise refuse(
            "STYLEGAN3_CHECKPOINT",
            "this is a class-conditional StyleGAN3 checkpoint: its mapping network reads classes otherwise "
            "than StyleGAN-XL's. Checkpoints of StyleGAN-XL are imported, and those of StyleGAN3 without "
            "classes (configuration T)",
        )


def _spec(generator: Module, weights: Mapping[str, Weights]) -> NetworkSpec:
    """The spec, from attributes and shapes."""
    mapping, synthesis = generator.module("mapping"), generator.module("synthesis")
    names = synthesis.attribute("layer_names")
    if not isinstance(names, list | tuple) or not names:
        raise refuse("BAD_ATTRIBUTE", "G_ema.synthesis.layer_names is no list of names")
    layers = [text(name, "a name in G_ema.synthesis.layer_names") for name in names]
    stray = sorted(synthesis.modules.keys() - {"input", *layers})
    if stray:
        raise refuse(
            "UNEXPECTED_MODULE",
            f"G_ema.synthesis has modules that layer_names does not name: {', '.join(stray)[:200]}",
        )
    classes, w_dim = _matrix(weights, "mapping.w_avg")
    embed_classes, embed_dim = _matrix(weights, "mapping.embed.weight")
    connected = [name for name in mapping.modules if name.startswith("fc")]
    _check_activations(generator, connected)
    spec = NetworkSpec(
        resolution=integer(synthesis.attribute("img_resolution"), "G_ema.synthesis.img_resolution"),
        z_dim=_matrix(weights, "mapping.embed_proj.weight")[0],
        w_dim=w_dim,
        num_classes=classes,
        embed_classes=embed_classes,
        embed_dim=embed_dim,
        mapping_layers=len(connected),
        mapping_lr_multiplier=_lr_multiplier(mapping, connected),
        output_scale=float(number(synthesis.attribute("output_scale"), "G_ema.synthesis.output_scale")),
        input=_input(synthesis.module("input")),
        layers=tuple(_layer(name, synthesis.module(name)) for name in layers),
    )
    stated = integer(synthesis.attribute("num_ws"), "G_ema.synthesis.num_ws")
    if stated != spec.num_ws:
        raise refuse(
            "BAD_NETWORK_SPEC",
            f"G_ema.synthesis.num_ws is {stated}; its {len(layers)} layers take {spec.num_ws}",
        )
    return spec


def _input(module: Module) -> InputSpec:
    return InputSpec(
        channels=integer(module.attribute("channels"), f"{module.where}.channels"),
        size=_square(module, "size"),
        sampling_rate=float(number(module.attribute("sampling_rate"), f"{module.where}.sampling_rate")),
        bandwidth=float(number(module.attribute("bandwidth"), f"{module.where}.bandwidth")),
    )


def _layer(name: str, module: Module) -> LayerSpec:
    where = module.where
    critical = flag(module.attribute("is_critically_sampled"), f"{where}.is_critically_sampled")
    if any(
        key in module.attributes and flag(module.attribute(key), f"{where}.{key}") and not critical
        for key in ("down_radial", "use_radial_filters")
    ):
        raise refuse(
            "RADIAL_FILTERS",
            f"{where} has radially symmetric filters (configuration R of StyleGAN3); networks with separable "
            "filters (configuration T, that of StyleGAN-XL) are imported",
        )
    padding = numbers(module.attribute("padding"), f"{where}.padding")
    if len(padding) != 4 or any(value != int(value) for value in padding):
        raise refuse("BAD_ATTRIBUTE", f"{where}.padding is {padding}; it must be four whole numbers")
    low_x, high_x, low_y, high_y = (int(value) for value in padding)
    values: dict[str, Any] = {key: integer(module.attribute(key), f"{where}.{key}") for key in _INTEGERS}
    for key, most in _LARGEST.items():
        check_limit("LAYER", values[key], most, f"{where}.{key}")
    values |= {key: number(module.attribute(key), f"{where}.{key}") for key in _NUMBERS}
    return LayerSpec(
        name=name,
        in_size=_square(module, "in_size"),
        out_size=_square(module, "out_size"),
        padding=(low_x, high_x, low_y, high_y),
        is_torgb=flag(module.attribute("is_torgb"), f"{where}.is_torgb"),
        is_critically_sampled=critical,
        **values,
    )


def _square(module: Module, name: str) -> int:
    """The edge of a canvas, given as width and height."""
    found = numbers(module.attribute(name), f"{module.where}.{name}")
    if len(set(found)) != 1 or len(found) > 2 or found[0] != int(found[0]):
        raise refuse("BAD_ATTRIBUTE", f"{module.where}.{name} is {found}; canvases are square")
    check_limit("LAYER", int(found[0]), _LARGEST_CANVAS, f"{module.where}.{name}, in samples")
    return int(found[0])


def _matrix(weights: Mapping[str, Weights], name: str) -> tuple[int, int]:
    """The shape of a matrix."""
    if name not in weights:
        raise _missing([name])
    shape = weights[name].shape
    if len(shape) != 2:
        raise refuse("WRONG_SHAPE", f"{name} has the shape {shape}; it must be a matrix", tensor=name)
    return shape[0], shape[1]


def _lr_multiplier(mapping: Module, connected: list[str]) -> float:
    """The one multiplier of the mapping's layers; that of all published networks where none is stated."""
    found = {
        float(number(module.attributes["bias_gain"], f"{module.where}.bias_gain"))
        for module in (mapping.module(name) for name in connected)
        if "bias_gain" in module.attributes
    }
    if len(found) > 1:
        raise refuse(
            "UNSUPPORTED_NETWORK", f"the mapping's layers have several learning rates: {sorted(found)}"
        )
    return found.pop() if found else _LR_MULTIPLIER


def _check_activations(generator: Module, connected: list[str]) -> None:
    """The activations that our network has are those that the file states, where it states any."""
    mapping = generator.module("mapping")
    for name in {*connected, "embed_proj"} & mapping.modules.keys():
        stated = mapping.modules[name].attributes.get("activation", "lrelu")
        if stated != "lrelu":
            raise refuse(
                "UNSUPPORTED_NETWORK",
                f"G_ema.mapping.{name} has the activation {str(stated)[:40]!r}; 'lrelu' is known",
            )


def _check_shapes(spec: NetworkSpec, weights: Mapping[str, Weights]) -> None:
    expected = tensor_shapes(spec)
    if missing := [name for name in expected if name not in weights]:
        raise _missing(missing)
    if stray := [name for name in weights if name not in expected]:
        raise refuse(
            "UNEXPECTED_TENSOR",
            f"{len(stray)} tensors have no place in the network of the file: {', '.join(stray)[:200]}",
        )
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise refuse(
                "WRONG_SHAPE",
                f"{name} has the shape {weights[name].shape}; the layers in the file need {shape}",
                tensor=name,
            )


def _check_magnitudes(weights: Mapping[str, Weights]) -> None:
    """Layers divide by the root of their running mean square."""
    for name, weight in weights.items():
        if name.endswith(".magnitude_ema") and not weight.load() > 0:
            raise refuse("BAD_WEIGHTS", f"{name} is {float(weight.load())}; it must be above 0", tensor=name)


def _missing(names: list[str]) -> InvalidArgumentError:
    return refuse("MISSING_TENSOR", f"{len(names)} tensors are missing: {', '.join(names)[:200]}")
