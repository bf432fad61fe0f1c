"""A whole training: all stages one after the other, looked at, checkpointed, resumed.

::

    session = Session(plan, pictures, LiteFeatures(plan.feature_side), out=Path("training/birds"))
    finished = session.run()          # goes on from the newest checkpoint in the folder, if there is one
    write_model(finished, ...)        # services.generator.training.cards

Every stage starts from the best running mean of the stage before it, by the Fréchet distance; the best of
the last stage is the result. A stop (`Session.stop`) is a checkpoint and a `CancelledError`; a kill loses
what came after the last checkpoint, and on a CPU the resumed training gives the same weights to the last
bit as one that was never stopped.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from services.generator.network import StyleGanXl
from services.generator.training.checkpoints import Checkpoint, Checkpoints, Identity, Record
from services.generator.training.data import Order, Pictures
from services.generator.training.distance import Distances
from services.generator.training.evaluation import (
    Judge,
    class_means,
    coarse_means,
    fitted_guide,
    sheet_blocks,
)
from services.generator.training.guidance import Guide
from services.generator.training.plan import Plan, PlannedStage
from services.generator.training.projector import FeatureNetwork, class_embeddings
from services.generator.training.sheets import save_sheet
from services.generator.training.stages import Stage, grown, grown_stage, stem_network, stem_stage
from services.generator.training.trainer import Trainer
from unitscope.errors import CancelledError, FailedPreconditionError

CHECKPOINT_SECONDS = 300.0
"""A kill loses at most so much, and one step."""

_TIMED_STEPS = 2
_TIMED_BATCH = {"cpu": 8, "cuda": 64}
_SMOOTHING = 0.9


@dataclasses.dataclass(frozen=True)
class Moment:
    """How far a training is.

    Attributes:
        stage: The stage that trains.
        pictures: Real pictures that it has seen.
        rate: Pictures a second, over the last steps.
        figures: What the last step said: losses and logits.
        left: Seconds until the last stage is done, evaluations not counted.
    """

    stage: PlannedStage
    pictures: int
    rate: float
    figures: Mapping[str, float]
    left: float


class Listener:
    """Is told what a session does; this one does not care."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def step(self, moment: Moment) -> None:
        """After every step."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a training ends with.

    Attributes:
        network: The generator: the best running mean of the last stage, its class means drawn anew.
        distances: Of that network, on latents that had no part in choosing it.
        history: All evaluations, of all stages.
        seconds: Time trained, over all runs.
    """

    network: StyleGanXl
    distances: Distances
    history: tuple[dict[str, Any], ...]
    seconds: float


