"""Recordings: when one is made, used, made anew and given up. A GPU's part is played by the CPU."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from services.generator.captured import Recorded, Recording, Render
from services.generator.execution import plan_execution
from services.generator.network import StyleGanXl
from tests.support.tiny_pack import tiny_spec

PLANNED = dataclasses.replace(plan_execution(tiny_spec()), graphs=True)


class Recorder:
    """Plays a graph: runs the steps again, and writes where they wrote first."""

    def __init__(self) -> None:
        self.made = self.replayed = 0

    def __call__(self, run: Callable[[], Tensor]) -> Recording:
        self.made += 1
        written = run()

        def replay() -> None:
            self.replayed += 1
            written.copy_(run())

        return replay, written


@pytest.fixture
def network() -> StyleGanXl:
    torch.manual_seed(0)
    return StyleGanXl(tiny_spec()).eval().requires_grad_(False)


def ws(rows: int, seed: int = 0) -> Tensor:
    spec, rng = tiny_spec(), torch.Generator().manual_seed(seed)
    return torch.randn(rows, spec.num_ws, spec.w_dim, generator=rng)


def test_the_gpu_records_and_the_cpu_does_not() -> None:
    assert plan_execution(tiny_spec(), "cuda").graphs
    assert not plan_execution(tiny_spec()).graphs
    assert not plan_execution(tiny_spec(), "cuda").compiled
    assert plan_execution(tiny_spec(), compiled=True).compiled


@torch.inference_mode()
def test_one_recording_serves_all_batches_of_a_shape(network: StyleGanXl) -> None:
    recorder = Recorder()
    render = Recorded(network.synthesis, "fast", PLANNED, recorder)
    first, second = render(ws(2)), render(ws(2, seed=1))
    assert torch.equal(first, network.synthesis(ws(2))), "not written over by the second"
    assert torch.equal(second, network.synthesis(ws(2, seed=1)))
    assert (recorder.made, recorder.replayed) == (1, 2)
    assert torch.equal(render(ws(3)), network.synthesis(ws(3)))
    assert recorder.made == 2, "one for each number of rows"


@torch.inference_mode()
def test_changed_weights_are_recorded_anew(network: StyleGanXl) -> None:
    recorder = Recorder()
    render = Recorded(network.synthesis, "fast", PLANNED, recorder)
    before = render(ws(1))
    torch.manual_seed(1)
    network.load_state_dict(StyleGanXl(tiny_spec()).state_dict())
    after = render(ws(1))
    assert not torch.equal(before, after)
    assert torch.equal(after, network.synthesis(ws(1)))
    assert recorder.made == 2


def test_gradients_and_the_plain_form_are_not_recorded(network: StyleGanXl) -> None:
    recorder = Recorder()
    leaf = ws(1).requires_grad_()
    assert Recorded(network.synthesis, "fast", PLANNED, recorder)(leaf).requires_grad
    with torch.inference_mode():
        Recorded(network.synthesis, "plain", PLANNED, recorder)(ws(1))
        Recorded(network.synthesis, "fast", plan_execution(tiny_spec()), recorder)(ws(1))
    assert recorder.made == 0


@torch.inference_mode()
def test_what_cannot_be_recorded_is_rendered_step_by_step(
    network: StyleGanXl, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def fail(run: Callable[[], Tensor]) -> Recording:
        asked.append(run)
        raise RuntimeError("operation not permitted when stream is capturing")

    render = Recorded(network.synthesis, "fast", PLANNED, fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(render(ws(1)), network.synthesis(ws(1)))
    assert len(asked) == 1, "it is not tried again and again"
    assert [record.getMessage() for record in caplog.records] == [
        "steps are started one by one: no CUDA graph could be made: "
        "operation not permitted when stream is capturing"
    ]


@torch.inference_mode()
def test_a_compiler_is_asked_once_and_may_fail(network: StyleGanXl, caplog: pytest.LogCaptureFixture) -> None:
    compiled = dataclasses.replace(PLANNED, graphs=False, compiled=True)
    calls = []

    def doubled(render: Render) -> Render:
        return lambda w: calls.append(w) or 2 * render(w)  # type: ignore[func-returns-value]

    def broken(render: Render) -> Render:
        def call(w: Tensor) -> Tensor:
            raise OSError("no C++ compiler was found")

        return call

    expected = network.synthesis(ws(1))
    assert torch.equal(Recorded(network.synthesis, "fast", compiled, compiler=doubled)(ws(1)), 2 * expected)
    assert len(calls) == 1
    render = Recorded(network.synthesis, "fast", compiled, compiler=broken)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(render(ws(1)), expected)
        assert torch.equal(render(ws(1)), expected)
    assert len(caplog.records) == 1
    assert "no C++ compiler was found" in caplog.text
