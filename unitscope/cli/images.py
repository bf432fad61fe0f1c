"""``unitscope images``: folders of real images, which units and counterfactuals are looked at with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unitscope.cli.options import DEFAULT_HOME, HomeOption, Output, OutputOption, example
from unitscope.cli.output import console, print_json, print_table, size
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from unitscope.store import ObjectStore

STORE_VARIABLE = "UNITSCOPE_STORE_URL"
SHOWN_SKIPPED = 10
"""Files left out that are named one by one."""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(
        help="Real images: jobs show those that activate a unit most, or start counterfactuals from them.",
        epilog="example: unitscope images add my-faces --name faces",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("add", **example("unitscope images add my-faces --name faces --limit 2000"))(add)
    group.command("list", **example("unitscope images list"))(list_folders)
    group.command("remove", **example("unitscope images remove faces"))(remove)
    app.add_typer(group, name="images")


NameOption = Annotated[
    str,
    typer.Option(
        "--name", help="What the images are called: lower-case letters, digits and '-'.", show_default=False
    ),
]


def add(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Images, also in subfolders.", show_default=False)
    ],
    name: NameOption,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Images at most, taken at even distances.", show_default=False),
    ] = None,
    output: OutputOption = Output.TABLE,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Copy a folder of images into the store.

    The store is that of UNITSCOPE_STORE_URL, else that of the embedded stack in --home. Images are
    checked, turned upright, scaled down to 512 pixels, and kept without their metadata. Those that
    cannot be read are named and left out.
    """
    from unitscope.store.images import add_images

    store = store_of(home)
    with shown_images() as seen:
        added = add_images(store, name, folder, limit=limit, seen=seen)
    for _, why in added.skipped[:SHOWN_SKIPPED]:
        typer.echo(f"left out: {why}", err=True)
    if len(added.skipped) > SHOWN_SKIPPED:
        typer.echo(f"left out: {len(added.skipped) - SHOWN_SKIPPED} more", err=True)
    count = sum(entry.size for entry in added.entries)
    if output is Output.JSON:
        print_json(
            {
                "name": name,
                "images": len(added.entries),
                "size": count,
                "skipped": [{"file": file, "reason": why} for file, why in added.skipped],
            }
        )
        return
    typer.echo(f"{name}: {len(added.entries)} images, {size(count)}")


def list_folders(output: OutputOption = Output.TABLE, home: HomeOption = DEFAULT_HOME) -> None:
    """List the folders of images in the store."""
    from unitscope.store.images import image_folders

    folders = image_folders(store_of(home, existing=True))
    if output is Output.JSON:
        print_json(folders)
        return
    rows = [
        (item.name, str(item.images), size(item.size), "" if item.complete else "incomplete: add it again")
        for item in folders
    ]
    print_table(("NAME", "IMAGES", "SIZE", ""), rows)


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As 'list' shows it.", show_default=False)],
    output: OutputOption = Output.TABLE,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Remove a folder of images from the store; results of jobs keep what they show."""
    from unitscope.store.images import remove_images

    count = remove_images(store_of(home, existing=True), name)
    if output is Output.JSON:
        print_json({"name": name, "images": count})
        return
    typer.echo(f"{name}: {count} images removed")


def store_of(home: Path, *, existing: bool = False) -> ObjectStore:
    """The store of the environment, else that of the embedded stack.

    Raises:
        FailedPreconditionError: It must exist and does not (reason STORE_NOT_FOUND), or its client is
            not installed (reason NOT_INSTALLED).
        InvalidArgumentError: Its settings are none (reason INVALID_STORE or INVALID_STORE_URL).
    """
    from unitscope.embedded.home import home_at
    from unitscope.settings import StoreSettings
    from unitscope.store import open_store

    if not os.environ.get(STORE_VARIABLE):
        folder = home_at(home).store
        if existing and not folder.is_dir():
            raise FailedPreconditionError(
                f"there is no store in {home}; name the folder of a stack with --home, or a store with "
                f"{STORE_VARIABLE}",
                reason="STORE_NOT_FOUND",
            )
        return open_store(StoreSettings(url=f"directory:{folder}"))
    url = os.environ[STORE_VARIABLE]
    try:
        return open_store(StoreSettings())
    except ImportError as error:
        raise FailedPreconditionError(
            f"the store {url} needs {error.name}; install unitscope[workers]", reason="NOT_INSTALLED"
        ) from error
    except ValueError as error:
        # Of pydantic, and of the S3 client, which checks names of buckets by itself.
        raise InvalidArgumentError(
            f"the store {url} cannot be used, check UNITSCOPE_STORE_*: {' '.join(str(error).split())[:300]}",
            reason="INVALID_STORE",
        ) from error


@contextmanager
def shown_images() -> Iterator[Callable[[int, int], None]]:
    """Shows how far it is on standard error: a bar on a terminal, a line each tenth elsewhere."""
    screen = console(error=True)
    if screen.is_terminal:
        from rich.progress import Progress

        with Progress(console=screen, transient=True) as bar:
            task = bar.add_task("images", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    shown = 0

    def line(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // total
        if tenth > shown:
            shown = tenth
            typer.echo(f"{done} of {total} images", err=True)

    yield line
