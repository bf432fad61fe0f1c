"""Files that must be refused: attacks, bombs, damage, and checkpoints of something else.

`evil_module` exists only in the tests' folder: whatever imports it or calls into it leaves a trace.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import torch

from services.generator.importing.limits import Limits
from tests.services.generator.golden import golden_weights
from tests.services.generator.importing import official
from tests.services.generator.importing.official import Options
from tests.services.generator.importing.pickles import Call, Name, New, Raw, dump

EVIL_MODULE = """
from pathlib import Path
Path("imported").touch()
def boom(*args, **kwargs):
    Path("exploded").touch()
class Thing:
    def __new__(cls, *args, **kwargs):
        boom()
        return object.__new__(cls)
    def __setstate__(self, state):
        boom()
"""
BOOM, THING = Name("evil_module", "boom"), Name("evil_module", "Thing")
SYSTEM = Call(Name("os", "system"), ("touch exploded",))

# Each is what an ordinary unpickler would execute; tests check that it does.
ATTACKS: dict[str, bytes] = {
    "REDUCE": dump(Call(BOOM)),
    "REDUCE of os.system": dump(SYSTEM),
    "NEWOBJ": dump(New(THING)),
    "NEWOBJ_EX": dump(Raw(b"cevil_module\nThing\n)}\x92")),
    "BUILD": dump(Raw(b"cevil_module\nThing\n)\x81}b")),
    "INST": dump(Raw(b"(ievil_module\nThing\n")),
    "OBJ": dump(Raw(b"(cevil_module\nThing\no")),
    "BUILD of __setstate__": dump(
        Call(Name("types", "SimpleNamespace"), (), {"__setstate__": Name("os", "system")}), 2
    )[:-1]
    + b"X\x0e\x00\x00\x00touch explodedb.",
    "STACK_GLOBAL through a module": dump(Call(Name("shutil", "os.system"), ("touch exploded",))),
    "eval": dump(Call(Name("builtins", "eval"), ("open('exploded', 'w')",))),
}


def module_of(root: Call | New, path: str) -> dict[str, Any]:
    """The state of a module of a test generator."""
    state: dict[str, Any] = root.state if isinstance(root, New) else root.args[0]["state"]
    for name in filter(None, path.split(".")):
        inner = state["_modules"][name]
        state = inner.state if isinstance(inner, New) else inner.args[0]["state"]
    return state


def changed(change: Callable[[dict[str, Any]], object], path: str = "", **options: Any) -> bytes:
    """A file whose G_ema was changed at a module, before it was written."""
    generator = official.generator(16, Options(**options))
    change(module_of(generator, path))
    return official.checkpoint_bytes(16, Options(**options), G=None, D=None, G_ema=generator)


def entry(path: str, group: str, name: str, value: Any) -> bytes:
    """A file with one entry of `_modules`, `_parameters` or `_buffers` replaced, or removed by None."""

    def change(state: dict[str, Any]) -> None:
        state[group].pop(name, None)
        if value is not None:
            state[group][name] = value

    return changed(change, path)


def attribute(path: str, name: str, value: Any) -> bytes:
    """A file with one attribute replaced."""
    return changed(lambda state: state.update({name: value}), path)


def bias(value: Any) -> bytes:
    """A file with another bias of the first layer of the mapping network."""
    return entry("mapping.fc0", "_parameters", "bias", value)


def rebuilt(blob: bytes | None = None, offset: int = 0, size: Any = (64,), stride: Any = (1,)) -> Call:
    """A tensor of 64 values, unless told otherwise."""
    blob = official.blob(torch.zeros(64)) if blob is None else blob
    stored = Call(Name("torch.storage", "_load_from_bytes"), (blob,))
    arguments = (stored, offset, size, stride, False, Call(official.ORDERED))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)


def with_extra(value: Any, protocol: int = 4) -> bytes:
    """A complete file with one more entry."""
    return official.checkpoint_bytes(16, Options(protocol=protocol), G=None, extra=value)


def _blob(values: torch.Tensor | None = None, count: int | None = None, **changes: Any) -> bytes:
    return bias(rebuilt(official.blob(torch.zeros(64) if values is None else values, count=count, **changes)))


def _identity(**changes: Any) -> bytes:
    parts = {"kind": Name("torch", "FloatStorage"), "key": "94849479259072", "location": "cpu", "count": 64}
    parts |= changes
    return _blob(identity=("storage", parts["kind"], parts["key"], parts["location"], parts["count"], None))


def _laughs(depth: int) -> bytes:
    """Modules that hold the one before twice."""
    module = official.persistent("Layer", {"_modules": {}})
    for _ in range(depth):
        module = official.persistent("Layer", {"_modules": {"a": module, "b": module}})
    return dump({"G_ema": module})


def _own_module() -> bytes:
    """A persistent object whose state, completed through the memo, holds the object itself."""
    head = b"\x80\x02}(X\x05\x00\x00\x00G_ema"
    body = (
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}q\x00(X\x04\x00\x00\x00typeX\x05\x00\x00\x00class"
        b"X\x07\x00\x00\x00versionK\x06X\x0a\x00\x00\x00class_nameX\x01\x00\x00\x00G"
        b"X\x05\x00\x00\x00state}q\x01u\x85Rq\x020"
    )
    state = b"h\x01X\x08\x00\x00\x00_modules}X\x07\x00\x00\x00mappingh\x02ss0h\x02"
    return head + body + state + b"u."


def _stylegan2() -> bytes:
    block = official.persistent("SynthesisBlock", {"_modules": {}})
    synthesis = official.persistent("SynthesisNetwork", {"block_resolutions": [4], "_modules": {"b4": block}})
    mapping = official.persistent("MappingNetwork", {"_modules": {}})
    state = {"_modules": {"synthesis": synthesis, "mapping": mapping}}
    return dump({"G": None, "G_ema": official.persistent("Generator", state)})


def _scalar(data: bytes, protocol: int) -> Call:
    found = official.scalar(1.0, Options(protocol=protocol))
    found.args = (found.args[0], data)
    return found


def _without(path: str, name: str) -> bytes:
    return changed(lambda state: state.pop(name), path)


_LAYER = "synthesis.L3_36_16"
_NAN = golden_weights(16)["mapping.fc0.bias"].clone()
_NAN[5] = float("nan")
_SMALL = Limits(memo=300, opcodes=2_000_000, text_bytes=20_000)

Case = tuple[Callable[[], bytes], str, str]
CASES: dict[str, Case] = {
    # execution
    "os.system as the file": (lambda: ATTACKS["REDUCE of os.system"], "FORBIDDEN_GLOBAL", "asks for os.system"),
    "os.system in D": (
        lambda: official.checkpoint_bytes(16, D=official.persistent("D", {"x": SYSTEM})), "FORBIDDEN_GLOBAL",
        "os.system"),
    "os.system in an innocent corner": (
        lambda: with_extra({"deep": [({"er": SYSTEM},)]}, 2), "FORBIDDEN_GLOBAL", "os.system"),
    "os.system through a module": (
        lambda: with_extra(Call(Name("torch.serialization", "os.system"), ("x",))), "FORBIDDEN_GLOBAL",
        "torch.serialization.os.system"),
    "eval": (lambda: ATTACKS["eval"], "FORBIDDEN_GLOBAL", "builtins.eval"),
    "__setstate__ by BUILD": (lambda: ATTACKS["BUILD of __setstate__"], "FORBIDDEN_GLOBAL", "os.system"),
    "a nested pickle": (
        lambda: with_extra(Call(Name("pickle", "loads"), (ATTACKS["REDUCE"],))), "FORBIDDEN_GLOBAL",
        "pickle.loads"),
    "unknown REDUCE as G_ema": (
        lambda: dump({"G_ema": Call(BOOM)}), "UNKNOWN_OBJECT", r"G_ema is an object of evil_module.boom \(by REDUCE"),
    "unknown REDUCE as a tensor": (
        lambda: bias(Call(BOOM, (rebuilt(),))), "UNKNOWN_OBJECT", "mapping.fc0.bias is an object of evil_module"),
    "unknown REDUCE as a storage": (
        lambda: bias(Call(Name("torch._utils", "_rebuild_tensor_v2"), (Call(BOOM), 0, (), (), False, None))),
        "UNKNOWN_OBJECT", "values of mapping.fc0.bias"),
    "unknown REDUCE as bytes": (
        lambda: bias(rebuilt(Call(BOOM))), "UNKNOWN_OBJECT", "the storage of mapping.fc0.bias"),  # type: ignore[arg-type]
    "unknown REDUCE as a number": (
        lambda: attribute(_LAYER, "in_cutoff", Call(BOOM)), "BAD_ATTRIBUTE", "in_cutoff is an object of evil"),
    "unknown BUILD as a module": (
        lambda: entry("mapping", "_modules", "fc0", New(THING, state={"_modules": {}})), "UNKNOWN_OBJECT",
        r"G_ema.mapping.fc0 is an object of evil_module.Thing \(by NEWOBJ and BUILD"),
    "unknown NEWOBJ_EX": (
        lambda: dump({"G_ema": Raw(b"cevil_module\nThing\n)}\x92")}), "UNKNOWN_OBJECT", "by NEWOBJ_EX"),
    "a call of the result of a call": (
        lambda: dump({"G_ema": Call(Call(Name("functools", "partial"), (BOOM,)))}), "UNKNOWN_OBJECT",
        "the result of a call"),
    "a module's own type of a persistent object": (
        lambda: dump({"G_ema": official.persistent("G", {}, type="module")}), "UNKNOWN_OBJECT", "'module'"),
    "INST": (lambda: with_extra(Raw(b"(ievil_module\nThing\n")), "FORBIDDEN_OPCODE", "INST"),
    "OBJ": (lambda: with_extra(Raw(b"(cevil_module\nThing\no")), "FORBIDDEN_OPCODE", "OBJ"),
    "EXT1": (lambda: with_extra(Raw(b"\x82\x01")), "FORBIDDEN_OPCODE", "EXT1"),
    "PERSID": (lambda: with_extra(Raw(b"Pstolen\n")), "FORBIDDEN_OPCODE", "PERSID"),
    "BINPERSID": (lambda: with_extra(Raw(b"NQ")), "PERSISTENT_ID", "persistent id"),
    "NEXT_BUFFER": (lambda: with_extra(Raw(b"\x97")), "FORBIDDEN_OPCODE", "NEXT_BUFFER"),
    "a blob that calls os.system": (
        lambda: bias(rebuilt(ATTACKS["REDUCE of os.system"])), "FORBIDDEN_GLOBAL", "os.system"),
    "a blob that calls something": (lambda: bias(rebuilt(ATTACKS["REDUCE"])), "BAD_TENSOR_BLOB", "evil_module.boom"),
    "a blob of an unknown type": (
        lambda: _identity(kind=THING), "UNSUPPORTED_TENSOR", "evil_module.Thing"),
    # bombs
    "a text of a terabyte": (lambda: with_extra(Raw(b"\x8d" + struct.pack("<Q", 1 << 40))), "LENGTH_LIMIT", "1,099,511"),
    "a text of a gigabyte": (lambda: with_extra(Raw(b"\x8d" + struct.pack("<Q", 1 << 30))), "TRUNCATED_FILE", "cut off"),
    "bytes of a gigabyte": (lambda: with_extra(Raw(b"\x8e" + struct.pack("<Q", 1 << 30))), "TRUNCATED_FILE", "cut off"),
    "a negative length": (lambda: with_extra(Raw(b"\x8b" + struct.pack("<i", -5))), "LENGTH_LIMIT", "-5 bytes"),
    "a long integer": (
        lambda: with_extra(Raw(b"\x8b" + struct.pack("<i", 1 << 16) + bytes(1 << 16))), "INTEGER_LIMIT", "65,536"),
    "a long name": (lambda: with_extra(Raw(b"c" + b"x" * 4096)), "NAME_LIMIT", "name"),
    "many texts": (lambda: dump(["x" * 50 + str(i) for i in range(500)]), "TEXT_LIMIT", "bytes of text"),
    "many memos": (lambda: dump(Raw(b"N" + b"\x94" * 400)), "MEMO_LIMIT", "remembered"),
    "lists within lists by marks": (lambda: dump(Raw(b"(" * 2000)), "NESTING_LIMIT", "within"),
    "tuples within tuples": (lambda: dump(Raw(b"N" + b"\x85" * 2000)), "NESTING_LIMIT", "tuples within"),
    "lists on the stack": (lambda: dump(Raw(b"]" * 250_000)), "STACK_LIMIT", "stack"),
    "a tuple of tuples as a key": (lambda: dump(Raw(b"})\x85\x85Ns")), "UNKNOWN_OBJECT", "of names"),
    "a storage beyond all tensors": (
        lambda: bias(rebuilt(bytes(2_000_000))), "BYTES_LIMIT", "the storage of mapping.fc0.bias"),
    "numbers of a megabyte": (
        lambda: attribute(_LAYER, "in_cutoff", _scalar(bytes(1 << 20), 4)), "BYTES_LIMIT", "in_cutoff"),
    "numbers of a megabyte, as text": (
        lambda: changed(lambda s: s.update(in_cutoff=_scalar(b"\xff" * (1 << 20), 2)), _LAYER, protocol=2),
        "BYTES_LIMIT", "bytes of text of G_ema.synthesis.L3_36_16.in_cutoff"),
    "orders to the terminal": (
        lambda: dump({"G_ema": Call(Name("evil\x1b[2J\ud800", "x"))}, 5), "UNKNOWN_OBJECT", r"evil\?\[2J\?\.x"),
    "an index of four billion": (lambda: dump(Raw(b"j\xff\xff\xff\xff")), "MALFORMED_PICKLE", "value 4294967295"),
    "modules that hold one twice": (lambda: _laughs(7), "MODULE_TWICE", "holds already"),
    "modules within modules": (lambda: _laughs(30), "MODULE_DEPTH_LIMIT", "at most 8"),
    "a module within itself": (_own_module, "MODULE_TWICE", "G_ema.mapping"),
    "a tensor of a terabyte": (
        lambda: bias(rebuilt(size=(1 << 20, 1 << 20), stride=(0, 0))), "TENSOR_SIZE_LIMIT", "4,398,046,511,104"),
    "a tensor repeated by strides": (
        lambda: bias(rebuilt(size=(64, 64), stride=(0, 1))), "TENSOR_OUT_OF_BOUNDS", "holds 64 values"),
    "a tensor beyond its storage": (lambda: bias(rebuilt(offset=1)), "TENSOR_OUT_OF_BOUNDS", "holds 64 values"),
    "a tensor of negative size": (lambda: bias(rebuilt(size=(-64,))), "BAD_TENSOR", "whole numbers"),
    "a storage of a terabyte": (lambda: _blob(count=1 << 40), "BAD_TENSOR_BLOB", "1,099,511,627,776"),
    "a storage of two sizes": (lambda: _identity(count=63), "BAD_TENSOR_BLOB", "announces 63 and 64"),
    "a layer of a huge factor": (lambda: attribute(_LAYER, "up_factor", 1 << 30), "LAYER_LIMIT", "up_factor"),
    "a layer of a huge canvas": (lambda: attribute(_LAYER, "in_size", [1 << 20] * 2), "LAYER_LIMIT", "in_size"),
    # damage
    "an early stop": (lambda: b"\x80\x04.", "MALFORMED_PICKLE", "before it is complete"),
    "an empty stack": (lambda: dump(Raw(b"R")), "MALFORMED_PICKLE", "more values than there are"),
    "no mark": (lambda: dump(Raw(b"}u")), "MALFORMED_PICKLE", "mark"),
    "a call of a number": (lambda: dump(Raw(b"K\x01)R")), "MALFORMED_PICKLE", "calls a int"),
    "entries of a number": (lambda: dump(Raw(b"K\x01NNs")), "MALFORMED_PICKLE", "entries of a int"),
    "a name of numbers": (lambda: dump(Raw(b"K\x01K\x02\x93")), "MALFORMED_PICKLE", "something else than text"),
    "a broken text": (lambda: dump(Raw(b"\x8c\x02\xff\xfe")), "BAD_TEXT", "UTF-8"),
    "an unknown instruction": (lambda: dump(Raw(b"\xff")), "UNKNOWN_OPCODE", "0xff"),
    "protocol 6": (lambda: b"\x80\x06N.", "PICKLE_PROTOCOL", "protocol 6"),
    "protocol 1": (lambda: b"\x80\x01N.", "PICKLE_PROTOCOL", "protocol 1"),
    "bytes at the end": (lambda: dump({"G_ema": None}) + b"more", "TRAILING_BYTES", "4 bytes follow"),
    "a blob without its magic": (lambda: _blob(magic=7), "BAD_TENSOR_BLOB", "begins with the number 7"),
    "a blob of a big-endian machine": (lambda: _blob(system={"little_endian": False}), "BAD_TENSOR_BLOB", "endian"),
    "a blob of two storages": (lambda: _blob(keys=["a", "b"]), "BAD_TENSOR_BLOB", "one storage"),
    "a blob of whole numbers": (
        lambda: _identity(kind=Name("torch", "LongStorage")), "UNSUPPORTED_TENSOR", "torch.LongStorage"),
    "a blob cut off early": (
        lambda: bias(rebuilt(official.blob(torch.zeros(64))[:30])), "BAD_TENSOR_BLOB", "within its description"),
    "a blob cut off": (lambda: bias(rebuilt(official.blob(torch.zeros(64))[:-9])), "BAD_TENSOR_BLOB", "247 bytes"),
    "NaN": (lambda: bias(rebuilt(official.blob(_NAN))), "NON_FINITE_WEIGHTS", "1 values of 64"),
    "a magnitude of zero": (
        lambda: entry(_LAYER, "_buffers", "magnitude_ema", rebuilt(official.blob(torch.zeros(1)), 0, (), ())),
        "BAD_WEIGHTS", "magnitude_ema is 0.0"),
    # something else
    "an empty file": (lambda: b"", "NOT_A_CHECKPOINT", "is empty"),
    "a text": (lambda: b"hello", "NOT_A_CHECKPOINT", "begins with b'hello'"),
    "a page": (lambda: b"<!DOCTYPE html>", "NOT_A_CHECKPOINT", "a page of the web"),
    "a zip": (lambda: b"PK\x03\x04" + bytes(50), "NOT_A_CHECKPOINT", "torch.save"),
    "a number": (lambda: dump(7), "NOT_A_CHECKPOINT", "holds the number 7"),
    "a list": (lambda: dump([1]), "NOT_A_CHECKPOINT", "holds a list"),
    "no G_ema": (lambda: official.checkpoint_bytes(16, G_ema=None), "MISSING_G_EMA", "it has G, D, augment_pipe"),
    "StyleGAN2": (_stylegan2, "STYLEGAN2_CHECKPOINT", "is a StyleGAN2 checkpoint"),
    "StyleGAN3 with classes": (
        lambda: entry("mapping", "_modules", "embed_proj", None), "STYLEGAN3_CHECKPOINT", "class-conditional"),
    "a mapping network of neither kind": (
        lambda: changed(lambda state: [state["_modules"].pop(n) for n in ("embed", "embed_proj")], "mapping"),
        "WRONG_SHAPE", r"w_avg is \(10, 64\)"),
    "TensorFlow": (
        lambda: dump((New(Name("dnnlib.tflib.network", "Network"), state={}),) * 3), "TENSORFLOW_CHECKPOINT", "TensorFlow"),
    "a classifier": (
        lambda: dump({"G_ema": official.persistent("ResNet", {"_modules": {}})}), "UNSUPPORTED_NETWORK", "ResNet"),
    "persistence of the future": (
        lambda: dump({"G_ema": official.persistent("G", {}, version=99)}), "PERSISTENCE_VERSION", "version 99"),
    "radial filters": (lambda: attribute(_LAYER, "use_radial_filters", True), "RADIAL_FILTERS", "configuration R"),
    "another activation": (
        lambda: attribute("mapping.fc0", "activation", "relu"), "UNSUPPORTED_NETWORK", "'relu'"),
    # wrong shapes
    "a bias of another length": (
        lambda: bias(rebuilt(official.blob(torch.zeros(63)), size=(63,))), "WRONG_SHAPE", r"need \(64,\)"),
    "a missing tensor": (lambda: bias(None), "MISSING_TENSOR", "mapping.fc0.bias"),
    "a further tensor": (
        lambda: entry("mapping.fc0", "_buffers", "scale", rebuilt()), "UNEXPECTED_TENSOR", "mapping.fc0.scale"),
    "a further layer": (
        lambda: entry("synthesis", "_modules", "L99", official.persistent("L", {})), "UNEXPECTED_MODULE", "L99"),
    "a missing layer": (
        lambda: entry("synthesis", "_modules", "L3_36_16", None), "MISSING_MODULE", "no module 'L3_36_16'"),
    "a layer that is not named": (
        lambda: attribute("synthesis", "layer_names", ["../../evil"]), "UNEXPECTED_MODULE", "does not name"),
    "a missing attribute": (lambda: _without(_LAYER, "padding"), "MISSING_ATTRIBUTE", "no padding"),
    "an attribute that is no number": (lambda: attribute(_LAYER, "up_taps", "12"), "BAD_ATTRIBUTE", "the text '12'"),
    "an infinite attribute": (lambda: attribute(_LAYER, "out_cutoff", float("inf")), "BAD_ATTRIBUTE", "inf"),
    "padding of another layer": (lambda: attribute(_LAYER, "padding", [1, 2, 3, 4]), "BAD_NETWORK_SPEC", "padding"),
    "another num_ws": (lambda: attribute("synthesis", "num_ws", 7), "BAD_NETWORK_SPEC", "num_ws is 7"),
    "another resolution": (lambda: attribute("synthesis", "img_resolution", 17), "BAD_NETWORK_SPEC", "size 17"),
}  # fmt: skip
LIMITS = {
    "a storage beyond all tensors": Limits(total_bytes=1_900_000),
    "many memos": _SMALL,
    "many texts": _SMALL,
}
