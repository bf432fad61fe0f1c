"""The steps: they teach, they leave alone what is frozen, and a resumed run is the same run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from services.generator.training.guidance import Guide
from services.generator.training.stages import freeze, grown, grown_stage, stem_stage
from services.generator.training.trainer import Trainer, TrainerSettings
from tests.services.generator.training.tiny import (
    CLASSES,
    HEAD,
    SETTINGS,
    TinyFeatures,
    pictures,
    tiny_stem,
)
from unitscope.errors import FailedPreconditionError, InvalidArgumentError


def stem_trainer(seed: int = 1, **changes: Any) -> Trainer:
    network = tiny_stem()
    settings = dataclasses.replace(SETTINGS, **changes)
    return Trainer(network, TinyFeatures(), settings, stage=stem_stage(network.spec), seed=seed)


def run(trainer: Trainer, steps: int, first: int = 0) -> list[dict[str, float]]:
    size, batch = trainer.network.spec.resolution, trainer.settings.batch
    return [trainer.step(*pictures(batch, size, seed=first + i)) for i in range(steps)]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def test_discriminators_learn_to_tell_real_from_generated() -> None:
    # Without a generator that answers: its rate is next to nothing.
    trainer = stem_trainer(generator_rate=1e-9, batch=12)
    figures = run(trainer, 40)
    apart = [figure["logits_real"] - figure["logits_generated"] for figure in figures]
    assert abs(apart[0]) < 0.5
    assert sum(apart[-5:]) / 5 > 1
    assert figures[-1]["loss_discriminator"] < 0.7 * figures[0]["loss_discriminator"]


def test_the_generator_learns_the_colours_of_the_classes() -> None:
    trainer = stem_trainer(batch=12, ema_half_life=60.0, generator_rate=0.005)
    z = torch.randn(30, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(30) % CLASSES
    real, kinds = pictures(30)
    wanted = torch.stack([real[kinds == c].float().mean((0, 1, 2)) / 127.5 - 1 for c in range(CLASSES)])

    def look() -> tuple[float, float]:
        """How far mean colours are from those of the class, and how often that class's are nearest."""
        with torch.no_grad():
            found = trainer.ema(z, labels).mean((2, 3))
        right = torch.cdist(found, wanted).argmin(dim=1) == labels
        return float((found - wanted[labels]).abs().mean()), float(right.float().mean())

    before, guessed = look()
    run(trainer, 140)
    after, recognised = look()
    assert after < 0.6 * before
    assert recognised > max(0.8, guessed)


def test_a_head_trains_and_nothing_else() -> None:
    earlier = tiny_stem()
    network = grown(earlier, 32, HEAD)
    stage = grown_stage(network.spec, earlier.spec)
    trainer = Trainer(network, TinyFeatures(), SETTINGS, stage=stage, seed=1)
    before = weights(trainer)
    run(trainer, 2)
    for found in (trainer.network.state_dict(), trainer.ema.state_dict()):
        for name, value in found.items():
            trained = any(f".{layer}." in name for layer in stage.layers)
            if not trained or name.endswith("_filter"):
                assert torch.equal(value, before[name]), name
            else:
                assert not torch.equal(value, before[name]), name


def test_a_stem_trains_whole() -> None:
    trainer = stem_trainer()
    before = weights(trainer)
    run(trainer, 2)
    fixed = ("_filter", "freqs", "phases", "transform")
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[name]) == name.endswith(fixed), name


def test_the_mean_of_the_weights_follows_its_formula() -> None:
    trainer = stem_trainer(ema_half_life=40.0, ema_ramp_up=2.0)
    name = "mapping.fc0.weight"
    expected = weights(trainer)[name]
    for i, half_life in enumerate((0.0, 12.0, 24.0, 36.0, 40.0, 40.0)):
        run(trainer, 1, first=i)
        kept = 0.5 ** (6 / half_life) if half_life else 0.0
        now = trainer.network.state_dict()[name]
        expected = kept * expected.double() + (1 - kept) * now.double()
        found = trainer.ema.state_dict()[name]
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    assert not torch.equal(found, now)


