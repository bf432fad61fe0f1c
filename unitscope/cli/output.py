"""Answers as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

WIDE = 1_000
"""Off a terminal nothing is folded: the reader may be a program."""


def console(*, error: bool = False) -> Console:
    """Standard output, or standard error; colours only on a terminal, and not under NO_COLOR."""
    stream = sys.stderr if error else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDE, highlight=False, markup=False)


def plain(value: Any) -> Any:
    """Dataclasses, models, enums, paths and times as what JSON can say."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_json(value: Any, *, line: bool = False) -> None:
    """Prints the value as JSON, indented or on one line, and flushes."""
    text = json.dumps(plain(value), indent=None if line else 1, ensure_ascii=False)
    print(text, flush=True)


def visible(text: str) -> str:
    r"""The text with what a terminal would act on, or what turns text around, as Python writes it: ``\x1b``.

    Names in tables are what somebody submitted; they are read on the terminals of others.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows below their columns' names."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(visible, row))
    console().print(table)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Prints names and values, one a line; empty values are left out."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in pairs:
        if value:
            table.add_row(name, "\n".join(map(visible, value.split("\n"))))
    console().print(table)


def duration(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: int) -> str:
    """Bytes in a unit that leaves a readable number."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
