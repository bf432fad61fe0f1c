"""Whole jobs on real services, behind real channels, and a real store."""

import io
import json
import zipfile

import numpy as np
import polars
import pytest
from PIL import Image

from tests.support.grown import GROWN
from tests.workers.stack import LINK, TRAVERSE
from unitscope.errors import FailedPreconditionError
from unitscope.jobs.chunks import encode
from unitscope.jobs.specs import TraverseSpec, UnitSelection
from unitscope.tables import QUALITY, STEPS, UNITS, from_parquet
from workers.analyses import analysis_of
from workers.analyses.linked import Linked
from workers.analyses.select import Selection
from workers.streams import BASE, HELDOUT, SAMPLE, Stream

pytestmark = pytest.mark.timeout(600)
CLASSES = 4


def frame(job, name):
    return polars.from_arrow(from_parquet(job.files[f"tables/{name}.parquet"].data))


def test_a_job_hands_out_tables_pictures_and_a_report(traversed):
    names = set(traversed.files)
    for table in (QUALITY, STEPS, UNITS):
        assert {f"tables/{table.name}.parquet", f"tables/{table.name}.json"} <= names
        stored = from_parquet(traversed.files[f"tables/{table.name}.parquet"].data)
        assert stored.schema.equals(table.schema)
    assert "images/heldout.zip" in names
    page = traversed.files["report/index.html"].data.decode()
    assert page.lower().startswith("<!doctype html>")
    assert traversed.context.plan.digest in page


def test_json_says_what_parquet_says(traversed):
    for name in ("quality", "steps", "units"):
        body = json.loads(traversed.files[f"tables/{name}.json"].data)
        table = from_parquet(traversed.files[f"tables/{name}.parquet"].data)
        assert body["columns"] == table.column_names
        assert len(body["data"]) == table.num_rows == len(body["index"])
        for column, name_ in enumerate(body["columns"]):
            for row, value in enumerate(table.column(name_).to_pylist()[:20]):
                said = body["data"][row][column]
                numbers = isinstance(value, float | list)
                assert said == (pytest.approx(value, rel=1e-6) if numbers else value)


def test_samples_are_accepted_and_come_from_their_stream(traversed):
    context = traversed.context
    generator = context.card("generator")
    names = context.card("classifier").classes
    for params, chunk in context.result("sample"):
        index = params["class"]
        attempts = chunk.tensors["rows"] - index * 2**32
        assert len(attempts) == params["count"]
        assert (np.diff(attempts) > 0).all()
        assert attempts[-1] - attempts[0] < chunk.record["attempts"]
        stream = Stream(LINK.seed, SAMPLE, index, generator.architecture["spec"]["z_dim"])
        z = np.stack([stream.draw(int(a), 1)[0] for a in attempts[:5]])
        w = context.generator.map(z, np.full(5, index, np.int64), LINK.truncation)
        assert (w == chunk.tensors["latents"][:5]).all()
        features, logits = context.classifier.read(context.generator.render(w))
        assert (features == chunk.tensors["features"][:5]).all()
        assert (logits.argmax(1) == names.index(generator.classes[index])).all()


def test_no_attempt_is_used_twice(traversed):
    rows = np.concatenate([c.tensors["rows"] for c in traversed.chunks("sample")])
    assert len(np.unique(rows)) == len(rows) == CLASSES * LINK.samples_per_class
    assert SAMPLE != HELDOUT


def test_quality_speaks_of_every_class_and_method(traversed):
    quality = frame(traversed, "quality")
    names = set(traversed.context.card("generator").classes)
    assert set(quality["scope"]) == {"overall", *names}
    assert {"linker", "class_mean", "nearest_neighbour", "principal_components"} <= set(quality["method"])
    overall = quality.filter((polars.col("scope") == "overall") & (polars.col("method") == "linker"))
    figures = dict(zip(overall["metric"], overall["value"], strict=True))
    assert 0 < figures["latent_r2_within_class"] < figures["latent_r2"] < 1
    assert 0.3 < figures["cycle_cosine"] <= 1
    assert 0.3 < figures["agreement"] <= 1
    assert set(overall["pairs"]) == {CLASSES * LINK.heldout_per_class}


def test_held_out_pictures_are_those_of_their_latents(traversed):
    context = traversed.context
    _, chunk = next(iter(context.result("heldout")))
    own = context.generator.render(chunk.tensors["latents"][:2])
    assert (own == chunk.tensors["shown_own"]).all()
    w, _ = context.linker.apply(chunk.tensors["features"], Linked.of(context).card.digest)
    features, logits = context.classifier.read(context.generator.render(w))
    assert (features == chunk.tensors["reencoded"]).all()
    assert (logits.argmax(1) == chunk.tensors["predicted_linker"]).all()