def test_the_default_half_life_is_that_of_stylegan3() -> None:
    settings = TrainerSettings(batch=32)
    assert settings.ema_kept(10_000_000) == pytest.approx(0.5 ** (32 / 10_000))
    assert settings.ema_kept(1000) == pytest.approx(0.5 ** (32 / 50))


def test_a_resumed_run_is_the_same_run() -> None:
    straight = stem_trainer()
    run(straight, 5)
    first = stem_trainer()
    run(first, 2)
    kept = first.state()
    run(first, 1)
    # Another seed, and steps of its own: all of it has to be replaced.
    second = stem_trainer(seed=9)
    run(second, 1)
    second.load(kept)
    figures = run(second, 3, first=2)
    assert all(value == value for value in figures[-1].values())
    found, wanted = second.state(), straight.state()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    assert second.pictures_seen == 30


def test_a_resumed_stage_with_guidance_and_parts_is_the_same_run() -> None:
    guide = Guide(torch.randn(CLASSES, 12), torch.zeros(CLASSES), held_out_accuracy=1.0, held_out_count=3)
    settings = dataclasses.replace(SETTINGS, guidance_above=16, rows_at_once=4)

    def stage_trainer(seed: int) -> Trainer:
        stem = tiny_stem(seed)
        network = grown(stem, 32, HEAD, seed=seed)
        stage = grown_stage(network.spec, stem.spec)
        return Trainer(network, TinyFeatures(), settings, stage=stage, guide=guide, seed=seed)

    straight = stage_trainer(1)
    run(straight, 2)
    kept = straight.state()
    run(straight, 2, first=2)
    resumed = stage_trainer(2)
    resumed.load(kept)
    run(resumed, 2, first=2)
    found = resumed.state()
    for name, value in straight.state().items():
        assert torch.equal(found[name], value), name


def test_a_resumed_network_renders_as_before() -> None:
    trainer = stem_trainer()
    run(trainer, 1)
    other = stem_trainer(seed=4)
    other.load(trainer.state())
    z, labels = torch.randn(2, 8), torch.tensor([0, 2])
    with torch.no_grad():
        assert torch.equal(trainer.ema(z, labels), other.ema(z, labels))


def test_a_state_of_another_design_is_refused_and_changes_nothing() -> None:
    trainer = stem_trainer()
    state = trainer.state()
    state["judges/0.scales.0.score.bias"] = torch.zeros(7)
    other = stem_trainer(seed=2)
    before = other.state()
    with pytest.raises(FailedPreconditionError, match=r"score\.bias is of shape \(7,\)") as caught:
        other.load(state)
    assert caught.value.reason == "WRONG_STATE"
    after = other.state()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_parts_of_a_batch_give_the_whole_batch() -> None:
    whole, parts = stem_trainer(), stem_trainer(rows_at_once=4)
    one, other = run(whole, 1)[0], run(parts, 1)[0]
    assert one == pytest.approx(other, rel=1e-4)
    assert torch.allclose(
        whole.network.synthesis.layers()[0].magnitude_ema, parts.network.synthesis.layers()[0].magnitude_ema
    )
    torch.testing.assert_close(whole.network.mapping.w_avg, parts.network.mapping.w_avg)
    gradients = (dict(trainer.network.named_parameters()) for trainer in (whole, parts))
    first, second = ({name: p.grad for name, p in named.items()} for named in gradients)
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_grown_stage_is_guided_and_a_stem_is_not() -> None:
    earlier = tiny_stem()
    guide = Guide(torch.randn(CLASSES, 12), torch.zeros(CLASSES), held_out_accuracy=1.0, held_out_count=3)
    settings = dataclasses.replace(SETTINGS, guidance_above=16)
    trainer = Trainer(
        earlier, TinyFeatures(), settings, stage=stem_stage(earlier.spec), guide=guide
    )  # fmt: skip
    assert not trainer.guided
    assert "guidance" not in run(trainer, 1)[0]
    network = grown(earlier, 32, HEAD)
    stage = grown_stage(network.spec, earlier.spec)
    features = TinyFeatures()
    guided = Trainer(network, features, settings, stage=stage, guide=guide, seed=1)
    assert run(guided, 1)[0]["guidance"] > 0
    # The weight decides what the same draws give as a gradient.
    unguided = Trainer(
        grown(earlier, 32, HEAD), features, dataclasses.replace(settings, guidance_weight=0.0),
        stage=stage, guide=guide, seed=1,
    )  # fmt: skip
    run(unguided, 1)
    name = f"synthesis.{stage.layers[-1]}.bias"
    mine, theirs = (dict(t.network.named_parameters())[name].grad for t in (guided, unguided))
    assert mine is not None
    assert theirs is not None
    assert not torch.allclose(mine, theirs)


