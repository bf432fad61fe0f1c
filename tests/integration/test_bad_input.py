"""Bad input over real channels: one row each, with status, reason and a sentence that helps."""

import resource
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.conftest import LINK, TRAVERSE
from unitscope.errors import UnitScopeError
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.specs import parse_spec
from unitscope.models import Registry
from unitscope.rpc import invoke, open_channel
from unitscope.rpc.channel import stream
from unitscope.rpc.tensors import to_tensor
from unitscope.v1 import (
    analysis_job_pb2 as jobs,
)
from unitscope.v1 import (
    analysis_job_pb2_grpc,
    analysis_spec_pb2,
    classifier_pb2,
    classifier_pb2_grpc,
    linker_pb2,
    linker_pb2_grpc,
    tensor_pb2,
)
from workers.clients import GeneratorClient

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

SECONDS = 120.0
MODEL = "tiny/classifier"
IMAGES = np.zeros((2, 16, 16, 3), np.uint8)
NAN = np.full((2, 32), np.nan, np.float32)


class Peer:
    """Stubs of a running stack."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack
        ends = stack.endpoints
        self.gateway = analysis_job_pb2_grpc.AnalysisJobServiceStub(open_channel(ends.gateway, 1 << 30))
        self.classifier = classifier_pb2_grpc.ClassifierServiceStub(open_channel(ends.classifier))
        self.linker = linker_pb2_grpc.LinkerServiceStub(open_channel(ends.linker))
        card = Registry(stack.models).resolve("tiny/generator")
        self.generator = GeneratorClient(ends.generator, card, SECONDS)
        self.no_generator = GeneratorClient("127.0.0.1:1", card, SECONDS)

    def create(self, message: analysis_spec_pb2.AnalysisSpec, **fields: Any) -> Any:
        request = jobs.CreateAnalysisJobRequest(spec=message, **fields)
        return invoke(self.gateway.CreateAnalysisJob, request, SECONDS)

    def traverse(self, **changes: Any) -> Any:
        """Creates a job from raw protobuf, as a client in another language would."""
        message = spec_to_proto(parse_spec("traverse", TRAVERSE))
        for path, value in changes.items():
            target, (*parents, last) = message.traverse, path.split("__")
            for parent in parents:
                target = getattr(target, parent)
            if isinstance(value, list):
                del getattr(target, last)[:]
                getattr(target, last).extend(value)
            else:
                setattr(target, last, value)
        return self.create(message)

    def quantify(self, **changes: Any) -> Any:
        """Creates a job of kind quantify from raw protobuf."""
        spec = {"link": LINK, "parts": "tiny/parts"}
        message = spec_to_proto(parse_spec("quantify", spec))
        for name, value in changes.items():
            if name == "groups":
                message.quantify.groups.extend(analysis_spec_pb2.UnitGroup(**group) for group in value)
            elif isinstance(value, list):
                getattr(message.quantify, name).extend(value)
            else:
                setattr(message.quantify, name, value)
        return self.create(message)

    def unknown_field(self) -> Any:
        late = analysis_spec_pb2.LinkSpec.FromString(
            analysis_spec_pb2.LinkSpec(**LINK).SerializeToString() + bytes.fromhex("fa3e0161")
        )
        return self.create(analysis_spec_pb2.AnalysisSpec(link=late))

    def read(self, images: np.ndarray, model: str = MODEL, layer: str = "") -> Any:
        request = classifier_pb2.ExtractFeaturesRequest(model=model, images=to_tensor(images), layer=layer)
        return invoke(self.classifier.ExtractFeatures, request, SECONDS)

    def head(self, features: np.ndarray) -> Any:
        request = classifier_pb2.EvaluateHeadRequest(model=MODEL, features=to_tensor(features))
        return invoke(self.classifier.EvaluateHead, request, SECONDS)

    def accumulate(self, features: np.ndarray) -> Any:
        rows = np.arange(len(features), dtype=np.int64)
        batch = linker_pb2.PairBatch(
            features=to_tensor(features),
            latents=to_tensor(np.zeros((len(features), 4), np.float32)),
            classes=to_tensor(rows),
            rows=to_tensor(rows),
        )
        request = linker_pb2.AccumulateRequest(destination="results/bad.safetensors", batch=batch)
        return invoke(self.linker.Accumulate, iter([request]), SECONDS)

    def missing_solution(self) -> Any:
        reference = tensor_pb2.ObjectReference(key="results/none.safetensors", sha256="0" * 64)
        features = to_tensor(np.zeros((1, 32), np.float32))
        request = linker_pb2.ApplyRequest(solution=reference, features=features)
        return invoke(self.linker.Apply, request, SECONDS)

    def get(self, job_id: str) -> Any:
        return invoke(self.gateway.GetAnalysisJob, jobs.GetAnalysisJobRequest(job_id=job_id), SECONDS)

    def map(self, **changes: Any) -> Any:
        inputs = {"z": np.zeros((2, 16), np.float32), "classes": np.array([0, 1]), "truncation": 0.7}
        return self.generator.map(**(inputs | changes))

    def without_store(self) -> Any:
        store = self.stack.home.store
        away = store.rename(store.with_name("away"))
        try:
            return self.get("job-" + "a" * 24)
        finally:
            away.rename(store)

    def full_disk(self) -> Any:
        with no_room("gateway"):
            return self.traverse(seed=77)

    def full_disk_of_the_linker(self) -> Any:
        with no_room("linker"):
            return self.accumulate(np.eye(32, dtype=np.float32))


def running():
    """The processes below this one, with their command lines; some may end while they are looked at."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            yield process, process.cmdline()


