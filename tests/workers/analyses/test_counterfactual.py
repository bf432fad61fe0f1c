"""The stages of `counterfactual` jobs on real services, and the rows that cannot have a counterfactual."""

import numpy as np
import pytest
from PIL import Image

from tests.workers.analyses.carried import (
    CLASSES,
    FRAMES,
    SEEDS,
    Carried,
    joined,
    outcomes,
    pictures,
)
from tests.workers.stack import LINK
from unitscope.errors import FailedPreconditionError, NotFoundError
from unitscope.jobs.planning.counterfactual import MEAN_MULTIPLES, planned_rows
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.store.images import add_images
from unitscope.tables import from_parquet
from workers.analyses import counterfactual
from workers.analyses.counterfactual import looking
from workers.analyses.counterfactual.naming import kept_rows
from workers.analyses.counterfactual.search import Wanted
from workers.analyses.linked import Linked
from workers.counterfactual import Linker, Outcome
from workers.counterfactual.result import OUTCOMES
from workers.measures import MEASURES

pytestmark = pytest.mark.timeout(300)


def test_every_image_and_target_is_a_row(searched):
    rows = searched.stage("search")
    found = [outcome for chunk in rows for outcome in outcomes(chunk.tensors)]
    assert len(found) == planned_rows(searched.context.plan) == 2 * SEEDS * 5
    origin, target = joined(rows, "origin"), joined(rows, "target")
    for k, outcome in enumerate(found):
        assert (outcome is Outcome.SAME_CLASS) == (origin[k] == target[k])
        assert (outcome is Outcome.UNKNOWN_CLASS) == (target[k] == -1)
    assert found.count(Outcome.SAME_CLASS) == found.count(Outcome.UNKNOWN_CLASS) == 2 * SEEDS
    # All the others are searches, of which most succeed on this pack.
    assert found.count(Outcome.REACHED) > 2 * SEEDS


def test_base_images_are_those_that_the_classifier_reads(searched):
    context = searched.context
    for params, chunk in context.result("base"):
        tensors = chunk.tensors
        images = context.generator.render(tensors["latents"])
        features, logits = context.classifier.read(images)
        assert features == pytest.approx(tensors["features"], abs=1e-3)
        assert logits == pytest.approx(tensors["logits"], abs=1e-3)
        name = context.card("generator").classes[params["class"]]
        assert {CLASSES[k] for k in logits.argmax(1)} == {name}
        shown = pictures(chunk)
        assert sorted(shown) == ["0-parts.png", "0.png", "1-parts.png", "1.png"]
        assert (shown["1.png"] == images[1]).all()
        assert chunk.record["kept"] == [0, 1]


def test_counterfactuals_are_what_the_shift_renders(searched):
    """Recomputes every reached row from its shift, through linker, generator, classifier and parts model."""
    context = searched.context
    linker = Linker.of(Linked.of(context).solution)
    parts = context.card("parts")
    checked = 0
    for params, chunk in context.result("search"):
        base = looking.Base.at(context, params["class"], params["first"], params["count"])
        tensors, shown = chunk.tensors, pictures(chunk)
        for row in np.flatnonzero(tensors["outcome"] == 0):
            image = tensors["image"][row] - params["first"]
            w = base.latents[image] + tensors["shift"][row] @ linker.weight.T
            both = np.stack([base.latents[image], w]).astype(np.float32)
            images, labels = context.generator.render_parts(both, parts)
            logits = context.classifier.read(images)[1]
            assert logits[1].argmax() == tensors["target"][row]
            assert logits[0] == pytest.approx(tensors["start_logits"][row], abs=0.02)
            assert logits[1] == pytest.approx(tensors["logits"][row], abs=0.02)
            shares = np.stack([(labels == k).mean((1, 2)) for k in range(len(parts.classes))], axis=1)
            area = next(i for i, m in enumerate(MEASURES) if m.name == "area")
            found = np.nan_to_num(tensors["measures"][row, :, :-1, area])
            assert np.abs(found - np.where(shares >= 0.005, shares, found)).max() < 0.02
            if f"row-{row:04d}/start.png" in shown:
                start, end = (shown[f"row-{row:04d}/{name}.png"] for name in ("start", "counterfactual"))
                assert np.abs(end.astype(int) - start).mean() == pytest.approx(tensors["change"][row])
                assert (start == images[0]).all()
            checked += 1
    assert checked > 2 * SEEDS


