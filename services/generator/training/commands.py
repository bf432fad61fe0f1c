"""``unitscope train``, by entry point; packages add to it in the group ``unitscope.commands.train``."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli.failures import EXIT_CODES, ExitCode, report
from unitscope.cli.groups import GROUP, ExtensibleGroup
from unitscope.cli.options import ModelsOption, Output, OutputOption, example
from unitscope.cli.output import console, duration, print_json, print_pairs, print_table, size
from unitscope.errors import CancelledError, FailedPreconditionError, InvalidArgumentError, UnitScopeError

if TYPE_CHECKING:
    from services.generator.training.data import Pictures
    from services.generator.training.plan import Plan
    from services.generator.training.session import Finished, Moment, Session
    from unitscope.models.cards import ModelCard

LINE_SECONDS = 10.0
"""Off a terminal, a line of progress comes no more often than this."""


class TrainGroup(ExtensibleGroup):
    """``unitscope train``; our errors become messages and exit codes."""

    entry_points = f"{GROUP}.train"

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UnitScopeError as error:
            raise typer.Exit(ExitCode.INTERRUPTED if error.reason == "STOPPED" else report(error)) from None
        except ModuleNotFoundError as error:
            typer.echo(f"error: {error.name} is not installed; install 'unitscope[models,train]'", err=True)
            raise typer.Exit(ExitCode.REFUSED) from None


class Preset(StrEnum):
    """Where a plan starts from."""

    TINY = "tiny"
    PAPER = "paper"


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


app = typer.Typer(
    cls=TrainGroup,
    help="Train models on your own data.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """What each command of the group does by itself is enough."""


DataOption = Annotated[
    Path,
    typer.Option(
        help="A folder with a subfolder of pictures (JPEG, PNG) for each class, a flat folder for one "
        "class, or a .zip of either.",
        show_default=False,
    ),
]
NameOption = Annotated[str, typer.Option(help="The new model, <pack>/<model>.", show_default=False)]
PresetOption = Annotated[
    Preset, typer.Option(help="'tiny' tries everything out without a GPU; 'paper' is StyleGAN-XL's size.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(help="A YAML file of settings over the preset's; see docs/training.md.", show_default=False),
]
ResolutionOption = Annotated[
    int | None,
    typer.Option(help="Edge of the pictures: the stem's, times a power of two.", show_default=False),
]
StemOption = Annotated[
    int | None, typer.Option(help="Edge of the first stage's pictures.", show_default=False)
]
PicturesOption = Annotated[
    list[int] | None,
    typer.Option(help="Length of a stage in pictures shown; repeatable, one a stage.", show_default=False),
]
BatchOption = Annotated[int | None, typer.Option(min=1, help="Pictures a step.", show_default=False)]
SeedOption = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="Of everything drawn.", show_default=False)
]
FlipOption = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="Mirror pictures at random.", show_default=False)
]
DeviceOption = Annotated[Device, typer.Option(help="'auto' takes the GPU where there is one.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of checkpoints and sheets; one that holds this training is gone on with. Else "
        ".unitscope/training/<name>.",
        show_default=False,
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder of resized pictures. Else ~/.cache/unitscope/pictures.", show_default=False),
]
SkipOption = Annotated[
    bool, typer.Option("--skip-unreadable", help="Train without files that cannot be read.")
]
LicenseOption = Annotated[str, typer.Option("--license", help="Licence of the weights.")]
DescriptionOption = Annotated[str, typer.Option(help="What the card says the model is.", show_default=False)]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads of the tensor library; 0: its choice.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Start without asking.")]


@app.command(
    **example("unitscope train generator --data birds --name mine/birds --preset paper --resolution 64")
)
def generator(
    data: DataOption,
    name: NameOption,
    preset: PresetOption = Preset.PAPER,
    config: ConfigOption = None,
    resolution: ResolutionOption = None,
    stem: StemOption = None,
    pictures: PicturesOption = None,
    batch: BatchOption = None,
    seed: SeedOption = None,
    flip: FlipOption = None,
    device: DeviceOption = Device.AUTO,
    out: OutOption = None,
    cache: CacheOption = None,
    skip_unreadable: SkipOption = False,
    license_name: LicenseOption = "unknown",
    description: DescriptionOption = "",
    threads: ThreadsOption = 0,
    yes: YesOption = False,
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Train a generator on your pictures, as StyleGAN-XL is trained: a stem, then larger and larger stages.

    Interrupting it (Ctrl-C, SIGTERM) writes a checkpoint; the same command goes on from there.
    """
    # Late: what they import takes longer than the help that most calls ask for.
    from services.generator.training.cards import About, check_free, write_model
    from services.generator.training.plan import load_plan
    from services.generator.training.projector import LiteFeatures
    from services.generator.training.session import Session
    from unitscope.embedded import models_root

    _check_answerable(yes)
    root = models_root(models)
    full_name = check_free(root, name)
    plan = load_plan(
        preset.value, config, resolution=resolution, stem=stem,
        pictures=tuple(pictures) if pictures else None, batch=batch, seed=seed, flip=flip,
    )  # fmt: skip
    chosen = _device(device, threads)
    features = LiteFeatures(plan.feature_side)
    found = _pictures(data, cache, plan, skip_unreadable)
    folder = out or Path(".unitscope") / "training" / full_name.replace("/", "-")
    session = Session(plan, found, features, out=folder, device=chosen, listener=_listener())
    _show_plan(session, found, chosen, features.name)
    _ask(yes)
    finished = _run(session)
    # Without folders of this machine; what a config file or options changed is among the settings.
    command = f"unitscope train generator --data {data.name} --name {full_name} --preset {preset.value}"
    about = About(full_name, command, data.name, license_name, description, features.name, _hardware(chosen))
    _show_model(write_model(root, about, plan, found, finished), root, folder, output)


