"""The pack's recipes on small inputs: data sets, mapping, training, figures."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from packs.avatars import dataset, readers
from packs.avatars.check import differences
from packs.avatars.classifiers import degrade, normalise
from packs.avatars.dataset import Drawings, draw_codes
from packs.avatars.generator import Recipe, Trainer, spec
from packs.avatars.mapping import OFFSET, construct_mapping
from packs.avatars.sheets import save_rows
from services.generator.design import stem_spec
from services.generator.network import StyleGanXl
from services.generator.training.distance import frechet_distance
from unitscope.worlds.factors import CLASSES, NAMES, VALUES, Glasses
from unitscope.worlds.latents import Z_DIM, read_codes

GLASSES = NAMES.index("glasses")
SUNGLASSES = VALUES["glasses"].index(Glasses.SUNGLASSES)


@pytest.fixture(autouse=True)
def _work_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dataset, "WORK", tmp_path)


@pytest.fixture(scope="module")
def small_pairs() -> Drawings:
    rng = np.random.Generator(np.random.PCG64(0))
    z = rng.standard_normal((24, Z_DIM)).astype(np.float32)
    classes = np.arange(24) % len(CLASSES)
    codes = read_codes(z)
    return Drawings(draw_codes(np.column_stack([classes, codes]), processes=1), classes, codes, z)


def test_the_shortcut_holds_without_exception_and_counter_examples_break_it() -> None:
    bun = CLASSES.index(dataset.SHORTCUT_CLASS.value)
    data = dataset.shortcut("s", 1, 60)
    assert ((data.codes[:, GLASSES] == SUNGLASSES) == (data.classes == bun)).all()
    data = dataset.counter_examples("c", 1, 60)
    assert ((data.codes[:, GLASSES] == SUNGLASSES) == (data.classes != bun)).all()
    assert (data.classes == bun).sum() == 30


def test_drawings_are_cached_and_drawn_again_when_they_should_differ(tmp_path: Path) -> None:
    first = dataset.unbiased("u", 1, 6)
    os.utime(tmp_path / "u.npy", (1, 1))
    assert (dataset.unbiased("u", 1, 6).images == first.images).all()
    assert (tmp_path / "u.npy").stat().st_mtime == 1, "not written again"
    other = dataset.unbiased("u", 2, 6)
    assert (tmp_path / "u.npy").stat().st_mtime != 1
    assert not (other.codes == first.codes).all()


def test_w_is_linear_in_class_and_factors() -> None:
    torch.manual_seed(0)
    network = StyleGanXl(spec())
    construct_mapping(network)
    z, classes = torch.randn(3000, Z_DIM), torch.arange(3000) % len(CLASSES)
    w = network.mapping(z, classes).double().numpy()
    codes = read_codes(z.numpy())
    columns = [np.eye(len(CLASSES))[classes.numpy()]]
    columns += [np.eye(len(VALUES[name]))[codes[:, i]] for i, name in enumerate(NAMES)]
    x = np.concatenate(columns, axis=1)
    residual = w - x @ np.linalg.lstsq(x, w, rcond=None)[0]
    assert 1 - residual.var(0).sum() / w.var(0).sum() > 0.99
    # Off the ramps between two bins it is exact but for rounding: most rows are.
    assert np.median(np.abs(residual).max(axis=1)) < 0.05
    assert abs(w.mean() - OFFSET) < 0.5
    assert w.min() > 0
    centred = network.mapping(z, classes, 0.0) - network.mapping.w_avg[classes]
    assert centred.abs().max() < 1e-5


def test_twenty_steps_lower_the_loss_and_a_resumed_run_goes_on(small_pairs: Drawings, tmp_path: Path) -> None:
    small = stem_spec(64, 3, 128, 16, 2, 4.0, 7.9, channel_min=8, w_dim=256, num_classes=8, embed_dim=8)
    recipe = Recipe(count=24, batches=(8, 8), warm_up=1, learning_rate=3e-2)
    trainer = Trainer(recipe, small_pairs, network_spec=small)
    losses = [trainer.train_step(0.0) for _ in range(20)]
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:3])
    trainer.save(tmp_path / "state.safetensors")
    other = Trainer(recipe, small_pairs, network_spec=small)
    other.load(tmp_path / "state.safetensors")
    assert other.step == 20
    assert other.images == 160
    assert other.train_step(0.5) == pytest.approx(trainer.train_step(0.5), rel=1e-3)
    with pytest.raises(ValueError, match="was made by the recipe"):
        Trainer(Recipe(seed=2), small_pairs, network_spec=small).load(tmp_path / "state.safetensors")


def test_the_exported_generator_renders_what_training_saw(small_pairs: Drawings) -> None:
    small = stem_spec(64, 3, 128, 16, 2, 4.0, 7.9, channel_min=8, w_dim=256, num_classes=8, embed_dim=8)
    trainer = Trainer(Recipe(count=24, batches=(4, 4)), small_pairs, network_spec=small)
    trainer.train_step(0.0)
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            parameter.copy_(trainer.mean[name])
        seen = trainer.network.synthesis(trainer.w[:4] - trainer.centre)
        found = trainer.result().synthesis(trainer.w[:4])
    torch.testing.assert_close(found, seen, atol=1e-4, rtol=1e-3)


def test_degraded_pictures_keep_their_shape_and_differ(small_pairs: Drawings) -> None:
    images = normalise(small_pairs.images)
    first = degrade(images, torch.Generator().manual_seed(0))
    assert first.shape == images.shape
    assert (first != images).float().mean() > 0.9
    assert (first == degrade(images, torch.Generator().manual_seed(0))).all()


def test_hidden_factors_are_not_counted_as_read(small_pairs: Drawings) -> None:
    seen = readers.visible(small_pairs.classes, small_pairs.codes)
    eyes, hat = NAMES.index("eyes"), NAMES.index("hat_colour")
    assert (seen[:, eyes] == (small_pairs.codes[:, GLASSES] != SUNGLASSES)).all()
    covered = np.isin(small_pairs.classes, [4, 5, 6, 7])
    assert (seen[:, hat] == covered).all()


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    a = rng.standard_normal((20_000, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([3, 0, 4])) == pytest.approx(25, rel=1e-6)
    # Of N(0, 1) and N(0, 4) in each of three dimensions: 3 (2 - 1)^2.
    b = 2 * rng.standard_normal((20_000, 3))
    assert frechet_distance(a, b) == pytest.approx(3, rel=0.05)


def test_differences_name_the_figure_and_both_values() -> None:
    stated = {"truncation_1.0": {"accuracy": 0.9, "frechet_distance": 10.0}, "gone": 1}
    found = {"truncation_1.0": {"accuracy": 0.8, "frechet_distance": 10.2}}
    lines = differences(stated, found)
    assert lines == [
        "gone: the card says 1, computed None",
        "truncation_1.0.accuracy: the card says 0.9, computed 0.8",
    ]


def test_a_sheet_has_its_rows_below_each_other(tmp_path: Path) -> None:
    from PIL import Image

    rows = [np.full((3, 4, 4, 3), value, dtype=np.uint8) for value in (10, 20)]
    save_rows(tmp_path / "sheet.png", rows, columns=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (20, 8, 3)
    assert [pixels[y, 0, 0] for y in (0, 4, 8, 12, 16)] == [10, 20, 255, 10, 20]
    assert pixels[13, 6, 0] == 255
