"""Exit codes as terraform's: 0 nothing changes, 1 an error, 2 something changes."""

from typing import Any

import click

FLAG = "--detailed-exitcode"
CHANGES = 2
_ERROR = 1


class DetailedExitCode(click.Command):
    """A command that exits with 2 for changes, and so, under FLAG, with 1 where the command line is wrong."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        detailed = FLAG in args  # read before click does: it may fail over an option that comes before
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _with_code(error, detailed=detailed) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _with_code(error, detailed=bool(ctx.params.get("detailed_exitcode"))) from error


class _Wrong(click.UsageError):
    """A wrong command line that exits as any error."""

    exit_code = _ERROR


def _with_code(error: click.UsageError, *, detailed: bool) -> click.UsageError:
    return _Wrong(error.format_message(), error.ctx) if detailed else error
