"""Groups of commands that packages add to, by entry points.

An entry point names a `typer.Typer`, which is loaded when its command is asked for; its group names the
place: ``unitscope.commands`` for ``unitscope NAME``, ``unitscope.commands.models`` for
``unitscope models NAME``, ``unitscope.commands.models.import`` for ``unitscope models import NAME``::

    [project.entry-points."unitscope.commands"]
    train = "my_package.cli:app"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from unitscope.errors import FailedPreconditionError

GROUP = "unitscope.commands"


class ExtensibleGroup(TyperGroup):
    """Its own commands, then those of the entry points of one group."""

    entry_points: ClassVar[str] = GROUP

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands; nothing is loaded."""
        own = super().list_commands(ctx)
        return own + sorted(set(self._added()) - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; one that a package adds is loaded now."""
        own = super().get_command(ctx, cmd_name)
        added = self._added()
        return own if own is not None or cmd_name not in added else _load(added[cmd_name])

    def _added(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.entry_points)}


class ModelsGroup(ExtensibleGroup):
    """``unitscope models``."""

    entry_points = f"{GROUP}.models"


class ImportGroup(ExtensibleGroup):
    """``unitscope models import``."""

    entry_points = f"{GROUP}.models.import"


def _load(point: EntryPoint) -> Any:
    """The command of an entry point; one that cannot be loaded becomes a command that says so."""
    try:
        return typer.main.get_command(point.load())
    except (ImportError, AttributeError) as error:
        reason = f"the command {point.name!r} ({point.value}) cannot be loaded: {error}"

    broken = typer.Typer(rich_markup_mode=None)

    @broken.command(
        point.name,
        help="(cannot be loaded)",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def fail() -> None:
        raise FailedPreconditionError(f"{reason}; install what it needs", reason="COMMAND_NOT_INSTALLED")

    return typer.main.get_command(broken)
