"""Whole `quantify` jobs on real services and a real store, and the pieces that can be told apart from them."""

import io
import json
import zipfile

import numpy as np
import polars
import pyarrow as pa
import pytest
from PIL import Image

from tests.workers.stack import QUANTIFY
from unitscope.errors import FailedPreconditionError, NotFoundError
from unitscope.jobs.specs import Perturbation, QuantifySpec, UnitGroup
from unitscope.selection import select as select_units
from unitscope.store.images import add_images
from unitscope.tables import EFFECTS, QUANTIFIED_STEPS, QUANTIFIED_UNITS, from_parquet
from workers.analyses import analysis_of
from workers.analyses.linked import Linked
from workers.analyses.quantify.base import Base
from workers.analyses.quantify.shortlist import in_turn
from workers.analyses.quantify.targets import Targets, commanded, path, select
from workers.analyses.quantify.verdict import associations, verdict
from workers.measures import MEASURES

pytestmark = pytest.mark.timeout(600)
UNITS = 32


def table(job, name):
    if name != "steps":
        return from_parquet(job.files[f"tables/{name}.parquet"].data)
    shards = sorted(file for file in job.files if file.startswith("tables/steps/"))
    return pa.concat_tables([from_parquet(job.files[file].data) for file in shards])


def frame(job, name):
    return polars.from_arrow(table(job, name))


def test_tables_are_of_their_schemas(quantified):
    assert table(quantified, "effects").schema.equals(EFFECTS.schema)
    assert table(quantified, "units").schema.equals(QUANTIFIED_UNITS.schema)
    steps = table(quantified, "steps").schema
    fixed = len(QUANTIFIED_STEPS.columns)
    assert steps.names[:fixed] == [column.name for column in QUANTIFIED_STEPS.columns]
    parts = quantified.context.card("parts").classes
    assert steps.names[fixed:] == [f"{p}.{m.name}" for p in (*parts, "picture") for m in MEASURES]
    about = json.loads(table(quantified, "effects").schema.metadata[b"unitscope.quantify"])
    assert about["parts"] == list(parts)
    assert about["measures"]["area"] == "share of picture"


def test_every_unit_has_every_effect_once(quantified):
    effects, units = frame(quantified, "effects"), frame(quantified, "units")
    live = len(Targets.load(quantified.context))
    assert len(units) == live
    parts, classes = quantified.context.card("parts").classes, quantified.context.card("classifier").classes
    assert len(effects) == live * ((len(parts) + 1) * len(MEASURES) + len(classes))
    assert effects.select(["unit", "part", "measure"]).n_unique() == len(effects)
    assert set(effects["status"]) <= {"measured", "too_small", "unsigned"}
    assert effects.filter(polars.col("status") == "too_small")["effect"].null_count() == len(
        effects.filter(polars.col("status") == "too_small")
    )


def test_confirmed_units_are_judged_on_other_images(quantified):
    context, spec = quantified.context, QUANTIFY
    screen, confirm = Base.of(context, "screen"), Base.of(context, "confirm")
    assert (len(screen), len(confirm)) == (spec.screening_seeds, spec.seeds)
    places = [set(zip(base.classes.tolist(), base.seeds.tolist(), strict=True)) for base in (screen, confirm)]
    assert not places[0] & places[1]
    units = frame(quantified, "units")
    assert (units["stage"] == "confirm").sum() == spec.shortlist
    steps = frame(quantified, "steps")
    of_confirmed = steps.filter(polars.col("stage") == "confirm")
    assert set(of_confirmed["unit"]) == set(units.filter(polars.col("stage") == "confirm")["unit"])
    seen = set(of_confirmed.select(["class", "seed"]).iter_rows())
    assert not seen & set(steps.filter(polars.col("stage") == "screen").select(["class", "seed"]).iter_rows())