def test_the_published_linker_states_where_it_comes_from(traversed):
    card = Linked.of(traversed.context).card
    assert card.architecture["classifier"]["digest"] == traversed.context.card("classifier").digest
    assert card.architecture["generator"]["digest"] == traversed.context.card("generator").digest
    assert card.training["pairs"] == CLASSES * LINK.samples_per_class
    assert set(card.training["acceptance"]) == set(card.classes)
    assert all(0.4 < rate <= 1 for rate in card.training["acceptance"].values())


def test_steps_hold_every_step_of_every_traversal(traversed):
    steps = frame(traversed, "steps")
    spec = TRAVERSE
    assert len(steps) == 3 * CLASSES * spec.seeds_per_class * spec.steps
    key = ["unit", "class", "seed", "step"]
    assert steps.select(key).n_unique() == len(steps)
    assert set(steps["step"]) == set(range(spec.steps))
    assert all(len(row) == CLASSES for row in steps["logits"])
    assert steps["luminance"].is_between(0, 100).all()
    assert (steps.filter(polars.col("step") == 0)["change"] == 0).all()
    assert (steps.filter(polars.col("step") == 3)["change"] > 0).any()


def test_a_step_is_the_picture_of_its_command(traversed):
    """Recomputes one traversal from the tables alone, through the services."""
    context = traversed.context
    steps = frame(traversed, "steps")
    one = steps.filter(steps["unit"] == steps["unit"][-1]).tail(TRAVERSE.steps)
    params, base = list(context.result("base"))[-1]
    row = base.tensors["seeds"].tolist().index(one["seed"][0])
    rows = np.repeat(base.tensors["features"][row : row + 1], TRAVERSE.steps, axis=0)
    unit = one["unit"][0]
    assert one["base"][0] == rows[0, unit]
    rows[:, unit] = one["commanded"].to_numpy()
    w, distances = context.linker.apply(rows, Linked.of(context).card.digest)
    features, logits = context.classifier.read(context.generator.render(w))
    assert features[:, unit] == pytest.approx(one["reencoded"].to_numpy(), abs=1e-5)
    assert logits == pytest.approx(np.stack(one["logits"].to_list()), abs=1e-4)
    assert distances == pytest.approx(one["distance"].to_numpy(), rel=1e-4)
    names = context.card("classifier").classes
    assert one["predicted"].to_list() == [names[index] for index in logits.argmax(1)]
    assert context.card("generator").classes[params["class"]] == one["class"][0]


def test_units_are_ranked_and_moved_over_their_range(traversed):
    units = frame(traversed, "units")
    assert units["rank"].to_list() == [0, 1, 2]
    assert units["score"].is_sorted(descending=True)
    assert (units["low"] < units["high"]).all()
    assert set(units["traversals"]) == {CLASSES * TRAVERSE.seeds_per_class}
    for name in ("flips", "follow", "focus", "plausible", "trust"):
        assert units[name].is_between(0, 1 + 1e-6).all()
    steps = frame(traversed, "steps")
    for row in units.iter_rows(named=True):
        own = steps.filter(polars.col("unit") == row["unit"])
        assert own["commanded"].min() == row["low"]
        assert own["commanded"].max() == row["high"]
        last, first = (own.filter(polars.col("step") == step) for step in (3, 0))
        index = traversed.context.card("classifier").classes.index(row["strongest_class"])
        moved = last["logits"].list.get(index).mean() - first["logits"].list.get(index).mean()
        assert row["strongest_change"] == pytest.approx(moved, rel=1e-3, abs=1e-3)
        assert row["change"] == pytest.approx(last["change"].mean(), rel=1e-4)


def test_kept_pictures_are_found_by_the_table(traversed):
    steps = frame(traversed, "steps")
    kept = steps.filter(polars.col("image_name").is_not_null())
    assert len(kept) == len(steps) * 2 // 3
    zips = {name: file.data for name, file in traversed.files.items() if "-units-" in name}
    shards = {name: zipfile.ZipFile(io.BytesIO(data)) for name, data in zips.items()}
    assert set(kept["image_shard"]) == set(shards)
    for row in kept.iter_rows(named=True):
        image = np.asarray(Image.open(shards[row["image_shard"]].open(row["image_name"])))
        assert image.shape == (16, 16, 3)
    assert sum(len(shard.namelist()) for shard in shards.values()) == len(kept)


def test_the_limit_of_distance_fits_the_fits_own_latents(traversed):
    """The nearest neighbour of a sample is itself: its w is one of the fit's own."""
    context = traversed.context
    linked = Linked.of(context)
    features = np.concatenate([c.tensors["features"] for c in traversed.chunks("sample")])
    _, distances = context.linker.apply(features, linked.card.digest, "nearest_neighbour")
    within = (distances <= linked.solution.distance_limit).mean()
    assert within == pytest.approx(0.99, abs=0.01)