def test_strips_cross_the_boundary(searched):
    for chunk in searched.stage("search"):
        tensors = chunk.tensors
        assert tensors["strip_alphas"] == pytest.approx(np.linspace(0, 1.5, FRAMES))
        reached = tensors["outcome"] == 0
        assert np.isnan(tensors["strip_logits"][~reached]).all()
        assert np.isnan(tensors["measures"][~reached]).all()
        strips = tensors["strip_logits"][reached]
        assert (strips[:, 0].argmax(1) == tensors["origin"][reached]).all()


def test_sampled_rows_are_those_of_the_first_images(searched):
    for params, chunk in searched.context.result("search"):
        folders = {int(name[4:8]) for name in pictures(chunk)}
        tensors = chunk.tensors
        wanted = (tensors["image"] < 2) & ~np.isnan(tensors["start_logits"][:, 0])
        assert folders == set(np.flatnonzero(wanted).tolist()) == set(chunk.record["kept"])
        frames = [name for name in pictures(chunk) if "frame" in name]
        assert len(frames) == FRAMES * ((tensors["image"] < 2) & (tensors["outcome"] == 0)).sum()
        none = searched.spec.model_copy(update={"keep": "none"})
        assert not kept_rows(none, searched.context.plan, params).any()
        # Large pictures: no more of a sample than a chunk can hold.
        plan = searched.context.plan
        assert np.flatnonzero(kept_rows(searched.spec, plan, params, 3)).tolist() == [0, 1, 2]
        every = searched.spec.model_copy(update={"keep": "all"})
        assert kept_rows(every, plan, params, 3).all()


def test_the_same_job_gives_the_same_bytes(stack, searched, base_spec):
    again = Carried(stack, "job-" + "3" * 24, base_spec)
    assert list(again.bytes.values()) == list(searched.bytes.values())


def test_the_runner_up_is_wanted(stack, linker):
    spec = CounterfactualSpec(
        linker=linker, origins=("birch",), runner_up=True, seeds=2, frames=2, keep="none"
    )
    job = Carried(stack, "job-" + "4" * 24, spec)
    (chunk,) = job.stage("search")
    (base,) = job.stage("base")
    order = np.argsort(-base.tensors["logits"], axis=1)
    assert chunk.tensors["origin"].tolist() == order[:, 0].tolist()
    assert chunk.tensors["target"].tolist() == order[:, 1].tolist()
    assert "pictures" not in chunk.tensors
    assert "pictures" not in base.tensors


def test_blocks_of_base_images_share_no_attempt(stack, linker):
    spec = CounterfactualSpec(linker=linker, origins=("ash",), targets=("birch",), seeds=66, keep="none")
    context = stack.context("job-" + "c1" * 12, spec)
    chunks = context.plan.stage("base").chunks
    one, two = (counterfactual.run(context, "base", params).tensors for params in chunks)
    assert (len(one["seeds"]), len(two["seeds"])) == (64, 2)
    assert one["seeds"].max() < 64 * LINK.attempts_per_sample <= two["seeds"].min()
    assert len(np.unique(np.concatenate([one["latents"], two["latents"]]), axis=0)) == 66


def test_images_of_a_class_that_the_classifier_has_not_are_taken_as_they_come(stack, linker, monkeypatch):
    spec = CounterfactualSpec(linker=linker, origins=("dogwood",), targets=("ash",), seeds=5)
    context = stack.context("job-" + "d1" * 12, spec)
    assert context.classifier  # Bound to the real card, before it is renamed.
    renamed = context.card("classifier").model_copy(update={"classes": (*CLASSES[:3], "elm")})
    card = context.card
    monkeypatch.setattr(context, "card", lambda kind: renamed if kind == "classifier" else card(kind))
    (params,) = context.plan.stage("base").chunks
    assert counterfactual.run(context, "base", params).tensors["seeds"].tolist() == list(range(5))


def test_origins_that_do_not_exist_are_no_error(stack, linker):
    spec = CounterfactualSpec(linker=linker, origins=("nowhere",), targets=("ash",), seeds=2)
    job = Carried(stack, "job-" + "5" * 24, spec)
    (chunk,) = job.stage("search")
    assert chunk.tensors["outcome"].shape == (0,)
    assert chunk.tensors["measures"].shape == (0, 2, 5, len(MEASURES))
    assert joined(job.stage("mean"), "flips").shape == (0, len(MEAN_MULTIPLES))