def test_an_effect_is_the_mean_of_last_less_first_step(quantified):
    effects, steps = frame(quantified, "effects"), frame(quantified, "steps")
    part = quantified.context.card("parts").classes[1]
    checked = 0
    for row in effects.filter((polars.col("part") == part) & (polars.col("measure") == "area")).iter_rows(
        named=True
    ):
        mine = steps.filter((polars.col("unit") == row["unit"]) & (polars.col("stage") == row["stage"]))
        first = mine.filter(polars.col("step") == 0)[f"{part}.area"].to_numpy()
        last = mine.filter(polars.col("step") == mine["step"].max())[f"{part}.area"].to_numpy()
        differences = last - first
        measured = np.isfinite(differences)
        assert row["seeds"] == measured.sum()
        if row["effect"] is not None:
            checked += 1
            assert row["effect"] == pytest.approx(differences[measured].mean(), abs=1e-6)
            assert row["lower"] <= row["effect"] <= row["upper"]
    assert checked > UNITS / 2


def test_logits_are_effects_too(quantified):
    effects, steps = frame(quantified, "effects"), frame(quantified, "steps")
    classes = quantified.context.card("classifier").classes
    row = effects.filter(polars.col("part") == "logit").row(1, named=True)
    mine = steps.filter((polars.col("unit") == row["unit"]) & (polars.col("stage") == row["stage"]))
    column = classes.index(row["measure"])
    first, last = (
        np.stack(mine.filter(polars.col("step") == step)["logits"].to_list())[:, column]
        for step in (0, mine["step"].max())
    )
    assert row["effect"] == pytest.approx(float((last - first).mean()), abs=1e-5)


def test_a_step_is_the_picture_of_its_command(quantified):
    """Recomputes one traversal through the services, from the linker and the base image."""
    context, spec = quantified.context, QUANTIFY
    linked, base, targets = Linked.of(context), Base.of(context, "confirm"), Targets.load(context)
    steps = frame(quantified, "steps").filter(polars.col("stage") == "confirm")
    one = steps.filter(steps["unit"] == steps["unit"][-1]).tail(spec.steps)
    image = next(
        k
        for k in range(len(base))
        if base.seeds[k] == one["seed"][0]
        and context.card("generator").classes[base.classes[k]] == one["class"][0]
    )
    unit = one["unit"][0]
    values = one["commanded"].to_numpy().astype(np.float64)
    assert values[0] == pytest.approx(linked.solution.quantile(0.0)[unit], abs=1e-6)
    assert values[-1] == pytest.approx(linked.solution.quantile(1.0)[unit], abs=1e-6)
    moved = (values - base.features[image, unit])[:, None] * linked.solution.weight[:, unit]
    w = (base.start[image] + moved).astype(np.float32)
    images, labels = context.generator.render_parts(w, context.card("parts"))
    features, logits = context.classifier.read(images)
    assert features[:, unit] == pytest.approx(one["reencoded"].to_numpy(), abs=1e-3)
    assert logits == pytest.approx(np.stack(one["logits"].to_list()), abs=1e-3)
    name = context.card("parts").classes[1]
    found = one[f"{name}.area"].to_numpy()
    shares = (labels == 1).mean((1, 2))
    assert np.nan_to_num(found) == pytest.approx(np.where(np.isfinite(found), shares, 0), abs=5e-3)
    assert linked.solution.distances(w) == pytest.approx(one["distance"].to_numpy(), rel=1e-3)
    assert unit in targets.numbers


def test_the_distance_is_that_of_the_linker_service(quantified):
    context = quantified.context
    features = Base.of(context).features[:5]
    linked = Linked.of(context)
    w, distances = context.linker.apply(features, linked.card.digest)
    assert linked.solution.distances(w) == pytest.approx(distances, rel=1e-4)


def test_kept_pictures_are_where_the_steps_say(quantified):
    steps = frame(quantified, "steps").filter(polars.col("image_name").is_not_null())
    assert len(steps) == QUANTIFY.shortlist * 6 * QUANTIFY.steps
    row = steps.row(-1, named=True)
    with zipfile.ZipFile(io.BytesIO(quantified.files[row["image_shard"]].data)) as archive:
        picture = np.asarray(Image.open(archive.open(row["image_name"])))
        labels = np.asarray(Image.open(archive.open(row["image_name"].replace(".png", "-parts.png"))))
    assert picture.shape == (16, 16, 3)
    assert labels.shape == (16, 16)
    assert labels.max() < len(quantified.context.card("parts").classes)


