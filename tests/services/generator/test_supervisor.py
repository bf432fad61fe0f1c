"""The supervisor's decisions, with a Triton that fails as it is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from services.generator.settings import GeneratorSettings
from services.generator.supervisor import MAX_FAILED_STARTS, supervise
from unitscope.errors import UnavailableError

SETTINGS = GeneratorSettings(probe_seconds=0.001, start_seconds=60)


@dataclass
class ScriptedTriton:
    """Each start takes the next line: whether it gets ready, then the probes' answers."""

    script: list[tuple[bool, list[bool]]]
    ended: threading.Event = field(default_factory=threading.Event)
    starts: int = 0
    stops: int = 0
    closed: bool = False
    models: tuple[str, ...] = ("a-mapping", "a-synthesis")
    exit_code: int | None = None

    def start(self) -> None:
        self.starts += 1
        is_ready, self.answers = self.script[self.starts - 1]
        self.exit_code = None if is_ready else 1

    def stop(self, patience: float = 0.0) -> None:
        self.stops += 1

    def close(self) -> None:
        self.closed = True

    def ready(self) -> bool:
        return self.exit_code is None

    def check(self) -> None:
        if not self.answers:
            self.ended.set()
        elif not self.answers.pop(0):
            raise UnavailableError("not healthy")


def _supervise(triton: ScriptedTriton) -> None:
    supervise(triton, triton, SETTINGS, triton.ended)  # type: ignore[arg-type]


def test_two_failed_probes_in_a_row_restart() -> None:
    triton = ScriptedTriton([(True, [True, False, True, False, False]), (True, [])])
    _supervise(triton)
    assert (triton.starts, triton.stops, triton.closed) == (2, 2, True)


def test_one_failed_probe_does_not() -> None:
    triton = ScriptedTriton([(True, [True, False, True, False, True])])
    _supervise(triton)
    assert triton.starts == 1


def test_failed_starts_in_a_row_end_it() -> None:
    """A Triton that ends at once, or is ready and never renders, is not started for ever."""
    failing = [(False, []), (True, [False, False]), (False, [])]
    triton = ScriptedTriton([*failing, (True, [])])
    with pytest.raises(UnavailableError) as caught:
        _supervise(triton)
    assert caught.value.reason == "TRITON_START_FAILED"
    assert triton.starts == MAX_FAILED_STARTS
    assert triton.closed


def test_rendering_once_forgives_earlier_failures() -> None:
    failing = [(False, []), (False, [])]
    works = (True, [True, False, False])
    triton = ScriptedTriton([*failing, works, *failing, (True, [])])
    _supervise(triton)
    assert triton.starts == 6
