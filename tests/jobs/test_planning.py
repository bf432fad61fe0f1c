import shutil

import pytest

from tests.support.tiny_pack import CLASSES, write_tiny_pack
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from unitscope.jobs import planning
from unitscope.jobs.planning import counterfactual, units
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
    assert planning.cost(made, registry).renders > 32 * 4 * 9 * 11


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


QUANTIFY = {"link": LINK, "parts": "tiny/parts"}


def places(stage):
    """Every (target, image) of a stage of moves."""
    return [
        (target, image)
        for chunk in stage.chunks
        for target in range(chunk["first"], chunk["first"] + chunk["count"])
        for image in range(chunk["start"], chunk["start"] + chunk["images"])
    ]


def test_every_target_meets_every_image_once(registry):
    made = plan(registry, "quantify", **QUANTIFY, screening_seeds=9, seeds=700, shortlist=5, steps=3)
    names = [stage.name for stage in made.stages]
    assert names[-5:] == ["base", "select", "screen", "shortlist", "confirm"]
    # Screening looks at the ends of the way alone.
    for name, targets, images, steps in (("screen", 32, 9, 2), ("confirm", 5, 700, 3)):
        met = places(made.stage(name))
        assert sorted(met) == [(t, i) for t in range(targets) for i in range(images)]
        assert made.stage(name).renders == targets * images * steps
        assert {chunk["steps"] for chunk in made.stage(name).chunks} == {steps}
    base = made.stage("base").chunks
    assert sum(chunk["screening"] for chunk in base) == 9
    assert sum(chunk["count"] for chunk in base) == 709
    assert max(chunk["count"] for chunk in base) - min(chunk["count"] for chunk in base) <= 2


def test_where_all_fit_the_shortlist_nothing_is_screened(registry):
    made = plan(registry, "quantify", **QUANTIFY, units=[3, 1, 4], shortlist=3)
    assert [stage.name for stage in made.stages][-3:] == ["base", "select", "confirm"]
    assert sum(chunk["count"] for chunk in made.stage("base").chunks) == 32


def test_groups_alone_are_all_that_is_moved(registry):
    groups = [{"name": "both", "units": [1, 2]}, {"name": "one", "units": [5]}]
    made = plan(registry, "quantify", **QUANTIFY, groups=groups)
    assert {target for target, _ in places(made.stage("confirm"))} == {0, 1}


def test_the_parts_model_of_the_generator_is_found_and_pinned(registry):
    made = plan(registry, "quantify", link=LINK)
    parts = registry.resolve("tiny/parts", "parts")
    assert [(m.name, m.digest) for m in made.models if m.kind == "parts"] == [("tiny/parts", parts.digest)]


def test_a_generator_without_parts_model_is_told_how_to_get_one(tmp_path):
    root = write_tiny_pack(tmp_path)
    shutil.rmtree(root / "tiny" / "parts")
    with pytest.raises(NotFoundError, match="unitscope parts train") as caught:
        plan(Registry(root), "quantify", link=LINK)
    assert caught.value.reason == "NO_PARTS_MODEL"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"units": [32]}, "UNIT_OUT_OF_RANGE"),
        ({"groups": [{"name": "a", "units": [1, 99]}]}, "UNIT_OUT_OF_RANGE"),
        ({"parts": "tiny/generator"}, "WRONG_MODEL_KIND"),
        ({"seeds": 31}, "INVALID_SPEC"),
        ({"screening_seeds": 5}, "INVALID_SPEC"),
        ({"groups": [{"name": "a", "units": [1]}, {"name": "a", "units": [2]}]}, "INVALID_SPEC"),
        ({"image_folder": "../x"}, "INVALID_SPEC"),
        ({"seeds": 10_000, "steps": 51}, "JOB_TOO_LARGE"),
    ],
)
def test_bad_quantify_specs(registry, values, reason):
    with pytest.raises(InvalidArgumentError) as caught:
        plan(registry, "quantify", **{**QUANTIFY, **values})
    assert caught.value.reason == reason


def test_thousands_of_units_fit_the_chunks_of_a_stage():
    stage = units._moves("screen", 4_096, 100, 3)
    assert stage.renders == 4_096 * 100 * 3
    assert len(stage.chunks) <= 1_000


COUNTERFACTUAL = {"link": LINK, "parts": "tiny/parts"}


