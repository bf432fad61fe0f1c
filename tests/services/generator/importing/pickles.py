"""Writes pickles by hand, instruction by instruction, in protocols 2 to 5.

A test file is described by plain values and by `Name`, `Call`, `New` and `Raw`; nothing here is ever
unpickled, and nothing comes from the code that published checkpoints were written by.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any


@dataclasses.dataclass(frozen=True)
class Name:
    """A class or a function by name."""

    module: str
    name: str


@dataclasses.dataclass(eq=False)
class Call:
    """A call of a function (REDUCE), then perhaps a state (BUILD)."""

    function: Any
    args: tuple[Any, ...] = ()
    state: Any = None


@dataclasses.dataclass(eq=False)
class New:
    """An object of a class (NEWOBJ), then perhaps entries (SETITEMS) and a state (BUILD)."""

    cls: Name
    args: tuple[Any, ...] = ()
    items: dict[Any, Any] | None = None
    state: Any = None


@dataclasses.dataclass(frozen=True)
class Raw:
    """Instructions as they are."""

    code: bytes


def dump(value: Any, protocol: int = 4) -> bytes:
    """The pickle of a value. What is the same `Call`, `New` or list twice is written once."""
    return Writer(protocol).dump(value)


class Writer:
    """Collects the instructions."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.out = bytearray()
        self.memo: dict[int, int] = {}
        self.kept: list[Any] = []

    def dump(self, value: Any) -> bytes:
        self.write(value)
        self.out += b"."
        frame = b"\x95" + struct.pack("<Q", len(self.out)) if self.protocol >= 4 else b""
        return b"\x80" + bytes([self.protocol]) + frame + bytes(self.out)

    def write(self, value: Any) -> None:
        shared = isinstance(value, Call | New | list | dict)
        if shared and id(value) in self.memo:
            self.out += b"j" + struct.pack("<I", self.memo[id(value)])
            return
        self._write(value)
        if shared:
            self.memo[id(value)] = len(self.memo)
            self.kept.append(value)
            index = self.memo[id(value)]
            self.out += b"\x94" if self.protocol >= 4 else b"r" + struct.pack("<I", index)

    def _write(self, value: Any) -> None:
        if value is None or isinstance(value, bool):
            self.out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            self.out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes):
            self._bytes(value)
        elif isinstance(value, tuple):
            self._tuple(value)
        elif isinstance(value, list):
            self.out += b"]("
            for item in value:
                self.write(item)
            self.out += b"e"
        elif isinstance(value, dict):
            self.out += b"}"
            self._items(value)
        elif isinstance(value, Name):
            self._name(value)
        elif isinstance(value, Raw):
            self.out += value.code
        else:
            self._object(value)

    def _object(self, value: Call | New) -> None:
        self.write(value.function if isinstance(value, Call) else value.cls)
        self.write(value.args)
        self.out += b"R" if isinstance(value, Call) else b"\x81"
        if isinstance(value, New) and value.items is not None:
            self._items(value.items)
        if value.state is not None:
            self.write(value.state)
            self.out += b"b"

    def _items(self, items: dict[Any, Any]) -> None:
        self.out += b"("
        for key, value in items.items():
            self.write(key)
            self.write(value)
        self.out += b"u"

    def _integer(self, value: int) -> None:
        if 0 <= value < 256:
            self.out += b"K" + bytes([value])
        elif 0 <= value < 65536:
            self.out += b"M" + struct.pack("<H", value)
        elif -(1 << 31) <= value < 1 << 31:
            self.out += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.out += b"\x8a" + bytes([len(data)]) + data

    def _text(self, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        short = self.protocol >= 4 and len(data) < 256
        self.out += (b"\x8c" + bytes([len(data)]) if short else b"X" + struct.pack("<I", len(data))) + data

    def _bytes(self, value: bytes) -> None:
        if self.protocol == 2:
            self.write(Call(Name("_codecs", "encode"), (value.decode("latin-1"), "latin1")))
        elif self.protocol == 3:
            self.out += b"B" + struct.pack("<I", len(value)) + value
        else:
            self.out += (b"\x96" if self.protocol == 5 else b"\x8e") + struct.pack("<Q", len(value)) + value

    def _tuple(self, value: tuple[Any, ...]) -> None:
        if len(value) > 3:
            self.out += b"("
        for item in value:
            self.write(item)
        self.out += {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(value), b"t")

    def _name(self, value: Name) -> None:
        if self.protocol >= 4:
            self._text(value.module)
            self._text(value.name)
            self.out += b"\x93"
        else:
            self.out += f"c{value.module}\n{value.name}\n".encode()
