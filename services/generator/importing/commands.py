"""``unitscope models import stylegan-xl``, by entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unitscope.cli.options import ModelsOption, Output, OutputOption, example
from unitscope.cli.output import print_json, print_pairs, size
from unitscope.errors import InvalidArgumentError

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(
    "stylegan-xl", **example("unitscope models import stylegan-xl imagenet256.pkl --name imagenet256")
)
def import_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An official checkpoint (.pkl).", show_default=False)
    ],
    name: Annotated[
        str, typer.Option("--name", help="<pack>/<model>; a bare name goes into the pack stylegan-xl.")
    ],
    classes: Annotated[
        Path | None,
        typer.Option(
            help="A text file with a class name a line; else classes are numbered.", show_default=False
        ),
    ] = None,
    license_name: Annotated[str, typer.Option("--license", help="Licence of the weights.")] = "unknown",
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Import an official StyleGAN-XL checkpoint, without executing anything in it.

    Only the averaged generator (G_ema) is taken. A file that is damaged, hostile or something else is
    refused with a sentence, and nothing is written.
    """
    # Late: what they import takes longer than the help that most calls ask for.
    from services.generator.importing.importer import import_stylegan_xl
    from unitscope.embedded import models_root

    card = import_stylegan_xl(
        file, models_root(models), name=name, classes=_names(classes), license_name=license_name
    )
    if output is Output.JSON:
        print_json({"digest": card.digest, **card.model_dump(mode="json")})
        return
    spec = card.architecture["spec"]
    print_pairs(
        (
            ("model", f"{card.name}@sha256:{card.short_digest}"),
            ("pictures", f"{spec['resolution']} pixels, {spec['num_classes']} classes"),
            ("layers", f"{len(spec['layers'])}, so {len(spec['layers']) + 1} w in w+"),
            ("parameters", f"{card.metrics['parameters']:,}"),
            ("size", size(sum(entry.size for entry in card.files.values()))),
            ("W", card.metrics["lineage"]["mapping_sha256"][:12]),
            ("source", f"sha256 {card.training['source_sha256']}"),
        )
    )


def _names(path: Path | None) -> list[str]:
    """Class names, one a line."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            f"{path} cannot be read as class names: {error}", reason="INVALID_CLASSES", field="classes"
        ) from error
    return [line.strip() for line in lines if line.strip()]


if __name__ == "__main__":
    app()
