"""A pickle machine that makes records instead of objects: nothing is imported, nothing is called.

Example::

    value = SymbolicReader(memoryview(data)).read()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.generator.importing.limits import Limits, check_limit, refuse
from services.generator.importing.opcodes import Op, OpcodeStream
from services.generator.importing.symbols import Global, Record, checked_global, named

_PROTOCOLS = range(2, 6)
_CONSTANTS = {Op.NONE: None, Op.NEWTRUE: True, Op.NEWFALSE: False, Op.EMPTY_TUPLE: ()}
_LITERALS = {
    Op.BININT, Op.BININT1, Op.BININT2, Op.LONG1, Op.LONG4, Op.BINFLOAT, Op.BINUNICODE,
    Op.SHORT_BINUNICODE, Op.BINUNICODE8, Op.BINBYTES, Op.SHORT_BINBYTES, Op.BINBYTES8, Op.BYTEARRAY8,
}  # fmt: skip


class SymbolicReader:
    """Reads one pickle: plain values as themselves, everything else as `Record` and `Global`."""

    def __init__(
        self, data: memoryview, limits: Limits | None = None, position: int = 0, *, persistent: bool = False
    ) -> None:
        """Reads nothing yet.

        Args:
            data: The file.
            limits: What it may ask for.
            position: Where the pickle begins.
            persistent: Whether references to objects outside the pickle are expected (they are in the
                blob of a tensor, and nowhere else).
        """
        self._limits = limits or Limits()
        self._stream = OpcodeStream(data, self._limits, position)
        self._persistent = persistent
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._tuple_depths: dict[int, tuple[int, Any]] = {}
        self._handlers: dict[Op, Callable[[Any], None]] = self._table()

    @property
    def position(self) -> int:
        """Where the pickle ended."""
        return self._stream.position

    def read(self) -> Any:
        """Reads up to STOP.

        Raises:
            InvalidArgumentError: The pickle is cut off, malformed, beyond a limit or forbidden.
        """
        for op, arg in self._stream:
            if op in _LITERALS:
                self._stack.append(arg)
            elif op in _CONSTANTS:
                self._stack.append(_CONSTANTS[op])
            elif op is not Op.STOP:
                self._handlers[op](arg)
            check_limit("STACK", len(self._stack), self._limits.stack, "values on the stack")
        if len(self._stack) != 1 or self._outer:
            raise self._malformed("it stops before it is complete")
        return self._stack.pop()

    def _table(self) -> dict[Op, Callable[[Any], None]]:
        push = self._push
        return {
            Op.PROTO: self._protocol, Op.FRAME: lambda arg: None, Op.MARK: self._mark,
            Op.POP: self._drop, Op.POP_MARK: lambda arg: self._discard(),
            Op.DUP: lambda arg: push(self._top()),
            Op.EMPTY_LIST: lambda arg: push([]), Op.EMPTY_DICT: lambda arg: push({}),
            Op.EMPTY_SET: lambda arg: push(Record("SET", Global("builtins", "set"))),
            Op.TUPLE: lambda arg: self._tuple(self._since_mark()),
            Op.TUPLE1: lambda arg: self._tuple(self._last(1)),
            Op.TUPLE2: lambda arg: self._tuple(self._last(2)),
            Op.TUPLE3: lambda arg: self._tuple(self._last(3)),
            Op.FROZENSET: self._frozenset,
            Op.APPEND: lambda arg: self._extend(self._last(1)),
            Op.APPENDS: lambda arg: self._extend(self._since_mark()),
            Op.ADDITEMS: lambda arg: self._extend(self._since_mark()),
            Op.SETITEM: lambda arg: self._set(self._last(2)),
            Op.SETITEMS: lambda arg: self._set(self._since_mark()),
            Op.BINGET: self._get, Op.LONG_BINGET: self._get,
            Op.BINPUT: self._put, Op.LONG_BINPUT: self._put,
            Op.MEMOIZE: lambda arg: self._put(len(self._memo)),
            Op.GLOBAL: lambda arg: self._name(*arg),
            Op.STACK_GLOBAL: lambda arg: self._name(*self._last(2)),
            Op.REDUCE: lambda arg: self._call("REDUCE", 2), Op.NEWOBJ: lambda arg: self._call("NEWOBJ", 2),
            Op.NEWOBJ_EX: lambda arg: self._call("NEWOBJ_EX", 3),
            Op.BUILD: self._build, Op.BINPERSID: self._refer,
        }  # fmt: skip

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _name(self, module: Any, name: Any) -> None:
        self._stack.append(checked_global(module, name, self._stream.start))

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise self._malformed("it takes more values than there are")
        found = self._stack[-count:]
        del self._stack[-count:]
        return found

    def _top(self) -> Any:
        if not self._stack:
            raise self._malformed("it needs a value and there is none")
        return self._stack[-1]

    def _mark(self, arg: Any) -> None:
        self._outer.append(self._stack)
        self._stack = []
        check_limit("NESTING", len(self._outer), self._limits.nesting, "values within values")

    def _since_mark(self) -> list[Any]:
        if not self._outer:
            raise self._malformed("it needs a mark and there is none")
        found, self._stack = self._stack, self._outer.pop()
        return found

    def _discard(self) -> None:
        self._since_mark()

    def _drop(self, arg: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _tuple(self, values: list[Any]) -> None:
        # The entry keeps the tuple, and so its id, alive.
        depth = 1 + max((self._depth(value) for value in values), default=0)
        check_limit("NESTING", depth, self._limits.nesting, "tuples within tuples")
        made = tuple(values)
        if depth > 1:
            self._tuple_depths[id(made)] = (depth, made)
        self._stack.append(made)

    def _depth(self, value: Any) -> int:
        if not isinstance(value, tuple):
            return 0
        return self._tuple_depths.get(id(value), (1, value))[0]

    def _frozenset(self, arg: Any) -> None:
        made = Record("SET", Global("builtins", "frozenset"))
        made.elements.extend(self._since_mark())
        self._stack.append(made)

    def _extend(self, values: list[Any]) -> None:
        top = self._top()
        if isinstance(top, Record):
            top.elements.extend(values)
        elif isinstance(top, list):
            top.extend(values)
        else:
            raise self._malformed(f"it appends to a {type(top).__name__}")

    def _set(self, values: list[Any]) -> None:
        top = self._top()
        target = top.items if isinstance(top, Record) else top
        if not isinstance(target, dict) or len(values) % 2:
            raise self._malformed(f"it sets entries of a {type(top).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Only names are looked up. Other keys are not even hashed: that can be made to take for ever.
            target[key if isinstance(key, str) else Record("KEY", None, key)] = value

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise self._malformed(f"it refers to value {index}, which there is not")
        self._stack.append(self._memo[index])

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()
        check_limit("MEMO", len(self._memo), self._limits.memo, "values remembered for later")

    def _call(self, made: str, count: int) -> None:
        callee, *arguments = self._last(count)
        if not isinstance(callee, Global | Record) or not isinstance(arguments[0], tuple):
            raise self._malformed(f"it calls a {type(callee).__name__}")
        if named(callee, "collections.OrderedDict") and arguments == [()]:
            self._stack.append({})
            return
        record = Record(made, callee, arguments[0])
        if count == 3:
            record.states.append(arguments[1])
        self._stack.append(record)

    def _build(self, arg: Any) -> None:
        (state,) = self._last(1)
        top = self._top()
        if isinstance(top, Record):
            top.states.append(state)
        elif not isinstance(top, dict):  # attributes of an OrderedDict are of no use here
            raise self._malformed(f"it gives attributes to a {type(top).__name__}")

    def _refer(self, arg: Any) -> None:
        (identity,) = self._last(1)
        if not self._persistent:
            raise refuse(
                "PERSISTENT_ID",
                f"byte {self._stream.start} refers to an object outside the pickle (a persistent id); "
                "official checkpoints hold all of their objects",
                position=self._stream.start,
            )
        self._stack.append(Record("PERSISTENT", None, identity))

    def _protocol(self, version: int) -> None:
        if version not in _PROTOCOLS:
            raise refuse(
                "PICKLE_PROTOCOL",
                f"the pickle has protocol {version}; official checkpoints have 2 to 5",
                protocol=version,
            )

    def _malformed(self, what: str) -> Exception:
        return refuse(
            "MALFORMED_PICKLE", f"the pickle is damaged at byte {self._stream.start}: {what}",
            position=self._stream.start,
        )  # fmt: skip