def test_searches_may_start_at_the_linkers_picture(stack, linker):
    """There some images are read as something else from the start: rows that say so."""
    spec = CounterfactualSpec(linker=linker, start="linked", seeds=2, frames=2, keep="all")
    job = Carried(stack, "job-" + "6" * 24, spec)
    rows = job.stage("search")
    latents = Linker.of(Linked.of(job.context).solution).latents
    seen = []
    for params, chunk in job.context.result("search"):
        base = looking.Base.at(job.context, params["class"], params["first"], params["count"])
        shown = pictures(chunk)
        for row, outcome in enumerate(outcomes(chunk.tensors)):
            seen.append(outcome)
            start = shown.get(f"row-{row:04d}/start.png")
            if start is not None:
                w = latents(base.features[chunk.tensors["image"][row] - params["first"]][None])
                assert (job.context.generator.render(w.astype(np.float32))[0] == start).all()
    assert Outcome.REACHED in seen
    assert len(seen) == len(joined(rows, "outcome")) == 4 * 2 * 4


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_l1_moves_fewer_units(stack, linker, norm):
    spec = CounterfactualSpec(
        linker=linker, origins=("ash",), targets=("birch",), seeds=2, frames=2, norm=norm, plausibility=0
    )
    (chunk,) = Carried(stack, f"job-{norm}" + "7" * 22, spec).stage("search")
    moved = (np.abs(chunk.tensors["shift"][chunk.tensors["outcome"] == 0]) > 1e-6).sum(1)
    assert len(moved)
    assert (moved.max() < 10) if norm == "l1" else (moved.min() > 10)


def test_descent_is_the_published_search(stack, linker):
    spec = CounterfactualSpec(
        linker=linker, method="descent", origins=("ash",), targets=("birch",), seeds=2, max_steps=20, frames=2
    )
    assert spec.start == "linked"
    (chunk,) = Carried(stack, "job-" + "8" * 24, spec).stage("search")
    tensors = chunk.tensors
    searched = ~np.isin(tensors["outcome"], [OUTCOMES.index(Outcome.STARTS_AS_TARGET)])
    assert (tensors["steps"][searched] > 0).all()
    assert (tensors["steps"] <= 20).all()
    assert np.isnan(tensors["head_distance"]).all()


def test_a_whole_job_ends_with_its_tables(stack, linker):
    """Rows of names that do not exist are in the table beside those that were searched."""
    spec = CounterfactualSpec(
        linker=linker, origins=("ash", "nowhere"), targets=("birch", "ash", "x"), seeds=2, frames=2
    )
    job = stack.run("job-" + "e1" * 12, spec)
    rows = from_parquet(job.files["tables/counterfactuals.parquet"].data).to_pylist()
    made = sorted((row["origin"], row["target"], row["seed"] is None) for row in rows)
    assert made == sorted(
        [("ash", target, False) for target in spec.targets for _ in range(2)]
        + [("nowhere", target, True) for target in spec.targets]
    )
    assert {row["outcome"] for row in rows if row["target"] == "x"} == {"unknown_class"}
    assert {row["outcome"] for row in rows if row["origin"] == row["target"]} == {"same_class"}
    assert b"<html" in job.files["report/index.html"].data


