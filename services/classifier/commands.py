"""Commands of the classifier service: ``python -m services.classifier.commands``, also by entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.classifier.importer import import_torchvision
from unitscope.errors import UnitScopeError

app = typer.Typer(help="Classifiers: import weights.", no_args_is_help=True)


@app.callback()
def classifier() -> None:
    """Classifiers: import weights."""


@app.command("import-torchvision")
def import_command(
    architecture: Annotated[str, typer.Argument(help="A torchvision model, e.g. resnet50.")],
    weights: Annotated[Path, typer.Argument(help="A state dict: .pth, .pt or .safetensors.")],
    name: Annotated[str, typer.Option(help="The model's name, <pack>/<model>.")],
    classes: Annotated[Path, typer.Option(help="A text file with a class name a line.")],
    root: Annotated[Path, typer.Option(help="The registry's folder.")] = Path("models"),
    size: Annotated[int, typer.Option(help="Edge of the images that the network wants.")] = 224,
    layer: Annotated[list[str] | None, typer.Option(help="A further layer, name=module; repeatable.")] = None,
    license_name: Annotated[str, typer.Option("--license", help="Licence of the weights.")] = "unknown",
) -> None:
    """Import the weights of a torchvision classifier.

    Example: import-torchvision resnet50 resnet50.pth --name mine/resnet50 --classes imagenet.txt
    --layer maps=layer4
    """
    lines = classes.read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    maps = dict(item.split("=", 1) for item in layer or [] if "=" in item)
    try:
        card = import_torchvision(
            architecture, weights, root,
            name=name, classes=names, size=(size, size), maps=maps, license_name=license_name,
        )  # fmt: skip
    except UnitScopeError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(2) from None
    layers = ", ".join(f"{item.name} ({item.units} units)" for item in card.layers)
    typer.echo(f"{card.name}@sha256:{card.short_digest}: {len(names)} classes; {layers}")


if __name__ == "__main__":
    app()
