"""`python -m bench`: run the benchmarks, and print ratios."""

import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from bench import admission, copies, copying, herd, node, stages, warm
from bench.clients import WrongAnswer
from bench.figures import Result
from bench.measure import CommandFailed
from bench.report import as_json, show
from bench.servers import CannotStart
from bench.setting import Setting

BENCHMARKS: Mapping[str, Callable[[Setting], Result]] = {
    "copy": copying.measure,
    "copies": copies.measure,
    "herd": herd.measure,
    "warm": warm.measure,
    "node": node.measure,
    "stages": stages.measure,
    "admission": admission.measure,
}


@click.command()
@click.option("--only", metavar="NAME", multiple=True, type=click.Choice(list(BENCHMARKS)), help="Repeatable.")
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 10, min_open=True),
    help="Make everything that much of its full size.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20), help="Measure so often; medians.")
def main(only: tuple[str, ...], output: str, scale: float, rounds: int) -> None:
    """Measure kuik beside other programs, on this machine, in this run.

    A ratio is kuik's figure divided by the peer's. Everything runs on loopback and in a temporary folder. A peer that
    is not installed is named, and what needs it is left out.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `finally`, so that no process is left
    began = time.monotonic()
    with TemporaryDirectory(prefix="kuik-bench-") as folder:
        setting = Setting(Path(folder), scale, rounds, lambda text: click.echo(text, err=True))
        results = {name: _run(name, setting) for name in BENCHMARKS if not only or name in only}
    click.echo(f"done in {time.monotonic() - began:.0f} s", err=True)
    if output == "json":
        click.echo(as_json(results, scale))
    else:
        show(results, Console())


def _run(name: str, setting: Setting) -> Result:
    try:
        with setting.fresh() as fresh:
            return BENCHMARKS[name](fresh)
    except (CommandFailed, WrongAnswer, CannotStart, OSError) as error:
        raise click.ClickException(f"{name}: {error}") from error


if __name__ == "__main__":
    main()
