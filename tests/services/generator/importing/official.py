"""Files in the layout of official checkpoints, of tiny networks: made by us, by hand-written pickles.

The layout is that of persistent objects: every module is a call of ``_reconstruct_persistent_obj`` with
class name, source text and state; tensors carry blobs of PyTorch's legacy format. See `pickles`.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.services.generator.golden import golden_weights, published_spec
from tests.services.generator.importing.pickles import Call, Name, New, Raw, dump

SOURCE = "raise SystemExit('the source text of a checkpoint was executed')\n"
PERSISTENT = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
ORDERED = Name("collections", "OrderedDict")
_KINDS = {torch.float32: "FloatStorage", torch.float16: "HalfStorage", torch.float64: "DoubleStorage",
          torch.bfloat16: "BFloat16Storage"}  # fmt: skip


@dataclasses.dataclass
class Options:
    """How a file is written."""

    protocol: int = 4
    dtype: torch.dtype = torch.float32
    location: str = "cuda:0"
    numpy_package: str = "numpy.core"
    dill: bool = True


def blob(values: Tensor, location: str = "cpu", count: int | None = None, **changes: Any) -> bytes:
    """A storage in PyTorch's legacy format; `changes` replace the parts of the format by name."""
    flat = values.detach().contiguous().reshape(-1)
    count = flat.numel() if count is None else count
    identity = ("storage", Name("torch", _KINDS[flat.dtype]), "94849479259072", location, count, None)
    parts = {
        "magic": 0x1950A86A20F9469CFC6C,
        "version": 1001,
        "system": {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4}},
        "keys": ["94849479259072"],
        "identity": identity,
        **changes,
    }
    head = [dump(parts[name], 2) for name in ("magic", "version", "system")]
    reference = dump(parts["identity"], 2)[:-1] + b"Q."
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return b"".join([*head, reference, dump(parts["keys"], 2), struct.pack("<q", count), data])


def tensor(
    values: Tensor,
    options: Options,
    *,
    parameter: bool = False,
    stored: Call | None = None,
    offset: int = 0,
) -> Call:
    """A tensor; `stored` is a storage that it shares, from `offset` on."""
    values = values.to(options.dtype)
    contents = stored or storage(values, options)
    shape, stride = tuple(values.shape), tuple(values.contiguous().stride())
    hooks = Call(ORDERED)
    made = Call(Name("torch._utils", "_rebuild_tensor_v2"), (contents, offset, shape, stride, False, hooks))
    return (
        Call(Name("torch._utils", "_rebuild_parameter"), (made, True, Call(ORDERED))) if parameter else made
    )


def storage(values: Tensor, options: Options) -> Call:
    """A storage: the call that reads a blob."""
    return Call(Name("torch.storage", "_load_from_bytes"), (blob(values, options.location),))


def persistent(class_name: str, state: dict[str, Any], **changes: Any) -> Call:
    """A persistent object."""
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name, "state": state}
    return Call(PERSISTENT, ({**meta, **changes},))


