"""``unitscope parts``: from rendered pictures over labels to a parts model that the generator serves."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from unitscope.cli.failures import EXIT_CODES, ExitCode, report
from unitscope.cli.options import ModelsOption, Output, OutputOption, example
from unitscope.cli.output import print_json, print_table
from unitscope.errors import InvalidArgumentError, UnitScopeError

if TYPE_CHECKING:
    from services.generator.parts.dataset import PartSet
    from services.generator.parts.evaluation import Iou
    from services.generator.parts.workflow import Generator
    from unitscope.models.cards import ModelCard
    from unitscope.models.registry import Registry


class _Group(TyperGroup):
    """Our errors become messages and exit codes, under the ``unitscope`` command and without it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UnitScopeError as error:
            raise typer.Exit(report(error)) from None
        except ModuleNotFoundError as error:
            typer.echo(f"error: {error.name} is not installed; install 'unitscope[models]'", err=True)
            raise typer.Exit(ExitCode.REFUSED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            typer.echo(f"error: {error.filename or 'a file'}: {error.strerror or error}", err=True)
            raise typer.Exit(ExitCode.ERROR) from None


app = typer.Typer(
    cls=_Group,
    help="Label the parts of what a generator renders: hair, hat, beak, tyre.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="The part set, as 'sample' made it.", show_default=False)
]
NameOption = Annotated[
    str, typer.Option("--name", help="The new parts model, <pack>/<model>.", show_default=False)
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed gives other pictures.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads of the tensor library; 0: its choice.")]
GeneratorOption = Annotated[str, typer.Option("--generator", help="The generator, <pack>/<model>.")]


@app.command(
    **example("unitscope parts sample my-parts --count 20 --part hair --part hat --part glasses --part face")
)
def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.", show_default=False)],
    part: Annotated[
        list[str],
        typer.Option(
            help="A part's name; repeatable. 'background' comes first by itself.", show_default=False
        ),
    ],
    generator: GeneratorOption = "avatars/generator",
    count: Annotated[int, typer.Option(min=1, max=5000, help="Pictures.")] = 20,
    truncation: Annotated[float, typer.Option(min=0, max=1, help="1 gives the whole variety.")] = 1.0,
    class_names: Annotated[
        list[str] | None, typer.Option("--class", help="Only this class; repeatable.", show_default=False)
    ] = None,
    seed: SeedOption = 0,
    models: ModelsOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Render pictures to label, into a new part set."""
    from services.generator.parts.dataset import create
    from services.generator.parts.files import check_count, check_new, check_parts
    from services.generator.parts.progress import counting

    parts = check_parts(list(dict.fromkeys(["background", *part])))
    check_count(count)
    check_new(folder)
    with counting("rendering") as tell:
        opened = _generator(models, generator, threads)
        classes = _classes(opened.card, class_names or [])
        made = create(folder, opened.backend, opened.card, count, parts, truncation, seed, classes, tell)
    typer.echo(f"{len(made)} pictures of {opened.card.name} in {folder}; parts: {', '.join(parts)}")
    typer.echo(f"next: unitscope parts label {folder}")


@app.command(**example("unitscope parts label my-parts"))
def label(
    folder: FolderArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On loopback; 0 takes a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the default browser.")] = False,
) -> None:
    """Draw labels in the browser, on a page that only this machine can reach."""
    from services.generator.parts.dataset import PartSet
    from services.generator.parts.label_page import LabelServer

    part_set = PartSet.load(folder)
    with LabelServer(part_set, port) as server:
        typer.echo(f"open {server.url}\nCtrl-C stops the page; what you save is in {folder / 'labels'}")
        if open_page:
            webbrowser.open(server.url)
        try:
            server.wait()
        except KeyboardInterrupt:
            typer.echo()
    done = len(part_set.labelled())
    typer.echo(f"{done} of {len(part_set)} pictures are labelled")
    if done:
        typer.echo(f"next: unitscope parts train {folder} --name mine/parts")


@app.command("import-coco", **example("unitscope parts import-coco my-parts annotations.json"))
def import_command(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="COCO json.", show_default=False)],
    keep_rest: Annotated[
        bool, typer.Option("--keep-rest", help="What no annotation covers stays unlabelled.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also label what has labels.")] = False,
) -> None:
    """Take labels from a COCO json file, by the pictures' file names."""
    from services.generator.parts.coco import import_coco
    from services.generator.parts.dataset import PartSet

    done = import_coco(
        PartSet.load(folder), file, "unlabelled" if keep_rest else "background", replace=replace
    )
    typer.echo(f"{len(done.pictures)} pictures labelled; parts: {', '.join(done.part_set.parts)}")
    if done.unknown:
        typer.echo(f"{len(done.unknown)} pictures are not in this set, first {done.unknown[0]}", err=True)


@app.command("export-coco", **example("unitscope parts export-coco my-parts annotations.json"))
def export_command(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write.", show_default=False)],
) -> None:
    """Write the labels as COCO json with compressed run lengths."""
    from services.generator.parts.coco import export_coco
    from services.generator.parts.dataset import PartSet

    part_set = PartSet.load(folder)
    count = export_coco(part_set, file)
    typer.echo(f"{count} annotations of {len(part_set.labelled())} pictures in {file}")


@app.command(**example("unitscope parts train my-parts --name mine/parts"))
def train(
    folder: FolderArgument,
    name: NameOption,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = 500,
    hidden: Annotated[
        int, typer.Option(min=1, max=512, help="Channels that every layer is projected to.")
    ] = 32,
    held_out: Annotated[
        int | None,
        typer.Option(
            min=0, help="Pictures to judge by; else a fifth where 5 are labelled.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the training.")] = 0,
    models: ModelsOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Train a parts model on the labelled pictures, and put it beside the generator."""
    from services.generator.parts.progress import counting
    from services.generator.parts.workflow import ENOUGH, fit, save_fitted

    part_set = _part_set(folder)
    generator = _generator(models, part_set.generator.name, threads, name)
    fitted = fit(
        generator, part_set, steps=steps, hidden=hidden, seed=seed, held_out=held_out, stage=counting
    )
    card = save_fitted(generator, fitted, name)
    if fitted.score is not None:
        typer.echo(f"trained without {len(fitted.held_out)} of the {len(fitted.pictures)} labelled pictures:")
        _print_score(fitted.score)
    else:
        few = f"with {len(fitted.pictures)} labelled pictures none was held out"
        typer.echo(f"{few}, so that nothing is known of its quality; label {ENOUGH} or more to know")
    _print_model(generator.registry, card)


@app.command(**example("unitscope parts cluster --count 12 --name mine/clusters"))
def cluster(
    name: NameOption,
    generator: GeneratorOption = "avatars/generator",
    count: Annotated[int, typer.Option(min=2, max=100, help="Parts.")] = 12,
    pictures: Annotated[int, typer.Option(min=2, max=5000, help="Pictures to look at.")] = 200,
    seed: SeedOption = 0,
    models: ModelsOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Find parts without labels, by clustering the generator's features."""
    from services.generator.parts.progress import counting
    from services.generator.parts.workflow import find_parts

    with counting("clustering") as tell:
        opened = _generator(models, generator, threads, name)
        card = find_parts(opened, name, count, pictures, seed, tell)
    _print_model(opened.registry, card)


@app.command(**example("unitscope parts evaluate my-parts --model mine/parts"))
def evaluate(
    folder: FolderArgument,
    model: Annotated[str, typer.Option(help="The parts model.", show_default=False)],
    everything: Annotated[
        bool, typer.Option("--all", help="Also on pictures that the model was trained on.")
    ] = False,
    models: ModelsOption = None,
    threads: ThreadsOption = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare what a parts model finds with labels: intersection over union of each part."""
    from services.generator.parts.progress import counting
    from services.generator.parts.workflow import evaluate as compare

    part_set = _part_set(folder)
    with counting("comparing"):
        generator = _generator(models, part_set.generator.name, threads)
        card = generator.registry.resolve(model, "parts")
        score, pictures = compare(generator, card, part_set, everything=everything)
    if output is Output.JSON:
        print_json({"model": card.name, "digest": card.digest, "pictures": pictures, "iou": score.to_dict()})
        return
    typer.echo(f"{card.name}@sha256:{card.short_digest} on {len(pictures)} labelled pictures of {folder}:")
    _print_score(score)


@app.command(**example("unitscope parts show --model mine/parts --out sheet.png"))
def show(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="A part set.", show_default=False)
    ] = None,
    model: Annotated[str, typer.Option(help="A parts model.", show_default=False)] = "",
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("parts.png"),
    count: Annotated[int, typer.Option(min=1, max=200, help="Pictures, at most.")] = 12,
    columns: Annotated[int, typer.Option(min=1, max=10, help="Pictures beside each other.")] = 3,
    seed: SeedOption = 0,
    models: ModelsOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Draw pictures, their labels and both: a set's labels, or what a parts model finds.

    With FOLDER alone the labels that are saved; with --model what the model finds, in the set's pictures
    where FOLDER is given, else in new ones.
    """
    from services.generator.parts.overlay import sheet
    from services.generator.parts.progress import counting

    if folder is None and not model:
        raise InvalidArgumentError("name a FOLDER, a --model, or both", reason="NOTHING_TO_SHOW")
    part_set = _part_set(folder) if folder is not None else None
    if part_set is not None and not model:
        indices = part_set.labelled()[:count]
        if not indices:
            raise InvalidArgumentError(
                f"no picture of {folder} is labelled; label some with 'unitscope parts label {folder}'",
                reason="NOTHING_LABELLED",
            )
        images, labels, parts = part_set.images(indices), part_set.label_maps(indices), part_set.parts
    else:
        with counting("rendering"):
            generator, card = _model(models, model, threads)
            if part_set is not None:
                part_set.check_generator(generator.card)
            w = part_set.w[:count] if part_set is not None else generator.draw(count, seed)
            images, labels = generator.backend.render_parts(w, generator.parts(card))
        parts = card.classes
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet(images, labels, parts, columns).save(out, format="PNG")
    typer.echo(f"{len(images)} pictures, their labels and both in {out}")


def _part_set(folder: Path) -> PartSet:
    from services.generator.parts.dataset import PartSet

    return PartSet.load(folder)


def _generator(models: Path | None, name: str, threads: int, new: str = "") -> Generator:
    """The generator, loaded; the name of a new model is checked first, as loading takes seconds."""
    from services.generator.parts.workflow import Generator, check_name
    from unitscope.embedded import models_root
    from unitscope.models.registry import Registry

    registry = Registry(models_root(models))
    if new:
        check_name(registry, new)
    return Generator.open(registry, name, threads)


def _model(models: Path | None, name: str, threads: int) -> tuple[Generator, ModelCard]:
    """A parts model's card, and the generator that it reads."""
    from unitscope.embedded import models_root
    from unitscope.models.registry import Registry

    card = Registry(models_root(models)).resolve(name, "parts")
    described = card.architecture.get("generator")
    generator = described.get("name", "") if isinstance(described, dict) else ""
    return _generator(models, str(generator), threads), card


def _classes(card: ModelCard, names: Sequence[str]) -> list[int]:
    unknown = [name for name in names if name not in card.classes]
    if unknown:
        raise InvalidArgumentError(
            f"{card.name} has no class {unknown[0]!r}; its classes are {', '.join(card.classes)}",
            reason="UNKNOWN_CLASS",
            field="class",
        )
    return [card.classes.index(name) for name in names]


def _print_score(score: Iou) -> None:
    rows = [
        (name, "-" if value != value else f"{value:.3f}", f"{score.pixels[name]:,}")
        for name, value in score.by_part.items()
    ]
    print_table(("PART", "IOU", "PIXELS"), [*rows, ("mean", f"{score.mean:.3f}", "")])


def _print_model(registry: Registry, card: ModelCard) -> None:
    typer.echo(f"{card.name}@sha256:{card.short_digest} in {registry.folder(card.name)}")
    typer.echo("restart the stack ('unitscope up') so that the generator serves it")
    typer.echo(f"next: unitscope parts show --model {card.name} --out {card.name.replace('/', '-')}.png")


if __name__ == "__main__":
    app()
