"""LinkerService: protobuf to arrays and back, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from services.linker.judging import judge, method_of, scope_of
from services.linker.solution import Solution
from services.linker.statistics import SufficientStatistics
from services.linker.storage import PAIR_TENSORS, LinkerStorage, Stored
from unitscope.errors import InvalidArgumentError
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.signals import catalogue
from unitscope.store.base import check_key
from unitscope.v1 import linker_pb2 as pb
from unitscope.v1 import linker_pb2_grpc, tensor_pb2

# Method names below are gRPC's.
# ruff: noqa: N802, D102

MAX_RESAMPLES = 100_000
MAX_FOLDS = 100
MAX_CHUNKS = 1_000
"""Chunks of held-out pairs, which are all in memory at once: as many as a stage has at most."""


class LinkerServicer(linker_pb2_grpc.LinkerServiceServicer):
    """Serves fits, judgements and applications of linkers."""

    def __init__(self, storage: LinkerStorage) -> None:
        """Binds the service to what is stored."""
        self._storage = storage

    def Accumulate(
        self, requests: Iterator[pb.AccumulateRequest], context: grpc.ServicerContext
    ) -> pb.AccumulateResponse:
        destination, statistics = "", None
        for request in requests:
            destination = destination or check_key(request.destination)
            pairs = self._pairs(request)
            if pairs is None:
                continue
            features, latents, classes, rows = pairs
            catalogue.ROWS.add(len(features), method="Accumulate")
            if statistics is None:
                statistics = SufficientStatistics(features.shape[1], latents.shape[1])
            statistics.update(features, latents, classes, rows)
        if statistics is None:
            raise InvalidArgumentError(
                "the stream brought no pairs; send batches or chunks after the destination",
                reason="NO_PAIRS",
                field="pairs",
            )
        stored = self._storage.save_statistics(destination, statistics)
        return pb.AccumulateResponse(statistics=_reference(stored), pairs=statistics.count)

    def Solve(self, request: pb.SolveRequest, context: grpc.ServicerContext) -> pb.SolveResponse:
        check_key(request.destination)
        if not 2 <= len(request.folds) <= MAX_FOLDS:
            raise InvalidArgumentError(
                f"{len(request.folds)} folds are given; 2 to {MAX_FOLDS} are needed",
                reason="BAD_FOLDS",
                field="folds",
            )
        folds = self._storage.statistics([(fold.key, fold.sha256) for fold in request.folds])
        solution = Solution.fit(folds, tuple(request.penalties))
        stored = self._storage.save_solution(request.destination, solution)
        linker = self._storage.solution(stored.key, stored.sha256).linker
        return pb.SolveResponse(
            solution=_reference(stored),
            penalty=linker.penalty,
            cross_validation_errors=linker.cv_errors.tolist(),
            pairs=linker.count,
        )

    def Evaluate(self, request: pb.EvaluateRequest, context: grpc.ServicerContext) -> pb.EvaluateResponse:
        if not 0 <= request.resamples <= MAX_RESAMPLES or request.seed < 0:
            raise InvalidArgumentError(
                f"resamples is {request.resamples} and seed {request.seed}; 0 to {MAX_RESAMPLES} "
                "resamples are possible, and seeds from 0",
                reason="BAD_BOOTSTRAP",
                field="resamples",
            )
        _check_chunks([chunk.key for chunk in request.chunks])
        solution = self._storage.solution(request.solution.key, request.solution.sha256)
        chunks = (self._storage.chunk(chunk.key, chunk.sha256) for chunk in request.chunks)
        evaluation = judge(solution, chunks, request.resamples or 1_000, request.seed)
        return pb.EvaluateResponse(
            rows=[
                pb.QualityRow(
                    metric=row.metric,
                    scope=scope_of(row),
                    method=method_of(row),
                    value=row.value,
                    lower=row.lower,
                    upper=row.upper,
                    pairs=row.count,
                )
                for row in evaluation.rows
            ]
        )

    def Apply(self, request: pb.ApplyRequest, context: grpc.ServicerContext) -> pb.ApplyResponse:
        source = request.WhichOneof("source")
        if source is None:
            raise InvalidArgumentError(
                "name a stored solution or the digest of a published linker",
                reason="NO_LINKER",
                field="linker",
            )
        if source == "linker":
            solution = self._storage.published(request.linker)
        else:
            solution = self._storage.solution(request.solution.key, request.solution.sha256)
        units = solution.linker.weight.shape[1]
        features = from_tensor(request.features, np.float32, (None, units), "features")
        catalogue.ROWS.add(len(features), method="Apply")
        classes = None
        if request.HasField("classes"):
            classes = from_tensor(request.classes, np.int64, (len(features),), "classes")
        latents = solution.apply(features, request.method or "linker", classes).astype(np.float32)
        distances = solution.distances(latents).astype(np.float32)
        return pb.ApplyResponse(latents=to_tensor(latents), distances=to_tensor(distances))

    def StoreLinker(
        self, request: pb.StoreLinkerRequest, context: grpc.ServicerContext
    ) -> pb.StoreLinkerResponse:
        card = self._storage.publish(request.solution.key, request.solution.sha256, request.card)
        return pb.StoreLinkerResponse(digest=card.digest, card_key=f"linkers/{card.digest}/card.json")

    def _pairs(self, request: pb.AccumulateRequest) -> tuple[NDArray[Any], ...] | None:
        """Features, latents, classes and rows of a message; None where it brings none."""
        kind = request.WhichOneof("pairs")
        if kind is None:
            return None
        if kind == "chunk":
            tensors = self._storage.chunk(request.chunk.key, request.chunk.sha256).tensors
            missing = [name for name in PAIR_TENSORS if name not in tensors]
            if missing:
                raise InvalidArgumentError(
                    f"the object {request.chunk.key} has no tensor {missing[0]!r}; pairs need "
                    + ", ".join(PAIR_TENSORS),
                    reason="NO_PAIRS",
                    field="chunk",
                )
            return tuple(tensors[name] for name in PAIR_TENSORS)
        batch = request.batch
        features = from_tensor(batch.features, np.float32, (None, None), "features")
        rows = len(features)
        return (
            features,
            from_tensor(batch.latents, np.float32, (rows, None), "latents"),
            from_tensor(batch.classes, np.int64, (rows,), "classes"),
            from_tensor(batch.rows, np.int64, (rows,), "rows"),
        )


def _reference(stored: Stored) -> tensor_pb2.ObjectReference:
    return tensor_pb2.ObjectReference(key=stored.key, sha256=stored.sha256, size=stored.size)


def _check_chunks(keys: list[str]) -> None:
    """Raises InvalidArgumentError where chunks are too many, or one is named twice: it would count twice."""
    twice = next((key for key, count in Counter(keys).items() if count > 1), None)
    if len(keys) > MAX_CHUNKS or twice is not None:
        problem = (
            f"{len(keys)} chunks are named" if twice is None else f"the chunk {twice[:100]!r} is named twice"
        )
        raise InvalidArgumentError(
            f"{problem}; up to {MAX_CHUNKS} different ones are possible", reason="BAD_CHUNKS", field="chunks"
        )