def test_the_same_chunk_gives_the_same_bytes(stack, traversed):
    again = stack.bind(traversed.context.job_id, traversed.context.plan)
    analysis = analysis_of("traverse")
    for stage in ("sample", "heldout", "base", "select", "traverse"):
        params, first = list(again.result(stage))[-1]
        assert encode(analysis.run(again, stage, params)) == encode(first)
    files = {file.name: file.data for file in analysis.finalise(again)}
    assert files == {name: file.data for name, file in traversed.files.items()}


def test_a_published_linker_serves_another_job(stack, traversed):
    digest = Linked.of(traversed.context).card.digest
    spec = TraverseSpec(
        linker=digest,
        units=UnitSelection(indices=(5, 3, 5)),
        classes=("cedar",),
        seeds_per_class=1,
        steps=2,
        keep="none",
        seed=1,
    )
    indices = [u for u in Selection.of(traversed.context).units.tolist()][:2]
    spec = spec.model_copy(update={"units": UnitSelection(indices=(indices[1], indices[0], indices[1]))})
    job = stack.run("job-" + "b" * 24, spec)
    assert frame(job, "units")["unit"].to_list() == [indices[1], indices[0]]
    assert frame(job, "units")["score"].is_not_null().all()
    assert frame(job, "steps")["image_name"].is_null().all()
    assert not any(name.startswith("images/") for name in job.files)
    assert set(frame(job, "quality")["scope"]) == {"overall"}
    # The same seed, class and linker: the same base image, so the same traversals.
    theirs = frame(traversed, "steps").filter(
        (polars.col("class") == "cedar") & (polars.col("unit") == indices[1]) & (polars.col("step") == 3)
    )
    ours = frame(job, "steps").filter((polars.col("unit") == indices[1]) & (polars.col("step") == 1))
    assert ours["seed"][0] == theirs["seed"][0]
    assert ours["logits"][0].to_list() == pytest.approx(theirs["logits"][0].to_list(), abs=1e-4)


def test_a_linker_renders_with_a_generator_that_shares_w(stack, traversed):
    """Moved by the same linker to the same w, rendered at another resolution."""
    linked = Linked.of(traversed.context).card
    units = tuple(Selection.of(traversed.context).units.tolist()[:1])
    spec = TraverseSpec(
        linker=linked.digest,
        units=UnitSelection(indices=units),
        classes=("cedar",),
        seeds_per_class=1,
        steps=2,
        keep="all",
        seed=1,
        render_with=GROWN,
    )
    job = stack.run("job-" + "7" * 24, spec)
    context = job.context
    assert context.card("generator").name == GROWN
    archives = [file.data for name, file in job.files.items() if name.startswith("images/class-0002")]
    assert archives
    for data in archives:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert {Image.open(archive.open(name)).size for name in archive.namelist()} == {(32, 32)}
    # The base image's w comes from the same stream of z through the same mapping network.
    _, base = next(iter(context.result("base")))
    stream = Stream(spec.seed, BASE, 2, context.card("generator").architecture["spec"]["z_dim"])
    z = np.concatenate([stream.draw(int(attempt), 1) for attempt in base.tensors["seeds"]])
    w = traversed.context.generator.map(z, np.full(len(z), 2, np.int64), LINK.truncation)
    assert (w == base.tensors["latents"]).all()
    page = job.files["report/index.html"].data.decode()
    assert "tiny/generator" in page
    assert "The linker was fitted with this one" in page


def test_too_few_accepted_images_are_an_error_that_says_what_to_do(stack):
    hopeless = LINK.model_copy(update={"truncation": 1.0, "attempts_per_sample": 1, "seed": 3})
    context = stack.context("job-" + "c" * 24, hopeless)
    params = context.plan.stage("sample").chunks[0]
    with pytest.raises(FailedPreconditionError, match="raise attempts_per_sample") as caught:
        analysis_of("link").run(context, "sample", params)
    assert caught.value.reason == "ACCEPTANCE_TOO_LOW"
    assert int(caught.value.metadata["accepted"]) < int(caught.value.metadata["needed"])


def test_units_that_never_vary_are_refused_by_name(stack, traversed):
    digest = Linked.of(traversed.context).card.digest
    context = traversed.context
    low = Linked.of(context).solution.quantile(0.0)
    dead = int(np.argmax(Linked.of(context).solution.quantile(0.01) == low))
    spec = TraverseSpec(linker=digest, units=UnitSelection(indices=(dead,)), high_quantile=0.01)
    job = stack.context("job-" + "d" * 24, spec)
    with pytest.raises(FailedPreconditionError, match=f"unit {dead} does not vary") as caught:
        analysis_of("traverse").run(job, "select", {})
    assert caught.value.reason == "DEAD_UNIT"
