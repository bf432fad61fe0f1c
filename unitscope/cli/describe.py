"""Commands that describe: what an installation can do, and the models of a registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli import exchange
from unitscope.cli.groups import ImportGroup, ModelsGroup
from unitscope.cli.options import (
    DEFAULT_HOME,
    AddressOption,
    HomeOption,
    ModelsOption,
    Output,
    OutputOption,
    connect,
    example,
)
from unitscope.cli.output import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from unitscope.models import ModelCard

HEADLINE = 3
"""How many figures of a card fit on a line."""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("capabilities", **example("unitscope capabilities --output json"))(capabilities)
    group = typer.Typer(
        cls=ModelsGroup,
        help="List the models of the registry, or show one.",
        invoke_without_command=True,
        rich_markup_mode=None,
    )
    group.callback(**example("unitscope models; unitscope models show avatars/clean"))(models)
    group.command("show", **example("unitscope models show avatars/clean"))(show)
    exchange.register(group)
    imports = typer.Typer(
        cls=ImportGroup,
        help="Make a model of the registry out of a file from elsewhere.",
        epilog="example: unitscope models import stylegan-xl imagenet256.pkl --name imagenet256",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    imports.callback()(_nothing)
    group.add_typer(imports, name="import")
    app.add_typer(group, name="models")


def _nothing() -> None:
    """What each command of a group does by itself is enough."""


def capabilities(
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show analyses, models and limits."""
    with connect(address, home) as client:
        found = client.capabilities()
    if output is Output.JSON:
        print_json(found)
        return
    typer.echo(f"unitscope {found.version} at {client.address}\n")
    print_table(("ANALYSIS", "WHAT IT DOES"), [(kind.name, kind.summary) for kind in found.kinds])
    typer.echo()
    rows = [
        (
            model.name,
            model.kind,
            model.digest[:12],
            str(len(model.classes)),
            ", ".join(f"{layer.name} ({layer.units} units)" for layer in model.layers),
        )
        for model in found.models
    ]
    print_table(("MODEL", "KIND", "DIGEST", "CLASSES", "LAYERS"), rows)
    typer.echo()
    print_table(("LIMIT", "VALUE"), [(name, f"{n:,}") for name, n in sorted(found.limits.items())])


def models(context: typer.Context, root: ModelsOption = None, output: OutputOption = Output.TABLE) -> None:
    """List the models of the registry: their cards, not what a server has loaded."""
    if context.invoked_subcommand is not None:
        context.obj = root
        return
    from unitscope.embedded import models_root
    from unitscope.models import Registry

    cards = Registry(models_root(root)).cards()
    if output is Output.JSON:
        print_json([_summary(card) for card in cards])
        return
    rows = [(card.name, card.kind, card.short_digest, _headline(card.metrics)) for card in cards]
    print_table(("MODEL", "KIND", "DIGEST", "FIGURES"), rows)


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="e.g. avatars/clean")],
    root: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the card of a model."""
    from unitscope.embedded import models_root
    from unitscope.models import Registry

    card = Registry(models_root(root or context.obj)).resolve(name)
    if output is Output.JSON:
        print_json({"digest": card.digest, **card.model_dump(mode="json")})
        return
    layers = (f"{layer.name} ({layer.units} units)" for layer in card.layers)
    print_pairs(
        (
            ("model", card.name),
            ("kind", card.kind),
            ("digest", card.digest),
            ("description", card.description),
            ("licence", card.license),
            ("architecture", str(card.architecture.get("name", ""))),
            ("classes", ", ".join(card.classes)),
            ("layers", ", ".join(layers)),
            *((f"metric {name}", _figure(value)) for name, value in _figures(card.metrics)),
            *((f"training {name}", _figure(value)) for name, value in _figures(card.training)),
        )
    )


def _summary(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "kind": card.kind,
        "digest": card.digest,
        "description": card.description,
        "classes": card.classes,
        "metrics": card.metrics,
    }


def _headline(metrics: Mapping[str, Any]) -> str:
    """The first figures of a card."""
    numbers = [(n, v) for n, v in _figures(metrics) if isinstance(v, int | float)]
    return ", ".join(f"{name} {_figure(value)}" for name, value in numbers[:HEADLINE])


def _figures(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All entries of nested mappings, with dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
