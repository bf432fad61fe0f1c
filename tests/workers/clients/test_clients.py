"""Clients against real servers, and against servers that are away."""

import numpy as np
import pytest
from tritonclient.grpc import InferResult
from tritonclient.utils import InferenceServerException

from services.generator.v2_program import make_server
from unitscope.embedded.ports import free_ports
from unitscope.errors import (
    DeadlineError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from unitscope.models.v2 import MAX_BATCH
from unitscope.rpc.tensors import to_tensor
from unitscope.settings import ModelSettings, ServerSettings
from workers.clients import ClassifierClient, GeneratorClient, LinkerClient, render_and_read
from workers.clients.batches import spans
from workers.clients.classifier import _answered
from workers.clients.generator import from_v2_error
from workers.context import JobCancelled

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def context(traversed):
    return traversed.context


def latents(context, count):
    z = np.random.default_rng(0).standard_normal((count, 16), np.float32)
    return context.generator.map(z, np.arange(count) % 4, 0.7)


def test_long_batches_are_cut_and_joined(context):
    w = latents(context, MAX_BATCH + 3)
    images = context.generator.render(w)
    assert images.shape == (MAX_BATCH + 3, 16, 16, 3)
    assert (context.generator.render(w[-2:]) == images[-2:]).all()
    features, logits = context.classifier.read(images)
    assert (context.classifier.read(images[5:6])[0] == features[5:6]).all()
    assert np.abs(context.classifier.head(features) - logits).max() < 1e-4


def test_one_w_for_each_layer_renders_like_one_for_all(context):
    w = latents(context, 2)
    layers = context.card("generator").architecture["spec"]["layers"]
    each = np.repeat(w[:, None], len(layers) + 1, axis=1)
    assert (context.generator.render(each) == context.generator.render(w)).all()


def test_smaller_pictures_are_means_of_squares(context):
    w = latents(context, MAX_BATCH + 3)
    small = context.generator.render(w, reduce=4)
    squares = context.generator.render(w).reshape(len(w), 4, 4, 4, 4, 3).mean(axis=(2, 4))
    assert small.shape == (len(w), 4, 4, 3)
    assert np.abs(small - squares).max() <= 1
    with pytest.raises(InvalidArgumentError, match="reduce is 3") as caught:
        context.generator.render(w[:1], reduce=3)
    assert caught.value.reason == "REDUCE_OUT_OF_RANGE"


def test_long_gradients_are_cut_and_joined(context):
    w = latents(context, MAX_BATCH + 3)
    cotangent = np.random.default_rng(1).standard_normal((len(w), 16, 16, 3), np.float32)
    gradient = context.generator.vjp(w, cotangent)
    assert gradient.shape == w.shape
    assert (context.generator.vjp(w[-2:], cotangent[-2:]) == gradient[-2:]).all()
    each = np.repeat(w[:2, None], len(context.card("generator").architecture["spec"]["layers"]) + 1, axis=1)
    several = context.generator.vjp(each, cotangent[:2])
    assert several.shape == each.shape
    assert np.abs(several.sum(axis=1) - gradient[:2]).max() < 1e-4 * np.abs(gradient).max()
    with pytest.raises(InvalidArgumentError) as caught:
        context.generator.vjp(w[:1], cotangent[:1] * np.nan)
    assert caught.value.reason == "NON_FINITE_COTANGENT"


def test_a_gradient_leads_to_the_picture_of_another_w(context):
    """What it is for: descend the squared distance of pixels, by rounded pixels and cotangents alone."""
    w = latents(context, 2)
    target, start = context.generator.render(w[:1]).astype(np.float32), w[1:].copy()
    distances = []
    for _ in range(40):
        difference = context.generator.render(start) - target
        distances.append(np.square(difference).mean())
        gradient = context.generator.vjp(start, 2 * 127.5 * difference)
        start -= 0.2 * gradient / np.linalg.norm(gradient)
    assert min(distances) < 0.6 * distances[0]


def test_a_generator_without_gradients_says_how_to_serve_them(stack):
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    card = stack.registry.resolve("tiny/generator")
    server = make_server([card], ModelSettings(root=stack.registry.root), settings)
    client = GeneratorClient(server.start(), card)
    try:
        with pytest.raises(NotFoundError, match="UNITSCOPE_GENERATOR_GRADIENTS=true") as caught:
            client.vjp(np.zeros((1, 24), np.float32), np.zeros((1, 16, 16, 3), np.float32))
        assert caught.value.reason == "GRADIENT_NOT_SERVED"
    finally:
        client.close()
        server.stop()


@pytest.mark.parametrize("answer", [lambda array: array[:-1], lambda array: None], ids=["fewer", "none"])
def test_an_answer_of_other_rows_is_not_taken_for_theirs(context, monkeypatch, answer):
    w, right = latents(context, 3), InferResult.as_numpy
    monkeypatch.setattr(InferResult, "as_numpy", lambda self, name: answer(right(self, name)))
    cotangent = np.zeros((3, 16, 16, 3), np.float32)
    for call in (lambda: context.generator.render(w), lambda: context.generator.vjp(w, cotangent)):
        with pytest.raises(InternalError, match=r"rows of '.*' to 3") as caught:
            call()
        assert caught.value.reason == "WRONG_ANSWER"


@pytest.mark.parametrize("wrong", [[1.0, np.nan], [1.0]], ids=["no number", "fewer"])
def test_what_a_classifier_must_not_answer_is_its_fault(wrong):
    """Not an argument that was invalid, which would end the job at once and name nobody."""
    with pytest.raises(InternalError, match="the classifier answered what cannot be used: logits") as caught:
        _answered(to_tensor(np.array(wrong, np.float32)), (2,), "logits")
    assert caught.value.reason == "WRONG_ANSWER"


def test_the_pipeline_keeps_the_order(context):
    w = latents(context, 40)
    beats = []
    batches = [w[start : start + 7] for start in range(0, 40, 7)]
    readings = list(
        render_and_read(context.generator, context.classifier, iter(batches), lambda: beats.append(1))
    )
    images = np.concatenate([reading.images for reading in readings])
    assert (images == context.generator.render(w)).all()
    assert (
        np.concatenate([reading.features for reading in readings]) == context.classifier.read(images)[0]
    ).all()
    assert len(beats) == len(batches)


def test_the_pipeline_of_nothing_is_nothing(context):
    assert list(render_and_read(context.generator, context.classifier, [], lambda: None)) == []


def test_a_cancelled_job_leaves_the_pipeline(context):
    def cancelled():
        raise JobCancelled("cancelled")

    batches = [latents(context, 8)] * 5
    with pytest.raises(JobCancelled):
        list(render_and_read(context.generator, context.classifier, batches, cancelled))


def test_refusals_arrive_as_our_errors(context):
    with pytest.raises(InvalidArgumentError, match="truncation") as caught:
        context.generator.map(np.zeros((1, 16), np.float32), np.zeros(1, np.int64), 2.0)
    assert caught.value.reason == "TRUNCATION_OUT_OF_RANGE"
    with pytest.raises(InvalidArgumentError) as caught:
        context.generator.render(np.full((1, 24), np.nan, np.float32))
    assert caught.value.reason == "NON_FINITE_W"
    with pytest.raises(InvalidArgumentError) as caught:
        context.classifier.head(np.zeros((1, 5), np.float32))
    assert caught.value.reason == "WRONG_TENSOR_SHAPE"
    with pytest.raises(NotFoundError) as caught:
        context.linker.apply(np.zeros((1, 32), np.float32), "0" * 64)
    assert caught.value.reason == "LINKER_NOT_FOUND"


def test_a_layer_without_a_head_says_so(stack, context):
    client = ClassifierClient(stack.endpoints.classifier, "tiny/classifier", "maps")
    with pytest.raises((FailedPreconditionError, InvalidArgumentError), match="cannot be evaluated"):
        client.head(np.zeros((1, 32), np.float32))
    client.close()


def test_the_renderer_names_itself(context):
    assert context.generator.renderer().name == "unitscope-v2"
    assert context.generator.renderer().version


def test_servers_that_are_away_are_unavailable(context):
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    generator = GeneratorClient(nowhere, context.card("generator"), 5)
    calls = [
        lambda: generator.renderer(),
        lambda: generator.render(np.zeros((1, 24), np.float32)),
        lambda: ClassifierClient(nowhere, "tiny/classifier", "", 5).read(np.zeros((1, 8, 8, 3), np.uint8)),
        lambda: LinkerClient(nowhere, 5).apply(np.zeros((1, 32), np.float32), "0" * 64),
    ]
    for call in calls:
        with pytest.raises(UnavailableError, match="does not answer") as caught:
            call()
        assert caught.value.reason == "SERVICE_UNAVAILABLE"


@pytest.mark.parametrize(
    ("message", "status", "cls", "reason"),
    [
        ("failed to connect", "StatusCode.UNAVAILABLE", UnavailableError, "SERVICE_UNAVAILABLE"),
        (
            "in ensemble, stub process 'x' is not healthy.",
            "StatusCode.INTERNAL",
            UnavailableError,
            "SERVICE_UNAVAILABLE",
        ),
        (
            "Request for unknown model: 'x' is not found",
            "StatusCode.UNAVAILABLE",
            UnavailableError,
            "SERVICE_UNAVAILABLE",
        ),
        (
            "NON_FINITE_W: w holds NaN",
            "StatusCode.INVALID_ARGUMENT",
            InvalidArgumentError,
            "NON_FINITE_W",
        ),
        ("batch too large", "StatusCode.INVALID_ARGUMENT", InvalidArgumentError, "INVALID_INPUT"),
        ("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED", DeadlineError, "DEADLINE_EXCEEDED"),
        ("it broke", "StatusCode.INTERNAL", InternalError, "INTERNAL"),
    ],
)
def test_v2_errors_become_ours(message, status, cls, reason):
    error = from_v2_error(InferenceServerException(message, status))
    assert type(error) is cls
    assert error.reason == reason


def test_spans_cover_all_rows_within_the_limits():
    for rows, row_bytes, most, limit in [(10, 4, 3, 100), (10, 60, 64, 100), (3, 900, 64, 100), (1, 1, 1, 1)]:
        parts = list(spans(rows, row_bytes, most, limit))
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert parts[-1].stop == rows
        for part in parts:
            assert 1 <= part.stop - part.start <= most
            assert (part.stop - part.start) * row_bytes <= max(limit, row_bytes)
