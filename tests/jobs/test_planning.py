import pytest

from tests.support.tiny_pack import CLASSES, write_tiny_pack
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from unitscope.jobs import planning
from unitscope.jobs.specs import parse_spec
from unitscope.models import Registry

LINK = {"classifier": "tiny/classifier", "generator": "tiny/generator"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(write_tiny_pack(tmp_path_factory.mktemp("models")))


def plan(registry, kind, **values):
    def no_linker(digest):
        raise NotFoundError(f"no linker {digest}")

    return planning.make(parse_spec(kind, values), registry, no_linker)


def test_chunks_cover_what_was_asked_for(registry):
    made = plan(registry, "link", **LINK, samples_per_class=703, heldout_per_class=120, folds=4)
    sample = made.stage("sample").chunks
    for index in range(len(CLASSES)):
        mine = [chunk for chunk in sample if chunk["class"] == index]
        assert sum(chunk["count"] for chunk in mine) == 703
        assert {chunk["fold"] for chunk in mine} == {0, 1, 2, 3}
        assert len({chunk["block"] for chunk in mine}) == len(mine)
    assert [stage.name for stage in made.stages] == ["sample", "accumulate", "solve", "heldout", "evaluate"]


def test_every_unit_is_traversed_once_for_every_class(registry):
    made = plan(registry, "traverse", link=LINK, units={"top": 32}, seeds_per_class=9, steps=11)
    chunks = made.stage("traverse").chunks
    for index in range(len(CLASSES)):
        slots = [s for c in chunks if c["class"] == index for s in range(c["first"], c["first"] + c["count"])]
        assert sorted(slots) == list(range(32))
    assert planning.cost(made).renders > 32 * 4 * 9 * 11


def test_equal_specs_have_equal_plans_and_ids(registry):
    one, two = (plan(registry, "link", **LINK) for _ in range(2))
    assert one.digest == two.digest
    assert one.digest != plan(registry, "link", **LINK, seed=1).digest
    stage = one.stages[0]
    assert len(set(one.chunk_ids(stage))) == len(stage.chunks)


@pytest.mark.parametrize(
    ("kind", "values", "error", "reason"),
    [
        ("link", {**LINK, "classifier": "no/such"}, NotFoundError, "MODEL_NOT_FOUND"),
        ("link", {**LINK, "classifier": "../etc/passwd"}, InvalidArgumentError, "INVALID_MODEL_NAME"),
        (
            "link",
            {**LINK, "generator": "tiny/generator@sha256:" + "0" * 64},
            FailedPreconditionError,
            "MODEL_DIGEST_MISMATCH",
        ),
        ("link", {**LINK, "generator": "tiny/classifier"}, InvalidArgumentError, "WRONG_MODEL_KIND"),
        ("link", {**LINK, "layer": "no-layer"}, FailedPreconditionError, "LAYER_NOT_FOUND"),
        ("link", {**LINK, "classes": ["oak"]}, InvalidArgumentError, "UNKNOWN_CLASS"),
        ("link", {**LINK, "classes": ["ash", "ash"]}, InvalidArgumentError, "UNKNOWN_CLASS"),
        ("traverse", {"link": LINK, "units": {"indices": [32]}}, InvalidArgumentError, "UNIT_OUT_OF_RANGE"),
        ("traverse", {"link": LINK, "units": {"top": 33}}, InvalidArgumentError, "UNIT_OUT_OF_RANGE"),
        ("traverse", {"link": LINK, "units": {"for_class": "oak"}}, InvalidArgumentError, "UNKNOWN_CLASS"),
        ("traverse", {"linker": "0" * 64}, NotFoundError, "NOT_FOUND"),
        (
            "traverse",
            {"link": LINK, "units": {"top": 32}, "seeds_per_class": 1000, "steps": 51},
            InvalidArgumentError,
            "JOB_TOO_LARGE",
        ),
    ],
)
def test_bad_specs(registry, kind, values, error, reason):
    with pytest.raises(error) as caught:
        plan(registry, kind, **values)
    assert caught.value.reason == reason
