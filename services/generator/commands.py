"""``unitscope models export-triton`` and ``unitscope models export-onnx``, by entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from services.generator.repository import export_repository
from services.generator.settings import Precision
from unitscope.cli.options import ModelsOption, example
from unitscope.errors import AlreadyExistsError, FailedPreconditionError
from unitscope.models.registry import Registry

triton_app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
onnx_app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@triton_app.command(
    "export-triton", **example("unitscope models export-triton repository --model avatars/generator")
)
def triton_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The model repository to write; a new folder.", show_default=False
        ),
    ],
    model: Annotated[
        list[str], typer.Option(help="A generator, <pack>/<model>; repeatable.", show_default=False)
    ],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the tensor library; 0: its choice.")] = 0,
    instances: Annotated[int, typer.Option(min=1, help="Copies of each synthesis network.")] = 1,
    gradients: Annotated[bool, typer.Option("--gradients", help="Serve gradients as well.")] = False,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Serve projections of hidden features as well.")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="Of synthesis: float32, float16, bfloat16, or auto: float16 on a GPU.")
    ] = "auto",
    update: Annotated[
        bool,
        typer.Option("--update", help="Write into a repository that exists: models get a further version."),
    ] = False,
    models: ModelsOption = None,
) -> None:
    """Write a model repository for a Triton server that is run by other means.

    Its models read the weights from the folder of model packs, and need UnitScope and torch in the Python
    of Triton's python backend. Prints the models' names.
    """
    from unitscope.embedded import models_root

    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{device!r}; it must be cpu or cuda", param_hint="--device")
    if precision not in get_args(Precision):
        choices = ", ".join(get_args(Precision))
        raise typer.BadParameter(f"{precision!r}; it must be one of {choices}", param_hint="--precision")
    registry = Registry(models_root(models))
    cards = [registry.resolve(name, "generator") for name in model]
    _make(folder, update)
    names = export_repository(
        registry,
        cards,
        folder,
        device,
        threads,
        instances,
        gradients=gradients,
        precision=cast(Precision, precision),
        hidden=hidden,
    )
    for name in names:
        typer.echo(name)


def _make(folder: Path, update: bool) -> None:
    """Makes the repository's folder; an empty one is as good as none.

    Raises:
        AlreadyExistsError: It holds something and is not to be updated, or is no folder (reason
            REPOSITORY_EXISTS).
        FailedPreconditionError: It cannot be made (REPOSITORY_NOT_WRITABLE).
    """
    usable = folder.is_dir() and (update or not any(folder.iterdir()))
    if (folder.exists() or folder.is_symlink()) and not usable:
        raise AlreadyExistsError(
            f"{folder} exists; name a new folder, or give --update to add a version to a repository's models",
            reason="REPOSITORY_EXISTS",
            field="folder",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPreconditionError(
            f"{folder} cannot be made: {error.strerror or error}", reason="REPOSITORY_NOT_WRITABLE"
        ) from error


@onnx_app.command(
    "export-onnx", **example("unitscope models export-onnx generator.onnx --model avatars/generator")
)
def onnx_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; a new one.", show_default=False)
    ],
    model: Annotated[str, typer.Option(help="A generator, <pack>/<model>.", show_default=False)],
    models: ModelsOption = None,
) -> None:
    """Write a generator's synthesis network as ONNX, checked against onnxruntime.

    It maps w, float32 (rows, num_ws, w_dim), to image, float32 (rows, 3, height, width) in [-1, 1], for
    any number of rows.
    """
    # Loads torch, which other commands do without.
    from services.generator.backend import GeneratorBackend
    from services.generator.export import export_onnx
    from unitscope.embedded import models_root

    registry = Registry(models_root(models))
    card = registry.resolve(model, "generator")
    backend = GeneratorBackend.load(card, registry.verified(card))
    difference = export_onnx(backend.network, file)
    typer.echo(
        f"{file}: {card.name} {card.short_digest}, {file.stat().st_size} bytes; "
        f"largest difference of float pictures under onnxruntime: {difference:.2g}"
    )
