"""The linker service as functions of arrays and of references to stored objects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unitscope.rpc.channel import invoke, open_channel
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.v1 import linker_pb2, linker_pb2_grpc, tensor_pb2
from workers.clients.batches import spans

PEER = "the linker"
FIT_SECONDS = 600.0
"""Deadline of calls that go through a whole data set; no server of ours allows more."""

Floats = NDArray[np.float32]


class Reference(Protocol):
    """An object in the store, with its digest."""

    @property
    def key(self) -> str:
        """The object's key."""
        ...

    @property
    def sha256(self) -> str:
        """The sha256 of its bytes."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...


@dataclass(frozen=True)
class StoredObject:
    """An object that the linker stored."""

    key: str
    sha256: str
    size: int

    def to_record(self) -> dict[str, Any]:
        """The reference as JSON says it."""
        return asdict(self)


@dataclass(frozen=True)
class Solved:
    """A fit: where it lies, the penalty chosen, and the error (penalties,) of each one tried."""

    solution: StoredObject
    penalty: float
    cv_errors: tuple[float, ...]
    pairs: int


@dataclass(frozen=True)
class Quality:
    """One figure on held-out pairs; without an interval, `lower` and `upper` are None."""

    metric: str
    scope: str
    method: str
    value: float
    lower: float | None
    upper: float | None
    pairs: int


class LinkerClient:
    """The linker, behind a channel that connects when first used."""

    def __init__(self, address: str, call_seconds: float = 120.0) -> None:
        """Binds an address, ``host:port``; each `apply` has `call_seconds`."""
        self._channel = open_channel(address)
        self._stub = linker_pb2_grpc.LinkerServiceStub(self._channel)
        self._seconds = call_seconds

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def accumulate(self, destination: str, chunks: Sequence[Reference]) -> tuple[StoredObject, int]:
        """Condenses stored pairs into statistics.

        Args:
            destination: The key that the statistics are stored under.
            chunks: Objects with tensors ``features``, ``latents``, ``classes`` and ``rows``.

        Returns:
            The stored statistics and the number of pairs in them.

        Raises:
            UnitScopeError: What the service raised, or that it does not answer.
        """

        def requests() -> Iterable[linker_pb2.AccumulateRequest]:
            yield linker_pb2.AccumulateRequest(destination=destination)
            for chunk in chunks:
                yield linker_pb2.AccumulateRequest(chunk=_reference(chunk))

        response = invoke(self._stub.Accumulate, requests(), FIT_SECONDS, PEER)
        return _stored(response.statistics), response.pairs

    def solve(self, destination: str, folds: Sequence[Reference], penalties: Sequence[float]) -> Solved:
        """Fits the map from the folds' statistics. Raises like `accumulate`."""
        request = linker_pb2.SolveRequest(
            folds=[_reference(fold) for fold in folds],
            penalties=penalties,
            destination=destination,
        )
        response = invoke(self._stub.Solve, request, FIT_SECONDS, PEER)
        errors = tuple(response.cross_validation_errors)
        return Solved(_stored(response.solution), response.penalty, errors, response.pairs)

    def evaluate(
        self,
        solution: Reference,
        chunks: Sequence[Reference],
        resamples: int = 1_000,
        seed: int = 0,
    ) -> list[Quality]:
        """Judges a map on stored held-out pairs. Raises like `accumulate`."""
        request = linker_pb2.EvaluateRequest(
            solution=_reference(solution),
            chunks=[_reference(chunk) for chunk in chunks],
            resamples=resamples,
            seed=seed,
        )
        response = invoke(self._stub.Evaluate, request, FIT_SECONDS, PEER)
        return [
            Quality(
                row.metric,
                row.scope,
                row.method,
                row.value,
                _finite(row.lower),
                _finite(row.upper),
                row.pairs,
            )
            for row in response.rows
        ]

    def apply(
        self,
        features: Floats,
        source: Reference | str,
        method: str = "linker",
        classes: NDArray[np.int64] | None = None,
    ) -> tuple[Floats, Floats]:
        """Carries features to latents.

        Args:
            features: (batch, units).
            source: A stored solution, or the digest of a published linker.
            method: ``linker`` or one of its baselines.
            classes: (batch,) the generator's classes, which ``class_mean`` needs.

        Returns:
            Latents (batch, w_dim), and their distances (batch,) from the fit's latents.

        Raises:
            UnitScopeError: What the service raised, or that it does not answer.
        """
        latents, distances = [], []
        for part in spans(len(features), features[:1].nbytes, 65_536):
            request = linker_pb2.ApplyRequest(features=to_tensor(features[part]), method=method)
            if isinstance(source, str):
                request.linker = source
            else:
                request.solution.CopyFrom(_reference(source))
            if classes is not None:
                request.classes.CopyFrom(to_tensor(np.asarray(classes[part], np.int64)))
            response = invoke(self._stub.Apply, request, self._seconds, PEER)
            rows = part.stop - part.start
            latents.append(from_tensor(response.latents, np.float32, (rows, None), "latents"))
            distances.append(from_tensor(response.distances, np.float32, (rows,), "distances"))
        return np.concatenate(latents), np.concatenate(distances)

    def store(self, solution: Reference, card: str) -> str:
        """Publishes a solution.

        Args:
            solution: The stored solution.
            card: The linker's card as JSON, without its files.

        Returns:
            The digest that it is published under.

        Raises:
            UnitScopeError: What the service raised, or that it does not answer.
        """
        request = linker_pb2.StoreLinkerRequest(solution=_reference(solution), card=card)
        digest: str = invoke(self._stub.StoreLinker, request, self._seconds, PEER).digest
        return digest


def _reference(stored: Reference) -> tensor_pb2.ObjectReference:
    return tensor_pb2.ObjectReference(key=stored.key, sha256=stored.sha256, size=stored.size)


def _stored(reference: tensor_pb2.ObjectReference) -> StoredObject:
    return StoredObject(reference.key, reference.sha256, reference.size)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
