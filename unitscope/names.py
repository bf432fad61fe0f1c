"""Names that people mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The other known names that look most like one, the nearest first, whatever their case."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.5)
    return [by_lower[item] for item in found if by_lower[item] != name]


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """``did you mean 'this' or 'that'? `` of `near_names`, with its space; nothing where none is near."""
    near = near_names(name, known, most)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""
