"""Commands of the generator service, for the ``unitscope`` command by entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.generator.repository import export_repository
from unitscope.errors import UnitScopeError
from unitscope.models.registry import Registry

app = typer.Typer(help="Generators: export for Triton.", no_args_is_help=True)


@app.callback()
def generator() -> None:
    """Generators: export for Triton."""


@app.command("export-triton")
def export_command(
    folder: Annotated[Path, typer.Argument(help="The model repository to write; a new folder.")],
    model: Annotated[list[str], typer.Option(help="A generator, <pack>/<model>; repeatable.")],
    root: Annotated[Path, typer.Option(help="The registry's folder.")] = Path("models"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the tensor library; 0: its choice.")] = 0,
) -> None:
    """Write a model repository for a Triton server that is run by other means.

    Its models read the weights from the registry's folder, and need UnitScope and torch in the
    Python of Triton's python backend. Example: export-triton /srv/repository --model avatars/generator
    """
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{device!r}; it must be cpu or cuda")
    registry = Registry(root)
    try:
        cards = [registry.resolve(name, "generator") for name in model]
        folder.mkdir(parents=True)
        names = export_repository(registry, cards, folder, device, threads)
    except FileExistsError:
        typer.echo(f"{folder} exists; name a new folder", err=True)
        raise typer.Exit(2) from None
    except UnitScopeError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(2) from None
    for name in names:
        typer.echo(name)


if __name__ == "__main__":
    app()