@pytest.fixture(scope="module")
def photos(stack, tmp_path_factory):
    """Three pictures of another aspect than the generator's."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0).integers(0, 255, (3, 4, 6, 3), np.uint8)
    for k, image in enumerate(noise):
        Image.fromarray(image).resize((60, 40)).save(folder / f"{k}.png")
    add_images(stack.store, "photos", folder)
    return folder


def test_own_images_are_inverted_first(stack, linker, photos):
    spec = CounterfactualSpec(linker=linker, image_folder="photos", runner_up=True, seeds=20, frames=2)
    job = Carried(stack, "job-" + "9" * 24, spec)
    first, *rest = job.stage("base")
    assert [len(chunk.tensors["seeds"]) for chunk in rest] == [0, 0]
    assert first.record["names"] == ["0.png", "1.png", "2.png"]
    assert first.tensors["seeds"].tolist() == [0, 1, 2]
    assert first.tensors["features"].dtype == rest[0].tensors["features"].dtype
    assert first.tensors["measures"].shape[1:] == rest[0].tensors["measures"].shape[1:]
    assert first.tensors.keys() - rest[0].tensors.keys() == {"pictures"}
    assert first.tensors["inverted_refined"].any() == first.record["refined"]
    shown = pictures(first)
    assert sorted(shown) == sorted(
        f"{k}{suffix}.png" for k in range(3) for suffix in ("", "-parts", "-photo", "-linked")
    )
    render = job.context.generator.render(first.tensors["latents"])
    assert all((shown[f"{k}.png"] == render[k]).all() for k in range(3))
    error = np.sqrt(
        ((render.astype(float) - [shown[f"{k}-photo.png"] for k in range(3)]) ** 2).mean((1, 2, 3))
    )
    assert first.tensors["inverted_error"] == pytest.approx(error, rel=1e-3)
    features, logits = job.context.classifier.read(render)
    assert first.tensors["features"] == pytest.approx(features, abs=1e-3)
    rows = job.stage("search")
    assert joined(rows, "seeds").tolist() == [0, 1, 2]
    assert joined(rows, "origin").tolist() == logits.argmax(1).tolist()


def test_own_images_may_start_at_the_linkers_picture(stack, linker, photos):
    spec = CounterfactualSpec(
        linker=linker, image_folder="photos", targets=("ash",), seeds=1, frames=2, start="linked"
    )
    job = Carried(stack, "job-" + "a1" * 12, spec)
    (base,) = job.stage("base")
    shown = pictures(base)
    assert (shown["0.png"] == shown["0-linked.png"]).all()
    inverted = job.context.classifier.read(shown["0-inverted.png"][None])[1]
    assert base.tensors["inverted_logits"] == pytest.approx(inverted, abs=1e-3)
    features = job.context.classifier.read(shown["0-photo.png"][None])[0]
    # The classifier reads photos at the generator's size.
    assert base.tensors["features"] == pytest.approx(features, abs=1e-3)


def test_a_folder_that_is_not_there_is_named(stack, linker):
    spec = CounterfactualSpec(linker=linker, image_folder="none", seeds=1)
    context = stack.context("job-" + "b1" * 12, spec)
    with pytest.raises(NotFoundError, match="no images called 'none'"):
        counterfactual.run(context, "base", context.plan.stage("base").chunks[0])


class WithoutGradients:
    """A classifier client that has no gradients, and a head that may be bent."""

    def __init__(self, client, bend=0.0):
        self.client, self.bend = client, bend

    def read(self, images):
        return self.client.read(images)

    def head(self, features):
        return self.client.head(features) + self.bend * (features**2).sum(1, keepdims=True)

    def head_gradient(self, *arrays):
        raise FailedPreconditionError("no gradient goes through it", reason="GRADIENT_NOT_AVAILABLE")

    image_gradient = head_gradient


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_a_head_without_gradients_is_asked_instead(stack, searched, base_spec, bend):
    """The bend raises all logits alike: no way to a boundary is longer or shorter for it."""
    context = stack.bind(searched.context.job_id, searched.context.plan)
    params = {"class": 0, "first": 0, "count": 1, "targets": [1]}
    context.__dict__["classifier"] = WithoutGradients(context.classifier, bend)
    found = counterfactual.run(context, "search", params)
    (there,) = (chunk for p, chunk in searched.context.result("search") if p["class"] == 0)
    row = 1
    assert there.tensors["target"][row] == found.tensors["target"][0]
    assert found.tensors["head_distance"][0] == pytest.approx(there.tensors["head_distance"][row], rel=1e-3)
    assert found.tensors["refined"][0] == 0
    assert (found.tensors["gradients"][0], there.tensors["gradients"][row]) == (0, 1)


def test_rows_of_names_and_runners_up():
    logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]], np.float32)
    spec = CounterfactualSpec(linker="0" * 64, targets=("c", "x", "a"))
    rows = Wanted.of(spec, ("a", "b", "c"), logits, [0, 1, 2])
    assert rows.images.tolist() == [0, 0, 0, 1, 1, 1]
    assert rows.origins.tolist() == [0, 0, 0, 1, 1, 1]
    assert rows.targets.tolist() == [2, -1, 0, 2, -1, 0]
    second = CounterfactualSpec(linker="0" * 64, runner_up=True)
    assert Wanted.of(second, ("a", "b", "c"), logits, [0]).targets.tolist() == [2, 2]
    assert Wanted.of(second, ("a",), logits[:, :1], [0]).targets.tolist() == [-1, -1]
