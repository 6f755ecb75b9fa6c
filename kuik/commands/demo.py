"""`kuik demo`."""

import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from kuik.demo.play import NotAsTold, play


@click.command()
def demo() -> None:
    """Tell the story of the mission, offline, in under a minute; every line is checked.

    An upstream registry of its own, pods that use its images, a cold pull, copies; then the upstream goes down, and
    pulls still work, also after a restart; at last an image that is no longer used gives its space back.
    """
    console = Console()
    began = time.monotonic()
    try:
        play(Path(tempfile.mkdtemp(prefix="kuik-demo-")), console)
    except NotAsTold as error:
        console.print("[red]the story is not as told[/]")
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        sys.exit(130)
    console.print(f"[bold]all as told[/], in {time.monotonic() - began:.0f} s", highlight=False)
