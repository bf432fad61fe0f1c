"""What a training does: stages, layers, rates and lengths; presets, and a file that changes them.

::

    plan = load_plan("tiny", resolution=32, pictures=(20_000, 10_000))
    [stage.resolution for stage in plan.stages()]          # [16, 32]

A plan's numbers come from a preset, then from a file (``--config``), then from options. ``paper`` has the
layers, widths and rates of StyleGAN-XL (arXiv 2202.00273); ``tiny`` is a smoke test for a laptop without
a GPU: it shows that everything works, and no good picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.generator.specs import NetworkSpec
from services.generator.training.distance import MIN_SAMPLES
from services.generator.training.stages import HeadDesign, StemDesign, grown_spec, stem_design_spec
from services.generator.training.trainer import TrainerSettings
from unitscope.errors import InvalidArgumentError

MAX_RESOLUTION = 1024
MAX_CONFIG_BYTES = 1 << 20

OPEN = ("pictures", "evaluate_every")
"""What may change when a training is resumed: how long it goes on, and how often it is looked at."""

TINY: Mapping[str, Any] = MappingProxyType(
    {
        "resolution": 32,
        "pictures": (8_000, 3_000),
        "stem_design": {
            "layers": 4, "channel_base": 1024, "channel_max": 48, "channel_min": 16, "margin": 2,
            "w_dim": 64,
        },
        "head_design": {
            "layers": 3, "channel_base": 1024, "channel_max": 48, "channel_min": 16, "margin": 2,
        },
        "trainer": {"batch": 16, "blur_pictures": 2_000, "projection_channels": 32},
        "feature_side": 64,
        "evaluate_every": 2_000,
        "samples": 300,
        "guide_samples": 2_000,
        "mean_samples": 2_000,
    }
)  # fmt: skip

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"tiny": TINY, "paper": MappingProxyType({})})


@dataclasses.dataclass(frozen=True)
class PlannedStage:
    """One stage.

    Attributes:
        index: From 0, the stem.
        spec: Its network.
        pictures: Real pictures that it is shown, repetitions counted.
    """

    index: int
    spec: NetworkSpec
    pictures: int

    @property
    def resolution(self) -> int:
        """Edge of its pictures, in pixels."""
        return self.spec.resolution


class Plan(BaseModel):
    """All settings of a training; the defaults are the preset ``paper``.

    Attributes:
        stem: Edge of the first stage's pictures.
        resolution: Edge of the last stage's: the stem's times a power of two; every stage doubles.
        pictures: Length of every stage in real pictures, repetitions counted; the last number stands for
            the stages after it. 10 million is a choice of ours.
        stem_design: Layers and widths of the stem.
        head_design: Layers and widths of every head.
        trainer: Batch, rates, losses.
        feature_side: Edge that the feature network sees.
        flip: Whether pictures are mirrored at random.
        seed: Of weights, order and samples.
        evaluate_every: Pictures between two looks at samples and distance.
        samples: Pictures, generated and real, behind a distance.
        guide_samples: Real pictures that the classifier of the guidance is fitted on, at most.
        mean_samples: Latents behind the mean w of every class of the finished generator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stem: int = Field(default=16, ge=8, le=MAX_RESOLUTION)
    resolution: int = Field(default=64, ge=8, le=MAX_RESOLUTION)
    pictures: tuple[int, ...] = Field(default=(10_000_000,), min_length=1, max_length=8)
    stem_design: StemDesign = Field(default_factory=StemDesign)
    head_design: HeadDesign = Field(default_factory=HeadDesign)
    trainer: TrainerSettings = Field(default_factory=TrainerSettings)
    feature_side: int = Field(default=224, ge=32, le=1024, multiple_of=32)
    flip: bool = True
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    evaluate_every: int = Field(default=200_000, ge=1)
    samples: int = Field(default=10_000, ge=MIN_SAMPLES, le=100_000)
    guide_samples: int = Field(default=50_000, ge=MIN_SAMPLES)
    mean_samples: int = Field(default=10_000, ge=100)

    @model_validator(mode="after")
    def _check(self) -> Plan:
        if self.stem & (self.stem - 1):
            raise ValueError(f"stem is {self.stem}; it must be a power of two")
        factor = self.resolution / self.stem
        if factor < 1 or not math.log2(factor).is_integer():
            allowed = ", ".join(str(r) for r in _doublings(self.stem, MAX_RESOLUTION))
            raise ValueError(
                f"resolution is {self.resolution}; upon a stem of {self.stem} it must be one of {allowed}"
            )
        if min(self.pictures) < 1:
            raise ValueError(f"pictures is {min(self.pictures)}; every stage needs at least 1")
        if len(self.pictures) > len(self.resolutions):
            raise ValueError(
                f"pictures has {len(self.pictures)} numbers; there are {len(self.resolutions)} stages"
            )
        return self

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Edges of the pictures of all stages."""
        return tuple(_doublings(self.stem, self.resolution))

    def stages(self, classes: int = 1) -> list[PlannedStage]:
        """All stages with their networks, for so many classes.

        Raises:
            InvalidArgumentError: The layers make no network (reason BAD_NETWORK_DESIGN).
        """
        found: list[PlannedStage] = []
        for index, resolution in enumerate(self.resolutions):
            if index == 0:
                spec = stem_design_spec(classes=classes, resolution=resolution, design=self.stem_design)
            else:
                spec = grown_spec(found[-1].spec, resolution, self.head_design)
            found.append(PlannedStage(index, spec, self.pictures[min(index, len(self.pictures) - 1)]))
        return found

    def identity(self) -> dict[str, Any]:
        """What must not change when a training is resumed, as JSON."""
        return self.model_dump(mode="json", exclude=set(OPEN))


def load_plan(preset: str, config: Path | None = None, **options: Any) -> Plan:
    """A plan from a preset, changed by a file, changed by options; ``None`` leaves an option alone.

    Args:
        preset: One of `PRESETS`.
        config: A YAML or JSON file of the fields of `Plan`.
        options: Fields of `Plan`, and ``batch``.

    Raises:
        InvalidArgumentError: No such preset (reason UNKNOWN_PRESET), the file cannot be read (BAD_CONFIG),
            or a value is wrong (BAD_PLAN); the message says which.
    """
    if preset not in PRESETS:
        raise InvalidArgumentError(
            f"there is no preset {preset[:40]!r}; there are: {', '.join(PRESETS)}",
            reason="UNKNOWN_PRESET",
            field="preset",
        )
    given = {name: value for name, value in options.items() if value is not None}
    if "batch" in given:
        given["trainer"] = {"batch": given.pop("batch")}
    values = _merged(_merged(PRESETS[preset], _read_config(config)), given)
    edges = (values.get("stem", 16), values.get("resolution", 64))
    if "pictures" not in given and all(isinstance(edge, int) for edge in edges):
        # A preset's lengths are for its own resolution; fewer stages take the first of them.
        values["pictures"] = tuple(values.get("pictures", ()))[: len(_doublings(*edges))] or (10_000_000,)
    unknown = _unknown(values)
    if unknown:
        raise _bad(
            f"there is no setting {unknown!r}; 'unitscope train generator --help' names a page that lists all"
        )
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise _bad(f"{where}: {message}" if where else message) from error


def _read_config(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InvalidArgumentError(
                f"{path} has more than {MAX_CONFIG_BYTES:,} bytes", reason="BAD_CONFIG", field="config"
            )
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidArgumentError(
            f"{path} cannot be read as YAML: {str(error)[:300]}", reason="BAD_CONFIG", field="config"
        ) from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            f"{path} holds no settings; write e.g. 'resolution: 64'", reason="BAD_CONFIG", field="config"
        )
    return found


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for name, value in other.items():
        inner = found.get(name)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = _merged(inner, value)
        found[name] = value
    return found


def _unknown(values: Mapping[str, Any]) -> str:
    """The first setting that does not exist; dataclasses would pass over what they do not know."""
    nested = {"stem_design": StemDesign, "head_design": HeadDesign, "trainer": TrainerSettings}
    for name, value in values.items():
        if name not in Plan.model_fields:
            return str(name)
        if name in nested and isinstance(value, Mapping):
            known = {field.name for field in dataclasses.fields(nested[name])}
            wrong = next((key for key in value if key not in known), None)
            if wrong is not None:
                return f"{name}.{wrong}"
    return ""


def _doublings(stem: int, resolution: int) -> list[int]:
    found = [stem]
    while 0 < found[-1] * 2 <= resolution:
        found.append(found[-1] * 2)
    return found


def _bad(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="BAD_PLAN", field="plan")
