"""Where the recipes keep what they make."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

WORK = ROOT / ".unitscope" / "packs" / "avatars"
"""Drawings and checkpoints; not versioned, can be made again."""

MODELS = ROOT / "models" / "avatars"
"""The pack that ships."""

IMAGES = ROOT / "docs" / "images"
"""Sample sheets of the documentation."""
