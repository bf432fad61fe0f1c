"""Plain values out of records: bytes, texts, mappings, and the numbers that NumPy pickles in its own way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from services.generator.importing.limits import check_limit, refuse
from services.generator.importing.opcodes import LongText
from services.generator.importing.symbols import Record, called, described

Number = int | float

_NUMPY = ("numpy.core.", "numpy._core.")
_SCALAR = tuple(f"{package}multiarray.scalar" for package in _NUMPY)
_RECONSTRUCT = tuple(f"{package}multiarray._reconstruct" for package in _NUMPY)
_FROM_BUFFER = tuple(f"{package}numeric._frombuffer" for package in _NUMPY)
_NUMPY_TYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_MAPPINGS = ("dnnlib.util.EasyDict", "dnnlib.EasyDict", "collections.OrderedDict")
_MOST_NUMBERS = 64


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """A dictionary with text keys, of an ordinary kind or one that prints nicely.

    Raises:
        InvalidArgumentError: It is something else (reason UNKNOWN_OBJECT).
    """
    if called(value, *_MAPPINGS):
        pairs = value.args[0] if value.args else []
        if not isinstance(pairs, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
            raise refuse("UNKNOWN_OBJECT", f"{where} is a dictionary of {described(pairs)}, not of pairs")
        value = {**{_key(key, where): item for key, item in pairs}, **value.items}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise refuse("UNKNOWN_OBJECT", f"{where} is {described(value)}; it must be a dictionary of names")
    return value


def text(value: Any, where: str) -> str:
    """A short text.

    Raises:
        InvalidArgumentError: reason BAD_ATTRIBUTE.
    """
    if not isinstance(value, str):
        raise _bad(where, value, "a text")
    return value


def flag(value: Any, where: str) -> bool:
    """True or false, also NumPy's."""
    if isinstance(value, bool):
        return value
    if number(value, where) not in (0, 1):
        raise _bad(where, value, "true or false")
    return bool(number(value, where))


def integer(value: Any, where: str) -> int:
    """A whole number."""
    found = number(value, where)
    if found != int(found):
        raise _bad(where, value, "a whole number")
    return int(found)


def number(value: Any, where: str) -> Number:
    """A finite number, Python's or NumPy's."""
    if isinstance(value, Record):
        found = numbers(value, where)
        if len(found) != 1:
            raise _bad(where, value, "one number")
        return found[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        raise _bad(where, value, "a number of ordinary size")
    if not math.isfinite(value):
        raise _bad(where, value, "a finite number")
    return value


def numbers(value: Any, where: str) -> tuple[Number, ...]:
    """A few numbers: a list, a tuple, or a small array of NumPy."""
    if isinstance(value, list | tuple):
        if len(value) > _MOST_NUMBERS:
            raise _bad(where, value, f"at most {_MOST_NUMBERS} numbers")
        return tuple(number(item, where) for item in value)
    if called(value, *_SCALAR) and len(value.args) == 2:
        return _array(value.args[0], value.args[1], where)
    if called(value, *_FROM_BUFFER) and len(value.args) >= 2:
        return _array(value.args[1], value.args[0], where)
    state = None
    if called(value, *_RECONSTRUCT) and len(value.states) == 1:
        state = value.states[0]
    elif called(value, "dill._dill._create_array") and len(value.args) >= 3:
        state = value.args[2]
    if isinstance(state, tuple) and len(state) == 5:
        return _array(state[2], state[4], where)
    raise _bad(where, value, "a number or numbers")


def raw_bytes(value: Any, where: str, most: int) -> memoryview:
    """Bytes, also those that protocol 2 writes as text.

    Raises:
        InvalidArgumentError: It is something else (reason UNKNOWN_OBJECT), or more than `most` bytes
            (BYTES_LIMIT).
    """
    found = _raw_bytes(value, where, most)
    check_limit("BYTES", found.nbytes, most, f"bytes of {where}")
    return found


def _raw_bytes(value: Any, where: str, most: int) -> memoryview:
    if isinstance(value, bytes | memoryview):
        return memoryview(value)
    if called(value, "_codecs.encode") and len(value.args) == 2 and value.args[1] in ("latin1", "latin-1"):
        content = value.args[0]
        try:
            if isinstance(content, LongText):
                # A byte from 128 on is two in UTF-8; looked at before it is decoded.
                check_limit("BYTES", len(content.data), 2 * most, f"bytes of text of {where}")
                content = str(content.data, "utf-8")
            if isinstance(content, str):
                return memoryview(content.encode("latin-1"))
        except UnicodeError as error:
            raise refuse("BAD_TEXT", f"{where}: its bytes were written as a text that holds none") from error
    raise refuse("UNKNOWN_OBJECT", f"{where} is {described(value)}; it must be bytes")


def _array(kind: Any, data: Any, where: str) -> tuple[Number, ...]:
    """Numbers of a NumPy type, as `numpy.dtype` describes it: a name, and a state with the byte order."""
    name = kind.args[0] if called(kind, "numpy.dtype") and kind.args else None
    if name not in _NUMPY_TYPES:
        raise _bad(where, kind, f"numbers of one of the types {', '.join(sorted(_NUMPY_TYPES))}")
    if kind.states and not (isinstance(kind.states[0], tuple) and kind.states[0][1:2] in (("<",), ("|",))):
        raise _bad(where, kind, "little-endian numbers")
    dtype = np.dtype(f"<{name}")
    content = raw_bytes(data, where, _MOST_NUMBERS * dtype.itemsize)
    if content.nbytes % dtype.itemsize:
        raise _bad(where, kind, f"whole values of {dtype.itemsize} bytes")
    return tuple(number(item, where) for item in np.frombuffer(content, dtype).astype(float).tolist())


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise refuse("UNKNOWN_OBJECT", f"{where} has {described(key)} for a name")
    return key


def _bad(where: str, value: Any, wanted: str) -> Exception:
    return refuse("BAD_ATTRIBUTE", f"{where} is {described(value)}; it must be {wanted}", where=where)
