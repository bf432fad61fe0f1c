"""A finished `counterfactual` job whose every number is known: chunks written by hand, no service."""

import json
from functools import cached_property
from types import SimpleNamespace

import numpy as np
from safetensors.numpy import save

from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.plan import Plan, Stage
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.store.base import sha256
from workers.counterfactual import Outcome
from workers.measures import MEASURES
from workers.measures.catalogue import INDEX
from workers.outputs import pack_images

CLASSES = ("cat", "dog", "bird")
PARTS = ("head", "hat")
HEAD, HAT = 0, 1
UNITS, EDGE, FRAMES = 4, 8, 3
STD = np.array([1.0, 2.0, 0.5, 0.0])
IMAGES = {"cat": 8, "dog": 1}
FAR = 7
"""The image of a cat that cannot be turned into a dog."""


def spec(**given) -> CounterfactualSpec:
    values = {
        "linker": "a" * 64,
        "origins": ["cat", "dog", "dragon"],
        "targets": ["cat", "dog", "bird", "unicron"],
        "seeds": 8,
        "frames": FRAMES,
        "top": 2,
        **given,
    }
    return CounterfactualSpec.model_validate(values)


def outcome_of(origin: str, target: str, image: int) -> Outcome:
    if target not in CLASSES:
        return Outcome.UNKNOWN_CLASS
    if origin == target:
        return Outcome.SAME_CLASS
    if (origin, target) == ("cat", "bird"):
        return Outcome.STARTS_AS_TARGET
    if (origin, target) == ("dog", "bird"):
        return Outcome.UNREACHABLE
    return Outcome.NOT_CROSSED if image == FAR else Outcome.REACHED


def shift_of(image: int) -> np.ndarray:
    """Lengths 5, 5.5, 6, ... and, for image 6, 8 along another unit."""
    return np.array([0, 0, 8, 0.0]) if image == 6 else np.array([3, 4, 0, 0]) * (1 + image / 10)


def measured(image: int) -> np.ndarray:
    """(2, parts + 1, measures): a hat comes, hue goes on over 360 degrees, lightness goes either way."""
    values = np.full((2, len(PARTS) + 1, len(MEASURES)), np.nan, np.float32)
    values[:, HAT, INDEX["area"]] = [0.0, 0.05 + image / 1000]
    values[:, HEAD, INDEX["area"]] = 0.25
    values[:, HEAD, INDEX["hue"]] = [350, 10]
    values[:, HEAD, INDEX["luminance"]] = [50, 51 if image % 2 else 49]
    if image < 3:
        values[:, HEAD, INDEX["entropy"]] = [2, 2.7]
    values[:, HEAD, INDEX["delta_e"]] = [0, 4]
    values[:, len(PARTS), INDEX["luminance"]] = [50, 90]
    return values


def logits_of(name: str) -> np.ndarray:
    """Probabilities 0.8, 0.1, 0.1."""
    return np.log(np.where(np.array(CLASSES) == name, 0.8, 0.1)).astype(np.float32)


def flat(value: int, *shape: int) -> np.ndarray:
    return np.full((EDGE, EDGE, *shape), value, np.uint8)


def base_chunk(made_for: str) -> ChunkResult:
    images = range(IMAGES[made_for])
    return ChunkResult(
        {
            "measures": np.stack([measured(k)[0] for k in images]),
            "seeds": np.arange(len(images)) + 10,
            "logits": np.stack([logits_of(made_for) for _ in images]),
        },
        {"renderer": "fake 1", "kept": []},
    )