def rows_of(made):
    """Every (class, image, target) of the searches."""
    return [
        (chunk["class"], image, target)
        for chunk in made.stage("search").chunks
        for image in range(chunk["first"], chunk["first"] + chunk["count"])
        for target in chunk["targets"]
    ]


@pytest.mark.parametrize("method", ["path", "descent"])
def test_every_image_is_searched_from_once_for_every_target(registry, method):
    made = plan(registry, "counterfactual", **COUNTERFACTUAL, seeds=150, max_steps=20, method=method)
    assert [stage.name for stage in made.stages][-3:] == ["base", "search", "mean"]
    classes = range(len(CLASSES))
    assert sorted(rows_of(made)) == [(c, i, t) for c in classes for i in range(150) for t in classes]
    assert counterfactual.planned_rows(made) == 4 * 150 * 4
    base = made.stage("base").chunks
    held = [(b["class"], i) for b in base for i in range(b["first"], b["first"] + b["count"])]
    assert sorted(held) == [(c, i) for c in classes for i in range(150)]
    # A search reads one chunk of base images.
    spans = [(b["class"], b["first"], b["first"] + b["count"]) for b in base]
    for chunk in made.stage("search").chunks:
        last = chunk["first"] + chunk["count"]
        assert any(c == chunk["class"] and low <= chunk["first"] < last <= up for c, low, up in spans)


def test_names_that_do_not_exist_stop_no_counterfactual(registry):
    made = plan(registry, "counterfactual", **COUNTERFACTUAL, origins=["oak", "birch"], targets=["ash", "x"])
    assert {chunk["class"] for chunk in made.stage("base").chunks} == {1}
    assert {target for _, _, target in rows_of(made)} == {0, 1}
    none = plan(registry, "counterfactual", **COUNTERFACTUAL, origins=["oak"])
    assert rows_of(none) == []
    assert len(none.stage("search").chunks) == 1
    assert [chunk["count"] for chunk in none.stage("base").chunks] == [0]


def test_own_images_are_inverted_in_small_chunks(registry):
    made = plan(registry, "counterfactual", **COUNTERFACTUAL, image_folder="mine", seeds=20, runner_up=True)
    assert [chunk["count"] for chunk in made.stage("base").chunks] == [8, 8, 4]
    assert rows_of(made) == [(counterfactual.OWN_IMAGES, image, 0) for image in range(20)]
    one = plan(registry, "counterfactual", **COUNTERFACTUAL, image_folder="mine", seeds=1)
    assert "mean" not in [stage.name for stage in one.stages]


@pytest.mark.parametrize("seeds", [10_000, 9_001, 65])
def test_many_base_images_fit_the_chunks_of_a_stage(registry, seeds):
    made = plan(registry, "counterfactual", **COUNTERFACTUAL, seeds=seeds, runner_up=True)
    assert len(rows_of(made)) == 4 * seeds
    own = plan(registry, "counterfactual", **COUNTERFACTUAL, seeds=seeds, image_folder="mine", runner_up=True)
    assert len(rows_of(own)) == seeds


def test_what_is_too_large_says_what_to_do(registry):
    names = [f"x{k}" for k in range(400)]
    with pytest.raises(InvalidArgumentError, match=r"160,000 rows.*ask for fewer origins, targets or seeds"):
        plan(registry, "counterfactual", **COUNTERFACTUAL, origins=names, targets=names)
    rows = {**COUNTERFACTUAL, "seeds": 6_000, "runner_up": True}
    with pytest.raises(InvalidArgumentError, match=r"24,000 rows.*top may be 83 at most"):
        plan(registry, "counterfactual", **rows, top=100)
    plan(registry, "counterfactual", **rows, top=83)


@pytest.mark.parametrize("method", ["path", "descent"])
def test_a_chunk_keeps_no_more_pictures_than_it_can_hold(registry, method, monkeypatch):
    few = {**COUNTERFACTUAL, "seeds": 10, "frames": 9, "method": method, "max_steps": 5}
    row_bytes = 16 * 16 * (3 * (9 + 2) + 2)
    monkeypatch.setattr(counterfactual, "PICTURE_BYTES", 3 * row_bytes)
    assert counterfactual.rows_with_pictures(parse_spec("counterfactual", few), 16) == 3

    def most(keep):
        made = plan(registry, "counterfactual", **few, keep=keep)
        assert len(rows_of(made)) == 160
        return max(chunk["count"] * len(chunk["targets"]) for chunk in made.stage("search").chunks)

    assert most("all") == most("sample") == 3
    assert most("none") == min(counterfactual.ROWS_PER_CHUNK[method], 40)
    many = {**few, "seeds": 300}
    with pytest.raises(InvalidArgumentError, match=r"4,800 rows with 9 frames.*use keep: sample") as caught:
        plan(registry, "counterfactual", **many, keep="all")
    assert caught.value.reason == "JOB_TOO_LARGE"
    plan(registry, "counterfactual", **many, keep="sample")


