"""Spec schemas of every analysis kind, with defaults and limits.

The fields are those of ``protos/unitscope/v1/analysis_spec.proto``, name by name; a test holds the
two together. Enum values are written in lower case without their prefix: ``accept: class``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unitscope.errors import InvalidArgumentError

DEFAULT_PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
MAX_UNITS_PER_JOB = 8_192
MAX_RENDERS_PER_JOB = 5_000_000
MIN_IMAGES = 6
"""Base images below which no statistic of an effect is given: fewer cannot reach p < 0.05."""

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Index = Annotated[int, Field(ge=0, lt=1_000_000)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LinkSpec(_Spec):
    """Fit w = A r + b for one classifier layer and one generator."""

    classifier: Name
    generator: Name
    layer: str = Field(default="", max_length=200)
    classes: tuple[Name, ...] = Field(default=(), max_length=1_000)
    truncation: float = Field(default=0.7, ge=0, le=1, allow_inf_nan=False)
    samples_per_class: int = Field(default=800, ge=10, le=100_000)
    heldout_per_class: int = Field(default=100, ge=5, le=5_000)
    penalties: tuple[Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)], ...] = Field(
        default=DEFAULT_PENALTIES, max_length=100
    )
    folds: int = Field(default=5, ge=2, le=20)
    accept: Literal["class", "any"] = "class"
    attempts_per_sample: int = Field(default=20, ge=1, le=1_000)
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def _empty_penalties_mean_the_grid(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("penalties") in ([], ()):
            values = {key: value for key, value in values.items() if key != "penalties"}
        return values


class UnitSelection(_Spec):
    """Units by index, or the first `top` by a rank."""

    indices: tuple[Index, ...] = Field(default=(), max_length=MAX_UNITS_PER_JOB)
    top: int = Field(default=12, ge=1, le=MAX_UNITS_PER_JOB)
    by: Literal["range", "weight"] = "weight"
    for_class: str = Field(default="", max_length=200)

    @property
    def count(self) -> int:
        """How many units will be moved."""
        return len(set(self.indices)) or self.top


class TraverseSpec(_Spec):
    """Move single units over their range and render, read and measure every step."""

    linker: str = Field(default="", pattern=r"^([0-9a-f]{12,64})?$")
    link: LinkSpec | None = None
    units: UnitSelection = UnitSelection()
    classes: tuple[Name, ...] = Field(default=(), max_length=1_000)
    seeds_per_class: int = Field(default=4, ge=1, le=1_000)
    steps: int = Field(default=7, ge=2, le=51)
    low_quantile: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    high_quantile: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    keep: Literal["all", "sample", "none"] = "sample"
    seed: Seed = 1
    render_with: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _is_consistent(self) -> TraverseSpec:
        _check_linker(self)
        if self.low_quantile >= self.high_quantile:
            raise ValueError("low_quantile must be below high_quantile")
        return self


class UnitGroup(_Spec):
    """Units that are moved together, each in its own scale."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$")
    units: tuple[Index, ...] = Field(min_length=1, max_length=MAX_UNITS_PER_JOB)


