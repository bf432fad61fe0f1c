"""What an analysis gets to work with: the plan, the store, the services, and a pulse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from unitscope.errors import NotFoundError, UnitScopeError
from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult, decode
from unitscope.jobs.plan import Plan
from unitscope.jobs.specs import AnySpec, LinkSpec
from unitscope.jobs.state import cancel_requested
from unitscope.models import ModelCard, Registry
from unitscope.models.cards import ModelKind
from unitscope.settings import EndpointSettings, WorkerSettings
from unitscope.store import ObjectStore
from unitscope.store.base import sha256
from workers.clients import ClassifierClient, GeneratorClient, LinkerClient

PULSE_SECONDS = 1.0


class JobCancelled(UnitScopeError):  # noqa: N818 - not a failure
    """The job was cancelled while a chunk was being worked on."""

    status = "CANCELLED"
    default_reason = "JOB_CANCELLED"


@dataclass(frozen=True)
class StoredChunk:
    """Where a chunk's result lies."""

    key: str
    sha256: str
    size: int


class Context:
    """One job as an analysis sees it. Services are connected to when first used."""

    def __init__(
        self,
        job_id: str,
        plan: Plan,
        store: ObjectStore,
        registry: Registry,
        endpoints: EndpointSettings,
        settings: WorkerSettings,
    ) -> None:
        """Binds a job to the store and the services."""
        self.job_id = job_id
        self.plan = plan
        self.store = store
        self.registry = registry
        self.spec: AnySpec = plan.parsed_spec()
        self._endpoints = endpoints
        self._settings = settings
        self._looked = 0.0

    def card(self, kind: ModelKind) -> ModelCard:
        """The card of the plan's classifier or generator, checked to be the one planned with.

        Raises:
            NotFoundError: The plan has no model of that kind.
            FailedPreconditionError: The model has been replaced since (MODEL_DIGEST_MISMATCH).
        """
        for model in self.plan.models:
            if model.kind == kind:
                return self.registry.resolve(f"{model.name}@sha256:{model.digest}", kind)
        raise NotFoundError(f"the plan of {self.job_id} has no {kind}", reason="MODEL_NOT_FOUND")

    @cached_property
    def classifier(self) -> ClassifierClient:
        """The classifier service, speaking of the plan's classifier."""
        card = self.card("classifier")
        return ClassifierClient(
            self._endpoints.classifier,
            f"{card.name}@sha256:{card.digest}",
            self.layer,
            self._settings.call_seconds,
        )

    @cached_property
    def generator(self) -> GeneratorClient:
        """The generator, on its V2 server."""
        return GeneratorClient(self._endpoints.generator, self.card("generator"), self._settings.call_seconds)

    @cached_property
    def linker(self) -> LinkerClient:
        """The linker service."""
        return LinkerClient(self._endpoints.linker, self._settings.call_seconds)

    @cached_property
    def layer(self) -> str:
        """The classifier's layer that the job speaks of."""
        link = self.spec if isinstance(self.spec, LinkSpec) else self.spec.link
        if link is not None:
            return link.layer
        return str(self.linker_card.architecture["layer"])

    @cached_property
    def linker_card(self) -> ModelCard:
        """The card of the published linker that the plan names."""
        for model in self.plan.models:
            if model.kind == "linker":
                key = layout.linker_card(model.digest)
                return ModelCard.parse(self.store.get(key), key)
        raise NotFoundError(f"the plan of {self.job_id} names no linker", reason="LINKER_NOT_FOUND")

    def beat(self) -> None:
        """To be called between batches.

        Raises:
            JobCancelled: Somebody cancelled the job; leave at once.
        """
        now = time.monotonic()
        if now - self._looked >= PULSE_SECONDS:
            self._looked = now
            if cancel_requested(self.store, self.job_id):
                raise JobCancelled(f"{self.job_id} was cancelled")

    def result(
        self, stage: str, wanted: Callable[[int, dict[str, Any]], bool] | None = None
    ) -> Iterator[tuple[dict[str, Any], ChunkResult]]:
        """Parameters and results of the chunks of a finished stage, in order; no unwanted one is read."""
        for number, (params, key) in enumerate(self._chunks(stage)):
            if wanted is None or wanted(number, params):
                yield params, decode(self.store.get(key), key)

    def chunk_reference(self, stage: str) -> list[tuple[dict[str, Any], StoredChunk]]:
        """Parameters and places of all chunks of a finished stage, in order."""
        found = []
        for params, key in self._chunks(stage):
            data = self.store.get(key)
            found.append((params, StoredChunk(key, sha256(data), len(data))))
        return found

    def result_key(self, name: str) -> str:
        """The key of something that one stage hands to the next."""
        return layout.result(self.job_id, name)

    def _chunks(self, name: str) -> Iterator[tuple[dict[str, Any], str]]:
        stage = self.plan.stage(name)
        for params, chunk in zip(stage.chunks, self.plan.chunk_ids(stage), strict=True):
            yield params, layout.chunk(self.job_id, name, chunk)
