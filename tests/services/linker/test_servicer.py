"""The linker service over a real channel with a real store: accumulate, solve, evaluate, apply, store."""

import json

import numpy as np
import pytest

from services.linker.servicer import LinkerServicer
from services.linker.storage import LinkerStorage
from unitscope.errors import UnitScopeError
from unitscope.jobs.chunks import ChunkResult, encode
from unitscope.models.linkers import find_linker
from unitscope.rpc import Server, ServiceEntry, invoke, open_channel
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.settings import ServerSettings
from unitscope.store.base import sha256
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import info_pb2, linker_pb2_grpc, tensor_pb2
from unitscope.v1 import linker_pb2 as pb

UNITS, LATENTS, CLASSES = 12, 6, 3


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    store = DirectoryStore(tmp_path_factory.mktemp("store"))
    servicer = LinkerServicer(LinkerStorage(store))
    entry = ServiceEntry(
        "unitscope.v1.LinkerService",
        lambda s: linker_pb2_grpc.add_LinkerServiceServicer_to_server(servicer, s),
    )
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    server = Server("linker", 0, [entry], info_pb2.GetInfoResponse, settings)
    channel = open_channel(server.start())
    yield store, linker_pb2_grpc.LinkerServiceStub(channel)
    channel.close()
    server.stop()


def pairs(seed, n=200):
    """Pairs of a known map with a little noise; r is never negative, like a ReLU's."""
    rng = np.random.default_rng(seed)
    weight = np.random.default_rng(99).standard_normal((LATENTS, UNITS))
    classes = rng.integers(0, CLASSES, n)
    features = np.maximum(rng.standard_normal((n, UNITS)) + classes[:, None] * 0.3, 0)
    latents = features @ weight.T + 2 + 0.05 * rng.standard_normal((n, LATENTS))
    return {
        "features": features.astype(np.float32),
        "latents": latents.astype(np.float32),
        "classes": classes,
        "rows": np.arange(n) + seed * 10_000,
    }


def put(store, key, **tensors):
    data = encode(ChunkResult(tensors))
    store.create(key, data)
    return tensor_pb2.ObjectReference(key=key, sha256=sha256(data), size=len(data))


def accumulate(stub, destination, *messages):
    first = pb.AccumulateRequest(destination=destination)
    return invoke(stub.Accumulate, iter([first, *messages]), 30)


@pytest.fixture(scope="module")
def solved(served):
    store, stub = served
    folds = []
    for fold in range(3):
        chunk = put(store, f"pairs/{fold}", **pairs(fold))
        answer = accumulate(stub, f"statistics/{fold}", pb.AccumulateRequest(chunk=chunk))
        assert answer.pairs == 200
        folds.append(answer.statistics)
    request = pb.SolveRequest(folds=folds, penalties=[1e-4, 1e-2, 1.0], destination="solution")
    return invoke(stub.Solve, request, 30)


def test_batches_and_chunks_give_the_same_statistics(served):
    store, stub = served
    held = pairs(50)
    chunk = put(store, "pairs/same", **held)
    by_chunk = accumulate(stub, "statistics/a", pb.AccumulateRequest(chunk=chunk))
    halves = [
        pb.AccumulateRequest(
            batch=pb.PairBatch(**{name: to_tensor(np.ascontiguousarray(t[part])) for name, t in held.items()})
        )
        for part in (slice(0, 77), slice(77, None))
    ]
    by_batch = accumulate(stub, "statistics/b", *halves)
    assert by_batch.statistics.sha256 == by_chunk.statistics.sha256
    again = accumulate(stub, "statistics/b", *halves)
    assert again.statistics == by_batch.statistics


def test_the_fit_finds_the_map(served, solved):
    _, stub = served
    assert solved.pairs == 600
    assert solved.penalty == 1e-4
    held = pairs(60)
    request = pb.ApplyRequest(solution=solved.solution, features=to_tensor(held["features"]))
    answer = invoke(stub.Apply, request, 30)
    latents = from_tensor(answer.latents, np.float32, (200, LATENTS), "latents")
    assert np.abs(latents - held["latents"]).max() < 0.5
    distances = from_tensor(answer.distances, np.float32, (200,), "distances")
    far = pb.ApplyRequest(solution=solved.solution, features=to_tensor(held["features"] * 20))
    further = from_tensor(invoke(stub.Apply, far, 30).distances, np.float32, (200,), "distances")
    assert 0.5 < distances.mean() < 2 < further.mean()


def test_quality_names_linker_baselines_and_differences(served, solved):
    store, stub = served
    held = pairs(70)
    predicted = held["classes"]
    chunk = put(
        store,
        "held/0",
        **held,
        predicted=predicted,
        reencoded=held["features"],
        **{
            f"predicted_{m}": predicted
            for m in ("linker", "class_mean", "nearest_neighbour", "principal_components")
        },
    )
    request = pb.EvaluateRequest(solution=solved.solution, chunks=[chunk], resamples=200)
    rows = {(r.metric, r.scope, r.method): r for r in invoke(stub.Evaluate, request, 60).rows}
    best = rows["latent_r2_within_class", "overall", "linker"]
    assert 0.95 < best.lower <= best.value <= best.upper <= 1
    assert abs(rows["latent_r2_within_class", "overall", "class_mean"].value) < 0.1
    assert rows["latent_r2_within_class", "overall", "linker - class_mean"].lower > 0.8
    assert rows["agreement", "overall", "linker"].value == 1
    assert rows["cycle_cosine", "overall", "linker"].value == pytest.approx(1)
    assert {scope for _, scope, _ in rows} == {"overall", "0", "1", "2"}


