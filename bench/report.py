"""Results for people, as tables, and for machines, as one JSON document."""

import json
import os
import platform
from collections.abc import Mapping
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.figures import MORE, Figure, Result

_WIDTH = 120


def as_json(results: Mapping[str, Result], scale: float) -> str:
    """Every result by the name of its benchmark."""
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    benchmarks = {name: result.document() for name, result in results.items()}
    return json.dumps({"machine": machine, "scale": scale, "benchmarks": benchmarks}, indent=2)


def show(results: Mapping[str, Result], console: Console) -> None:
    """A table for each benchmark."""
    if not console.is_terminal:
        console.width = _WIDTH
    for result in results.values():
        console.print(_table(result))
        for program in result.missing:
            console.print(f"[yellow]{escape(program)} is not installed[/]")
        for note in result.notes:
            console.print(f"[dim]{escape(note)}[/]")
        console.print()


def _table(result: Result) -> Table:
    title = f"{escape(result.title)}\n[dim]beside {escape(result.peer)}[/]"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for column in ("kuik", "peer", "ratio", "rounds from - to", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for figure in result.figures:
        table.add_row(*_row(figure))
    for program in result.missing if not result.figures else ():
        table.add_row(f"not measured: {escape(program)} is missing", "", "", "", "", "")
    return table


def _row(figure: Figure) -> tuple[str, ...]:
    unit = f" {figure.unit}" if figure.unit else ""
    peer = _number(median(figure.peer)) + unit if figure.peer else "-"
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}"
    spread = "-" if figure.spread is None else f"{figure.spread[0]:.2f} - {figure.spread[1]:.2f}"
    return figure.what, _number(median(figure.ours)) + unit, peer, ratio, spread, f"{_way(figure)} is better"


def _way(figure: Figure) -> str:
    return "more" if figure.better == MORE else "less"


def _number(value: float) -> str:
    """Three digits, and never a power of ten."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
