import pytest

from unitscope.errors import BY_STATUS, InvalidArgumentError, ResourceExhaustedError
from unitscope.rpc.status import MAX_WIRE_BYTES, _from_status, to_status, wire_bytes


@pytest.mark.parametrize("cls", BY_STATUS.values())
def test_errors_survive_the_wire(cls):
    before = cls("what was wrong", reason="SOME_REASON", field="a.b", unit=3)
    after = _from_status(to_status(before))
    assert type(after) is cls
    assert (after.message, after.reason, after.violations) == (
        "what was wrong",
        "SOME_REASON",
        before.violations,
    )
    assert after.metadata == {"unit": "3"}


def test_a_field_becomes_a_violation():
    assert InvalidArgumentError("no", field="x").violations == (("x", "no"),)


@pytest.mark.parametrize("text", ["x", "ü", "\U0001f600"])
def test_a_status_is_never_too_long_to_be_sent(text):
    long = text * 30_000
    violations = tuple((f"spec.{n}", long) for n in range(50))
    error = InvalidArgumentError(long, reason="INVALID_SPEC", violations=violations, model=long, value=long)
    status = to_status(error)
    assert wire_bytes(status) <= MAX_WIRE_BYTES
    assert status.message.startswith(text)
    assert status.message.endswith("...")
    short = InvalidArgumentError("short", field="spec", model="m")
    assert to_status(short).message == "short"


def test_a_delay_survives_the_wire():
    error = ResourceExhaustedError("full", reason="TOO_MANY_JOBS", retry_after=2.5)
    assert _from_status(to_status(error)).retry_after == 2.5
    assert _from_status(to_status(ResourceExhaustedError("full"))).retry_after is None