def search_chunk(made_for: str, first: int, count: int, targets: tuple[str, ...]) -> ChunkResult:
    """Rows are images x targets; the first two images of a class have pictures."""
    rows = [(first + k, target) for k in range(count) for target in targets]
    outcomes = [outcome_of(made_for, target, image) for image, target in rows]
    reached = np.array([outcome is Outcome.REACHED for outcome in outcomes])
    nothing = np.full(len(CLASSES), np.nan, np.float32)
    pictures, kept = {}, []
    for row, (image, _) in enumerate(rows):
        if reached[row] and image < 2:
            kept.append(row)
            pictures |= {f"row-{row:04d}/{name}.png": flat(image, 3) for name in ("start", "counterfactual")}
            for name in ("start", "counterfactual"):
                pictures[f"row-{row:04d}/{name}-parts.png"] = flat(HEAD)
            for frame in range(FRAMES):
                pictures[f"row-{row:04d}/frame-{frame:02d}.png"] = flat(frame, 3)

    def where(values: list[float]) -> np.ndarray:
        return np.where(reached, values, np.nan).astype(np.float32)

    shifts = np.array(
        [shift_of(image) if ok else np.zeros(UNITS) for (image, _), ok in zip(rows, reached, strict=True)]
    )
    lengths = np.linalg.norm(shifts, axis=1)
    after = [logits_of(target) if ok else nothing for (_, target), ok in zip(rows, reached, strict=True)]
    searched = [outcome not in (Outcome.SAME_CLASS, Outcome.UNKNOWN_CLASS) for outcome in outcomes]
    tensors = {
        "image": np.array([image for image, _ in rows]),
        "seeds": np.array([image + 10 for image, _ in rows]),
        "origin": np.full(len(rows), CLASSES.index(made_for)),
        "target": np.array([CLASSES.index(t) if t in CLASSES else -1 for _, t in rows]),
        "outcome": np.array([list(Outcome).index(outcome) for outcome in outcomes], np.uint8),
        "shift": shifts.astype(np.float32),
        "head_distance": where(lengths / 2),
        "alpha": where([2.0] * len(rows)),
        "plausibility": where([0.5 + image for image, _ in rows]),
        "start_plausibility": np.where(searched, 0.25, np.nan).astype(np.float32),
        "steps": np.full(len(rows), 3, np.int32),
        "calls": np.array([6 if ok else 4 for ok in reached], np.int32),
        "renders": np.full(len(rows), 20, np.int32),
        "refined": reached.astype(np.uint8),
        "start_logits": np.array([logits_of(made_for) if ok else nothing for ok in searched]),
        "logits": np.array(after),
        "measures": np.stack(
            [
                measured(k) if ok else np.full_like(measured(k), np.nan)
                for (k, _), ok in zip(rows, reached, strict=True)
            ]
        ),
        "change": where([12.5] * len(rows)),
        "strip_alphas": np.linspace(0, 1.25, FRAMES),
        "strip_logits": np.repeat(np.array(after)[:, None], FRAMES, axis=1),
    }
    if pictures:
        tensors["pictures"] = np.frombuffer(pack_images(pictures), np.uint8)
    return ChunkResult(tensors, {"kept": kept})


MEAN = ChunkResult(
    {
        "origin": np.array([0]),
        "target": np.array([1]),
        "images": np.array([8]),
        "reached": np.array([7]),
        "shift": np.array([[3, 4, 0, 0]], np.float32),
        "alike": np.array([0.9], np.float32),
        "multiples": np.array([1.0, 1.5, 2.0]),
        "flips": np.array([[6, 7, 8]]),
    }
)


class FakeJob:
    """A `workers.analyses.job.Job` of chunks at hand."""

    def __init__(self, store, given: CounterfactualSpec, stages: dict[str, list]) -> None:
        self.job_id, self.store, self.spec, self.beats = "job-" + "c" * 24, store, given, 0
        self.chunks = stages
        self.plan = Plan(
            kind="counterfactual",
            spec=given.model_dump(mode="json"),
            models=(),
            stages=tuple(
                Stage(name=n, chunks=[p for p, _ in found], renders=5) for n, found in stages.items()
            ),
        )
        store.put(layout.linker_weights(self.linker_card.digest), self.solution)

    def result(self, stage, wanted=None):
        yield from (c for k, c in enumerate(self.chunks[stage]) if wanted is None or wanted(k, c[0]))

    def beat(self):
        self.beats += 1

    def card(self, kind):
        architecture = {"spec": {"resolution": EDGE}}
        classes = PARTS if kind == "parts" else CLASSES
        return SimpleNamespace(
            kind=kind,
            name=f"fake/{kind}",
            digest="b" * 64,
            classes=classes,
            description="Made by hand.",
            architecture=architecture,
        )

    @cached_property
    def solution(self) -> bytes:
        return save(
            {
                "weight": np.ones((2, UNITS)),
                "feature_mean": np.zeros(UNITS),
                "feature_std": STD,
                "quantile_levels": np.array([0.0, 1.0]),
                "feature_quantiles": np.array([[0.0] * UNITS, [9.0] * UNITS]),
                # The 99 % quantile of distances, per root dimension, is 4.
                "latent_distance_quantiles": np.array([0.0, 4 / 0.99]) * np.sqrt(2),
                "latent_mean": np.zeros(2),
                "latent_whitener": np.eye(2),
                "neighbour_features": np.zeros((3, UNITS)),
            }
        )

    @cached_property
    def linker_card(self):
        architecture = {"generator": {"digest": "b" * 64, "name": "fake/generator"}, "layer": "penultimate"}
        return SimpleNamespace(
            kind="linker",
            name="linkers/fake",
            digest=sha256(self.solution),
            description="Made by hand.",
            architecture={
                **architecture,
                "features": UNITS,
                "latents": 2,
                "truncation": 0.7,
                "penalty": 0.1,
            },
            training={
                "spec": {"classifier": "fake/classifier", "generator": "fake/generator"},
                "pairs": 100,
                "heldout": 10,
                "acceptance": dict.fromkeys(CLASSES, 0.9),
            },
            metrics={"quality": []},
            files={"model.safetensors": SimpleNamespace(sha256=sha256(self.solution))},
        )


