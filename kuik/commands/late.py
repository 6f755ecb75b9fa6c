"""Commands that are imported when they are called: what one needs must not make all others slow to start."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LateGroup(click.Group):
    """A group of commands that are named as `module:attribute`, in the order in which its help lists them.

    `@click.group(cls=LateGroup, late={"name": "module:attribute"})`.
    """

    def __init__(self, *, late: Mapping[str, str], **settings: Any) -> None:
        super().__init__(**settings)
        self._late = dict(late)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group."""
        return [*self._late, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click.Group."""
        if cmd_name not in self._late:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._late[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found
