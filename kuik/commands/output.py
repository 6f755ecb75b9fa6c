"""How commands print results: a table for people, JSON or YAML for programs; always on standard output."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

FORMATS = ("table", "json", "yaml")


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `-o`."""
    return click.option("-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True)(command)


def show(rows: Sequence[dict[str, Any]], output: str, table: Callable[[], Table]) -> None:
    """Print rows in the format that was asked for; the table is only made when it is wanted."""
    if output == "json":
        click.echo(json.dumps(list(rows), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(list(rows), sort_keys=False, width=1000), nl=False)
    else:
        print_table(table())


def print_table(table: Table) -> None:
    """A table on standard output, never narrower than its content: programs that read it must not lose words."""
    console = Console()
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    console.width = max(console.width, needed) if not console.is_terminal else console.width
    console.print(table)


def plain_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """A table as kubectl prints them: capital headings, no lines."""
    table = Table(box=None, pad_edge=False, header_style="", show_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
