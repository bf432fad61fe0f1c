"""Commands of the generator service, for the ``unitscope`` command by entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from services.generator.repository import export_repository
from services.generator.settings import Precision
from unitscope.errors import UnitScopeError
from unitscope.models.registry import Registry

app = typer.Typer(help="Generators: export for Triton and as ONNX.", no_args_is_help=True)


@app.callback()
def generator() -> None:
    """Generators: export for Triton and as ONNX."""


@app.command("export-triton")
def export_command(
    folder: Annotated[Path, typer.Argument(help="The model repository to write; a new folder.")],
    model: Annotated[list[str], typer.Option(help="A generator, <pack>/<model>; repeatable.")],
    root: Annotated[Path, typer.Option(help="The registry's folder.")] = Path("models"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the tensor library; 0: its choice.")] = 0,
    instances: Annotated[int, typer.Option(min=1, help="Copies of each synthesis network.")] = 1,
    gradients: Annotated[bool, typer.Option("--gradients", help="Serve gradients as well.")] = False,
    precision: Annotated[
        str, typer.Option(help="Of synthesis: float32, float16, bfloat16, or auto: float16 on a GPU.")
    ] = "auto",
) -> None:
    """Write a model repository for a Triton server that is run by other means.

    Its models read the weights from the registry's folder, and need UnitScope and torch in the
    Python of Triton's python backend. Example: export-triton /srv/repository --model avatars/generator
    """
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{device!r}; it must be cpu or cuda")
    if precision not in get_args(Precision):
        raise typer.BadParameter(f"{precision!r}; it must be one of {', '.join(get_args(Precision))}")
    registry = Registry(root)
    try:
        cards = [registry.resolve(name, "generator") for name in model]
        folder.mkdir(parents=True)
        names = export_repository(
            registry,
            cards,
            folder,
            device,
            threads,
            instances,
            gradients=gradients,
            precision=cast(Precision, precision),
        )
    except FileExistsError:
        typer.echo(f"{folder} exists; name a new folder", err=True)
        raise typer.Exit(2) from None
    except UnitScopeError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(2) from None
    for name in names:
        typer.echo(name)


@app.command("export-onnx")
def onnx_command(
    file: Annotated[Path, typer.Argument(help="The file to write; a new one.")],
    model: Annotated[str, typer.Option(help="A generator, <pack>/<model>.")],
    root: Annotated[Path, typer.Option(help="The registry's folder.")] = Path("models"),
) -> None:
    """Write a generator's synthesis network as ONNX, checked against onnxruntime.

    It maps w, float32 (rows, num_ws, w_dim), to image, float32 (rows, 3, height, width) in [-1, 1], for
    any number of rows. Example: export-onnx generator.onnx --model avatars/generator
    """
    # Loads torch, which other commands do without.
    from services.generator.backend import GeneratorBackend
    from services.generator.export import export_onnx

    registry = Registry(root)
    try:
        card = registry.resolve(model, "generator")
        backend = GeneratorBackend.load(card, registry.verified(card))
        difference = export_onnx(backend.network, file)
    except UnitScopeError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(2) from None
    typer.echo(
        f"{file}: {card.name} {card.short_digest}, {file.stat().st_size} bytes; "
        f"largest difference of float pictures under onnxruntime: {difference:.2g}"
    )


if __name__ == "__main__":
    app()