@contextmanager
def no_room(service: str):
    """A real server process that can write no file: what the system says is what a full disk says."""
    for process, words in running():
        if words[-1:] == [f"services.{service}"]:
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))
            try:
                yield
            finally:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            return
    raise AssertionError(f"no process of {service}")


@dataclass(frozen=True)
class Row:
    name: str
    call: Callable[[Peer], Any]
    status: str
    reason: str
    says: str

    def __str__(self) -> str:
        return self.name


INVALID = "INVALID_ARGUMENT"
TABLE = [
    Row("unknown model", lambda p: p.traverse(link__classifier="no/such"), "NOT_FOUND", "MODEL_NOT_FOUND", "there are: tiny/classifier"),
    Row("unknown model at the classifier", lambda p: p.read(IMAGES, "no/such"), "NOT_FOUND", "MODEL_NOT_FOUND", "there are: tiny/classifier"),
    Row("a path for a model", lambda p: p.read(IMAGES, "../../etc/passwd"), INVALID, "INVALID_MODEL_NAME", "<pack>/<model>"),
    Row("wrong digest", lambda p: p.traverse(link__generator="tiny/generator@sha256:" + "0" * 64), "FAILED_PRECONDITION", "MODEL_DIGEST_MISMATCH", "has the digest"),
    Row("wrong digest at the classifier", lambda p: p.read(IMAGES, MODEL + "@sha256:" + "0" * 64), "FAILED_PRECONDITION", "MODEL_DIGEST_MISMATCH", "has the digest"),
    Row("unknown layer", lambda p: p.read(IMAGES, layer="conv99"), "FAILED_PRECONDITION", "LAYER_NOT_FOUND", "its layers are: "),
    Row("image without channels", lambda p: p.read(np.zeros((2, 16, 16), np.uint8)), INVALID, "WRONG_TENSOR_SHAPE", "is needed"),
    Row("image of floats", lambda p: p.read(np.zeros((2, 16, 16, 3), np.float32)), INVALID, "WRONG_TENSOR_TYPE", "uint8 is needed"),
    Row("image too large", lambda p: p.read(np.zeros((1, 5000, 2, 3), np.uint8)), INVALID, "*", "4096"),
    Row("NaN features at the head", lambda p: p.head(NAN), INVALID, "NON_FINITE_FEATURES", "only finite numbers"),
    Row("NaN features at the linker", lambda p: p.accumulate(NAN), INVALID, "NON_FINITE_*", "finite"),
    Row("features of the wrong width", lambda p: p.head(np.zeros((2, 31), np.float32)), INVALID, "WRONG_TENSOR_SHAPE", "32"),
    Row("unit out of range", lambda p: p.traverse(units__indices=[32]), INVALID, "UNIT_OUT_OF_RANGE", "units 0 to 31"),
    Row("truncation 1.5", lambda p: p.traverse(link__truncation=1.5), INVALID, "INVALID_SPEC", "less than or equal to 1"),
    Row("truncation 1.5 at the generator", lambda p: p.map(truncation=1.5), INVALID, "*", "0"),
    Row("class out of range at the generator", lambda p: p.map(classes=np.array([0, 4])), INVALID, "*", "3"),
    Row("NaN z at the generator", lambda p: p.map(z=np.full((2, 16), np.nan, np.float32)), INVALID, "*", "finite"),
    Row("zero seeds", lambda p: p.traverse(seeds_per_class=0), INVALID, "INVALID_SPEC", "greater than or equal to 1"),
    Row("100,000 units", lambda p: p.traverse(units__indices=list(range(100_000))), INVALID, "INVALID_SPEC", "at most 8192"),
    Row("unknown field", lambda p: p.unknown_field(), INVALID, "UNKNOWN_FIELD", "protos of this server"),
    Row("no parts model of that name", lambda p: p.quantify(parts="no/such"), "NOT_FOUND", "MODEL_NOT_FOUND", "there are: tiny/parts"),
    Row("parts that are a classifier", lambda p: p.quantify(parts="tiny/classifier"), INVALID, "WRONG_MODEL_KIND", "a parts model is needed"),
    Row("too few images to confirm", lambda p: p.quantify(seeds=31), INVALID, "INVALID_SPEC", "greater than or equal to 32"),
    Row("a group's unit out of range", lambda p: p.quantify(groups=[{"name": "g", "units": [1, 99]}]), INVALID, "UNIT_OUT_OF_RANGE", "units 0 to 31"),
    Row("two groups of one name", lambda p: p.quantify(groups=[{"name": "g", "units": [1]}] * 2), INVALID, "INVALID_SPEC", "two groups have the same name"),
    Row("images named by a path", lambda p: p.quantify(image_folder="../jobs"), INVALID, "INVALID_SPEC", "should match pattern"),
    Row("unknown class", lambda p: p.traverse(classes=["oak"]), INVALID, "UNKNOWN_CLASS", "ash, birch"),
    Row("job id with ../", lambda p: p.get("../../store/jobs"), INVALID, "INVALID_JOB_ID", "ids look like"),
    Row("job that never was", lambda p: p.get("job-" + "a" * 24), "NOT_FOUND", "JOB_NOT_FOUND", "unitscope list"),
    Row("linker that never was", lambda p: p.missing_solution(), "NOT_FOUND", "OBJECT_NOT_FOUND", "no object"),
    Row("message over the limit", lambda p: p.create(analysis_spec_pb2.AnalysisSpec(), request_id="x" * (70 << 20)), "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE", "send less"),
    Row("Triton away", lambda p: p.no_generator.map(np.zeros((1, 16), np.float32), np.array([0]), 0.7), "UNAVAILABLE", "*", "running"),
    Row("store away", lambda p: p.without_store(), "UNAVAILABLE", "STORE_UNAVAILABLE", "mount"),
    Row("full disk", lambda p: p.full_disk(), "RESOURCE_EXHAUSTED", "STORE_FULL", "free space"),
    Row("full disk at the linker", lambda p: p.full_disk_of_the_linker(), "RESOURCE_EXHAUSTED", "STORE_FULL", "free space"),
]  # fmt: skip


@pytest.fixture(scope="module")
def peer(stack):
    return Peer(stack)


@pytest.fixture(scope="module")
def kept(peer):
    """A job that exists before anything bad happens."""
    return peer.traverse(seed=4).job.job_id


def processes():
    return {process.pid for process, words in running() if "services." in " ".join(words)}


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_bad_input(peer, kept, row):
    before = processes()
    with pytest.raises(UnitScopeError) as caught:
        row.call(peer)
    error = caught.value
    assert error.status == row.status
    prefix, star, _ = row.reason.partition("*")
    assert error.reason.startswith(prefix)
    assert star or error.reason == row.reason
    assert row.says in error.message
    assert processes() == before
    assert peer.get(kept).job.job_id == kept
    for address in (
        peer.stack.endpoints.gateway,
        peer.stack.endpoints.classifier,
        peer.stack.endpoints.linker,
    ):
        health = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_after_all_that_the_kept_job_still_ends_well(peer, kept):
    request = jobs.WatchAnalysisJobRequest(job_id=kept)
    last = [answer.job for answer in stream(peer.gateway.WatchAnalysisJob, request, 600)][-1]
    assert last.state == jobs.JOB_STATE_SUCCEEDED, last.error