def test_unconfirmed_units_have_no_q_and_are_not_selected(quantified):
    effects, units = table(quantified, "effects"), table(quantified, "units")
    screened = frame(quantified, "effects").filter(polars.col("stage") == "screen")
    assert screened["q"].null_count() == len(screened)
    part = quantified.context.card("parts").classes[1]
    found = select_units(effects, units, part=part, include_untrusted=True, q=1.0, top=100)
    confirmed = set(frame(quantified, "units").filter(polars.col("stage") == "confirm")["unit"])
    assert found.num_rows > 0
    assert set(found.column("unit").to_pylist()) <= confirmed


def test_finalising_again_gives_equal_bytes(quantified):
    again = {f.name: f.data for f in analysis_of("quantify").finalise(quantified.context)}
    assert again == {name: file.data for name, file in quantified.files.items()}


def test_the_verdict_holds_together(quantified):
    found = verdict(quantified.context, QUANTIFY, Linked.of(quantified.context))
    total = found.selectivity.sum(1)
    assert ((total == 0) | (np.abs(total - 1) < 1e-9)).all()
    assert found.shares.sum(1) == pytest.approx(total)
    assert found.shares[:, -1].max() == 0, "the whole picture repeats what its parts do: it has no share"
    assert ((found.part >= 0) == (total > 0)).all()
    together = associations(found)
    assert together.targets == len(found.targets)
    parts = len(quantified.context.card("parts").classes)
    assert together.correlation.shape == (len(quantified.context.card("classifier").classes), parts)
    assert np.nanmax(np.abs(together.correlation)) <= 1 + 1e-9
    assert ((together.q >= 0) | np.isnan(together.q)).all()


def test_the_report_speaks_of_the_job(quantified):
    page = quantified.files["report/index.html"].data.decode()
    assert quantified.context.plan.digest in page
    unit = frame(quantified, "units").filter(polars.col("stage") == "confirm")["unit"][0]
    assert f"unit-{unit}" in page


def test_units_and_groups_that_are_named_need_no_screening(stack, quantified, tmp_path):
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(tmp_path / "bright.png")
    Image.fromarray(np.full((30, 20, 3), 20, np.uint8)).save(tmp_path / "dark.png")
    add_images(stack.store, "two", tmp_path)
    digest = Linked.of(quantified.context).card.digest
    spec = QuantifySpec(
        linker=digest,
        units=(5, 2),
        groups=(UnitGroup(name="pair", units=(2, 5)),),
        perturbation=Perturbation(by="deviations", deviations=1.5),
        start="linked",
        steps=2,
        keep="none",
        image_folder="two",
    )
    job = stack.run("job-" + "c" * 24, spec)
    units = frame(job, "units")
    assert units["unit"].to_list() == [5, 2, -1]
    assert units["group"].to_list() == [None, None, "pair"]
    assert set(units["stage"]) == {"confirm"}
    assert "images/" not in "".join(job.files)
    start = Base.of(job.context).start
    expected, _ = job.context.linker.apply(Base.of(job.context).features, digest)
    assert (start == expected).all()
    chunks = [chunk.tensors for _, chunk in job.context.result("activate") if chunk.record["images"]]
    assert sorted(int(chunk["indices"][0, 0]) for chunk in chunks) == [0, 1]


def test_an_image_folder_that_is_not_there_is_named(stack, quantified):
    spec = QuantifySpec(linker=Linked.of(quantified.context).card.digest, image_folder="none")
    context = stack.context("job-" + "d" * 24, spec)
    with pytest.raises(NotFoundError, match="no images called 'none'"):
        analysis_of("quantify").run(context, "activate", {"part": 0, "of": 8})


