"""Steps of adversarial training: the generator, the discriminators on fixed features, and the mean.

A step shows the discriminators one batch of real and one of generated pictures, and the generator what
they think of another. The loss is the hinge (arXiv 1705.02894) summed over the scales (Projected GANs,
arXiv 2111.01007, section 3), with guidance by a classifier above 32 pixels (StyleGAN-XL, arXiv
2202.00273, section 3.4). What ships is the running mean of the weights, `Trainer.ema`::

    network = stem_network(classes=10, seed=1)
    trainer = Trainer(network, LiteFeatures(), TrainerSettings(), stage=stem_stage(network.spec), seed=1)
    figures = trainer.step(images, labels)        # uint8 (batch, 16, 16, 3), int64 (batch,)
    save_file(trainer.state(), path)              # another trainer's `load` goes on from here

On a CPU a run that is resumed equals one that was never stopped, to the last bit: every random number
comes from one generator whose position is part of the state. There is no style mixing, which StyleGAN-XL
dropped, no penalty on D's gradient, which fixed features make needless, and no path-length penalty: the
fast layers are differentiable once.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from services.generator.fast import in_float32
from services.generator.network import StyleGanXl
from services.generator.training.augment import Augmentation, blur_sigma, blurred, draw_augmentation
from services.generator.training.batches import Figures, check_batch, mean_logit
from services.generator.training.discriminator import Discriminator
from services.generator.training.guidance import Guide
from services.generator.training.moments import moments, read_moments
from services.generator.training.projector import FeatureNetwork, Projector
from services.generator.training.stages import Stage, freeze
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

_MEANS_KEPT = 0.998
"""Share of the mean w that a step keeps (StyleGAN2's and 3's w_avg_beta)."""

_MAGNITUDE_HALF_LIFE = 20_000
"""Pictures after which a layer's mean square has forgotten half (StyleGAN3's published settings)."""

_EMA_PICTURES_PER_ROW = 10_000 / 32
"""StyleGAN3's running mean: 10,000 pictures for a batch of 32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How to train. The defaults are those of the papers, for a batch that fits one GPU.

    Attributes:
        batch: Pictures a step; Projected GANs train small data with 64.
        rows_at_once: Pictures whose gradients are computed at once, to save memory; 0 is all. It
            changes no result but for rounding.
        generator_rate: Adam's learning rate of the generator (StyleGAN3, configuration T).
        discriminator_rate: The same for the discriminators.
        betas: Adam's decay rates: no momentum (StyleGAN3, Projected GANs).
        ema_half_life: Pictures after which the running mean of the weights has forgotten half; 0 is
            StyleGAN3's 10,000 for a batch of 32, in proportion to the batch.
        ema_ramp_up: The half-life is never above this share of the pictures seen (StyleGAN2-ADA).
        guidance_weight: Of the guiding classifier's cross entropy (StyleGAN-XL: 8).
        guidance_above: Largest resolution without guidance (StyleGAN-XL: 32).
        blur_sigma: Deviation in pixels of the blur that real and generated pictures of the stem
            begin with (StyleGAN-XL: 2); 0 is none.
        blur_pictures: Pictures over which it fades (StyleGAN-XL: 200,000).
        projection_channels: Channels of the finest mixed map (Projected GANs: 64).
        precision: Of convolutions on a GPU: "auto" is bfloat16 there. A CPU computes float32.
    """

    batch: int = 64
    rows_at_once: int = 0
    generator_rate: float = 0.0025
    discriminator_rate: float = 0.002
    betas: tuple[float, float] = (0.0, 0.99)
    ema_half_life: float = 0.0
    ema_ramp_up: float = 0.05
    guidance_weight: float = 8.0
    guidance_above: int = 32
    blur_sigma: float = 2.0
    blur_pictures: int = 200_000
    projection_channels: int = 64
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            InvalidArgumentError: A value is out of its range (reason BAD_TRAINER_SETTINGS).
        """
        lowest = {"batch": 1, "projection_channels": 1, "rows_at_once": 0, "blur_pictures": 0}
        for name, low in lowest.items():
            self._require(name, getattr(self, name) >= low, f"at least {low}")
        for name in ("generator_rate", "discriminator_rate", "ema_ramp_up"):
            value = getattr(self, name)
            self._require(name, math.isfinite(value) and value > 0, "a number above 0")
        for name in ("ema_half_life", "guidance_weight", "blur_sigma"):
            value = getattr(self, name)
            self._require(name, math.isfinite(value) and value >= 0, "0 or a number above it")
        self._require("betas", all(0 <= beta < 1 for beta in self.betas), "in [0, 1)")
        self._require(
            "precision", self.precision in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16"
        )

    def _require(self, name: str, good: bool, wanted: str) -> None:
        if not good:
            value = getattr(self, name)
            raise InvalidArgumentError(
                f"{name} is {value}; it must be {wanted}",
                reason="BAD_TRAINER_SETTINGS",
                field=name,
                value=value,
            )

    def ema_kept(self, pictures: int) -> float:
        """The share of the running mean that a step keeps which begins after so many pictures."""
        half_life = self.ema_half_life or self.batch * _EMA_PICTURES_PER_ROW
        half_life = min(half_life, pictures * self.ema_ramp_up)
        return math.pow(0.5, self.batch / max(half_life, 1e-8))


