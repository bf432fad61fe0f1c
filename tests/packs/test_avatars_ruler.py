"""The ruler, the labelled pictures of the parts model, and the parts model itself."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from packs.avatars import dataset, pack, parts_model, ruler
from packs.avatars.check import differences
from packs.avatars.dataset import Drawings, draw_codes, label_codes, label_maps, outline_keys
from packs.avatars.labels import SEEDS, examples, write_labels
from packs.avatars.ruler_figures import agreement
from packs.avatars.ruler_sheet import COUNT, hand_check
from packs.avatars.ruler_training import HIDDEN, Recipe, Trainer, disturb, targets
from services.generator.backend import GeneratorBackend
from services.generator.parts.dataset import PartSet
from services.generator.parts.evaluation import iou
from unitscope.errors import InvalidArgumentError
from unitscope.worlds.factors import CLASSES, NAMES, VALUES, Glasses
from unitscope.worlds.latents import Z_DIM, read_codes
from unitscope.worlds.parts import PARTS

EYES, GLASSES = NAMES.index("eyes"), NAMES.index("glasses")
SUNGLASSES = VALUES["glasses"].index(Glasses.SUNGLASSES)


@pytest.fixture(autouse=True)
def _work_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dataset, "WORK", tmp_path)


@pytest.fixture(scope="module")
def fresh() -> Drawings:
    """Drawings from a seed that no recipe uses."""
    z = np.random.Generator(np.random.PCG64(988)).standard_normal((48, Z_DIM)).astype(np.float32)
    classes = np.arange(48) % len(CLASSES)
    codes = read_codes(z)
    return Drawings(draw_codes(np.column_stack([classes, codes]), processes=1), classes, codes, z)


@pytest.fixture(scope="module")
def judge() -> ruler.Ruler:
    return ruler.load()


def test_colours_move_no_outline_and_every_outline_factor_does(fresh: Drawings) -> None:
    row = np.concatenate([fresh.classes[:1], fresh.codes[0]])
    row[1 + GLASSES] = 0
    for place, name in enumerate(NAMES, start=1):
        other = row.copy()
        other[place] = (other[place] + 1) % len(VALUES[name])
        first, second = label_codes(np.stack([row, other]), processes=1)
        keys = outline_keys(np.array([row[0], other[0]]), np.stack([row[1:], other[1:]]))
        assert (first != second).any() == (name in dataset.OUTLINES), name
        assert (keys[0] != keys[1]) == (name in dataset.OUTLINES), name


def test_label_maps_are_kept_and_equal_those_drawn_anew(fresh: Drawings, tmp_path: Path) -> None:
    few = Drawings(fresh.images[:3], fresh.classes[:3], fresh.codes[:3], fresh.z[:3])
    found = label_maps(few)
    assert (found == label_codes(np.column_stack([few.classes, few.codes]), processes=1)).all()
    os.utime(tmp_path / "label-maps.npz", (1, 1))
    assert (label_maps(few) == found).all()
    assert (tmp_path / "label-maps.npz").stat().st_mtime == 1, "not written again"


def test_the_card_says_what_the_ruler_is_for_and_how_far_it_can_be_trusted() -> None:
    card = pack.read_card("ruler")
    assert (card.name, card.kind, card.classes) == ("avatars/ruler", "ruler", PARTS)
    assert "never used by them" in card.description
    assert card.architecture["readings"] == {name: list(words) for name, words in ruler.READINGS.items()}
    for key in ("drawn", "generated_truncation_1.0", "generated_truncation_0.7"):
        assert card.metrics[key]["iou"].keys() == set(PARTS)
        assert card.metrics[key]["accuracy"].keys() == set(ruler.READINGS)
    assert card.metrics["hand_checked"] == hand_check()


def test_the_hand_check_counts_every_factor_of_the_pictures() -> None:
    found = hand_check()
    assert found["pictures"] == COUNT
    assert found["wrong_readings"].keys() == set(ruler.READINGS)
    assert all(0 <= count <= COUNT for count in found["wrong_readings"].values())


def test_the_ruler_reads_parts_and_factors_of_new_drawings(fresh: Drawings, judge: ruler.Ruler) -> None:
    found = iou(judge.labels(fresh.images), label_maps(fresh), PARTS)
    assert found.mean > 0.93
    assert min(found.by_part.values()) > 0.8
    assert min(agreement(judge.codes(fresh.images), fresh).values()) > 0.95


def test_probabilities_sum_to_one_and_agree_with_the_codes(fresh: Drawings, judge: ruler.Ruler) -> None:
    found = judge.probabilities(fresh.images[:5])
    assert tuple(found) == ("top", *NAMES)
    for name, values in found.items():
        assert values.shape == (5, len(ruler.READINGS[name]))
        np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)
    best = np.stack([values.argmax(1) for values in found.values()], axis=1)
    assert (best == judge.codes(fresh.images[:5])).all()


def test_reading_twice_gives_the_same_and_nothing_gives_nothing(fresh: Drawings, judge: ruler.Ruler) -> None:
    assert (judge.labels(fresh.images[:7]) == judge.labels(fresh.images[:7])).all()
    none = fresh.images[:0]
    assert judge.labels(none).shape == (0, 64, 64)
    assert judge.codes(none).shape == (0, 11)


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (64, 64, 3)])
def test_pictures_of_another_size_are_refused(judge: ruler.Ruler, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="64, 64, 3"):
        judge.labels(np.zeros(shape, dtype=np.uint8))


def test_disturbed_label_maps_stay_on_their_pictures(fresh: Drawings) -> None:
    labels = torch.from_numpy(label_maps(fresh)[:16])
    figure = (labels != 0).float()[:, None].expand(-1, 3, -1, -1) * 1.6 - 0.8
    images, moved = disturb(figure, labels, torch.Generator().manual_seed(0))
    assert images.shape == figure.shape
    assert (moved != labels).any(dim=(1, 2)).all()
    inside = (images.mean(1) > 0) == (moved != 0)
    assert inside.float().mean() > 0.97


def test_what_a_drawing_hides_is_no_target(fresh: Drawings) -> None:
    found = targets(fresh)
    assert (found[:, 0] == fresh.classes).all()
    assert ((found[:, 1 + EYES] == HIDDEN) == (fresh.codes[:, GLASSES] == SUNGLASSES)).all()
    assert (found[:, 1 + GLASSES] == fresh.codes[:, GLASSES]).all()


def test_training_lowers_the_loss_and_a_resumed_run_goes_on(fresh: Drawings, tmp_path: Path) -> None:
    few = Drawings(fresh.images[:24], fresh.classes[:24], fresh.codes[:24], fresh.z[:24])
    recipe = Recipe(count=24, batch=8, warm_up=0.1)
    trainer = Trainer(recipe, few)
    losses = [trainer.run_epoch(0.1 + i / 10, 0.1) for i in range(4)]
    assert losses[-1] < 0.8 * losses[0]
    trainer.save(tmp_path / "state.safetensors")
    other = Trainer(recipe, few)
    other.load(tmp_path / "state.safetensors")
    assert other.epoch == 4
    assert other.run_epoch(0.5, 0.1) == pytest.approx(trainer.run_epoch(0.5, 0.1), rel=1e-3)
    with pytest.raises(ValueError, match="was made by the recipe"):
        Trainer(Recipe(seed=2), few).load(tmp_path / "state.safetensors")


def test_the_examples_cover_every_class_and_part() -> None:
    assert len(SEEDS) == len(set(SEEDS)) == 20
    for count, parts in ((1, len(PARTS) - 1), (5, len(PARTS)), (20, len(PARTS))):
        assert len(np.unique(label_maps(examples(count)))) == parts
    assert set(examples(10).classes) == set(range(len(CLASSES)))
    with pytest.raises(InvalidArgumentError, match="1 to 20"):
        examples(21)


def test_the_part_set_is_valid_and_its_labels_are_the_drawings(tmp_path: Path) -> None:
    write_labels(tmp_path / "set", GeneratorBackend(pack.read_generator()), 3)
    found = PartSet.load(tmp_path / "set", pack.read_card("generator"))
    assert found.labelled() == [0, 1, 2]
    assert found.parts == PARTS
    assert (found.label_maps(range(3)) == label_maps(examples(3))).all()


def test_clusters_are_called_by_the_part_that_they_overlap_most() -> None:
    truth = np.array([[[0, 0, 3, 3], [3, 5, 5, 0]]], dtype=np.uint8)
    clusters = np.array([[[1, 1, 0, 0], [0, 2, 2, 2]]], dtype=np.uint8)
    assert parts_model.match(clusters, truth, 4).tolist() == [3, 0, 5, 0]


def test_figures_of_models_that_the_check_fits_again_may_differ_more() -> None:
    stated = {"iou": {"hair": 0.9}, "iou_by_labelled_pictures": {"5": {"hair": 0.8}}, "judge": "x"}
    found = {"iou": {"hair": 0.88}, "iou_by_labelled_pictures": {"5": {"hair": 0.78}}, "judge": "y"}
    lines = differences(stated, found)
    assert [line.split(":")[0] for line in lines] == ["iou.hair", "judge"]


def test_the_parts_model_belongs_to_the_generator_and_was_judged_by_this_ruler() -> None:
    card = pack.read_card("parts")
    assert card.classes == PARTS
    assert card.architecture["generator"]["digest"] == pack.read_card("generator").digest
    assert card.metrics["judge"].endswith(pack.read_card("ruler").short_digest)
    curve = [card.metrics["iou_by_labelled_pictures"][str(count)]["mean"] for count in parts_model.COUNTS]
    assert curve[0] < curve[-1]
    assert card.metrics["iou_unsupervised"]["mean"] < curve[-1]


def test_the_parts_model_agrees_with_the_ruler_on_new_pictures(judge: ruler.Ruler) -> None:
    backend = GeneratorBackend(pack.read_generator())
    w = parts_model.latents(backend, 989, 16)
    images, labels = backend.render_parts(w, parts_model.read())
    assert iou(labels, judge.labels(images), PARTS).mean > 0.7
