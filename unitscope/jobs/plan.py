"""A plan: an ordered list of stages, each cut into chunks."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from unitscope.errors import InvalidArgumentError
from unitscope.jobs import ids
from unitscope.jobs.specs import MAX_RENDERS_PER_JOB, AnySpec, kind_of, parse_spec
from unitscope.models.cards import ModelKind, canonical_json
from unitscope.version import CODE_VERSION

MAX_CHUNKS_PER_STAGE = 1_000


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ResolvedModel(_Record):
    """A model that the plan was made for."""

    name: str
    digest: str
    kind: ModelKind


class Stage(_Record):
    """One stage.

    Attributes:
        name: Unique in the plan; the analysis knows what it means.
        chunks: One mapping of parameters a chunk, e.g. ``{"class": 2, "block": 0}``.
        renders: Images that the whole stage renders, for progress and cost.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")
    chunks: tuple[dict[str, Any], ...] = Field(min_length=1)
    renders: int = Field(default=0, ge=0)


class Cost(_Record):
    """What a plan will take."""

    renders: int
    stored_bytes: int
    chunks: int


class Plan(_Record):
    """The plan of a job, as stored in ``plan.json``."""

    schema_version: int = 1
    kind: str
    spec: dict[str, Any]
    models: tuple[ResolvedModel, ...]
    stages: tuple[Stage, ...] = Field(min_length=1)
    code_version: str = CODE_VERSION

    @property
    def digest(self) -> str:
        """The sha256 over spec, model digests, stages and code version."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()

    @property
    def renders(self) -> int:
        """Images that all stages render."""
        return sum(stage.renders for stage in self.stages)

    def parsed_spec(self) -> AnySpec:
        """The spec as its own class."""
        return parse_spec(self.kind, self.spec)

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)

    def stage_index(self, name: str) -> int:
        """The place of the stage of that name."""
        return [stage.name for stage in self.stages].index(name)

    def chunk_ids(self, stage: Stage) -> list[str]:
        """The ids of the stage's chunks, in order."""
        digest = self.digest
        return [ids.chunk_id(digest, stage.name, index) for index in range(len(stage.chunks))]


def make_plan(spec: AnySpec, models: tuple[ResolvedModel, ...], stages: list[Stage]) -> Plan:
    """A plan, checked against the limits.

    Raises:
        InvalidArgumentError: A stage has too many chunks, or the plan renders too many images
            (reason JOB_TOO_LARGE).
    """
    renders = sum(stage.renders for stage in stages)
    for stage in stages:
        if len(stage.chunks) > MAX_CHUNKS_PER_STAGE:
            raise InvalidArgumentError(
                f"the stage {stage.name!r} would need {len(stage.chunks)} chunks; at most "
                f"{MAX_CHUNKS_PER_STAGE} are possible: ask for fewer units, seeds or classes",
                reason="JOB_TOO_LARGE",
                field="spec",
            )
    if renders > MAX_RENDERS_PER_JOB:
        raise InvalidArgumentError(
            f"the job would render {renders:,} images; at most {MAX_RENDERS_PER_JOB:,} are "
            "possible: ask for fewer units, seeds, steps or classes",
            reason="JOB_TOO_LARGE",
            field="spec",
            renders=renders,
        )
    return Plan(
        kind=kind_of(spec),
        spec=spec.model_dump(mode="json"),
        models=models,
        stages=tuple(stages),
    )