def scalar(value: float, options: Options) -> Call:
    """A NumPy number, as attributes that SciPy and NumPy computed are."""
    dtype = Call(Name("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0))
    return Call(Name(f"{options.numpy_package}.multiarray", "scalar"), (dtype, struct.pack("<d", value)))


def array(values: list[int], options: Options) -> Call:
    """A small NumPy array, as NumPy or as dill pickles it."""
    dtype = Call(Name("numpy", "dtype"), ("i8", False, True), (3, "<", None, None, None, -1, -1, 0))
    data = np.asarray(values, "<i8").tobytes()
    package = options.numpy_package
    if options.protocol == 5:
        return Call(Name(f"{package}.numeric", "_frombuffer"), (data, dtype, (len(values),), "C"))
    make = Name(f"{package}.multiarray", "_reconstruct")
    arguments = (Name("numpy", "ndarray"), (0,), b"b")
    state = (1, (len(values),), dtype, False, data)
    if options.dill:
        return Call(Name("dill._dill", "_create_array"), (make, arguments, state, None))
    return Call(make, arguments, state)


def module_state(weights: dict[str, Tensor], prefix: str, options: Options) -> dict[str, Any]:
    """What every module's state holds; tensors are those directly at the prefix."""
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    buffers = ("w_avg", "freqs", "phases", "transform", "magnitude_ema", "up_filter", "down_filter")
    return {
        "training": False,
        "_parameters": {
            name: tensor(value, options, parameter=True)
            for name, value in own.items() if "." not in name and name not in buffers
        },
        "_buffers": {name: tensor(value, options) for name, value in own.items() if name in buffers},
        "_non_persistent_buffers_set": Call(Name("builtins", "set"), ([],)),
        "_backward_hooks": Call(ORDERED),
        "_modules": {},
    }  # fmt: skip


def connected(weights: dict[str, Tensor], prefix: str, options: Options, **attributes: Any) -> Call:
    """A fully connected layer."""
    return persistent("FullyConnectedLayer", {**module_state(weights, prefix, options), **attributes})


def mapping_network(weights: dict[str, Tensor], spec: dict[str, Any], options: Options) -> Call:
    """The mapping network; its embedding is PyTorch's own class."""
    state = module_state(weights, "mapping.", options)
    embed = module_state(weights, "mapping.embed.", options)
    layers = {
        name: connected(weights, f"mapping.{name}.", options, activation="lrelu", bias_gain=gain)
        for name, gain in (("embed_proj", 1), ("fc0", 0.01), ("fc1", 0.01))
    }
    state["_modules"] = {
        "embed": New(Name("torch.nn.modules.sparse", "Embedding"), state={**embed, "num_embeddings": 1000}),
        **layers,
    }
    state |= {
        "z_dim": spec["z_dim"],
        "c_dim": spec["c_dim"],
        "w_dim": spec["w_dim"],
        "num_ws": spec["num_ws"],
    }
    return persistent("MappingNetwork", state)


def synthesis_network(weights: dict[str, Tensor], spec: dict[str, Any], options: Options) -> Call:
    """The synthesis network, layer by layer."""
    state = module_state(weights, "synthesis.", options)
    first = {**module_state(weights, "synthesis.input.", options), **spec["input"]}
    first["size"] = array(spec["input"]["size"], options)
    first["_modules"] = {
        "affine": connected(weights, "synthesis.input.affine.", options, activation="linear")
    }
    state["_modules"] = {"input": persistent("SynthesisInput", first)}
    for layer in spec["layers"]:
        prefix = f"synthesis.{layer['name']}."
        values = {key: value for key, value in layer.items() if key != "name"}
        values["in_size"] = array(layer["in_size"], options)
        values["out_size"] = array(layer["out_size"], options)
        values["in_cutoff"] = scalar(layer["in_cutoff"], options)
        inner = {**module_state(weights, prefix, options), **values}
        if "up_filter" not in inner["_buffers"]:
            inner["_buffers"] |= {"up_filter": None, "down_filter": None}
        inner["_modules"] = {"affine": connected(weights, f"{prefix}affine.", options, activation="linear")}
        state["_modules"][layer["name"]] = persistent("SynthesisLayer", inner)
    state |= {
        "layer_names": [layer["name"] for layer in spec["layers"]],
        "num_ws": spec["num_ws"], "img_resolution": spec["resolution"], "output_scale": spec["output_scale"],
        "w_dim": spec["w_dim"], "img_channels": 3, "margin_size": 10,
    }  # fmt: skip
    return persistent("SynthesisNetwork", state)


def generator(resolution: int, options: Options, weights: dict[str, Tensor] | None = None) -> Call:
    """A whole generator of the golden numbers."""
    weights = golden_weights(resolution) if weights is None else weights
    spec = published_spec(resolution)
    state = module_state(weights, "", options)
    state["_modules"] = {
        "synthesis": synthesis_network(weights, spec, options),
        "mapping": mapping_network(weights, spec, options),
    }
    state["_init_kwargs"] = New(
        Name("dnnlib.util", "EasyDict"), items={"path_stem": "/home/author/stem.pkl", "head_layers": 7}
    )
    return persistent("SuperresGenerator" if resolution > 16 else "Generator", state)


def discriminator(options: Options) -> Call:
    """A discriminator of classes that nobody here knows, functions by value and attributes of objects."""
    code = Call(Name("dill._dill", "_create_code"), (0, 1, b"\x00" * 12, ("x",)))
    function = Call(Name("dill._dill", "_create_function"), (code, {}, "hook", None))
    block = New(Name("timm.models.vision_transformer", "Block"), state={"forward": function, "drop": 0.1})
    bound = Call(Name("builtins", "getattr"), (block, "forward"))
    feature = New(Name("pg_modules.projector", "F_Identity"), items={"any": bound}, state={"_modules": {}})
    empty_set: Raw | list[Any] = Raw(b"\x8f(K\x01\x90") if options.protocol >= 4 else []
    state = {
        "_modules": {"vit": block, "feature": feature},
        "weight": tensor(torch.ones(3), options),
        "names": empty_set,
    }
    return persistent("ProjectedDiscriminator", state)


def checkpoint(resolution: int = 16, options: Options | None = None, **changes: Any) -> dict[str, Any]:
    """All that an official file holds; `changes` replace or, where None, remove entries."""
    options = options or Options()
    content = {
        "G": generator(resolution, options, {n: w + 1 for n, w in golden_weights(resolution).items()}),
        "D": discriminator(options),
        "G_ema": generator(resolution, options),
        "augment_pipe": None,
        "training_set_kwargs": New(Name("dnnlib.util", "EasyDict"), items={"path": "/data", "xflip": True}),
        "progress": {"cur_nimg": tensor(torch.zeros(()), Options(location="cpu"))},
    }
    return {
        name: value
        for name, value in (content | changes).items()
        if value is not None or name == "augment_pipe"
    }


def checkpoint_bytes(resolution: int = 16, options: Options | None = None, **changes: Any) -> bytes:
    """The file."""
    options = options or Options()
    return dump(checkpoint(resolution, options, **changes), options.protocol)
