"""Splits a pickle into its instructions (protocols 2 to 5), without copying long arguments.

The instruction set is documented in Python's `pickletools`. Every length is checked against what is
left of the file before a byte is read, so that a length alone costs nothing.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from services.generator.importing.limits import LAZY_BYTES, LAZY_TEXT, Limits, check_limit, refuse


class Op(IntEnum):
    """Instructions by their byte."""

    MARK = ord("(")
    STOP = ord(".")
    POP = ord("0")
    POP_MARK = ord("1")
    DUP = ord("2")
    BININT = ord("J")
    BININT1 = ord("K")
    BININT2 = ord("M")
    NONE = ord("N")
    REDUCE = ord("R")
    BINUNICODE = ord("X")
    APPEND = ord("a")
    BUILD = ord("b")
    GLOBAL = ord("c")
    EMPTY_DICT = ord("}")
    APPENDS = ord("e")
    BINGET = ord("h")
    LONG_BINGET = ord("j")
    EMPTY_LIST = ord("]")
    BINPUT = ord("q")
    LONG_BINPUT = ord("r")
    SETITEM = ord("s")
    TUPLE = ord("t")
    EMPTY_TUPLE = ord(")")
    SETITEMS = ord("u")
    BINFLOAT = ord("G")
    BINPERSID = ord("Q")
    BINBYTES = ord("B")
    SHORT_BINBYTES = ord("C")
    PROTO = 0x80
    NEWOBJ = 0x81
    TUPLE1 = 0x85
    TUPLE2 = 0x86
    TUPLE3 = 0x87
    NEWTRUE = 0x88
    NEWFALSE = 0x89
    LONG1 = 0x8A
    LONG4 = 0x8B
    SHORT_BINUNICODE = 0x8C
    BINUNICODE8 = 0x8D
    BINBYTES8 = 0x8E
    EMPTY_SET = 0x8F
    ADDITEMS = 0x90
    FROZENSET = 0x91
    NEWOBJ_EX = 0x92
    STACK_GLOBAL = 0x93
    MEMOIZE = 0x94
    FRAME = 0x95
    BYTEARRAY8 = 0x96


FORBIDDEN = {
    ord("i"): "INST, which makes an object of a class",
    ord("o"): "OBJ, which makes an object of a class",
    ord("P"): "PERSID, which refers to an object outside the file",
    0x82: "EXT1, which calls from a registry outside the file",
    0x83: "EXT2, which calls from a registry outside the file",
    0x84: "EXT4, which calls from a registry outside the file",
    0x97: "NEXT_BUFFER, which reads a buffer outside the file",
    0x98: "READONLY_BUFFER, which reads a buffer outside the file",
}
"""Instructions that no dump of a checkpoint has; those of protocols 0 and 1 are simply unknown here."""

_FIXED = {
    Op.BININT: struct.Struct("<i"),
    Op.BININT1: struct.Struct("<B"),
    Op.BININT2: struct.Struct("<H"),
    Op.BINFLOAT: struct.Struct(">d"),
    Op.BINGET: struct.Struct("<B"),
    Op.LONG_BINGET: struct.Struct("<I"),
    Op.BINPUT: struct.Struct("<B"),
    Op.LONG_BINPUT: struct.Struct("<I"),
    Op.PROTO: struct.Struct("<B"),
    Op.FRAME: struct.Struct("<Q"),
}
_COUNTED = {
    Op.BINUNICODE: struct.Struct("<I"),
    Op.SHORT_BINUNICODE: struct.Struct("<B"),
    Op.BINUNICODE8: struct.Struct("<Q"),
    Op.BINBYTES: struct.Struct("<I"),
    Op.SHORT_BINBYTES: struct.Struct("<B"),
    Op.BINBYTES8: struct.Struct("<Q"),
    Op.BYTEARRAY8: struct.Struct("<Q"),
    Op.LONG1: struct.Struct("<B"),
    Op.LONG4: struct.Struct("<i"),
}
_TEXT = {Op.BINUNICODE, Op.SHORT_BINUNICODE, Op.BINUNICODE8}
_LONG = {Op.LONG1, Op.LONG4}
_LONGEST_INTEGER = 255
_KNOWN = {int(op): op for op in Op}


@dataclasses.dataclass(frozen=True, slots=True)
class LongText:
    """A text that was not decoded: UTF-8."""

    data: memoryview


class OpcodeStream:
    """Instructions from a position on, up to and with STOP.

    Attributes:
        position: Where the next byte is read.
        start: Where the present instruction begins.
    """

    def __init__(self, data: memoryview, limits: Limits, position: int = 0) -> None:
        """Reads nothing yet."""
        self.position = self.start = position
        self._data = data
        self._limits = limits
        self._texts = 0

    def __iter__(self) -> Iterator[tuple[Op, Any]]:
        """Yields instruction and argument.

        Raises:
            InvalidArgumentError: The file ends early (TRUNCATED_FILE), or holds what no dump of a
                checkpoint has (FORBIDDEN_OPCODE, UNKNOWN_OPCODE, BAD_TEXT, a limit).
        """
        count = 0
        while True:
            self.start = self.position
            code = self._take(1)[0]
            op = _KNOWN.get(code)
            if op is None:
                raise self._unknown(code)
            count += 1
            check_limit("OPCODE", count, self._limits.opcodes, "instructions of the pickle")
            yield op, self._argument(op)
            if op is Op.STOP:
                return

    def _argument(self, op: Op) -> Any:
        if op in _FIXED:
            return self._number(_FIXED[op])
        if op in _COUNTED:
            return self._counted(op, self._number(_COUNTED[op]))
        if op is Op.GLOBAL:
            return self._line(), self._line()
        return None

    def _counted(self, op: Op, length: int) -> Any:
        if length < 0 or length > self._limits.file_bytes:
            raise refuse(
                "LENGTH_LIMIT",
                f"{op.name} at byte {self.start} says it is {length:,} bytes long; no file that is read "
                f"here has more than {self._limits.file_bytes:,}",
            )
        if op in _LONG:
            check_limit("INTEGER", length, _LONGEST_INTEGER, f"bytes of the integer at byte {self.start}")
            return int.from_bytes(self._take(length), "little", signed=True)
        data = self._take(length)
        if op not in _TEXT:
            return data if length > LAZY_BYTES else bytes(data)
        if length > LAZY_TEXT:
            return LongText(data)
        self._texts += length
        check_limit("TEXT", self._texts, self._limits.text_bytes, "bytes of text in the pickle")
        return self._decoded(data)

    def _number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self._take(layout.size))[0]

    def _line(self) -> str:
        end = min(self.position + self._limits.name_bytes, len(self._data))
        line = bytes(self._data[self.position : end]).partition(b"\n")
        if not line[1]:
            if end == len(self._data):
                raise self._truncated(1)
            check_limit("NAME", end - self.position + 1, self._limits.name_bytes, "bytes of a name")
        self.position += len(line[0]) + 1
        return self._decoded(line[0])

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self._data):
            raise self._truncated(count)
        data = self._data[self.position : end]
        self.position = end
        return data

    def _decoded(self, data: memoryview | bytes) -> str:
        try:
            return str(data, "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise refuse("BAD_TEXT", f"the text at byte {self.start} is not UTF-8") from error

    def _truncated(self, wanted: int) -> Exception:
        left = len(self._data) - self.position
        return refuse(
            "TRUNCATED_FILE",
            f"the file is cut off: at byte {self.position} it needs {wanted:,} more bytes and has {left:,}; "
            "fetch it again and compare its size with the publisher's",
            position=self.position,
        )

    def _unknown(self, code: int) -> Exception:
        if code in FORBIDDEN:
            return refuse(
                "FORBIDDEN_OPCODE",
                f"byte {self.start} is the instruction {FORBIDDEN[code]}; no dump of a checkpoint has it. "
                "Nothing was run",
                position=self.start,
            )
        return refuse(
            "UNKNOWN_OPCODE",
            f"byte {self.start} is {code:#04x}, no instruction of pickle protocols 2 to 5",
            position=self.start,
        )