def test_a_bootstrap_that_would_take_long_is_refused(served, solved, monkeypatch):
    monkeypatch.setattr("services.linker.judging.MAX_DRAWS", 1000)
    chunk = put(served[0], "held/much", **pairs(71))
    request = pb.EvaluateRequest(solution=solved.solution, chunks=[chunk], resamples=200)
    with pytest.raises(UnitScopeError) as caught:
        invoke(served[1].Evaluate, request, 60)
    assert caught.value.reason == "BOOTSTRAP_TOO_LARGE"


def test_a_published_linker_applies_by_its_digest(served, solved):
    store, stub = served
    card = {"description": "d", "license": "Apache-2.0", "architecture": {"name": "affine"}}
    request = pb.StoreLinkerRequest(solution=solved.solution, card=json.dumps(card))
    digest = invoke(stub.StoreLinker, request, 30).digest
    assert invoke(stub.StoreLinker, request, 30).digest == digest
    assert find_linker(store, digest[:12]).digest == digest
    features = to_tensor(pairs(1)["features"])
    by_digest = invoke(stub.Apply, pb.ApplyRequest(linker=digest, features=features), 30)
    by_solution = invoke(stub.Apply, pb.ApplyRequest(solution=solved.solution, features=features), 30)
    assert by_digest == by_solution


def bad_calls():
    features = to_tensor(np.ones((2, UNITS), np.float32))
    narrow = to_tensor(np.ones((2, UNITS - 1), np.float32))
    absent = tensor_pb2.ObjectReference(key="no/such", sha256="0" * 64)
    return {
        "narrow": (lambda s, ok: s.Apply, lambda ok: pb.ApplyRequest(solution=ok, features=narrow), "WRONG_TENSOR_SHAPE"),
        "no source": (lambda s, ok: s.Apply, lambda ok: pb.ApplyRequest(features=features), "NO_LINKER"),
        "method": (
            lambda s, ok: s.Apply,
            lambda ok: pb.ApplyRequest(solution=ok, features=features, method="magic"),
            "UNKNOWN_METHOD",
        ),
        "classes": (
            lambda s, ok: s.Apply,
            lambda ok: pb.ApplyRequest(solution=ok, features=features, method="class_mean"),
            "CLASSES_MISSING",
        ),
        "absent": (lambda s, ok: s.Apply, lambda ok: pb.ApplyRequest(solution=absent, features=features), "OBJECT_NOT_FOUND"),
        "one fold": (lambda s, ok: s.Solve, lambda ok: pb.SolveRequest(folds=[ok], destination="x"), "BAD_FOLDS"),
        "a path": (lambda s, ok: s.Solve, lambda ok: pb.SolveRequest(folds=[ok, ok], destination="../x"), "INVALID_KEY"),
        "no linker": (lambda s, ok: s.Apply, lambda ok: pb.ApplyRequest(linker="0" * 64, features=features), "LINKER_NOT_FOUND"),
        "a chunk twice": (lambda s, ok: s.Evaluate, lambda ok: pb.EvaluateRequest(solution=ok, chunks=[ok, ok]), "BAD_CHUNKS"),
        "many chunks": (lambda s, ok: s.Evaluate, lambda ok: pb.EvaluateRequest(solution=ok, chunks=[tensor_pb2.ObjectReference(key=f"k/{n}") for n in range(1001)]), "BAD_CHUNKS"),
        "no chunks": (lambda s, ok: s.Evaluate, lambda ok: pb.EvaluateRequest(solution=ok), "NO_HELD_OUT_PAIRS"),
        "no card": (lambda s, ok: s.StoreLinker, lambda ok: pb.StoreLinkerRequest(solution=ok, card="[]"), "INVALID_CARD"),
    }  # fmt: skip


@pytest.mark.parametrize("name", bad_calls())
def test_bad_calls(served, solved, name):
    method, request, reason = bad_calls()[name]
    with pytest.raises(UnitScopeError) as caught:
        invoke(method(served[1], None), request(solved.solution), 30)
    assert caught.value.reason == reason


def test_a_changed_object_is_noticed(served, solved):
    store, stub = served
    store.put("changed", b"other bytes")
    wrong = tensor_pb2.ObjectReference(key="changed", sha256=solved.solution.sha256)
    request = pb.ApplyRequest(solution=wrong, features=to_tensor(np.ones((1, UNITS), np.float32)))
    request.solution.sha256 = "0" * 64
    with pytest.raises(UnitScopeError) as caught:
        invoke(stub.Apply, request, 30)
    assert caught.value.status == "DATA_LOSS"
