"""The tree of modules of a checkpoint: names, attributes and tensors, whatever the source says.

Every network of an official file is the record of a call of ``_reconstruct_persistent_obj`` with a
dictionary: class name, source text and state. The source is never looked at; what the state holds is
checked against our own network instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from services.generator.importing.limits import check_limit, refuse
from services.generator.importing.symbols import Record, called, described, named
from services.generator.importing.values import integer, mapping, text

_PERSISTENT = ("torch_utils.persistence._reconstruct_persistent_obj",)
_EMBEDDING = "torch.nn.modules.sparse.Embedding"
_VERSIONS = range(1, 7)
_DEEPEST, _MOST_MODULES = 8, 2_000


@dataclasses.dataclass(frozen=True)
class Module:
    """A module as the file describes it.

    Attributes:
        path: Dotted path from the generator; empty for the generator itself.
        kind: Name of its class.
        attributes: Its state without modules, parameters and buffers.
        modules: Its modules, in order.
        tensors: Records of parameters and buffers; absent ones (None) are left out.
    """

    path: str
    kind: str
    attributes: Mapping[str, Any]
    modules: Mapping[str, Module]
    tensors: Mapping[str, Any]

    def attribute(self, name: str) -> Any:
        """An attribute.

        Raises:
            InvalidArgumentError: There is none (reason MISSING_ATTRIBUTE).
        """
        if name not in self.attributes:
            raise refuse(
                "MISSING_ATTRIBUTE", f"{self.where} has no {name}; a StyleGAN-XL module states it",
                where=self.where,
            )  # fmt: skip
        return self.attributes[name]

    def module(self, name: str) -> Module:
        """A module of it.

        Raises:
            InvalidArgumentError: There is none (reason MISSING_MODULE).
        """
        if name not in self.modules:
            raise refuse("MISSING_MODULE", f"{self.where} has no module {name!r}", where=self.where)
        return self.modules[name]

    @property
    def where(self) -> str:
        """The path, for messages."""
        return f"G_ema.{self.path}" if self.path else "G_ema"

    def all_tensors(self) -> Iterator[tuple[str, Any]]:
        """Names, as in a state dict, and records of its tensors and those of its modules."""
        prefix = f"{self.path}." if self.path else ""
        for name, value in self.tensors.items():
            yield prefix + name, value
        for module in self.modules.values():
            yield from module.all_tensors()


class ModuleReader:
    """Reads a tree of modules; one that appears twice, or within itself, is refused."""

    def __init__(self) -> None:
        """Has read nothing yet."""
        self._seen: dict[int, Any] = {}

    def read(self, value: Any, path: str = "", depth: int = 0) -> Module:
        """Reads the module of a record, and those within.

        Raises:
            InvalidArgumentError: It is no module of an official checkpoint (UNKNOWN_OBJECT,
                PERSISTENCE_VERSION), or the tree is none (MODULE_TWICE, a limit).
        """
        where = f"G_ema.{path}" if path else "G_ema"
        kind, state = _state(value, where)
        if id(value) in self._seen:
            raise refuse("MODULE_TWICE", f"{where} is a module that the network holds already", where=where)
        self._seen[id(value)] = value
        check_limit("MODULE_COUNT", len(self._seen), _MOST_MODULES, "modules of the generator")
        check_limit("MODULE_DEPTH", depth, _DEEPEST, f"modules within modules, at {where}")
        parts = {
            name: _entries(state.get(name, {}), f"{where}.{name}")
            for name in ("_modules", "_parameters", "_buffers")
        }
        prefix = f"{path}." if path else ""
        return Module(
            path=path,
            kind=kind,
            attributes={name: item for name, item in state.items() if name not in parts},
            modules={
                name: self.read(item, prefix + name, depth + 1) for name, item in parts["_modules"].items()
            },
            tensors=parts["_parameters"] | parts["_buffers"],
        )


def _entries(value: Any, where: str) -> dict[str, Any]:
    return {name: item for name, item in mapping(value, where).items() if item is not None}


def _state(value: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    """Class name and state of a module."""
    if called(value, *_PERSISTENT) and len(value.args) == 1:
        meta = mapping(value.args[0], where)
        if meta.get("type") != "class":
            raise refuse("UNKNOWN_OBJECT", f"{where} is {described(meta.get('type'))}, not a class's object")
        version = integer(meta.get("version"), f"the version of {where}")
        if version not in _VERSIONS:
            raise refuse(
                "PERSISTENCE_VERSION",
                f"{where} was saved in version {version} of the format; 1 to {_VERSIONS[-1]} are known",
                version=version,
            )
        return text(meta.get("class_name"), f"the class of {where}"), mapping(meta.get("state"), where)
    if isinstance(value, Record) and value.made == "NEWOBJ" and named(value.callee, _EMBEDDING):
        if len(value.states) != 1:
            raise refuse("UNKNOWN_OBJECT", f"{where} has {len(value.states)} states; one is needed")
        return "Embedding", mapping(value.states[0], where)
    raise refuse(
        "UNKNOWN_OBJECT",
        f"{where} is {described(value)}; every module of an official generator is a persistent object. "
        "Nothing was run",
        where=where,
    )