def _run(session: Session) -> Finished:
    with _stopping(session.stop):
        try:
            return session.run()
        except CancelledError as error:
            typer.echo(f"{error.message}\ngo on with: {_command()}", err=True)
            raise


def _pictures(data: Path, cache: Path | None, plan: Plan, skip_unreadable: bool) -> Pictures:
    """The data, cached at all resolutions, and fit for the plan."""
    from services.generator.parts.progress import counting
    from services.generator.training.data import find_pictures, prepare

    source = find_pictures(data)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with counting(f"reading {len(source.entries):,} pictures, classes: {len(source.classes):,}") as tell:
        found = prepare(
            source,
            cache or home / "unitscope" / "pictures",
            plan.resolutions,
            skip_unreadable=skip_unreadable,
            progress=tell,
        )
    for file, why in found.unreadable[:10]:
        typer.echo(f"left out: {file}: {why}", err=True)
    guided = plan.trainer.guidance_weight > 0 and plan.resolution > plan.trainer.guidance_above
    if guided and len(found.classes) > 1 and found.counts.min() < 2:
        few = found.classes[int(found.counts.argmin())]
        raise InvalidArgumentError(
            f"the class {few!r} has {found.counts.min()} picture that can be read; the classifier that "
            f"guides above {plan.trainer.guidance_above} pixels needs 2 of every class: add some, remove the "
            "class, or set trainer.guidance_weight to 0",
            reason="TOO_FEW_IMAGES",
            field="data",
        )
    return found


def _device(device: Device, threads: int) -> str:
    import torch

    if threads:
        torch.set_num_threads(threads)
    there = torch.cuda.is_available()
    if device is Device.CUDA and not there:
        raise FailedPreconditionError(
            "torch finds no GPU here; choose --device cpu or auto, or install a torch with CUDA",
            reason="NO_GPU",
        )
    return "cuda" if there and device is not Device.CPU else "cpu"


