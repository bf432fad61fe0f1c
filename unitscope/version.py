"""The version, and the version of what is stored."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

CODE_VERSION = "1"
"""Rises when the same plan would give other tables: part of every plan digest."""


def package_version() -> str:
    """The installed version of UnitScope, or ``0+source`` where it runs from a bare checkout."""
    try:
        return version("unitscope")
    except PackageNotFoundError:
        return "0+source"
