"""`python -m tests.cluster.scale`: kuik in a cluster of some size, on a real API server, and then churn."""

import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from tests.cluster.rig import metacontroller
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.scale.drivers import Caller, Loop, Metacontroller
from tests.cluster.scale.report import show
from tests.cluster.scale.run import Scale
from tests.cluster.scale.setting import started
from tests.cluster.scale.world import Size
from tests.rig.components import Component

_USUAL = Size()


@click.command()
@click.option("--namespaces", default=_USUAL.namespaces, show_default=True, type=click.IntRange(1, 5_000))
@click.option("--pods", default=_USUAL.pods, show_default=True, type=click.IntRange(1, 50_000))
@click.option("--images", default=_USUAL.images, show_default=True, type=click.IntRange(2, 20_000))
@click.option("--driver", type=click.Choice(("metacontroller", "loop")), help="Else Metacontroller where it is.")
@click.option("--patience", default=300.0, show_default=True, help="Seconds that each step may take.")
@click.option("--option", "options", multiple=True, metavar="FLAG", help="For Metacontroller, such as --workers=10.")
def main(
    namespaces: int, pods: int, images: int, driver: str | None, patience: float, options: tuple[str, ...]
) -> None:
    """Fill a cluster, wait for all CachedImages and their copies, then churn: that must write nothing.

    Ends with 1 where something does not hold, or does not come in time.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `finally`, so that no process is left
    size = Size(namespaces, pods, images)
    if size.workloads > pods:
        raise click.UsageError(f"{size.workloads} workloads need as many --pods at least")
    if driver == "metacontroller" and metacontroller.binary() is None:
        raise click.UsageError(metacontroller.MISSING)
    real = driver != "loop" and metacontroller.binary() is not None

    def caller(plane: ControlPlane, hooks: Component) -> Caller:
        return Metacontroller(plane, hooks, options) if real else Loop(plane, hooks)

    with TemporaryDirectory(prefix="kuik-scale-") as folder, started(Path(folder)) as (plane, hooks):
        scale = Scale(plane, hooks, caller(plane, hooks), size, lambda text: click.echo(text, err=True), patience)
        failed = ""
        try:
            scale.run()
        except AssertionError as error:
            failed = str(error)
        show(scale, Console())
    if failed:
        click.echo(failed, err=True)
    sys.exit(1 if failed or any(phase.broken for phase in scale.phases) else 0)


if __name__ == "__main__":
    main()
