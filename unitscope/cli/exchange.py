"""``unitscope models push`` and ``unitscope models sync``: models between registries, through the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from unitscope.cli.options import ModelsOption, example
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from unitscope.store import ObjectStore

ListOption = Annotated[
    Path | None,
    typer.Option(
        "--list", help="A file of further names, one a line; # begins a comment.", show_default=False
    ),
]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL]...", help="<pack>/<model>[@sha256:<digest>]", show_default=False),
]


def register(group: typer.Typer) -> None:
    """Adds the commands to ``unitscope models``."""
    group.command("push", **example("unitscope models push lab/resnet"))(push_command)
    group.command("sync", **example("unitscope models sync --list models.txt --models /models"))(sync_command)


def push_command(
    context: typer.Context, names: NamesArgument = None, file: ListOption = None, models: ModelsOption = None
) -> None:
    """Put models of the registry into the object store, for other machines to sync.

    The store is that of UNITSCOPE_STORE_*. Nothing that is there is replaced; prints name and digest.
    """
    from unitscope.embedded import models_root
    from unitscope.models import Registry
    from unitscope.models.exchange import push

    wanted = _names(names, file)
    store, registry = _store(), Registry(models_root(models or context.obj))
    for name in wanted:
        card, new = push(store, registry, name)
        typer.echo(f"{card.name}@sha256:{card.digest} {'pushed' if new else 'was there'}")


def sync_command(
    context: typer.Context, names: NamesArgument = None, file: ListOption = None, models: ModelsOption = None
) -> None:
    """Bring models of the object store into the registry, verified against their digests.

    The store is that of UNITSCOPE_STORE_*. A model whose bytes are not those of its card takes no place;
    a model that is there already is verified. Other models of the registry stay.
    """
    from unitscope.embedded import models_root
    from unitscope.models.exchange import pull

    wanted = _names(names, file)
    store, root = _store(), models or context.obj or models_root(None)
    for name in wanted:
        card, fetched = pull(store, name, root)
        typer.echo(f"{card.name}@sha256:{card.digest} {'fetched' if fetched else 'verified'}")


def _names(names: list[str] | None, file: Path | None) -> list[str]:
    found = list(names or [])
    if file is not None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"{file} cannot be read: {error}", reason="LIST_UNREADABLE") from None
        found += [name for line in lines if (name := line.partition("#")[0].strip())]
    if not found and file is None:
        raise InvalidArgumentError(
            "no model is named; name some, e.g. avatars/clean, or give --list FILE", reason="NO_MODEL"
        )
    return found


def _store() -> ObjectStore:
    from unitscope.settings import StoreSettings
    from unitscope.store import open_store

    try:
        settings = StoreSettings()
    except ValidationError as error:
        first = error.errors()[0]
        raise FailedPreconditionError(
            f"UNITSCOPE_STORE_{str(first['loc'][0]).upper()}: {first['msg']}; set UNITSCOPE_STORE_URL, e.g. "
            "to s3://<bucket>, and what goes with it",
            reason="INVALID_STORE_SETTINGS",
        ) from None
    return open_store(settings)
