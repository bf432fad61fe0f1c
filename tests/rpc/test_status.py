import pytest

from unitscope.errors import BY_STATUS, InvalidArgumentError
from unitscope.rpc.status import _from_status, to_status


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
