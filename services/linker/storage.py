"""Statistics, solutions and published linkers in the object store."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from services.linker.solution import Solution
from services.linker.statistics import SufficientStatistics
from unitscope.errors import DataLossError, InvalidArgumentError
from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult, decode
from unitscope.models.cards import WEIGHTS_FILE, FileEntry, ModelCard
from unitscope.models.linkers import find_linker
from unitscope.store import ObjectStore, get_verified
from unitscope.store.base import sha256

CACHED_SOLUTIONS = 8
PAIR_TENSORS = ("features", "latents", "classes", "rows")


@dataclass(frozen=True)
class Stored:
    """An object that was stored."""

    key: str
    sha256: str
    size: int


@dataclass
class LinkerStorage:
    """What the linker service reads from the store and writes to it."""

    store: ObjectStore
    _solutions: OrderedDict[str, Solution] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def chunk(self, key: str, digest: str) -> ChunkResult:
        """A chunk's result, checked against its digest.

        Raises:
            NotFoundError: There is none.
            DataLossError: It is another, or no chunk.
        """
        return decode(get_verified(self.store, key, digest), key)

    def save_statistics(self, key: str, statistics: SufficientStatistics) -> Stored:
        """Stores statistics, create-only; what is stored if another was first."""
        tensors = {name: np.asarray(t, order="C") for name, t in statistics.to_tensors().items()}
        return self._create(key, bytes(save(tensors)))

    def statistics(self, references: Sequence[tuple[str, str]]) -> list[SufficientStatistics]:
        """The statistics of keys and digests. Raises like `chunk`."""
        found = []
        for key, digest in references:
            try:
                tensors: dict[str, NDArray[np.generic]] = load(get_verified(self.store, key, digest))
            except SafetensorError as error:
                raise DataLossError(f"the object {key} holds no statistics", key=key) from error
            found.append(SufficientStatistics.from_tensors(tensors))
        return found

    def save_solution(self, key: str, solution: Solution) -> Stored:
        """Stores a solution, create-only; what is stored if another was first."""
        return self._create(key, solution.to_bytes())

    def solution(self, key: str, digest: str) -> Solution:
        """The solution of a key and digest, from memory where it was used lately."""
        with self._lock:
            if digest in self._solutions:
                self._solutions.move_to_end(digest)
                return self._solutions[digest]
        solution = Solution.from_bytes(get_verified(self.store, key, digest))
        with self._lock:
            self._solutions[digest] = solution
            while len(self._solutions) > CACHED_SOLUTIONS:
                self._solutions.popitem(last=False)
        return solution

    def published(self, digest: str) -> Solution:
        """The solution of a published linker. Raises like `find_linker`."""
        card = find_linker(self.store, digest)
        return self.solution(layout.linker_weights(card.digest), card.files[WEIGHTS_FILE].sha256)

    def publish(self, key: str, digest: str, card_json: str) -> ModelCard:
        """Publishes a solution under the digest of its card; the same one twice is one linker.

        Raises:
            InvalidArgumentError: The card is not valid JSON or lacks something.
            NotFoundError: There is no such solution.
        """
        data = get_verified(self.store, key, digest)
        Solution.from_bytes(data)
        try:
            values: dict[str, Any] = dict(json.loads(card_json))
        except (ValueError, TypeError) as error:
            raise InvalidArgumentError(
                f"the card is no JSON object ({error})", reason="INVALID_CARD", field="card"
            ) from error
        entry = FileEntry(sha256=digest, size=len(data))
        values |= {
            "kind": "linker",
            "name": "linkers/unnamed",
            "files": {WEIGHTS_FILE: entry.model_dump()},
        }
        unnamed = ModelCard.parse(json.dumps(values).encode(), "the linker's card")
        card = unnamed.model_copy(update={"name": f"linkers/{unnamed.short_digest}"})
        self.store.create(layout.linker_weights(card.digest), data)
        self.store.create(layout.linker_card(card.digest), card.model_dump_json(indent=1).encode())
        return card

    def _create(self, key: str, data: bytes) -> Stored:
        if not self.store.create(key, data):
            data = self.store.get(key)
        return Stored(key, sha256(data), len(data))
