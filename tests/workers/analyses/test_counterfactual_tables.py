"""Tables and report data of `counterfactual`, of chunks whose every number is known."""

import io
import json
import re
import zipfile
from math import sqrt

import numpy as np
import pytest

from tests.workers.analyses import counterfactual_job as fake
from unitscope.store.directory import DirectoryStore
from unitscope.tables import CARRIERS, CHANGES, COUNTERFACTUALS, INVERSIONS, PAIRS, from_parquet
from workers.analyses.columns import Columns
from workers.analyses.counterfactual import files, page, rows
from workers.analyses.counterfactual.files import counterfactual_files
from workers.analyses.counterfactual.gather import rows_of
from workers.analyses.linked import Linked
from workers.counterfactual import Outcome
from workers.measures import MEASURES
from workers.statistics import wilson


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DirectoryStore(tmp_path_factory.mktemp("counterfactual"))


def artifacts(job):
    """Files by name, and the data that the report was built of."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "build", lambda report: seen.append(report) or b"<html>")
        return {file.name: file.data for file in counterfactual_files(job)}, seen[0]


@pytest.fixture(scope="module")
def made(store):
    return artifacts(fake.finished(store))


@pytest.fixture(scope="module")
def tables(made):
    return {
        name: from_parquet(made[0][f"tables/{name}.parquet"])
        for name in ("counterfactuals", "pairs", "carriers", "changes", "quality")
    }


def only(table, **wanted):
    """The one row with these values."""
    found = [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_tables_are_of_their_schemas(tables):
    for schema in (PAIRS, CARRIERS, CHANGES):
        assert tables[schema.name].schema.equals(schema.schema)
    wide = tables["counterfactuals"].schema
    fixed = len(COUNTERFACTUALS.columns)
    assert wide.names[fixed:] == [f"{p}.{m.name}" for p in (*fake.PARTS, "picture") for m in MEASURES]
    for have, column in zip(wide, COUNTERFACTUALS.columns, strict=False):
        assert (have.name, have.type, have.nullable) == (column.name, column.type, column.nullable)
    about = fake.about(tables["counterfactuals"])
    assert about["parts"] == list(fake.PARTS)
    assert about["method"] == "path"


def test_no_value_is_missing_where_the_schema_asks_for_one(tables):
    for table in tables.values():
        for field in table.schema:
            assert field.nullable or table[field.name].null_count == 0, field.name


def test_every_image_and_target_has_a_row_that_says_what_became_of_it(tables):
    rows = tables["counterfactuals"].to_pylist()
    assert len(rows) == (8 + 1 + 1) * 4
    for row in rows:
        if row["origin"] == "dragon":
            assert (row["outcome"], row["class"], row["seed"]) == ("unknown_class", None, None)
            continue
        expected = fake.outcome_of(row["origin"], row["target"], row["seed"] - 10)
        assert row["outcome"] == expected
        assert row["valid"] == (expected is Outcome.REACHED)
        assert row["class"] == row["origin"]
        found = ("l2", "l1", "l0", "units_for_90", "deviations", "alpha", "plausibility", "change", "part")
        assert all((row[name] is not None) == row["valid"] for name in found)
        assert bool(row["units"]) == row["valid"]
    assert {row["target"] for row in rows} == {"cat", "dog", "bird", "unicron"}


def test_a_row_counts_its_shift_in_units(tables):
    row = only(tables["counterfactuals"], origin="cat", target="dog", seed=10)
    assert row["l2"] == pytest.approx(5)
    assert row["l1"] == pytest.approx(7)
    assert (row["l0"], row["units_for_90"]) == (2, 2)
    # The unit that never varies has no deviation, and is left out of the mean.
    assert row["deviations"] == pytest.approx(sqrt((3**2 + 2**2) / 3))
    assert row["units"] == [1, 0]
    assert row["shifts"] == [4, 3]
    assert (row["head_distance"], row["alpha"]) == (2.5, 2)
    assert (row["steps"], row["generator_calls"], row["renders"], row["refined"]) == (3, 6, 20, True)
    along_one = only(tables["counterfactuals"], origin="cat", target="dog", seed=16)
    assert (along_one["l0"], along_one["units_for_90"], along_one["units"]) == (1, 1, [2])


@pytest.mark.parametrize(("squares", "units"), [([90, 10, 0, 0], 1), ([89, 11, 0, 0], 2), ([1, 1, 1, 1], 4)])
def test_units_for_90_hold_no_less(store, squares, units):
    job = fake.finished(store)
    params, chunk = job.chunks["search"][0]
    shift = chunk.tensors["shift"].copy()
    shift[1] = np.sqrt(squares)
    changed = type(chunk)({**chunk.tensors, "shift": shift.astype(np.float64)}, chunk.record)
    found = rows_of(0, params, changed, Linked.of(job).solution, Columns.of(fake.PARTS), 2)
    assert found.units_for_90[1] == units


def test_a_row_says_what_is_read_and_seen_before_and_after(tables):
    row = only(tables["counterfactuals"], origin="cat", target="dog", seed=11)
    chances = [row[f"{which}_{when}"] for when in ("before", "after") for which in ("origin", "target")]
    assert chances == pytest.approx([0.8, 0.1, 0.1, 0.8])
    assert (row["part"], row["measure"]) == ("hat", "area")
    assert row["hat.area"] == pytest.approx(0.051)
    assert row["head.hue"] == pytest.approx(20), "over the end of the circle"
    assert row["hat.luminance"] is None
    # w is plausible up to 4.
    assert row["plausible"] is True
    assert only(tables["counterfactuals"], origin="cat", target="dog", seed=14)["plausible"] is False
    started = only(tables["counterfactuals"], origin="cat", target="bird", seed=10)
    assert started["origin_before"] == pytest.approx(0.8)
    assert started["origin_after"] is None
    unknown = only(tables["counterfactuals"], origin="cat", target="unicron", seed=10)
    assert unknown["target_before"] is None


def test_pictures_are_where_the_table_says(made, tables):
    kept = [row for row in tables["counterfactuals"].to_pylist() if row["image_shard"]]
    assert [(row["origin"], row["seed"]) for row in kept] == [("cat", 10), ("cat", 11), ("dog", 10)]
    for row in kept:
        with zipfile.ZipFile(io.BytesIO(made[0][row["image_shard"]])) as archive:
            assert f"{row['image_folder']}/counterfactual.png" in archive.namelist()
    assert sorted(name for name in made[0] if name.startswith("images/")) == [
        "images/search-0000-00000-0000.zip",
        "images/search-0001-00000-0000.zip",
    ]


def test_a_pair_counts_what_was_searched_and_what_was_reached(tables):
    pairs = tables["pairs"].to_pylist()
    assert [(row["origin"], row["target"]) for row in pairs] == [
        ("cat", "dog"),
        ("cat", "bird"),
        ("dog", "cat"),
        ("dog", "bird"),
    ]
    cats = pairs[0]
    assert (cats["images"], cats["reached"]) == (8, 7)
    assert cats["validity"] == pytest.approx(7 / 8)
    assert [cats["validity_lower"], cats["validity_upper"]] == pytest.approx(np.array(wilson(7, 8)))
    assert cats["generator_calls"] == pytest.approx((7 * 6 + 4) / 8)
    assert cats["renders"] == 20
    # The head reads these as birds from the start: nothing was searched for, and nothing failed.
    assert (pairs[1]["images"], pairs[1]["reached"], pairs[1]["validity"]) == (0, 0, None)
    assert (pairs[3]["images"], pairs[3]["reached"], pairs[3]["validity"]) == (1, 0, 0)
    assert pairs[3]["distance"] is None


def test_a_pair_averages_over_what_was_reached(tables):
    cats = only(tables["pairs"], origin="cat", target="dog")
    lengths = np.array([5, 5.5, 6, 6.5, 7, 7.5, 8])
    assert cats["distance"] == pytest.approx(lengths.mean())
    assert cats["distance_median"] == pytest.approx(6.5)
    assert 5 < cats["distance_lower"] < 6.5 < cats["distance_upper"] < 8
    assert cats["head_distance"] == pytest.approx(lengths.mean() / 2)
    assert (cats["alpha"], cats["units_for_90"], cats["change"]) == (2, 2, 12.5)
    assert cats["plausibility"] == pytest.approx(3.5)
    assert cats["plausible"] == pytest.approx(4 / 7)
    assert (cats["part"], cats["measure"]) == ("hat", "area")


def test_mean_shifts_are_those_of_their_stage(tables):
    cats, dogs = (only(tables["pairs"], origin=o, target=t) for o, t in (("cat", "dog"), ("dog", "cat")))
    assert cats["mean_l2"] == pytest.approx(5)
    assert cats["alike"] == pytest.approx(0.9)
    assert (cats["mean_flips"], cats["mean_flips_doubled"]) == (0.75, 1)
    assert [cats["mean_flips_lower"], cats["mean_flips_upper"]] == pytest.approx(np.array(wilson(6, 8)))
    # A single shift is its own mean; there are no others that it could be applied to.
    assert dogs["mean_l2"] == pytest.approx(5)
    assert (dogs["alike"], dogs["mean_flips"], dogs["distance_lower"]) == (None, None, None)


def test_carriers_are_counted_over_the_pair(tables):
    of_cats = [row for row in tables["carriers"].to_pylist() if row["origin"] == "cat"]
    assert [(row["unit"], row["rank"], row["count"]) for row in of_cats] == [(1, 0, 6), (0, 1, 6), (2, 2, 1)]
    assert {row["counterfactuals"] for row in of_cats} == {7}
    assert of_cats[0]["frequency"] == pytest.approx(6 / 7)
    ends = [of_cats[0]["frequency_lower"], of_cats[0]["frequency_upper"]]
    assert ends == pytest.approx(np.array(wilson(6, 7)))
    # The mean is over all seven, those in which the unit stood still included.
    assert [row["shift"] for row in of_cats] == pytest.approx([30 / 7, 22.5 / 7, 8 / 7])
    assert [row["deviations"] for row in of_cats] == pytest.approx([15 / 7, 22.5 / 7, 16 / 7])
    cats = only(tables["pairs"], origin="cat", target="dog")
    assert (cats["unit"], cats["unit_frequency"]) == (1, pytest.approx(6 / 7))


def test_changes_are_summarised_over_images(tables):
    def change(part, measure, origin="cat"):
        target = "dog" if origin == "cat" else "cat"
        return only(tables["changes"], origin=origin, target=target, part=part, measure=measure)

    hat = change("hat", "area")
    assert (hat["status"], hat["images"], hat["same_sign"]) == ("measured", 7, 1)
    assert hat["change"] == pytest.approx(0.053)
    assert hat["standardised"] == pytest.approx(5.3, rel=1e-5), "never finer than a clear change, 0.01"
    assert hat["lower"] < 0.053 < hat["upper"]
    assert hat["p"] == pytest.approx(2**-6)
    assert hat["p"] <= hat["q"] < 0.1
    hue = change("head", "hue")
    assert hue["change"] == pytest.approx(20)
    assert hat["share"] > hue["share"] > 0
    assert change("head", "luminance")["share"] == 0, "its interval holds 0"
    entropy = change("head", "entropy")
    assert (entropy["status"], entropy["images"], entropy["p"]) == ("too_few", 3, None)
    assert (entropy["change"], entropy["share"]) == (pytest.approx(0.7), 0)
    assert change("hat", "luminance")["status"] == "too_small"
    assert change("head", "delta_e")["status"] == "unsigned"
    assert change("picture", "luminance")["share"] == 0
    pair = only(tables["pairs"], origin="cat", target="dog")
    assert pair["part_share"] == pytest.approx(hat["share"])


def test_of_a_single_image_one_still_sees_what_changed(tables):
    of_dog = [row for row in tables["changes"].to_pylist() if row["origin"] == "dog"]
    assert {row["target"] for row in of_dog} == {"cat"}
    assert {row["status"] for row in of_dog} == {"too_few", "too_small"}
    assert all(row["p"] is None and row["lower"] is None for row in of_dog)
    known = {f"{r['part']}.{r['measure']}": r for r in of_dog if r["change"] is not None}
    assert known["hat.area"]["change"] == pytest.approx(0.05)
    assert sum(row["share"] or 0 for row in of_dog) == pytest.approx(1)
    pair = only(tables["pairs"], origin="dog", target="cat")
    assert (pair["part"], pair["measure"]) == ("hat", "area")
    # 5 for the hat; 20 of 45 degrees, -1 of 10 and 0.7 of 0.7 for the head.
    assert pair["part_share"] == pytest.approx(5 / (5 + 20 / 45 + 0.1 + 1), rel=1e-4)


def test_the_report_gets_every_row_and_the_pictures_of_some(made):
    report = made[1]
    data = report.counterfactual
    assert len(data.rows) == 40
    assert [row["origin"] for row in data.rows].count("dragon") == 4
    long = {"units", "shifts", "image_shard", "image_folder"}
    assert set(data.rows[0]) == {column.name for column in COUNTERFACTUALS.columns} - long
    # Of cats the second is nearer to the median of 6.5.
    assert [(s.row["origin"], s.row["seed"]) for s in data.shown] == [("cat", 11), ("cat", 10), ("dog", 10)]
    first = data.shown[0]
    assert (int(first.start.max()), first.frames.shape) == (1, (3, 8, 8, 3))
    assert first.labels.shape == (8, 8)
    assert first.alphas == pytest.approx([0, 0.625, 1.25])
    assert first.probabilities[0] == pytest.approx([0.1, 0.8, 0.1])
    assert data.unknown == {"dragon": [], "unicron": []}
    assert any("Pictures of 3 of the 8 counterfactuals were kept" in note for note in report.notes)
    assert set(report.tables) == {"counterfactuals", "pairs", "carriers", "changes", "quality"}
    assert data.renders == 15


def test_the_report_says_where_gradients_were_missing(store, made):
    wanted = "Gradients through the picture were not served"
    assert not any(wanted in note for note in made[1].notes)
    job = fake.finished(store)
    _, chunk = job.chunks["search"][0]
    chunk.tensors["gradients"] = np.zeros(len(chunk.tensors["outcome"]), np.uint8)
    (told,) = [note for note in artifacts(job)[1].notes if wanted in note]
    assert "ONNX" in told


def test_names_that_are_nearly_right_are_told(store):
    _, report = artifacts(fake.finished(store, targets=["Cat", "dog", "bird", "dogs"]))
    assert report.counterfactual.unknown == {"dragon": [], "Cat": ["cat"], "dogs": ["dog"]}


def test_of_very_many_names_that_are_no_class_the_first_are_told(store, monkeypatch):
    asked = []
    monkeypatch.setattr(page, "near_names", lambda name, among: asked.append(name) or [])
    names = [f"x{k}" for k in range(page.MAX_UNKNOWN + 7)]
    job = fake.finished(store, targets=["cat", "dog", "bird", *names])
    data = artifacts(job)[1].counterfactual
    assert list(data.unknown) == asked == ["dragon", *names[: page.MAX_UNKNOWN - 1]]
    assert data.more_unknown == 8


def test_of_many_rows_the_strongest_change_is_found_in_blocks(store, tables, monkeypatch):
    monkeypatch.setattr(rows, "_ROWS", 3)
    again = artifacts(fake.finished(store))[0]["tables/counterfactuals.parquet"]
    assert from_parquet(again).equals(tables["counterfactuals"])


def test_few_pictures_are_taken_evenly_from_the_pairs(store, monkeypatch):
    monkeypatch.setattr(page, "MAX_SHOWN", 1)
    _, report = artifacts(fake.finished(store))
    assert [s.row["origin"] for s in report.counterfactual.shown] == ["cat"]
    monkeypatch.setattr(page, "MAX_SHOWN", 2)
    _, report = artifacts(fake.finished(store))
    assert [s.row["origin"] for s in report.counterfactual.shown] == ["cat", "dog"]


def test_long_tables_go_to_the_report_in_part(store, monkeypatch):
    monkeypatch.setattr(page, "MAX_ROWS", 3)
    made, report = artifacts(fake.finished(store))
    changes = report.counterfactual.changes
    assert len(changes) == 3
    every = from_parquet(made["tables/changes.parquet"]).to_pylist()
    largest = sorted((row["share"] or 0 for row in every), reverse=True)[:3]
    assert sorted((row["share"] for row in changes), reverse=True) == pytest.approx(largest)
    assert sorted(row["rank"] for row in report.counterfactual.carriers) == [0, 0, 1]
    assert any("the tables hold all of them" in note for note in report.notes)


def test_of_very_many_pairs_only_those_that_can_be_tested_are_described(store, monkeypatch):
    monkeypatch.setattr("workers.analyses.counterfactual.changes.MOST_PAIRS", 1)
    made, _ = artifacts(fake.finished(store))
    assert set(from_parquet(made["tables/changes.parquet"])["origin"].to_pylist()) == {"cat"}
    pairs = from_parquet(made["tables/pairs.parquet"])
    assert only(pairs, origin="dog", target="cat")["part"] is None
    assert only(pairs, origin="cat", target="dog")["part"] == "hat"


def test_own_images_have_names_and_inversions(store):
    made, report = artifacts(fake.of_own_images(store))
    rows = from_parquet(made["tables/counterfactuals.parquet"]).to_pylist()
    assert [(r["image"], r["class"], r["target"]) for r in rows] == [
        ("tom.jpg", None, "dog"),
        ("felix.jpg", None, "dog"),
    ]
    assert rows[0]["image_shard"] == "images/search-own-00000-0000.zip"
    table = from_parquet(made["tables/inversions.parquet"])
    assert table.schema.equals(INVERSIONS.schema)
    tom, felix = table.to_pylist()
    assert (tom["read_as"], tom["inverted_as"], tom["refined"]) == ("dog", "cat", True)
    assert (tom["linked_error"], tom["error"]) == (30, 20)
    assert tom["plausibility"] == pytest.approx(5 / sqrt(2))
    assert felix["image_shard"] is None
    with zipfile.ZipFile(io.BytesIO(made[tom["image_shard"]])) as archive:
        assert archive.namelist() == [f"image-0000/{name}.png" for name in ("photo", "linked", "inverted")]
    (shown,) = report.counterfactual.inverted
    seen = [int(image[0, 0, 0]) for image in (shown.photo, shown.linked, shown.inverted)]
    assert (seen, shown.row["image"]) == ([2, 3, 1], "tom.jpg")
    assert "inversions" in report.tables


def test_an_inversion_is_itself_where_searches_start_from_the_linkers_picture(store):
    made, report = artifacts(fake.of_own_images(store, start="linked"))
    tom, felix = from_parquet(made["tables/inversions.parquet"]).to_pylist()
    assert [(row["read_as"], row["inverted_as"]) for row in (tom, felix)] == [
        ("dog", "bird"),
        ("cat", "bird"),
    ]
    assert [(row["plausibility"], row["refined"]) for row in (tom, felix)] == [(1.5, True), (2.5, False)]
    assert int(report.counterfactual.inverted[0].inverted[0, 0, 0]) == 4
    assert any("what the linker makes of" in note and "as published" in note for note in report.notes)


@pytest.mark.parametrize(("job", "rows"), [(fake.fruitless, 8), (fake.imageless, 2)])
def test_a_job_that_finds_nothing_has_all_its_tables(store, job, rows):
    made, report = artifacts(job(store))
    table = from_parquet(made["tables/counterfactuals.parquet"])
    assert table.num_rows == rows
    assert set(table["outcome"].to_pylist()) <= {"same_class", "unknown_class"}
    for schema in (PAIRS, CARRIERS, CHANGES):
        empty = from_parquet(made[f"tables/{schema.name}.parquet"])
        assert empty.num_rows == 0
        assert empty.schema.equals(schema.schema)
    assert report.counterfactual.shown == []


def test_where_no_origin_exists_the_runner_up_has_no_name(store):
    job = fake.imageless(store)
    job.spec = fake.spec(origins=["dragon"], targets=[], runner_up=True, seeds=2)
    made, report = artifacts(job)
    (row,) = from_parquet(made["tables/counterfactuals.parquet"]).to_pylist()
    assert (row["origin"], row["target"], row["outcome"]) == ("dragon", "runner-up", "unknown_class")
    assert list(report.counterfactual.unknown) == ["dragon"]


@pytest.mark.parametrize("job", [fake.finished, fake.of_own_images])
def test_equal_chunks_give_equal_bytes_and_a_page(store, job):
    first, again = ({f.name: f.data for f in counterfactual_files(job(store))} for _ in range(2))
    assert first == again
    assert re.search(rb"(?i)<!doctype html", first["report/index.html"][:100])
    rows = json.loads(first["tables/counterfactuals.json"])
    assert rows["columns"] == [column.name for column in COUNTERFACTUALS.columns]


@pytest.mark.parametrize("stage", ["base", "search", "mean"])
def test_the_pulse_is_felt_at_every_chunk_that_is_read(store, stage):
    """A chunk may hold a quarter of a gigabyte, and the store be far away."""
    job = fake.of_own_images(store) if stage == "base" else fake.finished(store)
    whole, read = job.result, []

    def result(name, wanted=None):
        for chunk in whole(name, wanted):
            if name == stage:
                read.append(job.beats)
            yield chunk
            if name == stage:
                assert job.beats > read[-1]

    job.result = result
    artifacts(job)
    assert read


def test_pictures_are_read_from_their_chunks_alone(store):
    """The second block of cats has no pictures."""
    job = fake.finished(store)
    whole, wants = job.result, []

    def result(name, wanted=None):
        if name == "search":
            wants.append([wanted is None or wanted(k, p) for k, (p, _) in enumerate(job.chunks[name])])
        return whole(name, wanted)

    job.result = result
    artifacts(job)
    assert wants == [[True] * 3, [True] * 3, [True, False, True]]


def test_the_job_is_told_that_there_is_life(store):
    job = fake.finished(store)
    artifacts(job)
    assert job.beats >= len(job.chunks["search"]) + 4
