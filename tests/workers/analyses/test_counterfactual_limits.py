"""Stages of `counterfactual` jobs at their limits: mean shifts of many rows, images that are hard to get."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.workers.analyses.carried import CLASSES, SEEDS, joined
from tests.workers.stack import LINK
from unitscope.jobs import layout
from unitscope.jobs.chunks import encode
from unitscope.jobs.planning.counterfactual import MEAN_MULTIPLES
from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses import counterfactual
from workers.analyses.counterfactual import counterfactual_files, looking, mean
from workers.analyses.linked import Linked
from workers.clients.batches import Pending
from workers.counterfactual.result import SEARCHED

pytestmark = pytest.mark.timeout(300)


def test_mean_shifts_leave_the_image_out(searched):
    """Recomputes one pair by hand."""
    context = searched.context
    chunks = searched.stage("mean")
    origin, target = joined(chunks, "origin"), joined(chunks, "target")
    assert list(zip(origin, target, strict=True)) == sorted(set(zip(origin, target, strict=True)))
    rows = searched.stage("search")
    mine = (joined(rows, "origin") == origin[0]) & (joined(rows, "target") == target[0])
    searches = mine & np.isin(joined(rows, "outcome"), SEARCHED)
    reached = mine & (joined(rows, "outcome") == 0)
    assert (joined(chunks, "images")[0], joined(chunks, "reached")[0]) == (searches.sum(), reached.sum())
    shifts = joined(rows, "shift")
    assert joined(chunks, "shift")[0] == pytest.approx(shifts[reached].mean(0), abs=1e-5)
    base = looking.Base.at(context, CLASSES.index(CLASSES[origin[0]]), 0, SEEDS)
    weight = Linked.of(context).solution.weight
    flips = np.zeros(len(MEAN_MULTIPLES), int)
    for row in np.flatnonzero(searches):
        others = reached.copy()
        others[row] = False
        image = joined(rows, "image")[row]
        for k, multiple in enumerate(MEAN_MULTIPLES):
            moved = np.maximum(base.features[image] + multiple * shifts[others].mean(0), 0)
            w = base.latents[image] + (moved - base.features[image]) @ weight.T
            read = context.classifier.read(context.generator.render(w[None].astype(np.float32)))[1]
            flips[k] += read.argmax() == target[0]
    assert joined(chunks, "flips")[0].tolist() == flips.tolist()


def test_mean_shifts_of_many_images_are_tried_on_some(searched, monkeypatch):
    context = searched.context
    (params, whole), *_ = (item for item in context.result("mean") if len(item[1].tensors["origin"]))
    monkeypatch.setattr(mean, "_BLOCK", 2)
    same = counterfactual.run(context, "mean", params).tensors
    assert all((same[name] == whole.tensors[name]).all() for name in same)
    monkeypatch.setattr(mean, "MAX_IMAGES", 2)
    some = counterfactual.run(context, "mean", params).tensors
    assert (whole.tensors["images"] == SEEDS).all()
    assert (some["images"] == 2).all()
    assert (some["flips"] <= np.minimum(whole.tensors["flips"], 2)).all()
    assert (some["flips"] >= whole.tensors["flips"] - (SEEDS - 2)).all()
    for name in ("origin", "target", "reached", "shift", "alike"):
        assert (some[name] == whole.tensors[name]).all()


@pytest.mark.parametrize("stage", ["base", "search"])
def test_mean_shifts_read_each_chunk_once_and_feel_the_pulse(searched, monkeypatch, stage):
    context = searched.context
    read, beats, whole = [], [0], context.result

    def result(name, wanted=None):
        for params, chunk in whole(name, wanted):
            if name == stage:
                read.append((params["class"], params["first"], beats[0]))
            yield params, chunk

    def beat():
        beats[0] += 1

    monkeypatch.setattr(context, "result", result)
    monkeypatch.setattr(context, "beat", beat)
    counterfactual.run(context, "mean", {"part": 0, "of": 1})
    # Base images first for their logits alone, then for the searches that start from them.
    times = {"base": 2, "search": 1}[stage]
    assert len(read) == times * len(context.plan.stage(stage).chunks)
    felt = [at for _, _, at in read[: len(read) // times]]
    assert len(set(felt)) == len(felt)


class Picky:
    """A classifier that reads pictures as they are, but the first so many never as ash."""

    def __init__(self, client, refused):
        self.client, self.refused = client, refused

    def read_async(self, images):
        pending, refused = self.client.read_async(images), min(len(images), self.refused)
        self.refused -= refused

        def result():
            features, logits = pending.result()
            logits = logits.copy()
            logits[:refused, CLASSES.index("ash")] = -1_000
            return features, logits

        return Pending(result)


def test_few_images_have_more_than_their_few_attempts(stack, linker):
    """A thousand classes of one image each: that 20 attempts bring one is not certain for all of them."""
    spec = CounterfactualSpec(linker=linker, origins=("ash",), targets=("birch",), seeds=1, keep="none")
    context = stack.context("job-" + "f1" * 12, spec)
    (params,) = context.plan.stage("base").chunks
    client = context.classifier
    plain = counterfactual.run(context, "base", params).tensors["seeds"]
    refused = LINK.attempts_per_sample + 9
    context.__dict__["classifier"] = Picky(client, refused)
    (found,) = counterfactual.run(context, "base", params).tensors["seeds"]
    assert plain[0] < refused <= found < 64


class Stingy:
    """A classifier that reads pictures as they are, but no more than the first so many as ash."""

    def __init__(self, client, granted):
        self.client, self.granted = client, granted

    def read_async(self, images):
        pending = self.client.read_async(images)

        def result():
            features, logits = pending.result()
            ash, logits = CLASSES.index("ash"), logits.copy()
            refused = np.flatnonzero(logits.argmax(1) == ash)[self.granted :]
            self.granted -= min(self.granted, (logits.argmax(1) == ash).sum())
            logits[refused, ash] = -1_000
            return features, logits

        return Pending(result)


@pytest.mark.parametrize("start", ["own", "linked"])
@pytest.mark.parametrize("granted", [0, 1])
def test_images_that_are_not_accepted_lose_no_other_row(stack, linker, granted, start):
    """A generator may hardly ever make what the classifier reads as the origin."""
    given = {
        "origins": ("ash", "birch"),
        "targets": ("cedar", "ash"),
        "seeds": 2,
        "frames": 3,
        "start": start,
    }
    spec = CounterfactualSpec(linker=linker, keep="all", **given)
    context = stack.context(f"job-{start:c<20}{granted:a>4}", spec)
    for stage in context.plan.stages:
        for params, name in zip(stage.chunks, context.plan.chunk_ids(stage), strict=True):
            client = context.classifier
            if stage.name == "base" and params["class"] == CLASSES.index("ash"):
                context.__dict__["classifier"] = Stingy(client, granted)
            chunk = counterfactual.run(context, stage.name, params)
            context.__dict__["classifier"] = client
            stack.store.create(layout.chunk(context.job_id, stage.name, name), encode(chunk))
    files = {file.name: file.data for file in counterfactual_files(context)}
    rows = pq.read_table(io.BytesIO(files["tables/counterfactuals.parquet"])).to_pylist()
    assert len(rows) == 2 * 2 * 2
    missing = [row for row in rows if row["outcome"] == "not_accepted"]
    asked = [("ash", "ash", None, target) for _ in range(2 - granted) for target in ("cedar", "ash")]
    assert [(row["origin"], row["class"], row["seed"], row["target"]) for row in missing] == asked
    assert not any(row["valid"] for row in missing)
    others = [row["class"] for row in rows if row["outcome"] != "not_accepted"]
    assert sorted(others) == ["ash"] * 2 * granted + ["birch"] * 4
    assert b"No image to start from" in files["report/index.html"]