def test_guidance_makes_pictures_recognisable() -> None:
    features = TinyFeatures()
    real, labels = pictures(60)
    pooled = features.pooled(real.permute(0, 3, 1, 2).float() / 127.5 - 1)
    centres = torch.stack([pooled[labels == c].mean(0) for c in range(CLASSES)])
    guide = Guide(
        20 * centres, -10 * centres.square().sum(1), held_out_accuracy=1.0, held_out_count=60
    )  # fmt: skip
    network = tiny_stem()
    settings = dataclasses.replace(SETTINGS, guidance_above=8, batch=12, generator_rate=0.005)
    trainer = Trainer(network, features, settings, stage=stem_stage(network.spec), guide=guide, seed=1)
    figures = run(trainer, 40)
    assert figures[-1]["guidance"] < 0.6 * figures[0]["guidance"]


def test_several_feature_networks_judge_together() -> None:
    network = tiny_stem()
    both = [TinyFeatures(1), TinyFeatures(2)]
    trainer = Trainer(network, both, SETTINGS, stage=stem_stage(network.spec))
    one = stem_trainer()
    # At the start every hinge of every scale is near 2, and they are summed.
    assert run(trainer, 1)[0]["loss_discriminator"] > 1.5 * run(one, 1)[0]["loss_discriminator"]


def test_a_step_that_diverges_changes_no_weight() -> None:
    trainer = stem_trainer()
    with torch.no_grad():
        trainer.network.synthesis.layers()[-1].bias.fill_(float("nan"))
    before = weights(trainer)
    with pytest.raises(FailedPreconditionError, match="diverged after 0 pictures") as caught:
        run(trainer, 1)
    assert caught.value.reason == "TRAINING_DIVERGED"
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(before[name])), name


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (torch.zeros(6, 16, 16, 3), torch.zeros(6, dtype=torch.long), "BAD_SHAPE"),
        (torch.zeros(5, 16, 16, 3, dtype=torch.uint8), torch.zeros(5, dtype=torch.long), "BAD_SHAPE"),
        (torch.zeros(6, 32, 32, 3, dtype=torch.uint8), torch.zeros(6, dtype=torch.long), "BAD_SHAPE"),
        (torch.zeros(6, 16, 16, 3, dtype=torch.uint8), torch.full((6,), 3), "CLASS_OUT_OF_RANGE"),
    ],
)
def test_bad_batches_are_refused(images: Tensor, labels: Tensor, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        stem_trainer().step(images, labels)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "bad",
    [
        {"batch": 0}, {"generator_rate": 0.0}, {"discriminator_rate": float("nan")}, {"betas": (0.0, 1.0)},
        {"ema_half_life": -1.0}, {"precision": "float16"}, {"rows_at_once": -1},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(bad))) as caught:
        TrainerSettings(**bad)
    assert caught.value.reason == "BAD_TRAINER_SETTINGS"


def test_a_stage_or_guide_of_another_network_is_refused() -> None:
    stem = tiny_stem()
    larger = grown(stem, 32, HEAD)
    with pytest.raises(InvalidArgumentError) as caught:
        freeze(stem, grown_stage(larger.spec, stem.spec))
    assert caught.value.reason == "WRONG_STAGE"
    guide = Guide(torch.zeros(2, 12), torch.zeros(2), held_out_accuracy=0.5, held_out_count=2)
    settings = dataclasses.replace(SETTINGS, guidance_above=8)
    with pytest.raises(InvalidArgumentError) as caught:
        Trainer(stem, TinyFeatures(), settings, stage=stem_stage(stem.spec), guide=guide)
    assert caught.value.reason == "WRONG_GUIDE"
