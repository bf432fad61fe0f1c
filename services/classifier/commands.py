"""``unitscope models layers`` and ``unitscope models check``, by entry points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli.options import ModelsOption, Output, OutputOption, example
from unitscope.cli.output import print_json, print_table
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from services.classifier.declaring import Row
    from services.classifier.networks import Network

layers = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
check = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@layers.command(
    "layers", **example("unitscope models layers avatars/clean; unitscope models layers model.onnx")
)
def layers_command(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A classifier, or a .onnx or .pt2 file before its import.",
            show_default=False,
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="All modules or tensors that could be layers, not the main ones.")
    ] = False,
    edge: Annotated[
        int, typer.Option("--size", min=1, max=4096, help="Pixels, where a file leaves them free.")
    ] = 224,
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the layers that a classifier's features can be read from.

    Of a model: those that its card declares. Of a file: the tensors that everything passes on its way to the
    logits, which --layer NAME=PLACE takes. Units, size and sign are as seen on images of noise.
    """
    if Path(model).suffix in (".onnx", ".pt2"):
        rows = _of_file(Path(model), (edge, edge), everything)
    else:
        rows = _of_model(model, models or context.obj, everything)
    if output is Output.JSON:
        print_json(
            [{"module_path": row.module, "size": row.extent, **row.layer.model_dump()} for row in rows]
        )
        return
    table = [
        (
            row.layer.name,
            row.layer.module or "(what the head reads)",
            row.module,
            str(row.layer.units),
            row.extent,
            "0 or more" if row.layer.nonnegative else "both",
            "yes" if row.layer.has_head else "",
        )
        for row in rows
    ]
    print_table(("LAYER", "PLACE", "PART OF", "UNITS", "SIZE", "SIGN", "HEAD"), table)


@check.command("check", **example("unitscope models check mine/resnet50"))
def check_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="e.g. avatars/clean", show_default=False)],
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a classifier: its files against their digests, its logits against its examples."""
    from services.classifier.examples import EXAMPLES_FILE, check_examples, read_examples
    from services.classifier.loading import load_classifier
    from unitscope.embedded import models_root
    from unitscope.models import Registry

    registry = Registry(models_root(models or context.obj))
    card = registry.resolve(name, "classifier", "name")
    classifier = load_classifier(card, registry)
    found: dict[str, Any] = {"model": card.name, "digest": card.digest, "files": len(card.files)}
    path = registry.folder(card.name) / EXAMPLES_FILE
    if EXAMPLES_FILE in card.files:
        examples = read_examples(path)
        found |= {
            "examples": len(examples.images),
            "largest_difference": check_examples(classifier, path),
            "tolerance": examples.tolerance,
        }
    if output is Output.JSON:
        print_json(found)
        return
    typer.echo(f"{card.name} {card.short_digest}: {len(card.files)} files are those of the card")
    if EXAMPLES_FILE not in card.files:
        typer.echo("no examples to compare logits with; import with --examples to have some")
        return
    typer.echo(
        f"{found['examples']} examples: logits differ by at most {found['largest_difference']:.2g} "
        f"({found['tolerance']:g} is allowed)"
    )


def _of_file(path: Path, size: tuple[int, int], everything: bool) -> list[Row]:
    from services.classifier.importer import open_export, open_onnx

    network: Network
    if path.suffix == ".onnx":
        network, edges = open_onnx(path, size)
    else:
        network, _, _, edges = open_export(path, size)
    return _surveyed(network, edges, everything)


def _of_model(name: str, models: Path | None, everything: bool) -> list[Row]:
    from services.classifier.declaring import SURVEY_ROWS, survey_cards
    from services.classifier.loading import load_network
    from unitscope.embedded import models_root
    from unitscope.models import Registry

    registry = Registry(models_root(models))
    card = registry.resolve(name, "classifier", "name")
    network = load_network(card, registry.verified(card), SURVEY_ROWS)
    if card.input is None:
        raise FailedPreconditionError(f"{card.name}: the card has no 'input'", reason="INVALID_CARD")
    size = (card.input.height, card.input.width)
    return _surveyed(network, size, True) if everything else survey_cards(network, size, card.layers)


def _surveyed(network: Network, size: tuple[int, int], everything: bool) -> list[Row]:
    """The places that give a layer, all or those that everything passes."""
    from services.classifier.declaring import survey

    places = [place for place, passed in network.places().items() if everything or passed]
    rows = survey(network, size, {place: place for place in places}, lenient=True)
    if not rows:
        raise InvalidArgumentError(
            "the model has no tensor that could be a layer", reason="NO_LAYERS", field="model"
        )
    return rows