def finished(store, **given) -> FakeJob:
    """The job that the module describes."""
    made = spec(**given)
    index = {name: place for place, name in enumerate(CLASSES)}
    blocks = [("cat", 0, 4), ("cat", 4, 4), ("dog", 0, 1)]
    places = list(range(len(made.targets)))
    return FakeJob(
        store,
        made,
        {
            "base": [
                ({"class": index[name], "first": 0, "count": count}, base_chunk(name))
                for name, count in IMAGES.items()
            ],
            "search": [
                (
                    {"class": index[name], "first": first, "count": count, "targets": places},
                    search_chunk(name, first, count, made.targets),
                )
                for name, first, count in blocks
            ],
            "mean": [({"part": 0, "of": 2}, MEAN), ({"part": 1, "of": 2}, nothing_of(MEAN))],
        },
    )


def fruitless(store) -> FakeJob:
    """A job in which every target is the origin: nothing is found, and there is nothing to take means of."""
    made = spec(origins=["cat"], targets=["cat"], seeds=1)
    params = {"class": 0, "first": 0, "count": 8}
    found = search_chunk("cat", 0, 8, ("cat",))
    return FakeJob(
        store, made, {"base": [(params, base_chunk("cat"))], "search": [({**params, "targets": [0]}, found)]}
    )


def imageless(store) -> FakeJob:
    """A job none of whose origins exists."""
    made = spec(origins=["dragon"], targets=["dog", "bird"], seeds=2)
    params = {"class": -2, "first": 0, "count": 0}
    stages = {
        "base": [(params, ChunkResult({}, {"renderer": "fake 1", "kept": []}))],
        "search": [({**params, "targets": [0, 1]}, ChunkResult({}, {"kept": []}))],
        "mean": [({"part": 0, "of": 1}, nothing_of(MEAN))],
    }
    return FakeJob(store, made, stages)


def of_own_images(store, start: str = "own") -> FakeJob:
    """Two images of one's own, read as cats, and the runner-up of each."""
    made = spec(origins=[], targets=[], runner_up=True, image_folder="pets", seeds=8, start=start)
    params = {"class": -1, "first": 0, "count": 8}
    base = base_chunk("cat")
    tensors = {name: values[:2] for name, values in base.tensors.items()} | {
        "seeds": np.arange(2),
        "latents": np.array([[3.0, 4.0], [0.0, 0.0]], np.float32),
        "photo_logits": np.stack([logits_of("dog"), logits_of("cat")]),
        "linked_error": np.array([30, 31], np.float32),
        "inverted_error": np.array([20, 21], np.float32),
        "feature_error": np.array([0.1, 0.2], np.float32),
    }
    pictures = {"0.png": flat(1, 3), "0-photo.png": flat(2, 3), "0-linked.png": flat(3, 3)}
    if start == "linked":
        # Then the base image is the linker's picture of the photo, and its features are the photo's.
        pictures["0-inverted.png"] = flat(4, 3)
        tensors["inverted_logits"] = np.stack([logits_of("bird"), logits_of("bird")])
        tensors["inverted_plausibility"] = np.array([1.5, 2.5])
        tensors["inverted_refined"] = np.array([1, 0], np.uint8)
    tensors["pictures"] = np.frombuffer(pack_images(pictures | {"0-parts.png": flat(0)}), np.uint8)
    record = {"renderer": "fake 1", "kept": [0], "names": ["tom.jpg", "felix.jpg"], "refined": True}
    found = search_chunk("cat", 0, 2, ("dog",))
    found = ChunkResult({**found.tensors, "seeds": np.arange(2)}, found.record)
    return FakeJob(
        store,
        made,
        {
            "base": [(params, ChunkResult(tensors, record))],
            "search": [({**params, "targets": [0]}, found)],
            "mean": [({"part": 0, "of": 1}, nothing_of(MEAN))],
        },
    )


def nothing_of(chunk: ChunkResult) -> ChunkResult:
    """The same without any pair."""
    return ChunkResult({k: v if k == "multiples" else v[:0] for k, v in chunk.tensors.items()})


def about(table) -> dict:
    """What the metadata of a table says of the job."""
    return dict(json.loads(table.schema.metadata[b"unitscope.counterfactual"]))