class Trainer:
    """The training of one stage.

    Attributes:
        network: The network that trains, on the device.
        ema: The running mean of its weights, in evaluation mode: what ships.
        stage: What of the network trains.
        settings: How it trains.
        pictures_seen: Real pictures that the steps of this stage have seen.
    """

    def __init__(
        self,
        network: StyleGanXl,
        features: FeatureNetwork | Sequence[FeatureNetwork],
        settings: TrainerSettings,
        *,
        stage: Stage,
        guide: Guide | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        """Prepares a stage; the discriminators start anew.

        Args:
            network: What trains, changed in place; see `stages.stem_network` and `stages.grown`.
            features: The frozen network that judges, or several of them.
            settings: How to train.
            stage: What of the network trains.
            guide: Classifier on the (first) feature network's pooled features; without one, or up to
                `settings.guidance_above` pixels, there is no guidance.
            seed: Of the discriminators, the mixing of features, latents and augmentation.
            device: "cpu", "cuda" or "cuda:<index>".

        Raises:
            InvalidArgumentError: The stage is another network's (WRONG_STAGE), or the guide tells
                another number of classes apart (WRONG_GUIDE).
        """
        self.settings, self.stage = settings, stage
        self.device = torch.device(device)
        self.network = network.to(self.device).train()
        self._trained = freeze(network, stage)
        self.ema = copy.deepcopy(network).eval().requires_grad_(False)
        self._features = list(features) if isinstance(features, Sequence) else [features]
        seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(2 + len(self._features))]
        self._random = torch.Generator().manual_seed(seeds[0])
        self._projectors = [
            Projector(one, channels=settings.projection_channels, seed=word, device=self.device)
            for one, word in zip(self._features, seeds[2:], strict=True)
        ]
        self._judges = self._draw_judges(seeds[1]).to(self.device)
        self._guide = self._take_guide(guide)
        self._generator_adam = self._adam(self._trained.values(), settings.generator_rate)
        self._judge_adam = self._adam(self._judges.parameters(), settings.discriminator_rate)
        self._half = settings.precision != "float32" and self.device.type == "cuda"
        if self._half:
            network.synthesis.lay_out(channels_last=True)
        self.pictures_seen = 0

    @property
    def guided(self) -> bool:
        """Whether a classifier guides this stage."""
        return self._guide is not None

    def step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Takes one step of the generator and one of the discriminators.

        Generated pictures are asked for in the classes of the real ones, as often as these occur.

        Args:
            images: Real pictures, uint8 `(batch, resolution, resolution, 3)`.
            labels: Their classes, int64 `(batch,)`.

        Returns:
            `loss_generator` and `loss_discriminator` (sums over scales), `logits_real` and
            `logits_generated` (means over scales and places), and with guidance `guidance` (the
            cross entropy, unweighted) and `guided_accuracy`.

        Raises:
            InvalidArgumentError: Images or labels of another type or shape (BAD_SHAPE), or a class
                that does not exist (CLASS_OUT_OF_RANGE).
            FailedPreconditionError: A loss is not finite (TRAINING_DIVERGED); no weight was changed
                by it.
        """
        check_batch(images, labels, self.network.spec, self.settings.batch)
        real = images.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        labels = labels.to(self.device)
        figures = self._step_generator(labels)
        figures |= self._step_judges(real, labels)
        self._update_mean()
        self.pictures_seen += len(images)
        return figures

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, as tensors on the CPU that share no memory.

        The feature networks' and the guide's weights are not among them: they do not change.
        """
        found = self._tensors()
        for prefix, adam, named in self._adams():
            found |= moments(prefix, adam, named)
        found["random"] = self._random.get_state()
        found["pictures_seen"] = torch.tensor(self.pictures_seen, dtype=torch.int64)
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in found.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` of an equal trainer gave.

        Raises:
            FailedPreconditionError: A tensor is missing or has another shape (reason WRONG_STATE):
                the state is that of another stage, design or setting. Nothing was changed.
        """
        places = self._tensors() | {"random": self._random.get_state(), "pictures_seen": torch.tensor(0)}
        for name, value in places.items():
            found = state.get(name)
            if found is None or found.shape != value.shape:
                shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
                raise FailedPreconditionError(
                    f"the state's tensor {name} is {shape}; this training has one of {tuple(value.shape)}: "
                    "the state was made by another stage, design or setting",
                    reason="WRONG_STATE",
                    tensor=name,
                )
        adams = [(adam, read_moments(prefix, named, state)) for prefix, adam, named in self._adams()]
        for adam, loaded in adams:
            adam.state.clear()
            adam.state.update(loaded)
        for prefix, module in self._modules():
            module.load_state_dict({name: state[f"{prefix}{name}"] for name in module.state_dict()})
        self._random.set_state(state["random"].clone())
        self.pictures_seen = int(state["pictures_seen"])

    def _step_generator(self, labels: Tensor) -> dict[str, float]:
        """One step of the generator; its running means of w and of magnitudes follow."""
        self._judges.requires_grad_(False).eval()
        self._generator_adam.zero_grad(set_to_none=True)
        z = self._latents(len(labels))
        changes = draw_augmentation(len(labels), self._random)
        sums = Figures(len(labels))
        magnitudes: dict[str, Tensor] = {}
        found: list[Tensor] = []
        for rows in self._parts(len(labels)):
            share = (rows.stop - rows.start) / len(labels)
            with self._autocast():
                w = self.network.mapping(z[rows], labels[rows])
                pictures = self._render(w, magnitudes, share)
                logits = self._score(self._project(self._shown(pictures, changes[rows])), labels[rows])
                loss = torch.stack([-x.mean() for x in logits]).sum()
                sums.add(rows, loss_generator=loss)
                if self._guide is not None:
                    guessed = self._guide.logits(self._features[0].pooled(pictures.float()))
                    wrong = functional.cross_entropy(guessed, labels[rows])
                    right = (guessed.argmax(dim=1) == labels[rows]).float().mean()
                    sums.add(rows, guidance=wrong, guided_accuracy=right)
                    loss = loss + self.settings.guidance_weight * wrong
            (loss * share).backward()
            found.append(w.detach())
        figures = sums.finite(self.pictures_seen)
        self._generator_adam.step()
        self._move_magnitudes(magnitudes, len(labels))
        self._move_means(torch.cat(found), labels)
        return figures

    def _step_judges(self, real: Tensor, labels: Tensor) -> dict[str, float]:
        """One step of the discriminators."""
        self._judges.requires_grad_(True)
        self._judge_adam.zero_grad(set_to_none=True)
        z = self._latents(len(labels))
        changes = [draw_augmentation(len(labels), self._random) for _ in range(2)]
        sums = Figures(len(labels))
        for rows in self._parts(len(labels)):
            # Spectral norms take one step of their power iteration a step, not one a part.
            self._judges.train(rows.start == 0)
            with self._autocast():
                with torch.no_grad():
                    generated = self.network(z[rows], labels[rows])
                    shown = [
                        self._shown(x, change[rows])
                        for change, x in zip(changes, (real[rows], generated), strict=True)
                    ]
                    maps = self._project(torch.cat(shown))
                logits = self._score(maps, torch.cat([labels[rows], labels[rows]]))
                good, bad = zip(*(x.chunk(2) for x in logits), strict=True)
                hinges = [torch.relu(1 - x).mean() for x in good] + [torch.relu(1 + x).mean() for x in bad]
                loss = torch.stack(hinges).sum()
            sums.add(
                rows, loss_discriminator=loss, logits_real=mean_logit(good), logits_generated=mean_logit(bad)
            )
            (loss * ((rows.stop - rows.start) / len(labels))).backward()
        figures = sums.finite(self.pictures_seen)
        self._judge_adam.step()
        return figures

    def _render(self, w: Tensor, magnitudes: dict[str, Tensor], share: float) -> Tensor:
        """Pictures of w, and the mean square of what every layer that trains reads, added by share."""
        synthesis = self.network.synthesis
        names = [layer.name for layer in self.network.spec.layers]
        reader = dict(itertools.pairwise(names))

        def observe(name: str, canvas: Tensor) -> None:
            if name in self.stage.layers:
                square = canvas.detach().float().square().mean() * share
                magnitudes[name] = magnitudes.get(name, torch.zeros_like(square)) + square

        if self.stage.whole:
            with torch.no_grad():
                observe(names[0], synthesis.fourier(w))
        pictures: Tensor = synthesis(
            w, observe=lambda name, canvas: observe(reader[name], canvas) if name in reader else None
        )
        return pictures

    @torch.no_grad()
    def _move_magnitudes(self, magnitudes: Mapping[str, Tensor], batch: int) -> None:
        kept = 0.5 ** (batch / _MAGNITUDE_HALF_LIFE)
        for layer in self.network.synthesis.layers():
            if layer.spec.name in magnitudes:
                layer.magnitude_ema.lerp_(magnitudes[layer.spec.name], 1 - kept)

    @torch.no_grad()
    def _move_means(self, w: Tensor, labels: Tensor) -> None:
        """Moves the mean w of every class of the batch; W is frozen in grown stages, and so are they."""
        if not self.stage.whole:
            return
        means = self.network.mapping.w_avg
        for label in labels.unique().tolist():  # type: ignore[no-untyped-call]
            means[label].lerp_(w[labels == label].mean(dim=0), 1 - _MEANS_KEPT)

    @torch.no_grad()
    def _update_mean(self) -> None:
        """Moves the running mean of what trains; all else follows as it is."""
        kept = self.settings.ema_kept(self.pictures_seen)
        for name, value in self.ema.named_parameters():
            if name in self._trained:
                value.lerp_(self._trained[name], 1 - kept)
        self.ema.mapping.w_avg.copy_(self.network.mapping.w_avg)
        for mine, theirs in zip(self.ema.synthesis.layers(), self.network.synthesis.layers(), strict=True):
            mine.magnitude_ema.copy_(theirs.magnitude_ema)

    def _project(self, pictures: Tensor) -> list[list[Tensor]]:
        return [projector(pictures) for projector in self._projectors]

    def _score(self, maps: list[list[Tensor]], labels: Tensor) -> list[Tensor]:
        """Logits of every scale of every feature network."""
        return [x for judge, seen in zip(self._judges, maps, strict=True) for x in judge(seen, labels)]

    def _shown(self, pictures: Tensor, changes: Augmentation) -> Tensor:
        """What is judged: augmented, and at the beginning of the stem without what is finer than a blur."""
        settings = self.settings
        sigma = blur_sigma(self.pictures_seen, settings.blur_sigma, settings.blur_pictures)
        with in_float32(self.device):
            pictures = pictures.float()
            return changes(blurred(pictures, sigma) if self.stage.whole else pictures)

    def _latents(self, count: int) -> Tensor:
        drawn = torch.randn((count, self.network.spec.z_dim), generator=self._random)
        return drawn.to(self.device)

    def _parts(self, count: int) -> list[slice]:
        step = self.settings.rows_at_once or count
        return [slice(i, min(i + step, count)) for i in range(0, count, step)]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)

    def _adam(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
        first, second = map(float, self.settings.betas)
        return torch.optim.Adam(list(parameters), lr=rate, betas=(first, second), eps=1e-8, foreach=True)

    def _draw_judges(self, seed: int) -> nn.ModuleList:
        """Discriminators for every projector; torch's global generator is left where it was."""
        classes = self.network.spec.num_classes
        embeddings = self.network.mapping.embed.weight[:classes].cpu()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return nn.ModuleList(Discriminator(x.channels, x.sizes, embeddings) for x in self._projectors)

    def _take_guide(self, guide: Guide | None) -> Guide | None:
        spec = self.network.spec
        if guide is None or spec.resolution <= self.settings.guidance_above:
            return None
        if len(guide.bias) != spec.num_classes:
            raise InvalidArgumentError(
                f"the guide tells {len(guide.bias)} classes apart; the generator has {spec.num_classes}",
                reason="WRONG_GUIDE",
                field="guide",
            )
        return guide.to(self.device)

    def _modules(self) -> Iterator[tuple[str, nn.Module]]:
        """What has weights, each with what its tensors' names begin with in a state."""
        yield from (
            ("network/", self.network), ("ema/", self.ema),
            ("judges/", self._judges), ("projectors/", nn.ModuleList(self._projectors)),
        )  # fmt: skip

    def _adams(self) -> Iterator[tuple[str, torch.optim.Adam, dict[str, nn.Parameter]]]:
        """The optimisers, likewise, each with its parameters."""
        yield "generator_adam/", self._generator_adam, self._trained
        yield "judge_adam/", self._judge_adam, dict(self._judges.named_parameters())

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors of all modules, by their names in a state; they are the modules' own."""
        return {
            f"{prefix}{name}": value
            for prefix, module in self._modules()
            for name, value in module.state_dict().items()
        }
