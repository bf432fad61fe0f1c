"""What analyses need of a job: `workers.context.Context` offers it, and so may a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.plan import Plan
from unitscope.jobs.specs import AnySpec
from unitscope.models import ModelCard, Registry
from unitscope.models.cards import ModelKind
from unitscope.store import ObjectStore
from workers.clients import ClassifierClient, GeneratorClient, LinkerClient, Reference


class Job(Protocol):
    """One job: its plan, the store, the services, and a pulse."""

    job_id: str
    plan: Plan
    spec: AnySpec
    store: ObjectStore
    registry: Registry

    @property
    def classifier(self) -> ClassifierClient:
        """The classifier service, speaking of the plan's classifier and layer."""
        ...

    @property
    def generator(self) -> GeneratorClient:
        """The generator."""
        ...

    @property
    def linker(self) -> LinkerClient:
        """The linker service."""
        ...

    @property
    def linker_card(self) -> ModelCard:
        """The card of the published linker that the plan names."""
        ...

    def card(self, kind: ModelKind) -> ModelCard:
        """The card of the plan's classifier or generator."""
        ...

    def beat(self) -> None:
        """To be called between batches; raises where the job was cancelled."""
        ...

    def result(
        self, stage: str, wanted: Callable[[int, dict[str, Any]], bool] | None = None
    ) -> Iterator[tuple[dict[str, Any], ChunkResult]]:
        """Parameters and results of the chunks of a finished stage, in order.

        Args:
            stage: Its name.
            wanted: Tells from number and parameters of a chunk whether to read it; all are read if left out.
        """
        ...

    def chunk_reference(self, stage: str) -> Sequence[tuple[dict[str, Any], Reference]]:
        """Parameters and places of all chunks of a finished stage, in order."""
        ...

    def result_key(self, name: str) -> str:
        """The key of something that one stage hands to the next."""
        ...