class Perturbation(_Spec):
    """What units are set to."""

    by: Literal["range", "quantiles", "deviations"] = "range"
    low_quantile: float = Field(default=0.01, ge=0, le=1, allow_inf_nan=False)
    high_quantile: float = Field(default=0.99, ge=0, le=1, allow_inf_nan=False)
    deviations: float = Field(default=2.0, gt=0, le=20, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_consistent(self) -> Perturbation:
        if self.low_quantile >= self.high_quantile:
            raise ValueError("low_quantile must be below high_quantile")
        return self


class QuantifySpec(_Spec):
    """Measure what every unit does to the parts of the picture and to the logits."""

    linker: str = Field(default="", pattern=r"^([0-9a-f]{12,64})?$")
    link: LinkSpec | None = None
    parts: str = Field(default="", max_length=200)
    units: tuple[Index, ...] = Field(default=(), max_length=MAX_UNITS_PER_JOB)
    groups: tuple[UnitGroup, ...] = Field(default=(), max_length=1_000)
    perturbation: Perturbation = Perturbation()
    start: Literal["own", "linked"] = "own"
    classes: tuple[Name, ...] = Field(default=(), max_length=1_000)
    steps: int = Field(default=3, ge=2, le=51)
    screening_seeds: int = Field(default=8, ge=MIN_IMAGES, le=10_000)
    seeds: int = Field(default=32, ge=32, le=10_000)
    shortlist: int = Field(default=64, ge=1, le=MAX_UNITS_PER_JOB)
    min_trust: float = Field(default=0.1, ge=0, le=1, allow_inf_nan=False)
    image_folder: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")
    keep: Literal["all", "sample", "none"] = "sample"
    seed: Seed = 1
    render_with: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _is_consistent(self) -> QuantifySpec:
        _check_linker(self)
        names = [group.name for group in self.groups]
        if len(set(names)) < len(names):
            raise ValueError("two groups have the same name")
        return self


class CounterfactualSpec(_Spec):
    """What would have to change for the classifier to say something else."""

    linker: str = Field(default="", pattern=r"^([0-9a-f]{12,64})?$")
    link: LinkSpec | None = None
    parts: str = Field(default="", max_length=200)
    method: Literal["path", "descent"] = "path"
    norm: Literal["l2", "l1"] = "l2"
    plausibility: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)
    start: Literal["own", "linked"] = "own"
    origins: tuple[Name, ...] = Field(default=(), max_length=1_000)
    targets: tuple[Name, ...] = Field(default=(), max_length=1_000)
    runner_up: bool = False
    seeds: int = Field(default=8, ge=1, le=10_000)
    image_folder: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")
    frames: int = Field(default=9, ge=2, le=51)
    top: int = Field(default=10, ge=1, le=100)
    max_steps: int = Field(default=2_000, ge=1, le=2_000)
    keep: Literal["all", "sample", "none"] = "sample"
    seed: Seed = 1
    render_with: str = Field(default="", max_length=200)

    @model_validator(mode="before")
    @classmethod
    def _the_published_search_starts_linked(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("method") == "descent":
            values = {"start": "linked", **values}
        return values

    @model_validator(mode="after")
    def _is_consistent(self) -> CounterfactualSpec:
        _check_linker(self)
        for name, given in (("origins", self.origins), ("targets", self.targets)):
            if len(set(given)) < len(given):
                raise ValueError(f"{name} names a class twice")
        if self.runner_up and self.targets:
            raise ValueError("give either 'targets' or 'runner_up'")
        if self.image_folder and self.origins:
            raise ValueError(
                "origins goes with generated images; of an image_folder the classifier says what they are"
            )
        return self


LinkedSpec: TypeAlias = TraverseSpec | QuantifySpec | CounterfactualSpec
"""Specs of kinds that work with a linker."""


def _check_linker(spec: LinkedSpec) -> None:
    if bool(spec.linker) == (spec.link is not None):
        raise ValueError("give either 'linker', a digest, or 'link', what to fit first")
    if spec.render_with and not spec.linker:
        raise ValueError(
            "render_with goes with 'linker', a published one; fit it first, by a job of kind link"
        )


AnySpec: TypeAlias = LinkSpec | LinkedSpec

KINDS: dict[str, type[AnySpec]] = {
    "link": LinkSpec,
    "traverse": TraverseSpec,
    "quantify": QuantifySpec,
    "counterfactual": CounterfactualSpec,
}
SUMMARIES = {
    "link": "Fit the map from a classifier's features to a generator's latent, and judge it.",
    "traverse": "Move single units over their range; render, read and measure every step.",
    "quantify": "Measure what every unit does to the parts of the picture and to the logits.",
    "counterfactual": "Find the smallest change that makes the classifier say another class, and what it is.",
}


def parse_spec(kind: str, values: Any) -> AnySpec:
    """The spec of a kind from plain values, as they come from JSON or YAML.

    Raises:
        InvalidArgumentError: The kind is unknown (UNKNOWN_ANALYSIS_KIND) or a field is unknown,
            missing or out of its limits (INVALID_SPEC), with one violation a field.
    """
    if kind not in KINDS:
        raise InvalidArgumentError(
            f"there is no analysis kind {kind[:40]!r}; there are: {', '.join(KINDS)}",
            reason="UNKNOWN_ANALYSIS_KIND",
            field="spec.kind",
            kind=kind[:40],
        )
    try:
        return KINDS[kind].model_validate(values)
    except ValidationError as error:
        violations = tuple(_violation(kind, item) for item in error.errors(include_url=False)[:20])
        raise InvalidArgumentError(
            "; ".join(f"{field}: {text}" for field, text in violations[:3]),
            reason="INVALID_SPEC",
            violations=violations,
        ) from None


def kind_of(spec: AnySpec) -> str:
    """The name of the spec's kind."""
    return next(kind for kind, cls in KINDS.items() if type(spec) is cls)


def _violation(kind: str, item: Any) -> tuple[str, str]:
    field = ".".join(("spec", kind, *(str(part) for part in item["loc"])))
    if item["type"] == "extra_forbidden":
        return field, "is no field of this spec"
    given = "" if isinstance(item["input"], dict | list) else f" (given: {item['input']!r:.60})"
    return field, item["msg"].removeprefix("Value error, ") + given