@pytest.mark.parametrize(("resolution", "rows"), [(16, 32), (64, 32), (256, 8), (1_024, 4)])
def test_chunks_of_large_pictures_are_small(registry, resolution, rows):
    """A worker that is lost loses minutes, not the night."""
    spec = parse_spec("counterfactual", {**COUNTERFACTUAL, "keep": "none"})
    base = [{"class": 0, "first": 0, "count": 64}]
    chunks = counterfactual._searches(spec, base, 4, resolution)
    assert {chunk["count"] * len(chunk["targets"]) for chunk in chunks} == {rows}


class Larger:
    """A registry whose generators make pictures of 1024 pixels, and whose classifiers have 1,000 classes."""

    def __init__(self, registry):
        self.registry = registry

    def resolve(self, name, kind=None, field="model"):
        card = self.registry.resolve(name, kind, field)
        architecture = card.architecture
        if card.kind == "generator":
            spec = {**architecture["spec"], "resolution": 1_024}
            return card.model_copy(update={"architecture": {**architecture, "spec": spec}})
        return card.model_copy(update={"classes": tuple(f"c{k}" for k in range(1_000))})


def test_what_is_kept_is_told_by_the_size_of_pictures_and_classes(registry):
    """A project's share of the store is reckoned by it."""

    def stored(keep, among=registry, **more):
        made = plan(registry, "counterfactual", **COUNTERFACTUAL, seeds=20, keep=keep, **more)
        return planning.cost(made, among).stored_bytes - planning.cost(linked, among).stored_bytes

    linked = plan(registry, "link", **LINK)
    rows, large = 4 * 20 * 4, Larger(registry)
    # Shift, logits of start, counterfactual and 9 frames.
    assert stored("none", large) == rows * (13_000 + 4 * (32 + 1_000 * 11))
    pictures = stored("all", large) - stored("none", large)
    assert pictures == pytest.approx(64**2 * (stored("all") - stored("none")), rel=0.001)
    # 320 rows of 12 pictures of a megapixel each, stored twice.
    assert 5e9 < pictures < 15e9
    assert stored("sample", large, frames=51) > 3 * stored("sample", large)


def test_many_mean_shifts_are_many_chunks(registry):
    def chunks(seeds):
        made = plan(registry, "counterfactual", **COUNTERFACTUAL, seeds=seeds, runner_up=True)
        found = made.stage("mean").chunks
        assert [chunk["part"] for chunk in found] == list(range(found[0]["of"]))
        return len(found)

    assert chunks(2) == counterfactual.MEAN_CHUNKS
    assert chunks(10_000) == 24


@pytest.mark.parametrize(
    ("values", "error", "reason"),
    [
        ({"seeds": 10_000, "frames": 51}, InvalidArgumentError, "JOB_TOO_LARGE"),
        # Nothing is rendered for these, and yet they would be 160,000 rows of a table.
        (
            {"origins": [f"o{k}" for k in range(400)], "targets": [f"t{k}" for k in range(400)]},
            InvalidArgumentError,
            "JOB_TOO_LARGE",
        ),
        ({"seeds": 6_000, "runner_up": True, "top": 100}, InvalidArgumentError, "JOB_TOO_LARGE"),
        ({"targets": ["ash", "ash"]}, InvalidArgumentError, "INVALID_SPEC"),
        ({"targets": ["ash"], "runner_up": True}, InvalidArgumentError, "INVALID_SPEC"),
        ({"origins": ["ash"], "image_folder": "mine"}, InvalidArgumentError, "INVALID_SPEC"),
        ({"link": {**LINK, "layer": "maps"}}, FailedPreconditionError, "LAYER_HAS_NO_HEAD"),
    ],
)
def test_bad_counterfactual_specs(registry, values, error, reason):
    with pytest.raises(error) as caught:
        plan(registry, "counterfactual", **{**COUNTERFACTUAL, **values})
    assert caught.value.reason == reason