def _show_plan(session: Session, pictures: Pictures, device: str, features: str) -> None:
    """The plan and how long it will take, on standard error: the answer is the card."""
    from services.generator.configurations import parameter_count

    shown = console(error=True)
    counts = pictures.counts
    shown.print(
        f"data: {len(pictures):,} pictures, classes: {len(pictures.classes):,} (of {counts.min():,} to "
        f"{counts.max():,} pictures), sha256 {pictures.digest[:12]}, cached in {pictures.folder}"
    )
    remaining = {stage.index: pictures for stage, pictures in session.remaining()}
    for stage in session.stages:
        left = remaining.get(stage.index, 0)
        state = "done" if not left else f"{left:,} to go" if left < stage.pictures else ""
        shown.print(
            f"stage {stage.index}: {stage.resolution} pixels, {stage.pictures:,} pictures, "
            f"{parameter_count(stage.spec) / 1e6:.2f} M parameters{', ' + state if state else ''}"
        )
    settings = session.plan.trainer
    shown.print(
        f"batch {settings.batch}, seed {session.plan.seed}, features {features}, on {device}; {session.out}"
    )
    if session.found:
        shown.print(f"going on from the checkpoint {session.found.path.name}")
    if any(remaining.values()):
        shown.print("timing a few steps of every stage …")
        seconds = session.estimate()
        shown.print(f"about {duration(seconds)} of training, looking at samples not counted")


def _check_answerable(yes: bool) -> None:
    """Refuses at once, and not after minutes of preparation, where nobody can confirm."""
    if not yes and not sys.stdin.isatty():
        raise InvalidArgumentError(
            "a training is long, and nobody can be asked here; pass --yes to start it", reason="NOT_CONFIRMED"
        )


def _ask(yes: bool) -> None:
    if not yes and not typer.confirm("start?", err=True):
        raise typer.Exit(ExitCode.OK)


def _listener() -> Any:
    """Shows what a session tells: a live line on a terminal, lines elsewhere, on standard error."""
    from services.generator.training.session import Listener

    class Shown(Listener):
        def __init__(self) -> None:
            self._console = console(error=True)
            self._live = self._console.is_terminal
            self._last = 0.0

        def note(self, text: str) -> None:
            self._console.print(("\r\x1b[K" if self._live else "") + text)

        def step(self, moment: Moment) -> None:
            now = time.monotonic()
            if now - self._last < (0.5 if self._live else LINE_SECONDS):
                return
            self._last = now
            line = progress_line(moment)
            if self._live:
                self._console.file.write(f"\r\x1b[K{line[: self._console.width - 1]}")
                self._console.file.flush()
            else:
                self._console.print(line)

    return Shown()


def progress_line(moment: Moment) -> str:
    """One line: where it is, how fast, what the losses say, how long it will take."""
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in moment.figures.items())
    share = min(1.0, moment.pictures / moment.stage.pictures)
    return (
        f"{moment.stage.resolution} px  {share:4.0%}  {moment.pictures:,} of {moment.stage.pictures:,}  "
        f"{moment.rate:.1f} pictures/s  {figures}  left {duration(moment.left)}"
    )


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a checkpoint and an end; a second one ends the process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        typer.echo("\nstopping after this step, with a checkpoint; once more to end at once", err=True)
        stop()
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command() -> str:
    """The command that runs now, as one would type it."""
    return shlex.join(["unitscope", *sys.argv[1:]])


def _hardware(device: str) -> str:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), threads of the tensor library: {torch.get_num_threads()}"


def _show_model(card: ModelCard, root: Path, folder: Path, output: Output) -> None:
    if output is Output.JSON:
        print_json({"digest": card.digest, **card.model_dump(mode="json")})
        return
    distances = card.metrics["distances"]
    pairs = [("model", f"{card.name}@sha256:{card.short_digest}"), ("in", str(root / card.name))]
    pairs += [("size", size(sum(entry.size for entry in card.files.values())))]
    for key in ("frechet", "kernel"):
        value = distances[key]
        pairs.append((f"{key} distance", f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"))
    pairs += [("measured on", f"{distances['generated']:,} samples, {distances['real']:,} real pictures")]
    print_pairs([*pairs, ("sheets", str(folder / "sheets"))])
    rows = [
        (
            str(stage["resolution"]), f"{stage['pictures_seen']:,}",
            f"{stage['untrained']['frechet']['value']:.4g}", f"{stage['best']['frechet']['value']:.4g}",
            f"{stage['best_at']:,}",
            f"{stage['guide']['held_out_accuracy']:.1%}" if "guide" in stage else "-",
        )
        for stage in card.metrics["stages"]
    ]  # fmt: skip
    print_table(("PIXELS", "PICTURES", "UNTRAINED", "BEST", "AT", "GUIDE"), rows)


if __name__ == "__main__":
    app()