class Session:
    """One training in one folder."""

    def __init__(
        self,
        plan: Plan,
        pictures: Pictures,
        features: FeatureNetwork,
        *,
        out: Path,
        device: str = "cpu",
        listener: Listener | None = None,
    ) -> None:
        """Looks what is there, and trains nothing yet.

        Args:
            plan: What to do.
            pictures: The data, at all resolutions of the plan.
            features: The network that discriminates, guides and measures.
            out: The training's folder: checkpoints, sheets, history.
            device: "cpu" or "cuda".
            listener: Is told what happens.

        Raises:
            FailedPreconditionError: The folder holds another training (reason OTHER_TRAINING).
        """
        self.plan, self.pictures, self.out = plan, pictures, out
        self.listener = listener or Listener()
        self.stages = plan.stages(len(pictures.classes))
        self.identity = Identity(
            data=pictures.digest,
            classes=pictures.classes,
            settings={**plan.identity(), "features": features.name},
        )
        self.checkpoints = Checkpoints(out / "checkpoints", self.listener.note)
        self.found = self.checkpoints.newest(self.identity)
        self._device = torch.device(device)
        features.to(self._device)
        self._features = features
        self._stopped = threading.Event()
        self._rates: dict[int, float] = {}
        record = self.found.record if self.found else None
        self._history: list[dict[str, Any]] = list(record.history) if record else []
        self._weights: dict[str, str] = dict(record.weights) if record else {}
        self._seconds = record.seconds if record else 0.0

    def stop(self) -> None:
        """Asks for a checkpoint and an end, after the step that is under way; from any thread or signal."""
        self._stopped.set()

    def remaining(self) -> list[tuple[PlannedStage, int]]:
        """The stages that are not done, with the pictures that each still needs."""
        first = self.found.record.stage if self.found else 0
        seen = self.found.record.pictures if self.found else 0
        return [
            (stage, max(0, stage.pictures - (seen if stage.index == first else 0)))
            for stage in self.stages[first:]
        ]

    def estimate(self) -> float:
        """Seconds that the rest will take, evaluations not counted: by timing some steps of every stage."""
        total = 0.0
        for stage, pictures in self.remaining():
            if pictures:
                total += pictures / self._timed(stage)
        return total

    def run(self) -> Finished:
        """Trains all that is left.

        Raises:
            CancelledError: `stop` was called (reason STOPPED); a checkpoint has been written.
            FailedPreconditionError: Losses became NaN or infinite (TRAINING_DIVERGED), or another process
                trains in this folder (TRAINING_RUNS).
            ResourceExhaustedError: The disk is full (DISK_FULL).
        """
        with self._alone():
            for stage, _ in self.remaining():
                self._run_stage(stage)
            return self._finish()

    def _run_stage(self, stage: PlannedStage) -> None:
        found = self.found if self.found and self.found.record.stage == stage.index else None
        judge = Judge.of(
            self._features, self.pictures, stage.resolution, self.plan.samples, self.plan.seed, self._device
        )
        guide = self._guide(stage)
        trainer = self._trainer(stage, guide, found)
        if found is None:
            self._evaluate(stage, trainer, judge, {}, guide)
            self._save(stage, trainer)
        else:
            self.listener.note(f"going on at {trainer.pictures_seen:,} pictures of {stage.resolution} pixels")
        self._train(stage, trainer, judge)

    def _train(self, stage: PlannedStage, trainer: Trainer, judge: Judge) -> None:
        saved = time.monotonic()
        every = self.plan.evaluate_every
        while trainer.pictures_seen < stage.pictures:
            if self._stopped.is_set():
                self._save(stage, trainer)
                raise CancelledError(
                    f"stopped at {trainer.pictures_seen:,} pictures of {stage.resolution} pixels, "
                    "with a checkpoint",
                    reason="STOPPED",
                )
            started, before = time.monotonic(), trainer.pictures_seen
            figures = self._step(stage, trainer)
            now = time.monotonic()
            self._seconds += now - started
            self._tell(stage, trainer, figures, (trainer.pictures_seen - before) / max(now - started, 1e-9))
            done = trainer.pictures_seen >= stage.pictures
            if done or trainer.pictures_seen // every > before // every:
                self._evaluate(stage, trainer, judge, figures)
            elif now - saved < CHECKPOINT_SECONDS:
                continue
            self._save(stage, trainer)
            saved = time.monotonic()

    def _step(self, stage: PlannedStage, trainer: Trainer) -> dict[str, float]:
        order = Order(
            seed=self.plan.seed * 64 + stage.index,
            count=len(self.pictures),
            position=trainer.pictures_seen,
            flip=self.plan.flip,
        )
        images, labels = self.pictures.batch(order, self.plan.trainer.batch, stage.resolution)
        try:
            return trainer.step(torch.from_numpy(images), torch.from_numpy(labels))
        except FailedPreconditionError as error:
            if error.reason != "TRAINING_DIVERGED":
                raise
            raise FailedPreconditionError(
                f"a loss became NaN or infinite at {trainer.pictures_seen:,} pictures of {stage.resolution} "
                "pixels: the training has diverged. Begin anew in another folder (--out) with lower "
                "rates (--config)",
                reason="TRAINING_DIVERGED",
            ) from error

    def _evaluate(
        self,
        stage: PlannedStage,
        trainer: Trainer,
        judge: Judge,
        figures: Mapping[str, float],
        guide: Guide | None = None,
    ) -> None:
        """Measures the running mean, keeps it where it is the best of the stage, and draws a sheet."""
        ema, seen = trainer.ema, trainer.pictures_seen
        distances = judge.measure(ema, self.plan.seed + 1)
        entry: dict[str, Any] = {
            "stage": stage.index,
            "resolution": stage.resolution,
            "pictures": seen,
            "seconds": round(self._seconds, 1),
            "distances": distances.to_dict(),
            "figures": {name: float(f"{value:.6g}") for name, value in figures.items()},
        }
        if guide is not None:
            entry["guide"] = {
                "held_out_accuracy": round(guide.held_out_accuracy, 4),
                "held_out_pictures": guide.held_out_count,
            }
        values = [e["distances"]["frechet"]["value"] for e in self._history if e["stage"] == stage.index]
        entry["best"] = not values or distances.frechet.value < min(values)
        self._history.append(entry)
        if entry["best"]:
            self._weights[f"best-{stage.index}"] = self.checkpoints.save_weights(ema.state_dict())
        blocks, labels = sheet_blocks(ema, self.pictures, self.plan.seed + 2)
        title = f"{stage.resolution} pixels after {seen:,} pictures; Frechet distance {distances.frechet}"
        name = f"{stage.index}-{stage.resolution}px-{seen:010}.png"
        save_sheet(self.out / "sheets" / name, blocks, labels, title)
        remark = ", the best so far" if entry["best"] else ""
        self.listener.note(
            f"{stage.resolution} pixels, {seen:,} pictures: Fréchet {distances.frechet}, kernel "
            f"{distances.kernel} ({distances.generated:,} samples, {distances.real:,} real){remark}; "
            f"{self.out / 'sheets' / name}"
        )

    def _save(self, stage: PlannedStage, trainer: Trainer) -> None:
        record = Record(
            identity=self.identity,
            stage=stage.index,
            pictures=trainer.pictures_seen,
            seconds=self._seconds,
            history=tuple(self._history),
            weights=self._weights,
        )
        self.checkpoints.save(trainer.state(), record)
        partial = self.out / ".history.json.partial"
        partial.write_text(json.dumps(self._history, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.out / "history.json")

    def _trainer(self, stage: PlannedStage, guide: Guide | None, found: Checkpoint | None) -> Trainer:
        plan = self.plan
        seed = plan.seed * 64 + stage.index
        if stage.index:
            network = grown(self._best(stage.index - 1), stage.resolution, plan.head_design, seed=seed)
        else:
            network = stem_network(
                classes=len(self.pictures.classes),
                resolution=stage.resolution,
                design=plan.stem_design,
                embeddings=self._embeddings() if found is None else None,
                seed=seed,
            )
        trainer = Trainer(
            network, self._features, plan.trainer,
            stage=self._trained(stage), guide=guide, seed=seed, device=self._device,
        )  # fmt: skip
        if found is not None:
            trainer.load(found.tensors())
        return trainer

    def _embeddings(self) -> torch.Tensor | None:
        """Where the class embedding starts, if it is as wide as the features are."""
        if self.plan.stem_design.embed_dim != self._features.channels[-1]:
            return None
        means = coarse_means(
            self._features,
            self.pictures,
            self.plan.resolution,
            self.plan.guide_samples,
            self.plan.seed,
            self._device,
        )
        return class_embeddings(means)

    def _guide(self, stage: PlannedStage) -> Guide | None:
        settings = self.plan.trainer
        needed = settings.guidance_weight > 0 and stage.resolution > settings.guidance_above
        if not needed or len(self.pictures.classes) < 2:
            return None
        return fitted_guide(
            self._features,
            self.pictures,
            stage.resolution,
            self.plan.guide_samples,
            self.plan.seed,
            self._device,
        )

    def _trained(self, stage: PlannedStage) -> Stage:
        if stage.index == 0:
            return stem_stage(stage.spec)
        return grown_stage(stage.spec, self.stages[stage.index - 1].spec)

    def _best(self, index: int) -> StyleGanXl:
        network = StyleGanXl(self.stages[index].spec)
        network.load_state_dict(self.checkpoints.weights(self._weights[f"best-{index}"]))
        return network.eval().requires_grad_(False)

    def _finish(self) -> Finished:
        last = self.stages[-1]
        network = self._best(last.index).to(self._device)
        network.mapping.w_avg.copy_(class_means(network, self.plan.mean_samples, self.plan.seed + 3))
        judge = Judge.of(
            self._features, self.pictures, last.resolution, self.plan.samples, self.plan.seed, self._device
        )
        distances = judge.measure(network, self.plan.seed + 4)
        blocks, labels = sheet_blocks(network, self.pictures, self.plan.seed + 2)
        save_sheet(self.out / "sheets" / "final.png", blocks, labels, f"Frechet distance {distances.frechet}")
        return Finished(network.cpu(), distances, tuple(self._history), self._seconds)

    def _tell(self, stage: PlannedStage, trainer: Trainer, figures: Mapping[str, float], rate: float) -> None:
        smooth = self._rates.get(stage.index)
        self._rates[stage.index] = rate if smooth is None else _SMOOTHING * smooth + (1 - _SMOOTHING) * rate
        rate = self._rates[stage.index]
        left = max(0, stage.pictures - trainer.pictures_seen) / rate
        # Stages that were never timed are taken to be as fast as this one.
        left += sum(
            later.pictures / self._rates.get(later.index, rate) for later in self.stages[stage.index + 1 :]
        )
        self.listener.step(Moment(stage, trainer.pictures_seen, rate, figures, left))

    def _timed(self, stage: PlannedStage) -> float:
        """Pictures a second of a stage: a throw-away trainer makes some steps on the first pictures."""
        batch = min(self.plan.trainer.batch, _TIMED_BATCH[self._device.type], len(self.pictures))
        seed = self.plan.seed * 64 + stage.index
        settings = dataclasses.replace(self.plan.trainer, batch=batch)
        trainer = Trainer(
            StyleGanXl(stage.spec), self._features, settings,
            stage=self._trained(stage), seed=seed, device=self._device,
        )  # fmt: skip
        images = torch.from_numpy(self.pictures.images(stage.resolution)[:batch].copy())
        labels = torch.from_numpy(self.pictures.labels[:batch])
        trainer.step(images, labels)
        started = time.monotonic()
        for _ in range(_TIMED_STEPS):
            trainer.step(images, labels)
        self._rates[stage.index] = rate = _TIMED_STEPS * batch / (time.monotonic() - started)
        return rate

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FailedPreconditionError(
                    f"another process is training in {self.out}; wait for it, or name another folder "
                    "with --out",
                    reason="TRAINING_RUNS",
                ) from None
            yield
