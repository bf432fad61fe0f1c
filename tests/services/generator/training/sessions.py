"""Trainings of seconds: a plan, pictures and a feature network, all tiny."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from services.generator.training.data import Pictures, find_pictures, prepare
from services.generator.training.plan import Plan
from services.generator.training.session import Listener, Session
from tests.services.generator.training.folders import write_classes
from tests.services.generator.training.tiny import HEAD, STEM, TinyFeatures

CLASSES = ("owl", "wren")

SETTINGS: dict[str, Any] = {
    "stem": 16,
    "resolution": 32,
    "pictures": (30, 18),
    "stem_design": dataclasses.asdict(STEM),
    "head_design": dataclasses.asdict(HEAD),
    "trainer": {"batch": 6, "projection_channels": 8, "blur_pictures": 60, "guidance_above": 16},
    "evaluate_every": 12,
    "samples": 20,
    "guide_samples": 20,
    "mean_samples": 100,
}
"""As a config file would hold them."""


def tiny_plan(**changes: Any) -> Plan:
    return Plan.model_validate({**SETTINGS, **changes})


def tiny_pictures(folder: Path) -> Pictures:
    source = find_pictures(write_classes(folder / "birds", CLASSES, 13))
    return prepare(source, folder / "cache", (16, 32))


def tiny_session(
    pictures: Pictures, out: Path, plan: Plan | None = None, listener: Listener | None = None
) -> Session:
    return Session(plan or tiny_plan(), pictures, TinyFeatures(), out=out, listener=listener)