def test_dead_units_are_refused_and_left_out(stack, quantified):
    context = quantified.context
    linked = Linked.of(context)
    quantiles = linked.solution.quantiles.copy()
    quantiles[:, :10] = 1.5
    rigged = Linked(linked.card, _with(linked.solution, quantiles=quantiles), linked.rule)
    assert select(context, QUANTIFY, rigged).numbers.tolist() == list(range(10, UNITS))
    with pytest.raises(FailedPreconditionError, match="unit 3 does not vary") as caught:
        select(context, QUANTIFY.model_copy(update={"units": (11, 3)}), rigged)
    assert caught.value.reason == "DEAD_UNIT"
    mixed = QUANTIFY.model_copy(update={"groups": (UnitGroup(name="g", units=(3, 12)),), "units": (11,)})
    assert select(context, mixed, rigged).numbers.tolist() == [11, -1]
    dead = QUANTIFY.model_copy(update={"groups": (UnitGroup(name="g", units=(3, 4)),)})
    with pytest.raises(FailedPreconditionError, match="no unit of the group 'g'"):
        select(context, dead, rigged)


def test_what_units_are_set_to(quantified):
    solution = Linked.of(quantified.context).solution
    features = np.array([[0.5] * UNITS, [3.0] * UNITS], np.float32)
    units = np.array([4, 7])
    ranged = commanded(solution, Perturbation(), 3, features, units, True)
    assert ranged.shape == (2, 3, 2)
    assert ranged[0] == pytest.approx(ranged[1])
    assert ranged[0, 0] == pytest.approx(solution.quantile(0.0)[units])
    levels = commanded(solution, Perturbation(by="quantiles", low_quantile=0.5), 2, features, units, True)
    assert levels[0, 0] == pytest.approx(solution.quantile(0.5)[units])
    way = Perturbation(by="deviations", deviations=2)
    free = commanded(solution, way, 3, features, units, False)
    assert free[:, 1] == pytest.approx(features[:, units])
    assert free[:, 2] - free[:, 0] == pytest.approx(np.tile(4 * solution.std[units], (2, 1)))
    floored = commanded(solution, Perturbation(by="deviations", deviations=20), 3, features, units, True)
    assert floored.min() == 0


def test_a_group_moves_as_far_as_its_members_together(quantified):
    solution = Linked.of(quantified.context).solution
    features = np.random.default_rng(2).random((3, UNITS)).astype(np.float32)
    start = np.random.default_rng(3).standard_normal((3, len(solution.weight))).astype(np.float32)
    both, one, other = np.array([4, 7]), np.array([4]), np.array([7])

    def way(units):
        values = commanded(solution, Perturbation(), 3, features, units, True)
        return path(solution, values, features, start, units) - start[:, None]

    assert way(both) == pytest.approx(way(one) + way(other))
    full = features.copy()
    values = commanded(solution, Perturbation(), 3, features, both, True)
    full[:, both] = values[:, 2]
    assert way(both)[:, 2] == pytest.approx((full - features) @ solution.weight.T, abs=1e-5)


def test_targets_are_taken_in_turn_from_every_ranking():
    rankings = np.array([[9, 8, 7, 6, 0, 0], [0, 0, 0, 0, 1, 0.5]])
    assert in_turn(rankings, 4).tolist() == [0, 4, 1, 5]
    assert in_turn(rankings, 6).tolist() == [0, 4, 1, 5, 2, 3]
    assert in_turn(np.zeros((2, 3)), 2).tolist() == [0, 1]


def _with(solution, **changes):
    return type(solution)(**{**vars(solution), **changes})


def test_layers_together_are_linked_and_moved_as_one(stack):
    link = QUANTIFY.link.model_copy(update={"layer": "maps+penultimate", "samples_per_class": 30})
    spec = QuantifySpec(link=link, screening_seeds=6, shortlist=5, keep="none")
    job = stack.run("job-" + "g" * 24, spec)
    card = job.context.card("classifier")
    maps = card.layer("maps").units
    units = frame(job, "units")
    assert set(units["layer"]) == {"maps", "penultimate"}
    assert (units["unit"] < maps).to_list() == [layer == "maps" for layer in units["layer"]]
    assert Base.of(job.context).features.shape[1] == card.layer("maps+penultimate").units == maps + UNITS
